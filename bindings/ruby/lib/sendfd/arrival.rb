# frozen_string_literal: true

require 'socket'

module SendFD
  # A descriptor that has come, until the caller has it.
  #
  # Ruby runs the handlers of signals, which may raise, whenever a method or a block
  # ends, also one that is written in C: what it returned is lost then, what it has done
  # is not. Thread.handle_interrupt does not hold them back, nor Ctrl-C. Hence
  #
  # - a number is in memory before the function that receives it returns;
  # - an object is known here before it has the number;
  # - {#close} finds out from these who has the number, and starts again if it is
  #   interrupted. Nothing interrupts between an assignment and the call after it.
  #
  # Else a descriptor is lost; or it is closed by its number, and once more by an object
  # which has it, when that is collected and the number is a stranger's.
  #
  # @api private
  class Arrival
    # Memory for a descriptor, which is none yet.
    SLOT = [-1].pack('i').freeze
    INITIALIZE = IO.instance_method(:initialize)
    private_constant :INITIALIZE

    # A Dir that is opened here has no path, as if Dir.for_fd had made it: that by which
    # it was opened ends with the number.
    module Pathless
      def path = nil
      alias to_path path
    end

    # @return [String] memory, for a function that receives one
    attr_reader :slot

    def initialize(fd = nil)
      @fd = fd
      @slot = SLOT.dup unless fd
    end

    def fd
      @fd ||= @slot.unpack1('i')
    end

    # @return [IO, Dir, nil] nil if there is none: it was refused
    def open(klass = nil, mode = nil)
      if klass.nil? then open_what_came(mode)
      elsif of_ruby?(klass, IO) then open_as(klass, mode)
      elsif of_ruby?(klass, BasicSocket) then open_socket(klass)
      elsif klass == Dir then open_directory
      else open_by(klass, *mode)
      end
    end

    # Closes what has the descriptor, or the descriptor.
    def close
      fd # is from now on what it says here
      find_owner if @identity && !@object.is_a?(IO) && !@object.is_a?(Dir)
      if @object.is_a?(Dir)
        @object.close
      else
        close_object if @object
        close_number
      end
      @directory&.close
      done = true
    ensure
      close unless done
    end

    private

    # Whether a class has the for_fd of one of Ruby's.
    def of_ruby?(klass, base)
      klass == base || klass.is_a?(Class) && klass <= base &&
        klass.method(:for_fd).owner == base.singleton_class
    end

    def open_what_came(mode)
      return if fd.negative?

      open_as(File)
      stat = @object.stat
      file = stat.file? || stat.chardev? || stat.blockdev?
      return @object if file && mode.nil?

      @object.autoclose = false
      if stat.socket? then open_socket(socket_class)
      elsif stat.directory? then open_directory
      else open_as(file ? File : IO, mode)
      end
    end

    # What for_fd does, but the object is known before it has the number.
    def open_as(klass, mode = nil)
      @object = klass.allocate
      mode.nil? ? INITIALIZE.bind_call(@object, fd) : INITIALIZE.bind_call(@object, fd, mode)
      @object
    end

    # What BasicSocket.for_fd does.
    def open_socket(klass)
      open_as(klass)
      raise Errno::ENOTSOCK, klass.name unless @object.stat.socket?

      @object.binmode
      @object.sync = true
      @object.do_not_reverse_lookup = BasicSocket.do_not_reverse_lookup
      @object
    end

    # If a for_fd raises, or is interrupted, it may leave behind the number, an object
    # that will close it, or neither: see find_owner.
    def open_by(klass, *mode)
      @object = nil
      @identity = identity
      @object = klass.for_fd(fd, *mode)
    end

    def open_directory
      return open_by(Dir) if Dir.respond_to?(:for_fd) # Ruby 3.3

      # A Dir.open that is interrupted loses what it has opened. In a thread that nobody
      # knows it is not: handlers run in the main one.
      @directory = Thread.new do
        Thread.current.name = 'SendFD'
        Thread.current.report_on_exception = false
        Dir.open("/proc/self/fd/#{fd}").extend(Pathless)
      end.value
      close_number
      @directory
    end

    def socket_class
      socket = Socket.allocate
      INITIALIZE.bind_call(socket, fd, autoclose: false)
      listens = option(socket, Socket::SO_ACCEPTCONN) == 1
      case option(socket, Socket::SO_DOMAIN)
      when Socket::AF_UNIX then listens ? UNIXServer : UNIXSocket
      when Socket::AF_INET, Socket::AF_INET6
        case option(socket, Socket::SO_TYPE)
        when Socket::SOCK_STREAM then listens ? TCPServer : TCPSocket
        when Socket::SOCK_DGRAM then UDPSocket
        else Socket
        end
      else Socket
      end
    end

    def option(socket, name)
      socket.getsockopt(Socket::SOL_SOCKET, name).int
    end

    # The object is closed without its number. IO#close lets go of that first, closes it
    # then, and loses it if it is interrupted in between.
    def close_object
      unless @disowned
        return @fd = -1 if @object.closed? # by the caller, and the number with it

        @object.autoclose = false
        @disowned = true
      end
      @object.close
    rescue IOError # it has not the number yet
      nil
    end

    def close_number
      return if @fd.negative?

      fd = @fd
      @fd = -1
      raise SystemCallError.new('close', FFI.errno) if C.close(fd).negative?
    end

    def find_owner
      @object = owner
      @fd = -1 if @object.nil? && identity != @identity # it is closed already
    end

    # The object that will close the number.
    def owner
      [IO, Dir].each do |klass|
        ObjectSpace.each_object(klass) { |object| return object if owns?(object) }
      end
      nil
    end

    def owns?(object)
      object.fileno == fd && (object.is_a?(Dir) || object.autoclose?)
    rescue IOError # it is closed, or never had one
      false
    end

    def identity
      stat = IO.for_fd(fd, autoclose: false).stat
      [stat.dev, stat.ino]
    rescue SystemCallError
      nil
    end
  end

  # Descriptors that have come, until the caller has them.
  #
  # @api private
  class Arrivals
    # @return [Array<Integer>] the numbers, to which those that come are added
    attr_reader :fds

    def initialize(fds = [])
      @fds = fds
    end

    # Yields memory for so many to a function. Those that it puts there are here
    # afterwards, even if an exception takes the place of what it returned.
    def receive(count)
      before = @fds.size
      slots = Arrival::SLOT * [count, 0].max
      begin
        yield slots
      ensure
        add(slots, before)
      end
    end

    def open(klass = nil, mode = nil)
      all.map { |one| one.open(klass, mode) }
    end

    def close
      all.each(&:close)
      done = true
    ensure
      close unless done
    end

    private

    def all
      @all ||= @fds.map { |fd| Arrival.new(fd) }
    end

    def add(slots, before)
      @fds.concat(slots.unpack('i*').grep(0..)) if @fds.size == before
      done = true
    ensure
      add(slots, before) unless done
    end
  end
end
