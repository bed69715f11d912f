# frozen_string_literal: true

# The Ruby binding named by the first argument, ffi or fiddle, does what
# sendfd_common.rb says: TAP, with a count of the open descriptors around each
# test. LIBSENDFD is the library, VERSION its version.
require 'timeout'
require_relative "../../examples/ruby/sendfd_#{ARGV.fetch(0)}"

BINDING = ARGV.fetch(0)
PATH = __FILE__
CONTENT = File.binread(PATH, 1000)
LONG = 20 # seconds in which what should happen at once has happened, on any machine

class Unexpected < StandardError; end
class Stop < StandardError; end

def expect(got, wanted, what = 'got')
  raise Unexpected, "#{what}: #{got.inspect}, not #{wanted.inspect}" unless wanted === got
end

# Passes if an exception of the class comes, and returns it.
def expect_raise(klass, message = //)
  result = yield
rescue Exception => e # what it is, is the question
  raise unless klass === e

  expect(e.message, message, 'message')
  e
else
  raise Unexpected, "#{result.inspect} returned, but #{klass} was to come"
end

def open_descriptors
  Dir.children('/proc/self/fd').size
end

$tests = 0
$failed = false
def test(name)
  before = open_descriptors
  fault = begin
    Timeout.timeout(2 * LONG) { yield }
    nil
  rescue StandardError => e
    "#{e.class}: #{e.message}\n#{e.backtrace.first(8).join("\n")}"
  end
  after = open_descriptors
  fault ||= "#{after - before} descriptors leaked" if after != before
  puts "#{'not ' if fault}ok #{$tests += 1} - #{BINDING}: #{name}"
  puts fault.gsub(/^/, '# ') if fault
  $failed ||= !fault.nil?
end

# Yields two connected sockets, closed afterwards: as Ruby makes them (how:
# :waiting), or blocking ones, as a program gets from another.
def pair(how = :waiting, type = :STREAM)
  sockets = UNIXSocket.pair(type)
  sockets.each { |socket| socket.nonblock = false } if how == :blocking
  yield(*sockets)
ensure
  sockets.each { |socket| socket.close unless socket.closed? }
end

# What is read through a descriptor, which is closed.
def content(fd)
  io = IO.for_fd(fd)
  io.pread(1000, 0)
ensure
  io&.close
end

# Runs a block in a thread; returns it when it waits for a socket or the time.
def waiting_thread(&block)
  thread = Thread.new(&block)
  thread.report_on_exception = false
  Thread.pass until !thread.alive? || waits?(thread)
  thread
end

def waits?(thread)
  thread.stop? && /wait_|sleep/.match?(thread.backtrace&.first)
end

def cpu_seconds
  Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID)
end

def seconds
  Process.clock_gettime(Process::CLOCK_MONOTONIC)
end

RECEIVES = {
  recvfd: ->(socket) { SendFD.recvfd(socket) },
  recv_io: ->(socket) { SendFD.recv_io(socket) },
  recvfds: ->(socket) { SendFD.recvfds(socket, 3) },
  recvfds_all: ->(socket) { SendFD.recvfds_all(socket, 3) },
  recvfds_msg: ->(socket) { SendFD.recvfds_msg(socket, 3, 10) }
}.freeze

$stdout.sync = true
soft, hard = Process.getrlimit(:NOFILE)
Process.setrlimit(:NOFILE, [[soft, 2100].max, hard].min, hard)
FILE = File.open(PATH)
OTHER = File.open('/dev/null')

test('the version') { expect(SendFD.version, ENV.fetch('VERSION')) }

# --- all nine functions ----------------------------------------------------------

%i[waiting blocking].each do |how|
  test "sendfd, recvfd: IO objects, #{how}" do
    pair(how) do |a, b|
      expect(SendFD.sendfd(a, FILE), nil)
      fd = SendFD.recvfd(b)
      expect(fd, Integer)
      expect(IO.for_fd(fd, autoclose: false).close_on_exec?, true, 'close-on-exec')
      expect(content(fd), CONTENT)
    end
  end

  test "sendfd, recvfd: numbers, #{how}" do
    pair(how) do |a, b|
      SendFD.sendfd(a.fileno, FILE.fileno)
      expect(content(SendFD.recvfd(b.fileno)), CONTENT)
    end
  end

  [1, 253].each do |count|
    test "sendfds, recvfds: #{count}, #{how}" do
      pair(how) do |a, b|
        ios = [OTHER] * (count - 1) + [FILE]
        expect(SendFD.sendfds(a, ios), nil)
        fds = SendFD.recvfds(b, 1000)
        expect(fds.size, count)
        expect(content(fds.pop), CONTENT)
        SendFD.close(fds)
      end
    end
  end

  test "sendfds_all, recvfds_all: 1000, #{how}" do
    pair(how) do |a, b|
      ios = Array.new(1000) { |i| (i % 3).zero? ? FILE : OTHER.fileno }
      thread = Thread.new { SendFD.sendfds_all(a, ios) }
      fds = SendFD.recvfds_all(b.fileno, 1000)
      expect(thread.value, nil)
      files = fds.map { |fd| IO.for_fd(fd, autoclose: false).stat.file? }
      SendFD.close(fds)
      expect(files, Array.new(1000) { |i| (i % 3).zero? })
    end
  end

  test "sendfds_msg, recvfds_msg, #{how}" do
    pair(how) do |a, b|
      expect(SendFD.sendfds_msg(a, [FILE, OTHER], "some\0data"), 9)
      data, fds = SendFD.recvfds_msg(b, 5, 100)
      expect(data, "some\0data")
      expect(fds.size, 2)
      expect(content(fds.shift), CONTENT)
      SendFD.close(fds)
      SendFD.sendfds_msg(a.fileno, [], 'no descriptor')
      expect(SendFD.recvfds_msg(b.fileno, 0, 2), ['no', []])
      expect(SendFD.recvfds_msg(b, 1, 100), [' descriptor', []])
    end
  end

  test "recvfds_msg waits, and takes what comes then, #{how}" do
    pair(how) do |a, b|
      thread = waiting_thread { SendFD.recvfds_msg(b, 2, 10) }
      SendFD.sendfds_msg(a, [FILE], 'x')
      data, fds = thread.value
      expect(data, 'x')
      expect(content(*fds), CONTENT)
    end
  end
end

test 'MSG_PEEK and MSG_DONTWAIT' do
  pair(:blocking) do |a, b|
    expect_raise(Errno::EAGAIN) { SendFD.recvfds_msg(b, 1, 1, Socket::MSG_DONTWAIT) }
    SendFD.sendfd(a, FILE)
    2.times do |i|
      data, fds = SendFD.recvfds_msg(b, 1, 1, i.zero? ? Socket::MSG_PEEK : 0)
      expect(data, "\0")
      expect(content(*fds), CONTENT)
    end
    expect_raise(Errno::EAGAIN) do
      loop { SendFD.sendfds_msg(a, [], 'x' * 65_536, Socket::MSG_DONTWAIT) }
    end
  end
end

test 'recv_io: an IO, a File, a socket, with a mode' do
  pair do |a, b|
    5.times { SendFD.sendfd(a, FILE) }
    SendFD.sendfd(a, a)
    [[IO], [File], [File, 'r'], [File, File::RDONLY], []].each do |arguments|
      io = SendFD.recv_io(b, *arguments)
      expect(io.instance_of?(arguments.fetch(0, IO)), true, 'of the class')
      expect(io.pread(1000, 0), CONTENT)
      io.close
    end
    socket = SendFD.recv_io(b, UNIXSocket)
    socket.send('hello', 0)
    socket.close
    expect(b.recv(10), 'hello')
  end
end

test 'an object with to_io' do
  pair do |a, b|
    wrapper = Struct.new(:to_io)
    SendFD.sendfd(wrapper.new(a), wrapper.new(FILE))
    expect(content(SendFD.recvfd(wrapper.new(b))), CONTENT)
  end
end

# --- the end of file, and errors --------------------------------------------------

RECEIVES.each do |name, receive|
  test("#{name}: nil at the end of file") do
    %i[waiting blocking].each do |how|
      pair(how) do |a, b|
        a.close
        expect(receive[b], nil)
      end
    end
  end
end

test 'recvfds_all: fewer at the end of file after some, whatever errno was before' do
  pair do |a, b|
    SendFD.sendfds(a, [FILE, OTHER])
    expect_raise(Errno::EMSGSIZE) { SendFD.recvfd(b) }
    SendFD.sendfds(a, [FILE, OTHER])
    a.close
    fds = SendFD.recvfds_all(b, 5)
    expect(fds.size, 2)
    SendFD.close(fds)
    expect(SendFD.recvfds_all(b, 5), nil)
  end
end

def tcp_pair
  server = TCPServer.new('127.0.0.1', 0)
  client = TCPSocket.new('127.0.0.1', server.addr[1])
  yield client
ensure
  [client, server].each { |socket| socket&.close }
end

test 'EBADF: the descriptor, the socket' do
  pair do |a, b|
    number = File.open(PATH) { |file| file.fileno }
    expect_raise(Errno::EBADF, /\ABad file descriptor - sendfd\z/) { SendFD.sendfd(a, number) }
    expect_raise(Errno::EBADF) { SendFD.sendfds(a, [FILE, -1]) }
    expect_raise(Errno::EBADF) { SendFD.sendfd(number, FILE) }
    expect_raise(Errno::EBADF) { SendFD.recvfd(-1) }
    expect_raise(Errno::EAGAIN) { SendFD.recvfds_msg(b, 1, 1, Socket::MSG_DONTWAIT) }
  end
end
test 'ENOTSOCK' do
  IO.pipe do |reader, writer|
    expect_raise(Errno::ENOTSOCK, /socket.* - recvfd\z/) { SendFD.recvfd(reader) }
    expect_raise(Errno::ENOTSOCK) { SendFD.sendfd(writer, FILE) }
  end
end
test 'EAFNOSUPPORT' do
  tcp_pair { |socket| expect_raise(Errno::EAFNOSUPPORT) { SendFD.sendfd(socket, FILE) } }
end
test 'EPIPE' do
  pair do |a, b|
    b.close
    expect_raise(Errno::EPIPE) { SendFD.sendfd(a, FILE) }
    expect(expect_raise(Errno::EPIPE) { SendFD.sendfds_all(a, [FILE]) }, SystemCallError)
  end
end
test 'EINVAL: none, too many, no data' do
  pair do |a, b|
    expect_raise(Errno::EINVAL, /sendfds/) { SendFD.sendfds(a, []) }
    expect_raise(Errno::EINVAL) { SendFD.sendfds(a, [FILE] * 254) }
    expect_raise(Errno::EINVAL) { SendFD.sendfds_all(a, []) }
    expect_raise(Errno::EINVAL) { SendFD.sendfds_msg(a, [FILE], '') }
    expect_raise(Errno::EINVAL) { SendFD.sendfds_msg(a, [FILE], 'x', Socket::MSG_OOB) }
    expect_raise(Errno::EINVAL) { SendFD.recvfds(b, 0) }
    expect_raise(Errno::EINVAL) { SendFD.recvfds(b, -1) }
    expect_raise(Errno::EINVAL) { SendFD.recvfds_all(b, 0) }
    expect_raise(Errno::EINVAL) { SendFD.recvfds_msg(b, -1, 1) }
    expect_raise(Errno::EINVAL) { SendFD.recvfds_msg(b, 1, 0) }
  end
end
test 'ENOMSG and EMSGSIZE' do
  pair do |a, b|
    a.send('x', 0)
    expect_raise(Errno::ENOMSG) { SendFD.recvfd(b) }
    SendFD.sendfds(a, [FILE] * 3)
    expect_raise(Errno::EMSGSIZE) { SendFD.recvfds(b, 2) }
    SendFD.sendfd(a, FILE)
    expect(content(SendFD.recvfd(b)), CONTENT)
  end
end
test 'EMFILE' do
  pair do |a, b|
    limits = Process.getrlimit(:NOFILE)
    SendFD.sendfd(a, FILE)
    begin
      # IO.for_fd makes room by itself, so nothing but the library meets the limit.
      Process.setrlimit(:NOFILE, b.fileno, limits.last)
      expect_raise(Errno::EMFILE) { SendFD.recvfd(b) }
    ensure
      Process.setrlimit(:NOFILE, *limits)
    end
  end
end
test 'a closed IO is an IOError' do
  pair do |a, _b|
    closed = File.open(PATH).tap(&:close)
    expect_raise(IOError) { SendFD.sendfd(a, closed) }
    expect_raise(IOError) { SendFD.recvfd(closed) }
  end
end

# --- bad arguments, and conversions that fail -------------------------------------

test 'a bad element is a TypeError, and nothing is sent' do
  pair do |a, b|
    [nil, 'x', 1.0, FILE.fileno + 2**32, -2**40, [FILE]].each do |bad|
      expect_raise(TypeError) { SendFD.sendfd(a, bad) }
      expect_raise(TypeError) { SendFD.sendfd(bad, FILE) }
      expect_raise(TypeError) { SendFD.sendfds(a, [FILE, bad, FILE]) }
      expect_raise(TypeError) { SendFD.sendfds_all(a, [FILE] * 600 + [bad]) }
      expect_raise(TypeError) { SendFD.sendfds_msg(a, [FILE, bad], 'x') }
    end
    [nil, FILE, FILE.fileno, 'x'].each { |bad| expect_raise(TypeError) { SendFD.sendfds(a, bad) } }
    [nil, 123_456, :x].each { |bad| expect_raise(TypeError) { SendFD.sendfds_msg(a, [], bad) } }
    expect_raise(Errno::EAGAIN) { SendFD.recvfds_msg(b, 1, 1, Socket::MSG_DONTWAIT) }
    expect(FILE.pos, 0, 'the offset of a file that was taken for an array')
  end
end

test 'a conversion that fails leaks nothing' do
  pair do |a, b|
    refuses = Class.new { def self.for_fd(*) = raise(ArgumentError, 'no') }
    3.times { SendFD.sendfd(a, FILE) }
    expect_raise(ArgumentError, 'no') { SendFD.recv_io(b, refuses) }
    expect_raise(NoMethodError) { SendFD.recv_io(b, Integer) }
    expect_raise(Errno::EINVAL) { SendFD.recv_io(b, File, 'w') }
  end
end

test 'sendfds_all tells how many went before it failed' do
  pair do |a, b|
    error = expect_raise(Errno::EBADF) { SendFD.sendfds_all(a, [FILE] * 300 + [-1]) }
    expect(error, SendFD::Partial)
    expect(error.sent, 253)
    a.close
    fds = SendFD.recvfds_all(b, 1000)
    expect(fds.size, 253)
    SendFD.close(fds)
    error = expect_raise(Errno::EPIPE) { SendFD.sendfds_all(b, [FILE]) }
    expect(SendFD::Partial === error, false, 'Partial although nothing went')
  end
end

test 'what came before recvfds_all failed is closed, or in the array given' do
  pair do |a, b|
    2.times do
      SendFD.sendfds(a, [FILE] * 253)
      SendFD.sendfds(a, [FILE] * 2)
      a.send('x', 0)
    end
    expect_raise(Errno::ENOMSG, /recvfds_all/) { SendFD.recvfds_all(b, 1000) }
    kept = [FILE.fileno]
    expect_raise(Errno::ENOMSG) { SendFD.recvfds_all(b, 1000, kept) }
    expect(kept.size, 256)
    SendFD.close(kept.drop(1))
  end
end

# --- signals, threads, time ---------------------------------------------------------

%i[waiting blocking].each do |how|
  test "Timeout interrupts each receive, which waits idly, #{how}" do
    start = seconds
    idle = cpu_seconds
    threads = RECEIVES.map do |name, receive|
      Thread.new do
        pair(how) do |_a, b|
          expect_raise(Timeout::Error) { Timeout.timeout(0.4) { receive[b] } }
          expect(seconds - start, 0.4..LONG, "#{name} took")
        end
      end
    end
    threads.each(&:join)
    expect(cpu_seconds - idle, 0..0.15, 'they had the processor for')
  end

  test "Thread#kill ends each receive, #{how}" do
    pair(how) do |_a, b|
      RECEIVES.each do |name, receive|
        thread = waiting_thread { receive[b] }
        thread.kill
        expect(thread.join(LONG), Thread, "#{name}: join")
      end
    end
  end

  test "another thread runs while one receives, #{how}" do
    pair(how) do |a, b|
      thread = waiting_thread { SendFD.recvfd(b) }
      100.times { Thread.pass }
      SendFD.sendfd(a, FILE)
      expect(content(thread.value), CONTENT)
    end
  end

  test "Ctrl-C ends each receive, #{how}" do
    pair(how) do |_a, b|
      RECEIVES.each do |name, receive|
        IO.pipe do |reader, writer|
          pid = fork do
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
          expect(reader.read(1), '!', "#{name} waits")
          start = seconds
          Process.kill(:INT, pid)
          watch = Thread.new { sleep(LONG) && Process.kill(:KILL, pid) }
          Process.wait(pid)
          watch.kill.join
          expect($?.exitstatus, 42, "#{name}, status")
          expect(seconds - start, 0..LONG, "#{name} ended after")
        end
      end
    end
  end

  test "a receive goes on after a signal handler, #{how}" do
    pair(how) do |a, b|
      handled = Queue.new
      old = trap(:USR1) { handled << true }
      thread = Thread.new do
        Thread.pass until waits?(Thread.main)
        Process.kill(:USR1, $$)
        handled.pop
        Thread.pass until waits?(Thread.main)
        SendFD.sendfd(a, FILE)
      end
      fd = SendFD.recvfd(b)
      thread.join
      trap(:USR1, old)
      expect(content(fd), CONTENT)
    end
  end

  test "a send waits for room, and Timeout interrupts it, #{how}" do
    pair(how) do |a, b|
      sent = 0
      idle = nil
      expect_raise(Timeout::Error) do
        Timeout.timeout(0.4) do
          loop do
            idle = cpu_seconds
            SendFD.sendfd(a, FILE)
            sent += 1
          end
        end
      end
      expect(cpu_seconds - idle, 0..0.1, 'it had the processor for')
      thread = waiting_thread { SendFD.sendfds_all(a, [FILE]) }
      fds = SendFD.recvfds_all(b, sent + 1)
      expect(fds.size, sent + 1)
      SendFD.close(fds)
      thread.join
    end
  end

  test "two receivers of one message, #{how}" do
    pair(how) do |a, b|
      threads = [waiting_thread { SendFD.recvfd(b) }, waiting_thread { SendFD.recvfd(b) }]
      SendFD.sendfd(a, FILE)
      Thread.pass while threads.all?(&:alive?)
      done, waits = threads.partition { |thread| !thread.alive? }
      expect(content(done.first.value), CONTENT)
      # The documented limit of Fiddle: that one may block, until a message comes.
      SendFD.sendfd(a, FILE) if BINDING == 'fiddle' && how == :blocking
      waits.each { |thread| thread.kill && expect(thread.join(LONG), Thread, 'join') }
      fds = waits.map(&:value).grep(Integer)
      SendFD.close(fds)
    end
  end
end

test 'what came when an exception ends recvfds_all is in the array given, or closed' do
  # Between messages Fiddle cannot be interrupted on a blocking socket.
  (BINDING == 'ffi' ? %i[waiting blocking] : %i[waiting]).product([true, false]) do |how, given|
    pair(how) do |a, b|
      before = open_descriptors
      kept = given ? [] : nil
      thread = waiting_thread { SendFD.recvfds_all(b, 10, kept) }
      SendFD.sendfds(a, [FILE] * 7)
      Thread.pass until open_descriptors == before + 7 && thread.stop?
      thread.raise(Stop)
      expect_raise(Stop) { thread.value }
      expect(kept.size, 7) if kept
      SendFD.close(*kept)
    end
  end
end

# Runs a block again and again until it is true, in a thread that may be raised
# Stop in at any moment of it.
def stoppable_thread
  Thread.handle_interrupt(Stop => :never) do # which the new thread inherits
    Thread.new do
      done = false
      until done
        begin
          Thread.handle_interrupt(Stop => :immediate) { done = yield }
        rescue Stop
          nil
        end
      end
    end
  end
end

test 'nothing is lost among 1000 descriptors and many exceptions' do
  pair do |a, b|
    kept = []
    receiver = stoppable_thread do
      SendFD.recvfds_all(b, 1000 - kept.size, kept) if kept.size < 1000
      kept.size == 1000
    end
    500.times do
      SendFD.sendfds(a, [FILE, OTHER])
      receiver.raise(Stop)
    end
    expect(receiver.join(LONG), Thread)
    expect(kept.size, 1000)
    SendFD.close(kept)
  end
end

test 'recv_io: a descriptor is in an IO, or closed, among many exceptions' do
  pair do |a, b|
    made = []
    keeping = Object.new
    keeping.define_singleton_method(:for_fd) { |fd| IO.for_fd(fd).tap { |io| made << io } }
    receiver = stoppable_thread { SendFD.recv_io(b, keeping).nil? }
    500.times do
      SendFD.sendfd(a, FILE)
      receiver.raise(Stop)
    end
    a.close
    expect(receiver.join(LONG), Thread)
    made.each(&:close)
  end
end

test 'a call that was interrupted is made again' do
  pair do |_a, b|
    results = [[-1, Errno::EINTR::Errno], [-1, Errno::EINTR::Errno], [3, 0]]
    expect(SendFD.send(:transfer, :recvfds, b, nil, 0) { results.shift }, [3, 0])
  end
end

test 'what puts exceptions off is not made when it is needed: that can be interrupted' do
  pair do |a, b|
    SendFD.sendfd(a, FILE)
    called = []
    trace = TracePoint.new(:c_call) { |point| called << point.method_id }
    fds = trace.enable { SendFD.recvfds(b, 1) }
    expect(called.include?(:handle_interrupt), true)
    expect(called.include?(:hash), false)
    SendFD.close(fds)
  end
end

test 'closing the socket in another thread ends a receive' do
  pair do |_a, b|
    thread = waiting_thread { SendFD.recvfd(b) }
    b.close
    expect_raise(IOError) { expect(thread.join(LONG), Thread, 'join') }
  end
end

test 'a socket that has read ahead is not spun on' do
  pair do |a, b|
    a.write("one\ntwo\n")
    expect(b.gets, "one\n")
    idle = cpu_seconds
    expect_raise(Timeout::Error) { Timeout.timeout(0.4) { SendFD.recvfd(b) } }
    expect(cpu_seconds - idle, 0..0.1, 'it had the processor for')
  end
end

test 'sendfds_all waits while too many descriptors are in flight' do
  pair do |a, b|
    # The limit does not count for root.
    IO.pipe do |reader, writer|
      pid = fork do
        b.close
        Process::UID.change_privilege(65_534) if Process.euid.zero?
        Process.setrlimit(:NOFILE, 200)
        thread = waiting_thread { SendFD.sendfds_all(a, [FILE] * 1000) }
        writer.write('!')
        thread.value
        exit! 0
      rescue StandardError => e
        warn e.full_message
        exit! 1
      end
      a.close
      writer.close
      reader.read(1)
      fds = SendFD.recvfds_all(b, 1000)
      Process.wait(pid)
      expect($?.exitstatus, 0, 'status')
      expect(fds.size, 1000)
      SendFD.close(fds)
    end
  end
end

puts "1..#{$tests}"
exit !$failed
