#!/usr/bin/env ruby
# frozen_string_literal: true

# A parent passes an open file to its child over a socketpair. The file is
# opened after the fork, so that the child cannot have inherited it. What the
# child gets is a descriptor for the same open file description: when it has
# read to the end, the parent's offset is at the end too.
#
#     ruby parent_child.rb /etc/hosts
require_relative '../lib/sendfd'

NAME = File.basename($PROGRAM_NAME, '.rb')

# What fails; the message says who and why.
class Failure < StandardError; end

# Prints all that can be read from a file; returns the offset after that. sysread
# and sysseek: Ruby's own buffer would read ahead of the program.
def print_content(file)
  puts '----- content begins'
  length = 0
  last = "\n"
  begin
    while (block = file.sysread(65_536))
      $stdout.write(block)
      last = block[-1]
      length += block.bytesize
    end
  rescue EOFError
    puts "#{"\n" if last != "\n"}----- content ends"
  end
  size = file.stat.size
  raise Failure, "child: read #{length} bytes, but the size is #{size}" if length != size

  file.sysseek(0, IO::SEEK_CUR)
end

def child(socket)
  # recv, not read or gets: those read ahead, and past a descriptor.
  byte = socket.recv(1).to_s
  raise Failure, 'child: no byte came: end of file' if byte.empty?

  puts "child #{$$}: the byte '#{byte}' came"
  file = SendFD.recv_io(socket, File) or
    raise Failure, 'child: no descriptor came: end of file'
  puts "child #{$$}: the file came, here it is descriptor #{file.fileno}"
  offset = print_content(file)
  file.close
  puts "child #{$$}: read it to the end, final offset #{offset}"
  socket.send([offset].pack('q'), 0)
end

def open_file(path)
  File.open(path)
rescue SystemCallError => e
  raise Failure, "parent: #{path}: #{SystemCallError.new(nil, e.errno).message}"
end

def parent(socket, path)
  file = open_file(path)
  puts "parent #{$$}: opened #{path} as descriptor #{file.fileno}, offset 0; " \
       'sending a byte, then it'
  # A byte of the program's own protocol: recvfd leaves such bytes alone, as
  # long as the receiver reads them, and no more, before it calls it.
  socket.send('!', 0)
  SendFD.sendfd(socket, file)

  of_child = socket.recv(8, Socket::MSG_WAITALL).to_s.unpack1('q') or
    raise Failure, 'parent: the child told no offset: end of file'
  offset = file.sysseek(0, IO::SEEK_CUR)
  raise Failure, "parent: the offset is #{offset} here, #{of_child} there" if offset != of_child

  puts "parent #{$$}: read nothing, yet its offset is #{offset} too: it is shared"
  file.close
end

# Returns whether the block succeeds; if not, prints why.
def succeeds
  yield
  true
rescue Failure, SystemCallError => e
  warn "#{NAME}: #{e.message}"
  false
end

# At once, so that the lines of the two processes come in their order.
$stdout.sync = true
pair = UNIXSocket.pair
# Each closes the other's end: else it would never see the end of file.
pid = fork do
  pair[0].close
  exit succeeds { child(pair[1]) }
end
pair[1].close
passed = succeeds { parent(pair[0], ARGV.fetch(0, '/etc/hosts')) }
pair[0].close

Process.wait(pid)
abort "#{NAME}: the child failed" unless $?.success?
exit passed
