# frozen_string_literal: true

# The interface of libsendfd in Ruby: what sendfd_ffi.rb and sendfd_fiddle.rb
# share. Require one of those.
#
#     SendFD.sendfd(socket, File.open('/etc/hosts'))
#     file = SendFD.recv_io(socket, File)
#
# A socket or descriptor is an IO (or what has to_io) or a number. Errors of the
# system are Errno exceptions, and the end of file is nil, as it is of IO#read
# and Queue#pop: it is how a conversation ends, and no descriptor.
#
# Ruby's own sockets are non-blocking: here they are waited for, as Ruby's own
# methods do. Timeout, Thread#kill and Ctrl-C end the wait, and other threads run.
# What has come when an exception ends a receive is closed.
#
# A socket that blocks, of another process say, is waited for before the call. It
# may still block in C if another thread or process takes the message first, and
# in recvfds_all and sendfds_all between messages: ruby-ffi can be interrupted
# there, Fiddle cannot. The timeouts of the socket (SO_RCVTIMEO, SO_SNDTIMEO) do
# not end a wait: use Timeout.
require 'io/nonblock'
require 'io/wait'
require 'socket'

module SendFD
  # Most descriptors in one message.
  MAX_FDS = 253

  # Extends the exception of a sendfds_all that failed after some had gone.
  module Partial
    # How many went.
    attr_accessor :sent
  end

  DONTWAIT = Socket::MSG_DONTWAIT
  EAGAIN = Errno::EAGAIN::Errno
  EINTR = Errno::EINTR::Errno
  EOF = -2
  # Puts off what other threads raise here. Written in its place, the hash would
  # be made first, and that can be interrupted.
  NEVER = { Object => :never }.freeze
  private_constant :DONTWAIT, :EAGAIN, :EINTR, :EOF, :NEVER

  class << self
    # The version of the library, such as "1.0.0".
    def version
      Library.version
    end

    # Sends one descriptor, with one zero byte.
    def sendfd(socket, io)
      fd = descriptor(io)
      transfer(:sendfd, socket, :wait_writable) { |number| Library.call(:sendfd, number, fd) }
      nil
    end

    # Receives one descriptor: its number, which is the caller's to close, or nil
    # at the end of file. An IO closes itself, even if Timeout strikes between
    # this method and the caller's next line: see recv_io.
    def recvfd(socket)
      owning([]) { |fds| receive_one(socket, fds) }
    end

    # Receives one descriptor and makes an IO of it, or what klass.for_fd makes;
    # nil at the end of file. If that fails the descriptor is closed.
    def recv_io(socket, klass = IO, mode = nil)
      owning([]) do |fds|
        receive_one(socket, fds) && Thread.handle_interrupt(NEVER) do
          io = klass.for_fd(*fds, *mode)
          fds.clear # it is the IO's now
          io
        end
      end
    end

    # Sends 1 to 253 descriptors in one message, all or none.
    def sendfds(socket, ios)
      fds = descriptors(ios)
      transfer(:sendfds, socket, :wait_writable) do |number|
        Library.call(:sendfds, number, fds.pack('i*'), fds.size)
      end
      nil
    end

    # Receives the descriptors of one message, max_fds at most: an array of
    # numbers, or nil at the end of file.
    def recvfds(socket, max_fds)
      max_fds = [max_fds, MAX_FDS].min
      slots = slots(max_fds)
      owning([]) do |fds|
        transfer(:recvfds, socket, :wait_readable) do |number|
          filling(fds, slots) { Library.call(:recvfds, number, slots, max_fds) }
        end && fds
      end
    end

    # Sends any number of descriptors in as many messages as it takes. If it fails
    # after some have gone, the exception is a SendFD::Partial, which tells how many.
    def sendfds_all(socket, ios)
      fds = descriptors(ios)
      sent = 0
      pause = 0.001
      begin
        until sent == fds.size && sent.positive? # none are the library's to refuse
          went, = transfer(:sendfds_all, socket, :wait_writable) do |number|
            Library.call(:sendfds_all, number, fds.drop(sent).pack('i*'), fds.size - sent)
          end
          sent += went
        end
      rescue Errno::ETOOMANYREFS # on a blocking socket the library waits so itself
        sleep(pause)
        pause = [2 * pause, 0.032].min
        retry
      rescue SystemCallError => e
        e.extend(Partial).sent = sent if sent.positive?
        raise
      end
      nil
    end

    # Receives count descriptors, message after message: an array of numbers, with
    # fewer if the end of file came after some; nil if it came first. If an
    # exception ends it those that came are closed, unless the caller gave an
    # array: then they are in it, whatever happens.
    def recvfds_all(socket, count, fds = nil)
      return owning([]) { |ours| recvfds_all(socket, count, ours) } unless fds

      before = fds.size
      begin
        left = count - (fds.size - before)
        slots = slots(left)
        came, errno = transfer(:recvfds_all, socket, :wait_readable) do |number|
          filling(fds, slots) { Library.call(:recvfds_all, number, slots, left) }
        end
        break if came.nil? || came < left && errno.zero? # the end of file

        failed(:recvfds_all, errno) unless came == left || [EAGAIN, EINTR].include?(errno)
      end until came == left
      fds if fds.size > before
    end

    # Sends data with 0 to 253 descriptors: how many bytes went, which on a stream
    # may be fewer than there are; all descriptors went with the first. With
    # MSG_DONTWAIT in flags it does not wait, but raises Errno::EAGAIN.
    def sendfds_msg(socket, ios, data, flags = 0)
      fds = descriptors(ios)
      bytes = String.try_convert(data) or raise TypeError, "data is a String, not #{data.class}"
      transfer(:sendfds_msg, socket, :wait_writable, flags) do |number|
        Library.call(:sendfds_msg, number, fds.pack('i*'), fds.size, bytes, bytes.bytesize,
                     flags | DONTWAIT)
      end.first
    end

    # Receives up to length bytes and what descriptors come with them, max_fds at
    # most: [data, array of numbers], or nil at the end of file. With
    # MSG_DONTWAIT in flags it does not wait, but raises Errno::EAGAIN.
    def recvfds_msg(socket, max_fds, length, flags = 0)
      max_fds = [max_fds, MAX_FDS].min
      slots = slots(max_fds)
      data = "\0".b * length
      owning([]) do |fds|
        came, = transfer(:recvfds_msg, socket, :wait_readable, flags) do |number|
          filling(fds, slots) do
            Library.call(:recvfds_msg, number, slots, [max_fds].pack('i'), data, length,
                         flags | DONTWAIT)
          end
        end
        came && [data.byteslice(0, came), fds]
      end
    end

    # Closes descriptors that are numbers, for which Ruby has no method.
    def close(*fds)
      Thread.handle_interrupt(NEVER) do
        fds.flatten.each { |fd| IO.for_fd(fd).close }
      end
      nil
    end

    private

    # Calls the library, by way of the block, until it has neither to wait nor was
    # interrupted: [what it returned, errno], or nil at the end of file.
    def transfer(name, socket, wait, flags = nil)
      number = descriptor(socket)
      # Not the caller's IO: one that has read ahead would be ready always.
      io = IO.for_fd(number, autoclose: false)
      io.public_send(wait) if flags.nil? && io.stat.socket? && !io.nonblock?
      while true
        result, errno = yield number
        return result, errno if result >= 0
        return if result == EOF
        next if errno == EINTR # and what interrupted it has run

        failed(name, errno) if errno != EAGAIN || flags.to_i & DONTWAIT != 0
        io.public_send(wait)
      end
    end

    def failed(name, errno)
      raise SystemCallError.new(name.to_s, errno)
    end

    # recvfds of one is recvfd, but that the number is in memory, and not lost if an
    # exception comes between the call and the next line. To put exceptions off would
    # lose the one that comes just before a call that blocks: it would block for ever.
    def receive_one(socket, fds)
      slots = slots(1)
      transfer(:recvfd, socket, :wait_readable) do |number|
        filling(fds, slots) { Library.call(:recvfds, number, slots, 1) }
      end
      fds.first
    end

    # Yields fds. What is in it is closed if an exception ends the block.
    def owning(fds)
      result = yield fds
      done = true
      result
    ensure
      close(fds) unless done
    end

    # Yields to a call that fills slots; what it filled is in fds afterwards, even
    # if an exception takes the place of what it returned.
    def filling(fds, slots)
      yield
    ensure
      Thread.handle_interrupt(NEVER) { fds.concat(slots.unpack('i*').grep(0..)) }
    end

    # Memory for so many descriptors, none of which is one yet.
    def slots(count)
      [-1].pack('i') * [count, 0].max
    end

    def descriptors(ios)
      # Not Enumerable: an IO is one too, of its lines.
      array = Array.try_convert(ios) or raise TypeError, "an Array is wanted, not #{ios.class}"
      array.map { |io| descriptor(io) }
    end

    def descriptor(io)
      return io if io.is_a?(Integer) && io.bit_length < 32

      file = IO.try_convert(io) or raise TypeError, "an IO or a descriptor is wanted, not #{io.inspect}"
      file.fileno
    end
  end
end
