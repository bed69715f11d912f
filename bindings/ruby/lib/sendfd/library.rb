# frozen_string_literal: true

require 'ffi'

module SendFD
  # Of the C library.
  #
  # @api private
  module C
    extend FFI::Library
    ffi_lib FFI::Library::LIBC
    # getenv(3), but nil in a set-user-ID program and the like: whoever starts one
    # chooses its environment, and must not choose its code.
    attach_function :secure_getenv, [:string], :string
    # IO#close lets go of the number first, and loses it if a handler raises then.
    attach_function :close, [:int], :int
  end

  # Where the library is.
  #
  # @api private
  module Place
    # Not libsendfd.so: that is for compilers, and not on every machine.
    SONAME = 'libsendfd.so.1'
    # The copy that a gem may bring.
    BUNDLED = File.join(__dir__, SONAME)

    # @return [String] $LIBSENDFD, else the bundled copy, else the name by which
    #   the dynamic linker finds it
    def self.path
      named = C.secure_getenv('LIBSENDFD').to_s
      return named unless named.empty?

      File.exist?(BUNDLED) ? BUNDLED : SONAME
    end
  end

  # The C functions. A packed String is passed as the memory that it has.
  #
  # These keep the lock of the virtual machine, and are called where they cannot
  # wait: on a non-blocking socket, or with MSG_DONTWAIT.
  #
  # @api private
  module Library
    extend FFI::Library
    ffi_lib Place.path

    # Those that wait where the socket blocks.
    WAITING = {
      sendfd: %i[int int],
      recvfd: %i[int],
      sendfds: %i[int pointer int],
      recvfds: %i[int pointer int],
      sendfds_all: %i[int pointer int],
      recvfds_all: %i[int pointer int]
    }.freeze

    WAITING.each { |name, arguments| attach_function name, arguments, :int }
    attach_function :sendfds_msg, %i[int pointer int pointer size_t int], :ssize_t
    attach_function :recvfds_msg, %i[int pointer pointer pointer size_t int], :ssize_t
    attach_function :sendfds_msghdr, %i[int pointer int pointer int], :ssize_t
    attach_function :recvfds_msghdr, %i[int pointer pointer pointer int], :ssize_t
    attach_function :sendfd_version, [], :string

    # The same for a socket that blocks: other threads run meanwhile, and what
    # interrupts this one ends the call.
    module Blocking
      extend FFI::Library
      ffi_lib Place.path
      WAITING.each { |name, arguments| attach_function name, arguments, :int, blocking: true }
    end
  end
end
