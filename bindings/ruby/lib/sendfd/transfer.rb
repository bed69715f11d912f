# frozen_string_literal: true

require 'io/nonblock'
require 'io/wait'
require 'socket'
require_relative 'library'

module SendFD
  # Calls the functions: waits where they would, and raises their errors.
  #
  # @api private
  module Transfer
    # Most descriptors in one message.
    MAX_FDS = 253
    DONTWAIT = Socket::MSG_DONTWAIT
    EAGAIN = Errno::EAGAIN::Errno
    EINTR = Errno::EINTR::Errno
    EOF = -2

    private

    # Calls a function, by way of the block, until it has neither to wait nor was
    # interrupted. With flags it is given MSG_DONTWAIT, and does not block.
    #
    # @return [Integer, nil] what it returned, or nil at the end of file
    def transfer(name, socket, event, flags = nil)
      io = IO.try_convert(socket) || IO.for_fd(descriptor(socket), autoclose: false)
      while true
        library = flags || io.nonblock? ? Library : blocking_library(io, event)
        result = yield(library, io.fileno)
        return result if result >= 0
        return unless again?(name, io, event, result, FFI.errno, flags)
      end
    end

    # Whether to call a function again that has failed, when there is a point in it: not
    # at the end of file.
    def again?(name, io, event, result, errno, flags = nil)
      return false if result == EOF
      return true if errno == EINTR # and what interrupted it has run

      failed(name, errno) if errno != EAGAIN
      would_wait(name, event) if flags.to_i & DONTWAIT != 0
      wait_for(io, event)
      true
    end

    # The functions for a socket that blocks, when there is no need to wait. Yet they
    # do if somebody else takes the message first, or for a second message.
    def blocking_library(io, event)
      wait_for(io, event) if io.stat.socket?
      Library::Blocking
    end

    # Not by the caller's IO: one that has read ahead is always ready.
    def wait_for(io, event)
      IO.for_fd(io.fileno, autoclose: false).public_send(event)
    end

    def failed(name, errno)
      raise SystemCallError.new(name.to_s, errno)
    end

    def would_wait(name, event)
      raise event == :wait_readable ? IO::EAGAINWaitReadable : IO::EAGAINWaitWritable, name.to_s
    end

    # One descriptor and one of Ruby's own sockets is the usual case: by the shortest way.
    def send_one(name, socket, fd)
      if socket.is_a?(IO) && socket.nonblock?
        result = Library.sendfd(socket.fileno, fd)
        return if result == 1

        again?(name, socket, :wait_writable, result, FFI.errno)
      end
      transfer(name, socket, :wait_writable) { |library, number| library.sendfd(number, fd) }
    end

    # The same. Whether one came.
    def receive_one(name, socket, arrival)
      if socket.is_a?(IO) && socket.nonblock?
        result = Library.recvfds(socket.fileno, arrival.slot, 1)
        return true if result == 1
        return unless again?(name, socket, :wait_readable, result, FFI.errno)
      end
      transfer(name, socket, :wait_readable) do |library, number|
        library.recvfds(number, arrival.slot, 1)
      end
    end

    # Whether a message came.
    def receive_message(name, socket, arrivals, max_fds)
      max_fds = [max_fds, MAX_FDS].min
      transfer(name, socket, :wait_readable) do |library, number|
        arrivals.receive(max_fds) { |slots| library.recvfds(number, slots, max_fds) }
      end
    end

    # Whether any came: if fewer than count, the end of file came next.
    def receive_all(name, socket, arrivals, count)
      before = arrivals.fds.size
      begin
        errno = 0
        left = count - (arrivals.fds.size - before)
        came = transfer(name, socket, :wait_readable) do |library, number|
          arrivals.receive(left) do |slots|
            FFI.errno = 0 # the end of file leaves it alone
            library.recvfds_all(number, slots, left).tap { errno = FFI.errno }
          end
        end
        break if came.nil? || came < left && errno.zero?

        failed(name, errno) unless came == left || [EAGAIN, EINTR].include?(errno)
      end until came == left
      arrivals.fds.size > before
    end

    def descriptors(ios)
      # Not Enumerable: an IO is one too, of its lines.
      array = Array.try_convert(ios) or raise TypeError, "an Array is wanted, not #{ios.class}"
      array.map { |io| descriptor(io) }
    end

    def descriptor(io)
      return io.fileno if io.is_a?(IO) || io.is_a?(Dir)
      return io if io.is_a?(Integer) && io.bit_length < 32

      file = IO.try_convert(io) or raise TypeError, "an IO or a descriptor is wanted, not #{io.inspect}"
      file.fileno
    end
  end
end
