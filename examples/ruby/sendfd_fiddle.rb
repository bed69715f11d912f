# frozen_string_literal: true

# libsendfd for Ruby through Fiddle, which comes with Ruby: nothing to install.
# What the functions do in Ruby is in sendfd_common.rb.
require 'fiddle/import'
require_relative 'sendfd_common'

module SendFD
  # The C functions. A packed String is passed as the memory it has.
  #
  # Other threads run during a call, but nothing can interrupt it before it
  # returns: Fiddle tells Ruby no way to. sendfd_common.rb calls when there is
  # no need to wait, so that it matters only where it says so.
  module Library
    extend Fiddle::Importer
    # By soname: libsendfd.so is for compilers, and not on every machine.
    dlload ENV.fetch('LIBSENDFD', 'libsendfd.so.1')

    extern 'int sendfd(int, int)'
    extern 'int recvfd(int)'
    extern 'int sendfds(int, const int *, int)'
    extern 'int recvfds(int, int *, int)'
    extern 'int sendfds_all(int, const int *, int)'
    extern 'int recvfds_all(int, int *, int)'
    extern 'ssize_t sendfds_msg(int, const int *, int, const void *, size_t, int)'
    extern 'ssize_t recvfds_msg(int, int *, int *, void *, size_t, int)'
    extern 'const char *sendfd_version(void)'
    extern 'int *__errno_location(void)' # of the C library: where errno is

    # Calls a function: what it returns, and errno, which is 0 if it set none.
    # (Fiddle.last_error= is no help: it does not set errno.)
    def self.call(name, *arguments)
      __errno_location[0, Fiddle::SIZEOF_INT] = [0].pack('i')
      [public_send(name, *arguments), Fiddle.last_error]
    end

    def self.version
      sendfd_version.to_s
    end
  end
end
