# frozen_string_literal: true

require_relative 'helper'

# What each method does with what comes, and returns.
class FunctionsTest < SendFDTest
  test_each_kind 'sendfd, recvfd: IO objects' do |how|
    pair(how) do |a, b|
      assert_nil SendFD.sendfd(a, FILE)
      fd = SendFD.recvfd(b)
      assert_kind_of Integer, fd
      assert IO.for_fd(fd, autoclose: false).close_on_exec?
      assert_equal CONTENT, content(fd)
    end
  end

  test_each_kind 'sendfd, recvfd: numbers' do |how|
    pair(how) do |a, b|
      SendFD.sendfd(a.fileno, FILE.fileno)
      assert_equal CONTENT, content(SendFD.recvfd(b.fileno))
    end
  end

  test 'sendfd is one zero byte, as in the classic snippet' do
    pair do |a, b|
      SendFD.sendfd(a, FILE)
      SendFD.sendfds(a, [FILE, FILE])
      assert_equal "\0\2", 2.times.map { b.recvmsg.first }.join
    end
  end

  [1, 253].each do |count|
    test_each_kind "sendfds, recvfds, recv_ios: #{count}" do |how|
      pair(how) do |a, b|
        2.times { assert_nil SendFD.sendfds(a, [OTHER] * (count - 1) + [FILE]) }
        fds = SendFD.recvfds(b, 1000)
        assert_equal count, fds.size
        assert_equal CONTENT, content(fds.pop)
        SendFD.close(fds)
        ios = SendFD.recv_ios(b, 1000)
        assert_equal count, ios.size
        assert_equal CONTENT, content(ios.pop)
        ios.each(&:close)
      end
    end
  end

  test_each_kind 'sendfds_all, recvfds_all, recv_ios_all: 1000' do |how|
    pair(how) do |a, b|
      sent = Array.new(1000) { |i| (i % 3).zero? ? FILE : OTHER.fileno }
      %i[recvfds_all recv_ios_all].each do |receive|
        thread = Thread.new { SendFD.sendfds_all(a, sent) }
        came = SendFD.public_send(receive, b.fileno, 1000)
        assert_nil thread.value
        ios = came.map { |one| one.is_a?(IO) ? one : IO.for_fd(one) }
        kinds = ios.map { |io| io.stat.file? }
        ios.each(&:close)
        assert_equal Array.new(1000) { |i| (i % 3).zero? }, kinds
      end
    end
  end

  test_each_kind 'sendfds_msg, recvfds_msg' do |how|
    pair(how) do |a, b|
      assert_equal 9, SendFD.sendfds_msg(a, [FILE, OTHER], "some\0data")
      data, fds = SendFD.recvfds_msg(b, 5, 100)
      assert_equal "some\0data", data
      assert_equal 2, fds.size
      assert_equal CONTENT, content(fds.shift)
      SendFD.close(fds)
      SendFD.sendfds_msg(a.fileno, [], 'no descriptor')
      assert_equal ['no', []], SendFD.recvfds_msg(b.fileno, 0, 2)
      assert_equal [' descriptor', []], SendFD.recvfds_msg(b, 1, 100)
    end
  end

  test_each_kind 'recvfds_msg waits, and takes what comes then' do |how|
    pair(how) do |a, b|
      thread = waiting_thread { SendFD.recvfds_msg(b, 2, 10, ios: true) }
      SendFD.sendfds_msg(a, [FILE], 'x')
      data, ios = thread.value
      assert_equal 'x', data
      assert_instance_of File, ios.first
      assert_equal CONTENT, content(*ios)
    end
  end

  test 'data that was received is not taken for ASCII' do
    pair do |a, b|
      data = "\xff\xfe".b * 50
      SendFD.sendfds_msg(a, [], data)
      SendFD.sendfds_msghdr(a, [], data)
      received, = SendFD.recvfds_msg(b, 0, 100)
      assert_equal [data, false, Encoding::BINARY], [received, received.ascii_only?, received.encoding]
      received = SendFD.recvfds_msghdr(b, 0, 200).data
      assert_equal [data, false, Encoding::BINARY], [received, received.ascii_only?, received.encoding]
    end
  end

  test 'data in another encoding goes as its bytes' do
    pair do |a, b|
      assert_equal 6, SendFD.sendfds_msg(a, [], 'äöü')
      assert_equal 6, SendFD.sendfds_msghdr(a, [], %w[ä öü])
      assert_equal ['äöüäöü'.b, []], SendFD.recvfds_msg(b, 0, 100)
    end
  end

  test 'plain bytes and a socket of another domain, without descriptors' do
    tcp do |client, accepted, _|
      assert_equal 5, SendFD.sendfds_msg(client, [], 'hello')
      assert_equal ['hello', []], SendFD.recvfds_msg(accepted, 3, 100)
      client.close
      assert_nil SendFD.recvfds_msg(accepted, 3, 100)
    end
  end

  test 'MSG_PEEK' do
    pair do |a, b|
      SendFD.sendfd(a, FILE)
      [Socket::MSG_PEEK, 0].each do |flags|
        data, fds = SendFD.recvfds_msg(b, 1, 1, flags)
        assert_equal "\0", data
        assert_equal CONTENT, content(*fds)
      end
    end
  end

  test 'MSG_DONTWAIT: what Ruby raises where something would block' do
    pair(:blocking) do |a, b|
      [-> { SendFD.recvfds_msg(b, 1, 1, Socket::MSG_DONTWAIT) },
       -> { SendFD.recvfds_msghdr(b, 1, 1, Socket::MSG_DONTWAIT) }].each do |receive|
        error = assert_raises(IO::EAGAINWaitReadable, &receive)
        assert_kind_of Errno::EAGAIN, error
      end
      [-> { SendFD.sendfds_msg(a, [], 'x' * 65_536, Socket::MSG_DONTWAIT) },
       -> { SendFD.sendfds_msghdr(a, [], 'x' * 65_536, Socket::MSG_DONTWAIT) }].each do |send|
        assert_raises(IO::EAGAINWaitWritable) { loop(&send) }
      end
    end
  end

  test 'a datagram: one byte is taken of it, or all of it' do
    pair(:waiting, :SEQPACKET) do |a, b|
      2.times { SendFD.sendfds_msg(a, [FILE], 'datagram') }
      assert_equal CONTENT, content(SendFD.recvfd(b))
      data, fds = SendFD.recvfds_msg(b, 1, 100)
      assert_equal 'datagram', data
      SendFD.close(fds)
    end
  end

  test 'an object with to_io' do
    pair do |a, b|
      wrapper = Struct.new(:to_io)
      SendFD.sendfd(wrapper.new(a), wrapper.new(FILE))
      assert_equal CONTENT, content(SendFD.recvfd(wrapper.new(b)))
    end
  end

  RECEIVES.each do |name, receive|
    test_each_kind "#{name}: nil at the end of file" do |how|
      pair(how) do |a, b|
        a.close
        assert_nil receive[b]
      end
    end
  end

  test 'the _all functions: fewer at the end of file after some, whatever errno was before' do
    %i[recvfds_all recv_ios_all].each do |name|
      pair do |a, b|
        SendFD.sendfds(a, [FILE, OTHER])
        assert_raises(Errno::EMSGSIZE) { SendFD.recvfd(b) }
        SendFD.sendfds(a, [FILE, OTHER])
        a.close
        came = SendFD.public_send(name, b, 5)
        assert_equal 2, came.size
        name == :recvfds_all ? SendFD.close(came) : came.each(&:close)
        assert_nil SendFD.public_send(name, b, 5)
      end
    end
  end

  test 'close closes numbers, and goes on after one that is none' do
    fds = Array.new(3) { IO.sysopen('/dev/null') }
    assert_nil SendFD.close(fds[0])
    assert_raises(Errno::EBADF) { SendFD.close([fds[1], fds[0]], fds[2]) }
    assert_nil SendFD.close
  end
end
