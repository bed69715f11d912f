# frozen_string_literal: true

require_relative 'helper'

# Signals, other threads, and time.
class InterruptsTest < SendFDTest
  test_each_kind 'Timeout interrupts each receive, which waits idly' do |how|
    start = seconds
    idle = cpu_seconds
    threads = RECEIVES.map do |name, receive|
      Thread.new do
        pair(how) do |_a, b|
          assert_raises(Timeout::Error) { Timeout.timeout(0.4) { receive[b] } }
          assert_includes 0.4..LONG, seconds - start, "#{name} took"
        end
      end
    end
    threads.each(&:join)
    assert_operator cpu_seconds - idle, :<, 0.2, 'they had the processor for'
  end

  test_each_kind 'Thread#kill ends each receive' do |how|
    pair(how) do |_a, b|
      RECEIVES.each_value do |receive|
        thread = waiting_thread { receive[b] }
        thread.kill
        join(thread)
      end
    end
  end

  test_each_kind 'another thread runs while one receives' do |how|
    pair(how) do |a, b|
      thread = waiting_thread { SendFD.recvfd(b) }
      100.times { Thread.pass }
      SendFD.sendfd(a, FILE)
      assert_equal CONTENT, content(thread.value)
    end
  end

  test_each_kind 'Ctrl-C ends each receive' do |how|
    pair(how) do |_a, b|
      RECEIVES.each do |name, receive|
        IO.pipe do |reader, writer|
          pid = fork do
            trap(:INT, 'DEFAULT')
            main = Thread.current
            Thread.new do
              Thread.pass until waits?(main)
              writer.write('!')
            end
            begin
              receive[b]
            rescue Interrupt
              exit! 42
            end
            exit! 1
          end
          writer.close
          assert_equal '!', reader.read(1)
          Process.kill(:INT, pid)
          watch = Thread.new { sleep(LONG) && Process.kill(:KILL, pid) }
          Process.wait(pid)
          watch.kill.join
          assert_equal 42, $?.exitstatus, name
        end
      end
    end
  end

  test_each_kind 'a handler of a signal that raises ends each receive' do |how|
    pair(how) do |_a, b|
      with_raising_handler(:USR1) do
        RECEIVES.each_value do |receive|
          thread = when_main_waits { Process.kill(:USR1, $$) }
          assert_raises(Stop) { receive[b] }
          join(thread)
        end
      end
    end
  end

  test_each_kind 'a receive goes on after a handler, which may receive itself' do |how|
    pair(how) do |a, b|
      handled = Queue.new
      UNIXSocket.pair do |c, d|
        SendFD.sendfd(c, OTHER)
        old = trap(:USR1) do
          assert_raises(Errno::ENOTSOCK) { SendFD.recvfd(OTHER) }
          handled << SendFD.recv_io(d)
        end
        thread = when_main_waits do
          Process.kill(:USR1, $$)
          handled.pop.close
          Thread.pass until waits?(Thread.main)
          SendFD.sendfd(a, FILE)
        end
        fd = SendFD.recvfd(b)
        join(thread)
        trap(:USR1, old)
        assert_equal CONTENT, content(fd)
      end
    end
  end

  test_each_kind 'a send waits for room, and Timeout interrupts it' do |how|
    pair(how) do |a, b|
      sent = 0
      idle = nil
      assert_raises(Timeout::Error) do
        Timeout.timeout(0.4) do
          loop do
            idle = cpu_seconds
            SendFD.sendfd(a, FILE)
            sent += 1
          end
        end
      end
      assert_operator cpu_seconds - idle, :<, 0.2, 'it had the processor for'
      thread = waiting_thread { SendFD.sendfds_all(a, [FILE]) }
      fds = SendFD.recvfds_all(b, sent + 1)
      assert_equal sent + 1, fds.size
      SendFD.close(fds)
      join(thread)
    end
  end

  test_each_kind 'two receivers of one message' do |how|
    pair(how) do |a, b|
      threads = Array.new(2) { waiting_thread { SendFD.recvfd(b) } }
      SendFD.sendfd(a, FILE)
      Thread.pass while threads.all?(&:alive?)
      done, waits = threads.partition { |thread| !thread.alive? }
      assert_equal CONTENT, content(done.first.value)
      waits.each(&:kill).each { |thread| join(thread) }
    end
  end

  test_each_kind 'what came when an exception ends recvfds_all is in the array given, or closed' do |how|
    [true, false].each do |given|
      pair(how) do |a, b|
        before = open_descriptors.size
        kept = given ? [] : nil
        thread = waiting_thread { SendFD.recvfds_all(b, 10, kept) }
        SendFD.sendfds(a, [FILE] * 7)
        Thread.pass until open_descriptors.size == before + 7 && thread.stop?
        thread.raise(Stop)
        assert_raises(Stop) { thread.value }
        assert_equal 7, kept.size if kept
        SendFD.close(*kept)
      end
    end
  end

  test 'a call that was interrupted is made again' do
    pair do |_a, b|
      results = [-1, -1, 3]
      came = FFI.stub(:errno, Errno::EINTR::Errno) do
        SendFD.send(:transfer, :recvfds, b, nil) { results.shift }
      end
      assert_equal 3, came
    end
  end

  test 'closing the socket in another thread ends a receive' do
    pair do |_a, b|
      thread = waiting_thread { SendFD.recvfd(b) }
      b.close
      assert_raises(IOError) { join(thread) }
    end
  end

  test 'a socket that has read ahead is not spun on' do
    pair do |a, b|
      a.write("one\ntwo\n")
      assert_equal "one\n", b.gets
      thread = waiting_thread { SendFD.recvfd(b) }
      SendFD.sendfd(a, FILE)
      assert_equal CONTENT, content(thread.value)
    end
  end

  # Ruby looks for interrupts at the end of methods and blocks, in C too. Calls the block
  # until an exception has come at each such end of the package in turn, and with more
  # interrupts at the next ones too, while the first exception is handled. Returns how
  # many there are. Not at the end of those that return numbers: that is documented.
  def each_end(interrupts)
    1.step do |nth|
      ends = 0
      here = Thread.current
      trace = TracePoint.new(:return, :b_return, :c_return) do |point|
        next unless here == Thread.current && point.path.include?('lib/sendfd')
        next if point.self.is_a?(Exception) || point.method_id == :raise # one at a time
        next if point.event == :return && %i[recvfd recvfds].include?(point.method_id)

        ends += 1
        raise Stop if ends.between?(nth, nth + interrupts - 1)
      end
      raised = begin
        trace.enable { yield }
        false
      rescue Stop
        true
      end
      return nth - 1 unless raised
    end
  end

  REFUSES = Class.new(File) { def self.for_fd(*) = super.tap { raise ArgumentError } }

  CONVERSIONS = {
    recvfd: ->(socket) { IO.for_fd(SendFD.recvfd(socket)).close },
    recvfds: ->(socket) { IO.for_fd(*SendFD.recvfds(socket, 1)).close },
    recv_io: ->(socket) { SendFD.recv_io(socket) },
    'recv_io with a class' => ->(socket) { SendFD.recv_io(socket, IO) },
    'recv_io with a class that refuses' => lambda { |socket|
      begin
        SendFD.recv_io(socket, REFUSES)
      rescue ArgumentError
        nil
      end
    },
    'recv_io with a mode' => ->(socket) { SendFD.recv_io(socket, mode: 'r') },
    'recv_io with a block' => ->(socket) { SendFD.recv_io(socket, &:fileno) },
    recv_ios: ->(socket) { SendFD.recv_ios(socket, 3) },
    recv_ios_all: ->(socket) { SendFD.recv_ios_all(socket, 1) },
    recvfds_msg: ->(socket) { SendFD.recvfds_msg(socket, 1, 1, ios: true) },
    recvfds_msghdr: ->(socket) { SendFD.recvfds_msghdr(socket, 1, 1, ios: true) }
  }.freeze

  [1, 2].product(CONVERSIONS.keys) do |interrupts, name|
    test_each_kind "#{name}: each descriptor has one owner if an exception comes at any end, #{interrupts} times" do |how|
      Dir.open('/') do |dir|
        pair(how) do |a, b|
          [FILE, dir, a].each do |sent|
            points = each_end(interrupts) do
              SendFD.sendfd(a, sent) unless b.wait_readable(0)
              CONVERSIONS[name][b]
            end
            assert_operator points, :>, 2
          end
        end
      end
      close_lost
    end
  end
end
