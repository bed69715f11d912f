# frozen_string_literal: true

require_relative 'helper'
require 'ffi'

# Exceptions at random times: nothing is lost, and nothing closed twice.
class StormTest < SendFDTest
  ROUNDS = Integer(ENV.fetch('STORM_ROUNDS', '500'))

  # The timer, which Ruby has not.
  module C
    extend FFI::Library
    ffi_lib FFI::Library::LIBC
    attach_function :ualarm, %i[uint uint], :uint
  end

  # Each calls a block again and again, and interrupts it at random times; the block may
  # be interrupted between two rounds too, but not after it has ended.

  # A handler of a signal that raises; with again, it does so while the first is handled.
  def by_handler(again: false)
    armed = false
    trap(:ALRM) { raise Stop if armed }
    rounds do
      armed = true
      C.ualarm(rand(1..150), again ? rand(500..2000) : 0)
      yield
    ensure
      armed = false
      C.ualarm(0, 0)
    end
  ensure
    trap(:ALRM, 'IGNORE') # not as before: one may be on its way
  end

  def by_timeout
    rounds { Timeout.timeout(rand * 0.0003, Stop) { yield } }
  end

  # Another thread raises in this one, or kills it.
  def by_thread(&block)
    finished = false
    worker = nil
    rounds do
      Thread.handle_interrupt(Stop => :never) do
        worker = Thread.new { Thread.handle_interrupt(Stop => :immediate, &block) }
        worker.report_on_exception = false
      end
      rand(5).times { Thread.pass }
      rand(2).zero? ? worker.raise(Stop) : worker.kill
      finished = worker.join(LONG)
      assert finished
    end
  end

  def rounds
    ROUNDS.times do
      yield
    rescue Stop
      nil
    end
  end

  STORMS = {
    'a handler' => ->(test, &block) { test.by_handler(&block) },
    'a handler, many times' => ->(test, &block) { test.by_handler(again: true, &block) },
    'Timeout' => ->(test, &block) { test.by_timeout(&block) },
    'another thread' => ->(test, &block) { test.by_thread(&block) }
  }.freeze

  REFUSES = Class.new(File) { def self.for_fd(*) = super.tap { raise ArgumentError } }

  RECEIVED = {
    recv_io: ->(socket) { SendFD.recv_io(socket) },
    'recv_io with a block' => ->(socket) { SendFD.recv_io(socket, &:fileno) },
    'recv_io with a class that refuses' => lambda { |socket|
      begin
        SendFD.recv_io(socket, REFUSES)
      rescue ArgumentError
        nil
      end
    },
    recv_ios: ->(socket) { SendFD.recv_ios(socket, 3) },
    recvfds_msghdr: ->(socket) { SendFD.recvfds_msghdr(socket, 3, 1, ios: true) }
  }.freeze

  STORMS.to_a.product(RECEIVED.to_a) do |(storm, interrupted), (name, receive)|
    # To look for what a class has left behind takes as long as there is between two.
    next if storm == 'a handler, many times' && name == 'recv_io with a class that refuses'

    test_each_kind "a storm of #{storm}: #{name}" do |how|
      Dir.open('/') do |dir|
        pair(how) do |a, b|
          interrupted.call(self) do
            SendFD.sendfd(a, [FILE, dir, a].sample) unless b.wait_readable(0)
            receive[b]
            receive[b] # which waits until it is interrupted
          end
        end
      end
      assert_owned
      close_lost
    end
  end

  STORMS.each do |storm, interrupted|
    test_each_kind "a storm of #{storm}: of many descriptors none is lost" do |how|
      pair(how) do |a, b|
        count = ROUNDS
        sender = Thread.new { (count / 2).times { SendFD.sendfds(a, [FILE, OTHER]) } }
        kept = []
        interrupted.call(self) do
          SendFD.recvfds_all(b, count - kept.size, kept) if kept.size < count
        end
        SendFD.recvfds_all(b, count - kept.size, kept) if kept.size < count
        join(sender)
        assert_equal count, kept.size
        SendFD.close(kept)
      end
    end
  end
end
