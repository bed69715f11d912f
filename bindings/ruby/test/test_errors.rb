# frozen_string_literal: true

require_relative 'helper'

# Errors of the system, and arguments that are wrong.
class ErrorsTest < SendFDTest
  test 'EBADF: the descriptor, the socket' do
    pair do |a, b|
      number = File.open('/dev/null', &:fileno)
      error = assert_raises(Errno::EBADF) { SendFD.sendfd(a, number) }
      assert_equal 'Bad file descriptor - sendfd', error.message
      assert_equal Errno::EBADF::Errno, error.errno
      assert_raises(Errno::EBADF) { SendFD.sendfds(a, [FILE, -1]) }
      assert_raises(Errno::EBADF) { SendFD.sendfd(number, FILE) }
      assert_raises(Errno::EBADF) { SendFD.recvfd(-1) }
      assert_raises(Errno::EAGAIN) { SendFD.recvfds_msg(b, 1, 1, Socket::MSG_DONTWAIT) }
    end
  end

  test 'ENOTSOCK' do
    IO.pipe do |reader, writer|
      2.times do
        assert_match(/socket.* - recvfd\z/, assert_raises(Errno::ENOTSOCK) { SendFD.recvfd(reader) }.message)
        assert_raises(Errno::ENOTSOCK) { SendFD.recvfds(reader, 1) }
        assert_raises(Errno::ENOTSOCK) { SendFD.sendfd(writer, FILE) }
        [reader, writer].each { |io| io.nonblock = !io.nonblock? }
      end
    end
  end

  test 'EAFNOSUPPORT' do
    tcp do |client, accepted, _|
      assert_raises(Errno::EAFNOSUPPORT) { SendFD.sendfd(client, FILE) }
      accepted.send('x', 0)
      assert_raises(Errno::EAFNOSUPPORT) { SendFD.recvfd(client) }
    end
  end

  test_each_kind 'EPIPE' do |how|
    pair(how) do |a, b|
      b.close
      assert_raises(Errno::EPIPE) { SendFD.sendfd(a, FILE) }
      assert_raises(Errno::EPIPE) { SendFD.sendfds(a, [FILE]) }
      error = assert_raises(Errno::EPIPE) { SendFD.sendfds_all(a, [FILE]) }
      refute_kind_of SendFD::Partial, error
    end
  end

  test 'EINVAL: none, too many, no data' do
    pair do |a, b|
      assert_match(/sendfds/, assert_raises(Errno::EINVAL) { SendFD.sendfds(a, []) }.message)
      assert_raises(Errno::EINVAL) { SendFD.sendfds(a, [FILE] * 254) }
      assert_raises(Errno::EINVAL) { SendFD.sendfds_all(a, []) }
      assert_raises(Errno::EINVAL) { SendFD.sendfds_msg(a, [FILE], '') }
      assert_raises(Errno::EINVAL) { SendFD.sendfds_msg(a, [FILE], 'x', Socket::MSG_OOB) }
      assert_raises(Errno::EINVAL) { SendFD.sendfds_msghdr(a, [FILE], []) }
      assert_raises(Errno::EINVAL) { SendFD.recvfds(b, 0) }
      assert_raises(Errno::EINVAL) { SendFD.recv_ios(b, -1) }
      assert_raises(Errno::EINVAL) { SendFD.recvfds_all(b, 0) }
      assert_raises(Errno::EINVAL) { SendFD.recvfds_msg(b, -1, 1) }
      assert_raises(Errno::EINVAL) { SendFD.recvfds_msg(b, 1, 0) }
      assert_raises(Errno::EINVAL) { SendFD.recvfds_msghdr(b, -1, 1) }
      assert_raises(Errno::EINVAL) { SendFD.recvfds_msghdr(b, 1, []) }
    end
  end

  test 'ENOMSG and EMSGSIZE close what came, and the next message is next' do
    pair do |a, b|
      %i[recvfd recv_io].each do |name|
        a.send('x', 0)
        assert_raises(Errno::ENOMSG) { SendFD.public_send(name, b) }
        SendFD.sendfds(a, [FILE] * 3)
        assert_raises(Errno::EMSGSIZE) { SendFD.public_send(name, b) }
      end
      SendFD.sendfds(a, [FILE] * 3)
      assert_raises(Errno::EMSGSIZE) { SendFD.recvfds(b, 2) }
      SendFD.sendfd(a, FILE)
      assert_equal CONTENT, content(SendFD.recvfd(b))
    end
  end

  test 'EMFILE' do
    pair do |a, b|
      limits = Process.getrlimit(:NOFILE)
      SendFD.sendfd(a, FILE)
      begin
        Process.setrlimit(:NOFILE, b.fileno, limits.last)
        assert_raises(Errno::EMFILE) { SendFD.recvfd(b) }
      ensure
        Process.setrlimit(:NOFILE, *limits)
      end
    end
  end

  test 'a closed IO is an IOError' do
    pair do |a, _b|
      closed = File.open('/dev/null').tap(&:close)
      assert_raises(IOError) { SendFD.sendfd(a, closed) }
      assert_raises(IOError) { SendFD.sendfd(closed, FILE) }
      assert_raises(IOError) { SendFD.recvfd(closed) }
    end
  end

  test 'a bad element is a TypeError, and nothing is sent' do
    pair do |a, b|
      [nil, true, 'x', 1.0, FILE.fileno + 2**32, -2**40, [FILE]].each do |bad|
        assert_raises(TypeError) { SendFD.sendfd(a, bad) }
        assert_raises(TypeError) { SendFD.sendfd(bad, FILE) }
        assert_raises(TypeError) { SendFD.recvfd(bad) }
        assert_raises(TypeError) { SendFD.sendfds(a, [FILE, bad, FILE]) }
        assert_raises(TypeError) { SendFD.sendfds_all(a, [FILE] * 600 + [bad]) }
        assert_raises(TypeError) { SendFD.sendfds_msg(a, [FILE, bad], 'x') }
        assert_raises(TypeError) { SendFD.sendfds_msghdr(a, [FILE, bad], 'x') }
      end
      [nil, FILE, FILE.fileno, 'x'].each do |bad|
        assert_raises(TypeError) { SendFD.sendfds(a, bad) }
      end
      [nil, 123_456, :x].each do |bad|
        assert_raises(TypeError) { SendFD.sendfds_msg(a, [], bad) }
        assert_raises(TypeError) { SendFD.sendfds_msghdr(a, [], bad) }
        assert_raises(TypeError) { SendFD.sendfds_msghdr(a, [], ['x', bad]) }
      end
      assert_raises(TypeError) { SendFD.sendfds_msghdr(a, [FILE], 'x', address: 42) }
      assert_raises(ArgumentError) { SendFD.recvfds_msg(b, 1, -1) }
      assert_raises(ArgumentError) { SendFD.recvfds_msghdr(b, 1, [1, -1]) }
      assert_raises(ArgumentError) { SendFD.recvfds_msghdr(b, 1, 1, control: -1) }
      assert_raises(Errno::EAGAIN) { SendFD.recvfds_msg(b, 1, 1, Socket::MSG_DONTWAIT) }
      assert_equal 0, FILE.pos, 'the offset of a file that was taken for an array'
    end
  end

  test 'sendfds_all tells how many went before it failed' do
    pair do |a, b|
      error = assert_raises(Errno::EBADF) { SendFD.sendfds_all(a, [FILE] * 300 + [-1]) }
      assert_kind_of SendFD::Partial, error
      assert_equal 253, error.sent
      a.close
      fds = SendFD.recvfds_all(b, 1000)
      assert_equal 253, fds.size
      SendFD.close(fds)
    end
  end

  test 'what came before recvfds_all failed is closed, or in the array given' do
    pair do |a, b|
      3.times do
        SendFD.sendfds(a, [FILE] * 253)
        SendFD.sendfds(a, [FILE] * 2)
        a.send('x', 0)
      end
      assert_match(/recvfds_all/, assert_raises(Errno::ENOMSG) { SendFD.recvfds_all(b, 1000) }.message)
      kept = [FILE.fileno]
      assert_raises(Errno::ENOMSG) { SendFD.recvfds_all(b, 1000, kept) }
      assert_equal 256, kept.size
      SendFD.close(kept.drop(1))
      assert_raises(Errno::ENOMSG) { SendFD.recv_ios_all(b, 1000) }
    end
  end

  test 'sendfds_all waits while too many descriptors are in flight' do
    pair do |a, b|
      # The limit does not count for root.
      IO.pipe do |reader, writer|
        pid = fork do
          b.close
          Process::UID.change_privilege(65_534) if Process.euid.zero?
          Process.setrlimit(:NOFILE, 200)
          thread = waiting_thread { SendFD.sendfds_all(a, [FILE] * 1000) }
          writer.write('!')
          thread.value
          exit! 0
        rescue StandardError => e
          warn e.full_message
          exit! 1
        end
        a.close
        writer.close
        reader.read(1)
        fds = SendFD.recvfds_all(b, 1000)
        Process.wait(pid)
        SendFD.close(fds)
        assert_equal [0, 1000], [$?.exitstatus, fds.size]
      end
    end
  end
end
