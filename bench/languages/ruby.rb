#!/usr/bin/ruby
# frozen_string_literal: true

# What Ruby itself has to pass descriptors, and libsendfd by the package of
# bindings/ruby: one descriptor, or 253 in a message, sent, received and closed over a
# socketpair. Prints a line for each contender in each round, for rounds.awk.
#
#     ruby.rb SECONDS    to spend on each case
require 'socket'

MANY = 253
# Seconds of each contender in a round: enough to be worth looking at the clock.
SLICE = 0.001

LEFT, RIGHT = UNIXSocket.pair
FILES = Array.new(MANY) { File.open('/dev/null') }
NUMBERS = FILES.map(&:fileno).freeze

def skip(contender, why)
  warn "# skipped: #{contender}: #{why}"
end

# Closes what came, as IO objects.
def close_all(ios)
  raise "#{ios.size} descriptors came" unless ios.size == MANY

  ios.each(&:close)
end

# The contenders that come with Ruby, the first of which is the baseline.
def own
  one = { 'send_io and recv_io' => lambda {
    LEFT.send_io(FILES[0])
    RIGHT.recv_io.close
  } }
  many = { 'sendmsg and recvmsg' => lambda {
    LEFT.sendmsg("\0", 0, nil, Socket::AncillaryData.unix_rights(*FILES))
    _, _, _, rights = RIGHT.recvmsg(1, 0, scm_rights: true)
    close_all(rights.unix_rights)
  } }
  [one, many]
end

# recv_io asks what came, to make an object of the class that fits; with IO it makes what
# Ruby's own makes.
def add_package(one, many)
  require_relative '../../bindings/ruby/lib/sendfd'
  contender = 'libsendfd by ruby-ffi'
  one[contender] = lambda {
    SendFD.sendfd(LEFT, FILES[0])
    SendFD.recv_io(RIGHT).close
  }
  one["#{contender}; recv_io with IO"] = lambda {
    SendFD.sendfd(LEFT, FILES[0])
    SendFD.recv_io(RIGHT, IO).close
  }
  many[contender] = lambda {
    SendFD.sendfds(LEFT, FILES)
    close_all(SendFD.recv_ios(RIGHT, MANY))
  }
  many["#{contender}; recv_ios with IO"] = lambda {
    SendFD.sendfds(LEFT, FILES)
    close_all(SendFD.recv_ios(RIGHT, MANY, IO))
  }
  add_functions("#{contender}; its functions alone", SendFD::Library, one, many)
rescue LoadError => e
  skip('libsendfd by ruby-ffi', e.message.lines.first.chomp)
end

def add_functions(contender, library, one, many)
  sender = LEFT.fileno
  receiver = RIGHT.fileno
  one[contender] = lambda {
    raise 'sendfd' unless library.sendfd(sender, NUMBERS[0]) == 1

    IO.for_fd(library.recvfd(receiver)).close
  }
  many[contender] = lambda {
    raise 'sendfds' unless library.sendfds(sender, NUMBERS.pack('i*'), MANY) == MANY

    slots = "\0".b * (4 * MANY)
    count = library.recvfds(receiver, slots, MANY)
    close_all(slots.unpack("i#{count}").map { |fd| IO.for_fd(fd) })
  }
end

def now
  Process.clock_gettime(Process::CLOCK_MONOTONIC)
end

def timed(work, count)
  start = now
  count.times { work.call }
  (now - start) / count
end

# Each contender in its turn, in each round from the next one on.
def measure(case_name, contenders, seconds)
  names = contenders.keys
  first = contenders[names[0]]
  first.call
  count = [1, (SLICE / timed(first, 3)).to_i].max
  contenders.each_value { |work| timed(work, count) }
  finish = now + seconds
  round = 0
  while round < 3 || now < finish
    figures = names.rotate(round).to_h { |name| [name, timed(contenders[name], count)] }
    names.each do |name|
      puts [case_name, name, 'ns', round, (figures[name] * 1e9).round].join(',')
    end
    round += 1
  end
end

seconds = Float(ARGV.fetch(0))
one, many = own
add_package(one, many)
measure('Ruby: one descriptor', one, seconds)
measure('Ruby: 253 in a message', many, seconds)
