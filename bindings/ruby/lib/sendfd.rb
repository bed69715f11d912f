# frozen_string_literal: true

require 'socket'
require_relative 'sendfd/version'
require_relative 'sendfd/arrival'
require_relative 'sendfd/header'
require_relative 'sendfd/transfer'

# Passes open files, sockets and other descriptors between processes, over a
# Unix-domain socket. sendfd(3) documents the functions and their errors; this page
# documents them in Ruby.
#
#     SendFD.sendfd(socket, File.open('/etc/hosts'))
#     file = SendFD.recv_io(socket)
#
# A *socket* is an IO, an object with to_io, or a number. You can send these and a Dir.
# Sending does not close them.
#
# The methods return IO objects, or numbers (Integer) where they say so. The caller
# closes numbers ({SendFD.close}). They do not close themselves, so one is lost if
# Timeout or a signal handler raises between the method's end and the caller's next
# line. An IO is not.
#
# Errors of the system are Errno exceptions. The end of file is no error: it is nil,
# as it is of IO#read and Queue#pop.
#
# A method *waits* like Ruby's own do, whether the socket blocks or not: other
# threads run, and Timeout, Thread#kill, Ctrl-C and a handler that raises end it.
# When an exception ends a receive, the descriptors that came are closed. The socket's own
# timeouts (SO_RCVTIMEO, SO_SNDTIMEO) do not end a wait.
#
# sendfds_cmsg(3) and recvfds_cmsg(3) are not here: they are for programs that make the
# system calls themselves.
module SendFD
  # Most descriptors in one message.
  MAX_FDS = Transfer::MAX_FDS

  # A flag of {SendFD.recvfds_msghdr}.
  RECVFD_PARTIAL = 0x10000000

  # Extends the exception that ended {SendFD.sendfds_all} after some were sent.
  module Partial
    # @return [Integer] how many were sent
    attr_accessor :sent
  end

  class << self
    include Transfer

    # @return [String] the version of the library that is loaded, such as "1.0.0"
    def version
      Library.sendfd_version
    end

    # Sends one descriptor, with one zero byte.
    #
    # @param socket [IO, #to_io, Integer]
    # @param io [IO, #to_io, Dir, Integer]
    # @return [nil]
    def sendfd(socket, io)
      send_one(:sendfd, socket, descriptor(io))
      nil
    end

    # Receives one descriptor as a number.
    #
    # @param socket [IO, #to_io, Integer]
    # @return [Integer, nil] nil at the end of file
    def recvfd(socket)
      arrival = Arrival.new
      receive_one(:recvfd, socket, arrival) or return
      fd = arrival.fd
      kept = true
      fd
    ensure
      arrival&.close unless kept
    end

    # Receives one descriptor as an object of the class that fits what came:
    # UNIXServer, UNIXSocket, TCPServer, TCPSocket, UDPSocket or Socket; File for a
    # regular file or a device, Dir for a directory; IO for anything else.
    #
    # A Dir has no path. Before Ruby 3.3 it is opened by way of /proc.
    #
    # @param socket [IO, #to_io, Integer]
    # @param klass [Class, #for_fd, nil] the class that is wanted; if the object
    #   cannot be made the descriptor is closed
    # @param mode [String, Integer, nil] as of IO.new, for what is no socket and no
    #   directory
    # @yieldparam io [IO, Dir] which is closed after the block
    # @return [IO, Dir, nil] nil at the end of file; what the block returns if one
    #   is given
    def recv_io(socket, klass = nil, mode: nil)
      arrival = Arrival.new
      receive_one(:recv_io, socket, arrival) or return
      io = arrival.open(klass, mode)
      return yield(io) if block_given?

      kept = true
      io
    ensure
      arrival&.close unless kept
    end

    # Sends 1 to 253 descriptors in one message, all or none.
    #
    # @param socket [IO, #to_io, Integer]
    # @param ios [Array<IO, #to_io, Dir, Integer>]
    # @return [nil]
    def sendfds(socket, ios)
      fds = descriptors(ios)
      transfer(:sendfds, socket, :wait_writable) do |library, number|
        library.sendfds(number, fds.pack('i*'), fds.size)
      end
      nil
    end

    # Receives the descriptors of one message, as numbers.
    #
    # @param socket [IO, #to_io, Integer]
    # @param max_fds [Integer] if more come all are closed, and Errno::EMSGSIZE raised
    # @return [Array<Integer>, nil] nil at the end of file
    def recvfds(socket, max_fds)
      arrivals = Arrivals.new
      receive_message(:recvfds, socket, arrivals, max_fds) or return
      fds = arrivals.fds
      kept = true
      fds
    ensure
      arrivals&.close unless kept
    end

    # Receives the descriptors of one message, as objects. See {SendFD.recv_io}.
    #
    # @param max_fds [Integer] if more come all are closed, and Errno::EMSGSIZE raised
    # @yieldparam ios [Array<IO, Dir>] which are closed after the block
    # @return [Array<IO, Dir>, nil] nil at the end of file; what the block returns if
    #   one is given
    def recv_ios(socket, max_fds, klass = nil, mode: nil)
      arrivals = Arrivals.new
      receive_message(:recv_ios, socket, arrivals, max_fds) or return
      ios = arrivals.open(klass, mode)
      return yield(ios) if block_given?

      kept = true
      ios
    ensure
      arrivals&.close unless kept
    end

    # Sends any number of descriptors, in as many messages as it takes. If it fails
    # after some were sent, the exception is a {SendFD::Partial}, which has their number.
    #
    # @param socket [IO, #to_io, Integer]
    # @param ios [Array<IO, #to_io, Dir, Integer>]
    # @return [nil]
    def sendfds_all(socket, ios)
      fds = descriptors(ios)
      sent = 0
      pause = 0.001
      begin
        until sent == fds.size && sent.positive? # none are the library's to refuse
          sent += transfer(:sendfds_all, socket, :wait_writable) do |library, number|
            library.sendfds_all(number, fds.drop(sent).pack('i*'), fds.size - sent)
          end
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

    # Receives count descriptors, message after message, as numbers.
    #
    # @param socket [IO, #to_io, Integer]
    # @param count [Integer]
    # @param fds [Array<Integer>] to which they are appended. If an exception ends it
    #   those that came are in there; without an array they are closed
    # @return [Array<Integer>, nil] fewer if the end of file came after some; nil if
    #   it came first
    def recvfds_all(socket, count, fds = nil)
      arrivals = Arrivals.new(fds || [])
      receive_all(:recvfds_all, socket, arrivals, count) or return
      kept = true
      arrivals.fds
    ensure
      arrivals&.close unless kept || fds
    end

    # Receives count descriptors, message after message, as objects. See {SendFD.recv_io}.
    #
    # @param count [Integer]
    # @yieldparam ios [Array<IO, Dir>] which are closed after the block
    # @return [Array<IO, Dir>, nil] fewer if the end of file came after some; nil if
    #   it came first; what the block returns if one is given
    def recv_ios_all(socket, count, klass = nil, mode: nil)
      arrivals = Arrivals.new
      receive_all(:recv_ios_all, socket, arrivals, count) or return
      ios = arrivals.open(klass, mode)
      return yield(ios) if block_given?

      kept = true
      ios
    ensure
      arrivals&.close unless kept
    end

    # Sends data with 0 to 253 descriptors. If any data was sent, all descriptors were.
    #
    # @param socket [IO, #to_io, Integer] with no descriptors, of any domain
    # @param ios [Array<IO, #to_io, Dir, Integer>]
    # @param data [String]
    # @param flags [Integer] MSG_DONTWAIT: does not wait, but raises
    #   IO::EAGAINWaitWritable (an Errno::EAGAIN); MSG_EOR
    # @return [Integer] how many bytes were sent, on a stream perhaps fewer
    def sendfds_msg(socket, ios, data, flags = 0)
      fds = descriptors(ios)
      bytes = String.try_convert(data) or raise TypeError, "data is a String, not #{data.class}"
      transfer(:sendfds_msg, socket, :wait_writable, flags) do |library, number|
        library.sendfds_msg(number, fds.pack('i*'), fds.size, bytes, bytes.bytesize,
                            flags | DONTWAIT)
      end
    end

    # Receives data and what descriptors come with it.
    #
    # @param socket [IO, #to_io, Integer] of any domain
    # @param max_fds [Integer] if more come all are closed, and Errno::EMSGSIZE raised
    # @param length [Integer] how many bytes at most; a longer datagram is
    #   Errno::EMSGSIZE
    # @param flags [Integer] MSG_DONTWAIT: does not wait, but raises
    #   IO::EAGAINWaitReadable (an Errno::EAGAIN); MSG_PEEK
    # @param ios [Boolean] whether the descriptors are to be objects, not numbers
    # @return [Array(String, Array<Integer>), Array(String, Array<IO, Dir>), nil] nil
    #   at the end of file
    def recvfds_msg(socket, max_fds, length, flags = 0, ios: false)
      arrivals = Arrivals.new
      data = "\0".b * length
      max_fds = [max_fds, MAX_FDS].min
      came = transfer(:recvfds_msg, socket, :wait_readable, flags) do |library, number|
        arrivals.receive(max_fds) do |slots|
          library.recvfds_msg(number, slots, [max_fds].pack('i'), data, length, flags | DONTWAIT)
        end
      end or return
      # force_encoding: it forgets what was known of the zeros, that they are ASCII.
      data = data.force_encoding(Encoding::BINARY).byteslice(0, came)
      descriptors = ios ? arrivals.open : arrivals.fds
      kept = true
      [data, descriptors]
    ensure
      arrivals&.close unless kept
    end

    # Sends data from several buffers, to an address, with control messages:
    # sendmsg(2) with 0 to 253 descriptors. If any data was sent, all descriptors were.
    #
    # @param socket [IO, #to_io, Integer] with no descriptors, of any domain
    # @param ios [Array<IO, #to_io, Dir, Integer>]
    # @param data [String, Array<String>]
    # @param flags [Integer] as of sendmsg(2), but for MSG_OOB. MSG_DONTWAIT: does not
    #   wait, but raises IO::EAGAINWaitWritable (an Errno::EAGAIN)
    # @param address [Addrinfo, String, nil] an Addrinfo or a packed address
    # @param controls [Array<Socket::AncillaryData>] other control messages, 512 bytes
    #   at most
    # @return [Integer] how many bytes were sent, on a stream perhaps fewer
    def sendfds_msghdr(socket, ios, data, flags = 0, address: nil, controls: [])
      fds = descriptors(ios)
      outgoing = Outgoing.new(data, address, controls)
      transfer(:sendfds_msghdr, socket, :wait_writable, flags) do |library, number|
        library.sendfds_msghdr(number, fds.pack('i*'), fds.size, outgoing, flags | DONTWAIT)
      end
    end

    # Receives data into several buffers, with the sender's address, control messages
    # and the message's flags: recvmsg(2) with descriptors.
    #
    # @param socket [IO, #to_io, Integer] of any domain
    # @param max_fds [Integer] if more come all are closed, and Errno::EMSGSIZE raised
    # @param lengths [Integer, Array<Integer>] how many bytes at most, in each buffer
    # @param flags [Integer] as of recvmsg(2), but for MSG_OOB and MSG_ERRQUEUE.
    #   MSG_DONTWAIT: does not wait, but raises IO::EAGAINWaitReadable (an
    #   Errno::EAGAIN). {RECVFD_PARTIAL}: rather than fail if descriptors are missing,
    #   returns what came with MSG_CTRUNC in the message's flags; one that was refused
    #   in its place is -1
    # @param control [Integer] bytes of room for control messages other than the
    #   descriptors; with 0 they are dropped
    # @param ios [Boolean] whether the descriptors are to be objects, not numbers
    #   (and nil, not -1)
    # @return [Message, nil] nil at the end of file
    def recvfds_msghdr(socket, max_fds, lengths, flags = 0, control: 0, ios: false)
      incoming = Incoming.new([max_fds, MAX_FDS].min, lengths, control)
      length = transfer(:recvfds_msghdr, socket, :wait_readable, flags) do |library, number|
        incoming.receive(library, number, flags | DONTWAIT)
      end or return
      message = incoming.message(length)
      message.fds = incoming.open if ios
      kept = true
      message
    ensure
      incoming&.close unless kept
    end

    # Closes descriptors that are numbers, for which Ruby has no method.
    #
    # @param fds [Integer, Array<Integer>]
    # @return [nil]
    def close(*fds)
      Arrivals.new(fds.flatten).close
      nil
    end
  end
end
