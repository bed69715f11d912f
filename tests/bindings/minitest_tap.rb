# frozen_string_literal: true

# Has minitest print TAP: ruby -r this file.
require 'minitest'

# Prints a line for each test, and what a failed one says. With REQUIRE_ALL=1 a skip is
# a failure.
class TapReporter < Minitest::AbstractReporter
  def initialize(output)
    super()
    @output = output
    @failed = false
    @count = 0
  end

  def record(result)
    @count += 1
    failed = result.skipped? ? ENV['REQUIRE_ALL'] == '1' : !result.passed?
    @failed ||= failed
    @output.puts "#{'not ' if failed}ok #{@count} - #{result.klass}: #{result.name.delete_prefix('test_')}" \
                 "#{" # SKIP #{result.failure.message}" if result.skipped?}"
    result.failures.each { |failure| @output.puts failure.full_message.gsub(/^/, '# ') } if failed
    @output.flush
  end

  def report
    @output.puts "1..#{@count}"
  end

  def passed?
    !@failed
  end
end

# The hook that minitest looks for.
module Minitest
  def self.plugin_tap_init(options)
    reporter.reporters.replace [TapReporter.new(options[:io])]
  end
  extensions << 'tap'
end
