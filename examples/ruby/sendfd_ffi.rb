# frozen_string_literal: true

# libsendfd for Ruby through ruby-ffi (Debian: ruby-ffi; elsewhere: gem install
# ffi). What the functions do in Ruby is in sendfd_common.rb.
require 'ffi'
require_relative 'sendfd_common'

module SendFD
  # The C functions. A packed String is passed as the memory it has.
  module Library
    extend FFI::Library
    # By soname: libsendfd.so is for compilers, and not on every machine.
    ffi_lib ENV.fetch('LIBSENDFD', 'libsendfd.so.1')

    # blocking: other threads run meanwhile, and what interrupts this one
    # (Timeout, Thread#kill, Ctrl-C) ends the call with EINTR.
    blocking = { blocking: true }
    attach_function :sendfd, %i[int int], :int, blocking
    attach_function :recvfd, %i[int], :int, blocking
    attach_function :sendfds, %i[int pointer int], :int, blocking
    attach_function :recvfds, %i[int pointer int], :int, blocking
    attach_function :sendfds_all, %i[int pointer int], :int, blocking
    attach_function :recvfds_all, %i[int pointer int], :int, blocking
    attach_function :sendfds_msg, %i[int pointer int pointer size_t int], :ssize_t, blocking
    attach_function :recvfds_msg, %i[int pointer pointer pointer size_t int], :ssize_t, blocking
    attach_function :sendfd_version, [], :string

    # Calls a function: what it returns, and errno, which is 0 if it set none.
    def self.call(name, *arguments)
      FFI.errno = 0
      [public_send(name, *arguments), FFI.errno]
    end

    def self.version
      sendfd_version
    end
  end
end
