# frozen_string_literal: true

require 'socket'
require_relative 'library'
require_relative 'message'

module SendFD
  # Control messages: as the kernel has them, and as Ruby does.
  #
  # @api private
  module Controls
    ALIGNMENT = [0].pack('J').bytesize
    HEADER = [0, 0, 0].pack('Jii').bytesize
    private_constant :ALIGNMENT, :HEADER

    class << self
      def pack(controls)
        controls.map do |one|
          bytes = [HEADER + one.data.bytesize, one.level, one.type].pack('Jii') + one.data
          bytes + "\0" * (-bytes.bytesize % ALIGNMENT)
        end.join
      end

      def unpack(bytes)
        controls = []
        offset = 0
        while offset < bytes.bytesize
          length, level, type = bytes.unpack('Jii', offset: offset)
          data = bytes.byteslice(offset + HEADER, length - HEADER)
          controls << Socket::AncillaryData.new(:UNIX, level, type, data)
          offset += length + -length % ALIGNMENT
        end
        controls
      end
    end
  end

  # A struct msghdr and the memory that it points to.
  #
  # @api private
  class Header
    # The struct.
    class Layout < FFI::Struct
      layout name: :pointer, namelen: :uint, iov: :pointer, iovlen: :size_t,
             control: :pointer, controllen: :size_t, flags: :int
    end
    private_constant :Layout

    def initialize(address, buffers, control)
      @memory = [address, buffers, control] # which stays as long as this does
      @header = Layout.new
      @header[:name], @header[:namelen] = place(address)
      @header[:iov] = vector(buffers)
      @header[:iovlen] = buffers.size
      @header[:control], @header[:controllen] = place(control)
    end

    # By which a function is called with it.
    def to_ptr
      @header.to_ptr
    end

    private

    def place(memory)
      memory.size.zero? ? [nil, 0] : [memory, memory.size]
    end

    def vector(buffers)
      bytes = buffers.map { |buffer| [buffer.address, buffer.size].pack('JJ') }.join
      FFI::MemoryPointer.new(1, bytes.bytesize).put_bytes(0, bytes)
    end
  end

  # The header of a message to send.
  #
  # @api private
  class Outgoing < Header
    def initialize(data, address, controls)
      buffers = Array.try_convert(data) || [data]
      super(memory(packed(address)), buffers.map { |one| memory(string(one)) },
            memory(Controls.pack(controls)))
    end

    private

    def packed(address)
      address.is_a?(Addrinfo) ? address.to_sockaddr : string(address || '')
    end

    def string(data)
      String.try_convert(data) or raise TypeError, "data is a String, not #{data.class}"
    end

    def memory(bytes)
      FFI::MemoryPointer.new(1, bytes.bytesize).put_bytes(0, bytes)
    end
  end

  # The header of a message to receive, with the descriptors.
  #
  # @api private
  class Incoming < Header
    ADDRESS = 128 # the size of struct sockaddr_storage
    PIDFD = 4
    NOT_YET = -1 # flags that no message has
    private_constant :ADDRESS, :PIDFD, :NOT_YET

    def initialize(max_fds, lengths, room)
      if [*lengths, room].any?(&:negative?)
        raise ArgumentError, "negative length: #{[*lengths, room].min}"
      end

      @one = !lengths.is_a?(Array)
      @slots = Arrival::SLOT * [max_fds, 0].max
      @count = [max_fds].pack('i')
      @buffers = Array(lengths).map { |length| FFI::MemoryPointer.new(1, length) }
      super(FFI::MemoryPointer.new(1, ADDRESS), @buffers, FFI::MemoryPointer.new(1, room))
      @header[:flags] = NOT_YET
    end

    def receive(library, socket, flags)
      library.recvfds_msghdr(socket, @slots, @count, self, flags)
    end

    def message(length)
      controls = all_controls.reject { |one| pidfd?(one) }
      Message.new(data: @one ? data(length).first : data(length), fds: fds, length: length,
                  address: address, flags: @header[:flags], controls: controls, pidfd: pidfd)
    end

    # The descriptors as objects.
    def open
      arrivals.open
    end

    # Only a call that succeeds writes to the header.
    def close
      return if @header[:flags] == NOT_YET

      arrivals.close
      @pidfd ||= Arrivals.new([*pidfd])
      @pidfd.close
      done = true
    ensure
      close unless done || @header[:flags] == NOT_YET
    end

    private

    def fds
      @slots.unpack("i#{@count.unpack1('i')}")
    end

    def arrivals
      @arrivals ||= Arrivals.new(fds)
    end

    def data(length)
      @buffers.map do |buffer|
        bytes = buffer.get_bytes(0, [length, buffer.size].min)
        length -= bytes.bytesize
        bytes
      end
    end

    def address
      length = [@header[:namelen], ADDRESS].min
      Addrinfo.new(@header[:name].get_bytes(0, length)) if length.positive?
    end

    def all_controls
      length = @header[:controllen]
      Controls.unpack(length.zero? ? '' : @header[:control].get_bytes(0, length))
    end

    def pidfd
      all_controls.find { |one| pidfd?(one) }&.data&.unpack1('i')
    end

    def pidfd?(control)
      control.level == Socket::SOL_SOCKET && control.type == PIDFD
    end
  end
end
