# frozen_string_literal: true

require 'minitest/autorun'
require 'minitest/mock'
require 'sendfd'
require 'timeout'
require 'tmpdir'

# What the tests have in common. Each counts the open descriptors before and after,
# and has a time limit.
class SendFDTest < Minitest::Test
  CONTENT = File.binread(__FILE__, 1000)
  FILE = File.open(__FILE__)
  OTHER = File.open('/dev/null')
  LONG = 20 # seconds in which what should happen at once has happened, on any machine

  # What a handler or another thread raises.
  class Stop < StandardError; end

  soft, hard = Process.getrlimit(:NOFILE)
  Process.setrlimit(:NOFILE, [[soft, 2100].max, hard].min, hard)

  def self.test(name, &block)
    define_method("test_#{name}") { Timeout.timeout(3 * LONG) { instance_exec(&block) } }
  end

  # A test for each kind of socket that a pair may be.
  def self.test_each_kind(name, &block)
    %i[waiting blocking].each { |how| test("#{name}, #{how}") { instance_exec(how, &block) } }
  end

  def setup
    @objects = owners.values.flatten
    @others = open_descriptors - owners.keys
    @count = open_descriptors.size
  end

  def teardown
    assert_owned
    assert_equal @count, open_descriptors.size, 'open descriptors'
  end

  # That each descriptor has one object that will close it, and each object its descriptor.
  def assert_owned
    end_threads
    GC.disable # which would close some meanwhile
    numbers = owners.flat_map { |number, ios| [number] * ios.size }
    fds = open_descriptors
    assert_equal [], numbers.tally.select { |_, count| count > 1 }.keys, 'will be closed twice'
    assert_equal [], numbers - fds, 'were closed behind the back of their object'
    assert_equal [], fds - numbers - @others, 'nobody will close'
  ensure
    GC.enable
  end

  # A receive that was interrupted may have left a thread that still opens a Dir.
  def end_threads
    Thread.list.select { |thread| thread.name == 'SendFD' }.each do |thread|
      join(thread)
    rescue SystemCallError # the descriptor was closed before
      nil
    end
  end

  # Closes the objects that were lost to an exception: the next collection would, or a later one.
  def close_lost
    (owners.values.flatten - @objects).each(&:close)
  end

  # The objects that will close a descriptor, by its number.
  def owners
    [IO, Dir].flat_map { |klass| ObjectSpace.each_object(klass).select { |io| owner?(io) } }.group_by(&:fileno)
  end

  def owner?(io)
    io.is_a?(Dir) ? io.fileno : io.autoclose?
  rescue IOError # it is closed, or was never opened
    false
  end

  def open_descriptors
    Dir.children('/proc/self/fd').map(&:to_i).select { |fd| File.exist?("/proc/self/fd/#{fd}") }
  end

  # Yields two connected sockets, closed afterwards: as Ruby makes them (how: :waiting),
  # or blocking ones, as a program gets from another.
  def pair(how = :waiting, type = :STREAM)
    sockets = UNIXSocket.pair(type)
    sockets.each { |socket| socket.nonblock = false } if how == :blocking
    yield(*sockets)
  ensure
    sockets&.each(&:close)
  end

  # Yields a TCP client, what its server has accepted, and the server.
  def tcp
    server = TCPServer.new('127.0.0.1', 0)
    client = TCPSocket.new('127.0.0.1', server.addr[1])
    accepted = server.accept
    yield client, accepted, server
  ensure
    [client, accepted, server].each { |socket| socket&.close }
  end

  # What is read through a descriptor, or an IO, which is closed.
  def content(descriptor)
    io = descriptor.is_a?(IO) ? descriptor : IO.for_fd(descriptor)
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

  def join(thread)
    assert thread.join(LONG), 'the thread ends'
  end

  # Calls the block when the main thread waits.
  def when_main_waits
    Thread.new do
      Thread.pass until waits?(Thread.main)
      yield
    end
  end

  # With a handler that raises Stop.
  def with_raising_handler(signal)
    before = trap(signal) { raise Stop }
    yield
  ensure
    trap(signal, before)
  end

  def cpu_seconds
    Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID)
  end

  def seconds
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end

  # Collects the objects that nobody has, which closes their descriptors.
  def collect
    deep = ->(n) { n.zero? ? [] : [deep[n - 1]] } # which overwrites what is on the stack
    deep[300]
    5.times { GC.start }
  end

  RECEIVES = {
    recvfd: ->(socket) { SendFD.recvfd(socket) },
    recv_io: ->(socket) { SendFD.recv_io(socket) },
    recvfds: ->(socket) { SendFD.recvfds(socket, 3) },
    recv_ios: ->(socket) { SendFD.recv_ios(socket, 3) },
    recvfds_all: ->(socket) { SendFD.recvfds_all(socket, 3) },
    recv_ios_all: ->(socket) { SendFD.recv_ios_all(socket, 3) },
    recvfds_msg: ->(socket) { SendFD.recvfds_msg(socket, 3, 10) },
    recvfds_msghdr: ->(socket) { SendFD.recvfds_msghdr(socket, 3, 10) }
  }.freeze
end
