#!/usr/bin/env ruby
# frozen_string_literal: true

# Two processes that are no relatives of each other pass an open file over a
# socket in the file system. In two terminals, in any order:
#
#     ruby unrelated.rb server PATH [CLIENTS]   until Ctrl-C, or CLIENTS were served
#     ruby unrelated.rb client PATH FILE
#
# The server reads the client's file through the descriptor that it is sent.
# PATH has one owner at a time, the process that holds a lock on PATH.lock: a
# second server is refused, and the socket that a killed one left is replaced. The
# other end may be the example of another language, and so may the other server.
require_relative '../lib/sendfd'

SERVER_LIMIT = 10 # seconds a client waits for a server to come up
ANSWER_LIMIT = 60 # and for its answer: others may be before it
CLIENT_LIMIT = 5  # seconds a server waits for what a client sends
PATH_LIMIT = 107  # bytes in the path of a socket
NAME = File.basename($PROGRAM_NAME, '.rb')

# What ends the program; the message says why.
class Failure < StandardError; end

# What ends the service of one client only.
class NotServed < StandardError; end

def address_of(path)
  unless path.bytesize.between?(1, PATH_LIMIT)
    raise Failure, "the path of a socket has 1 to #{PATH_LIMIT} bytes, " \
                   "this one has #{path.bytesize}: #{path}"
  end
  Addrinfo.unix(path)
end

# A path that a server owns, and the socket on which it listens there.
class Place
  attr_reader :listener

  def initialize(path)
    @path = path
    @lock_path = "#{path}.lock"
    @address = address_of(path)
    take_lock
    begin
      clear
      listen
    rescue StandardError
      unlock
      raise
    end
  end

  def leave
    remove_if_still(@path, @socket_file)
    @listener.close
    unlock
  end

  private

  # Takes the lock; the kernel releases it when this process ends, however that is.
  def take_lock
    until locked?
      # A server that ended between open and flock has removed the file: the
      # lock is on one that nobody else will find.
      @lock.close
    end
  end

  def locked?
    @lock = File.open(@lock_path, File::RDWR | File::CREAT | File::NOFOLLOW, 0o600)
    @lock.flock(File::LOCK_EX | File::LOCK_NB) or
      raise Failure, "another server is running on #{@path}"
    @lock_file = @lock.stat
    # It will be removed: it had better not be somebody's data.
    unless @lock_file.file? && @lock_file.size.zero?
      raise Failure, "#{@lock_path} is not a lock file, leaving it alone"
    end
    still?(@lock_path, @lock_file)
  end

  # The lock file goes while it is locked, as whoever opened it may now get the lock.
  def unlock
    remove_if_still(@lock_path, @lock_file)
    @lock.close
  end

  # Removes the socket of a killed server, and nothing else. Call with the lock held.
  def clear
    unless File.lstat(@path).socket?
      raise Failure, "#{@path} exists and is not a socket, leaving it alone"
    end

    # Servers of this program hold the lock, those of others may not.
    refused = refusal
    case refused
    when nil, Errno::EAGAIN, Errno::EPROTOTYPE
      raise Failure, "another program is listening on #{@path}"
    when Errno::ECONNREFUSED
      File.unlink(@path)
      puts "server #{$$}: took over #{@path}, which a server left"
    else
      raise Failure, "#{@path} is a socket, but whose? #{refused.message}"
    end
  rescue Errno::ENOENT
    nil # it is clear, or has just become so
  end

  def refusal
    probe = Socket.new(:UNIX, :STREAM)
    probe.connect_nonblock(@address) # or it would wait for one whose queue is full
    nil
  rescue SystemCallError => e
    e
  ensure
    probe.close
  end

  def listen
    @listener = Socket.new(:UNIX, :STREAM)
    # For its owner only, from its first moment on.
    mask = File.umask(0o177)
    begin
      @listener.bind(@address)
    ensure
      File.umask(mask)
    end
    begin
      @socket_file = File.lstat(@path)
      @listener.listen(Socket::SOMAXCONN)
    rescue SystemCallError
      File.unlink(@path)
      raise
    end
  end

  def still?(path, file)
    now = File.lstat(path)
    now.dev == file.dev && now.ino == file.ino
  rescue SystemCallError
    false
  end

  def remove_if_still(path, file)
    File.unlink(path) if still?(path, file)
  rescue SystemCallError => e
    complain(e)
  end
end

# The server of one place.
class Server
  # Ends when something is written to the other end of stop, as signals do.
  def initialize(listener, stop)
    @listener = listener
    @stop = stop
  end

  def serve_all(clients)
    served = 0
    while clients.nil? || served < clients
      return if wait_for(@listener) == :stop

      socket, = @listener.accept_nonblock(exception: false)
      next unless socket.is_a?(Socket) # it is gone again

      begin
        served += 1 if serve(socket)
      ensure
        socket.close
      end
    end
  end

  private

  # Waits until an IO is readable (:ready) or a signal tells to :stop; nil if
  # neither happens in time.
  def wait_for(io, seconds = nil)
    readable, = IO.select([@stop, io].compact, nil, nil, seconds)
    return unless readable

    readable.include?(@stop) ? :stop : :ready
  end

  # Serves one client: whether it got its answer.
  def serve(socket)
    return false unless welcome?(socket)

    case wait_for(socket, CLIENT_LIMIT)
    when nil then raise NotServed, 'the client sent nothing in time'
    when :stop then raise NotServed, 'told to stop'
    end
    print_file(receive_file(socket))
    answer(socket)
    true
  rescue NotServed => e
    puts "server #{$$}: not served: #{e.message}"
    false
  end

  # Whether the peer may be served: the same user, or root.
  def welcome?(socket)
    pid, user = socket.getsockopt(:SOCKET, :PEERCRED).unpack('iI')
    welcome = [Process.euid, 0].include?(user)
    puts "server #{$$}: process #{pid} of user #{user} connects" \
         "#{': refused, it is another user' unless welcome}"
    welcome
  end

  def receive_file(socket)
    SendFD.recv_io(socket, File) or
      raise NotServed, 'the client closed the connection and sent nothing'
  rescue Errno::ENOMSG
    raise NotServed, 'the client sent a message without a descriptor'
  rescue Errno::EMSGSIZE
    raise NotServed, 'the client sent more than one descriptor'
  rescue SystemCallError => e
    raise NotServed, e.message
  end

  # Prints a file from its beginning, wherever the client has its offset, which
  # pread does not move.
  def print_file(file)
    status = file.stat
    raise NotServed, 'the client sent something that is not a regular file' unless status.file?

    puts "server #{$$}: received a file of #{status.size} bytes, here it is descriptor #{file.fileno}"
    puts '----- content begins'
    fault, last = print_content(file, status.size)
    puts "#{"\n" if last != "\n"}----- content ends"
    raise NotServed, fault if fault
  ensure
    file.close
  end

  # Returns what kept it from the end, if anything did, and the last character.
  def print_content(file, size)
    offset = 0
    last = "\n"
    while offset < size
      return ['told to stop', last] if wait_for(nil, 0) == :stop

      block = begin
        file.pread([size - offset, 65_536].min, offset)
      rescue IOError, SystemCallError # it has become shorter, or is not to be read
        return ['the file cannot be read to its end', last]
      end
      $stdout.write(block)
      last = block[-1]
      offset += block.bytesize
    end
    [nil, last]
  end

  def answer(socket)
    socket.send('!', 0)
  rescue SystemCallError
    raise NotServed, 'the client did not wait for the answer'
  end
end

def server(path, clients)
  stop, signals = IO.pipe
  %w[INT TERM].each { |name| trap(name) { signals.write_nonblock('!', exception: false) } }
  place = Place.new(path)
  begin
    puts "server #{$$}: listening on #{path}"
    Server.new(place.listener, stop).serve_all(clients)
  ensure
    place.leave
  end
  puts "server #{$$}: ends"
end

# Connects, and waits for a server that is not up yet.
def connect_in_time(path)
  address = address_of(path)
  give_up = Process.clock_gettime(Process::CLOCK_MONOTONIC) + SERVER_LIMIT
  waiting = false
  begin
    address.connect
  rescue Errno::ENOENT, Errno::ECONNREFUSED, Errno::EAGAIN
    if Process.clock_gettime(Process::CLOCK_MONOTONIC) >= give_up
      raise Failure, "no server on #{path} in #{SERVER_LIMIT} seconds"
    end

    puts "client #{$$}: no server on #{path} yet, waiting" unless waiting
    waiting = true
    sleep 0.02
    retry
  end
end

def client(path, name)
  File.open(name) do |file|
    puts "client #{$$}: opened #{name} as descriptor #{file.fileno}"
    connection = connect_in_time(path)
    SendFD.sendfd(connection, file)
    puts "client #{$$}: sent descriptor #{file.fileno}"

    connection.wait_readable(ANSWER_LIMIT) or
      raise Failure, "the server did not answer in #{ANSWER_LIMIT} seconds"
    if connection.recv(1).to_s.empty?
      raise Failure, 'the server did not answer: it closed the connection'
    end
    puts "client #{$$}: the server has read it"
  end
end

def complain(error)
  warn "#{NAME}: #{error.message}"
end

$stdout.sync = true # what happens is seen as it happens, in a pipe too
begin
  case ARGV
  in ['client', path, file] then client(path, file)
  in ['server', path] then server(path, nil)
  in ['server', path, /\A0*[1-9]\d*\z/ => clients] then server(path, clients.to_i)
  else
    warn "usage: #{NAME} server PATH [CLIENTS]", "       #{NAME} client PATH FILE"
    exit 2
  end
rescue Failure, SystemCallError => e
  complain(e)
  exit 1
end
