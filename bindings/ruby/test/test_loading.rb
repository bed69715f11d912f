# frozen_string_literal: true

require_relative 'helper'
require 'fileutils'
require 'open3'
require 'rbconfig'

# Which library is loaded, and what happens if there is none.
class LoadingTest < SendFDTest
  LIBRARY = File.realpath(
    File.readlines('/proc/self/maps').grep(/libsendfd|sendfd.*\.so/).first.split.last
  )
  SOURCES = File.dirname($LOADED_FEATURES.grep(%r{/sendfd\.rb\z}).first)
  PROGRAM = 'require "sendfd"; print SendFD.version, " ", ' \
            'File.readlines("/proc/self/maps").grep(/sendfd/).first.split.last'

  # What a program prints which loads a copy of the package, and whether it succeeds.
  def load_copy(environment, *ruby, bundled: nil)
    Dir.mktmpdir do |place|
      FileUtils.cp_r(["#{SOURCES}/sendfd.rb", "#{SOURCES}/sendfd"], place)
      FileUtils.rm_f("#{place}/sendfd/libsendfd.so.1")
      FileUtils.cp(bundled, "#{place}/sendfd/libsendfd.so.1") if bundled
      program = "#{place}/program.rb"
      File.write(program, "$:.unshift #{place.inspect}; #{PROGRAM}")
      yield place if block_given?
      output, status = Open3.capture2e({ 'LIBSENDFD' => nil, 'RUBYOPT' => nil }.merge(environment),
                                       *(ruby.empty? ? [RbConfig.ruby] : ruby), program)
      [output.gsub(place, 'PLACE'), status.success?]
    end
  end

  test 'the versions of the package and of the library are the same' do
    assert_equal SendFD::VERSION, SendFD.version
    assert_equal ENV['VERSION'], SendFD::VERSION if ENV['VERSION']
  end

  test '$LIBSENDFD comes first, before the bundled copy' do
    assert_equal ["#{SendFD.version} #{LIBRARY}", true],
                 load_copy({ 'LIBSENDFD' => LIBRARY }, bundled: '/dev/null')
  end

  test 'the bundled copy comes next, before the soname' do
    assert_equal ["#{SendFD.version} PLACE/sendfd/libsendfd.so.1", true],
                 load_copy({ 'LD_LIBRARY_PATH' => '/nonexistent', 'LIBSENDFD' => '' }, bundled: LIBRARY)
  end

  test 'the soname comes last' do
    Dir.mktmpdir do |place|
      FileUtils.cp(LIBRARY, "#{place}/libsendfd.so.1")
      assert_equal ["#{SendFD.version} #{place}/libsendfd.so.1", true],
                   load_copy({ 'LD_LIBRARY_PATH' => place })
    end
  end

  test 'a missing library is a LoadError with the path' do
    output, success = load_copy({ 'LIBSENDFD' => '/nonexistent/libsendfd.so.1' }, bundled: LIBRARY)
    refute success
    assert_match(%r{/nonexistent/libsendfd\.so\.1.*\(LoadError\)}, output)
  end

  test '$LIBSENDFD is ignored in a set-user-ID program' do
    skip 'only root can make a program that is another user\'s' unless Process.uid.zero?
    Dir.mktmpdir do |place|
      File.chmod(0o755, place)
      ruby = "#{place}/ruby"
      FileUtils.cp(RbConfig.ruby, ruby)
      File.chown(65_534, 65_534, ruby)
      File.chmod(0o4755, ruby)
      File.write("#{place}/user.rb", 'print Process.euid')
      user, = Open3.capture2({ 'RUBYOPT' => nil }, ruby, "#{place}/user.rb")
      skip 'the temporary directory has no set-user-ID programs' if user != '65534'

      output, = load_copy({ 'LIBSENDFD' => '/nonexistent/libsendfd.so.1' }, ruby, bundled: LIBRARY) do |copy|
        FileUtils.chmod_R('a+rX', copy)
      end
      assert_equal "#{SendFD.version} PLACE/sendfd/libsendfd.so.1", output
    end
  end
end
