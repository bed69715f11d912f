# frozen_string_literal: true

require_relative 'helper'

# sendfds_msghdr and recvfds_msghdr: buffers, addresses, control messages, flags.
class MessagesTest < SendFDTest
  SO_PASSPIDFD = 76
  CREDENTIALS = [Process.pid, Process.euid, Process.egid].freeze

  test_each_kind 'data of several buffers into several, with descriptors' do |how|
    pair(how) do |a, b|
      assert_equal 11, SendFD.sendfds_msghdr(a, [FILE, OTHER], ['hello', '', ' world'])
      message = SendFD.recvfds_msghdr(b, 5, [3, 4, 100])
      assert_equal ['hel', 'lo w', 'orld'], message.data
      assert_equal 11, message.length
      assert_equal [nil, [], nil, nil],
                   [message.address, message.controls, message.pidfd, message.credentials]
      assert_equal 0, message.flags & (Socket::MSG_CTRUNC | Socket::MSG_TRUNC)
      assert_equal 2, message.fds.size
      assert_equal CONTENT, content(message.fds.shift)
      SendFD.close(message.fds)
    end
  end

  test_each_kind 'it waits, and takes what comes then' do |how|
    pair(how) do |a, b|
      thread = waiting_thread { SendFD.recvfds_msghdr(b, 1, 10, ios: true) }
      SendFD.sendfds_msghdr(a, [FILE], 'x')
      message = thread.value
      assert_equal 'x', message.data
      assert_equal CONTENT, content(*message.fds)
    end
  end

  test 'an address to send to, and the sender\'s' do
    Dir.mktmpdir do |place|
      sockets = %w[one two].map { |name| Addrinfo.unix("#{place}/#{name}", :DGRAM).bind }
      from, to = sockets
      SendFD.sendfds_msghdr(from, [FILE], 'x', address: to.local_address)
      SendFD.sendfds_msghdr(from, [], 'y', address: to.local_address.to_sockaddr)
      message = SendFD.recvfds_msghdr(to, 1, 10)
      assert_equal "#{place}/one", message.address.unix_path
      assert_equal CONTENT, content(*message.fds)
      assert_equal 'y', SendFD.recvfds_msghdr(to, 1, 10).data
      assert_raises(Errno::ENOENT) do
        SendFD.sendfds_msghdr(from, [FILE], 'x', address: Addrinfo.unix("#{place}/none"))
      end
      sockets.each(&:close)
    end
  end

  test 'credentials, those of the kernel and those that are sent' do
    pair do |a, b|
      b.setsockopt(:SOCKET, :PASSCRED, true)
      SendFD.sendfd(a, FILE)
      own = Socket::AncillaryData.new(:UNIX, :SOCKET, :CREDENTIALS, CREDENTIALS.pack('iII'))
      SendFD.sendfds_msghdr(a, [FILE], 'x', controls: [own])
      2.times do
        message = SendFD.recvfds_msghdr(b, 1, 1, control: 512)
        assert_equal SendFD::Credentials.new(*CREDENTIALS), message.credentials
        assert_equal own.inspect, message.controls.first.inspect
        assert_equal 1, message.controls.size
        assert_equal CONTENT, content(*message.fds)
      end
      SendFD.sendfd(a, FILE)
      message = SendFD.recvfds_msghdr(b, 1, 1)
      assert_equal [nil, []], [message.credentials, message.controls]
      SendFD.close(message.fds)
    end
  end

  test 'control messages that are not allowed' do
    pair do |a, b|
      rights = Socket::AncillaryData.unix_rights(FILE)
      assert_raises(Errno::EINVAL) { SendFD.sendfds_msghdr(a, [], 'x', controls: [rights]) }
      large = Socket::AncillaryData.new(:UNIX, 1234, 5, 'x' * 600)
      assert_raises(Errno::EINVAL) { SendFD.sendfds_msghdr(a, [FILE], 'x', controls: [large]) }
      assert_raises(Errno::EAGAIN) { SendFD.recvfds_msghdr(b, 1, 1, Socket::MSG_DONTWAIT) }
    end
  end

  # Runs the block, with a socket that asks for the sender's pidfd, if the kernel has that.
  def with_pidfd
    pair do |a, b|
      begin
        b.setsockopt(:SOCKET, SO_PASSPIDFD, true)
      rescue Errno::ENOPROTOOPT
        skip 'the kernel has no SO_PASSPIDFD'
      end
      yield a, b
    end
  end

  test 'a pidfd is the caller\'s, or closed' do
    with_pidfd do |a, b|
      SendFD.sendfd(a, FILE)
      message = SendFD.recvfds_msghdr(b, 1, 1, control: 512)
      assert_empty message.controls
      assert File.exist?("/proc/self/fd/#{message.pidfd}")
      SendFD.close(message.pidfd, message.fds)
      SendFD.sendfd(a, FILE)
      message = SendFD.recvfds_msghdr(b, 1, 1)
      assert_nil message.pidfd
      SendFD.close(message.fds)
    end
  end

  test 'a pidfd is closed once when the receive fails, or an exception comes after it' do
    with_pidfd do |a, b|
      assert_raises(Errno::EAGAIN) { SendFD.recvfds_msghdr(b, 1, 1, Socket::MSG_DONTWAIT, control: 512) }
      SendFD.sendfds(a, [FILE] * 3)
      assert_raises(Errno::EMSGSIZE) { SendFD.recvfds_msghdr(b, 1, 1, control: 512) }
      SendFD.sendfd(a, FILE)
      SendFD::Message.stub(:new, ->(*) { raise Stop }) do
        assert_raises(Stop) { SendFD.recvfds_msghdr(b, 1, 1, control: 512) }
      end
    end
  end

  test 'a datagram that is longer than the room, and its length' do
    pair(:waiting, :SEQPACKET) do |a, b|
      2.times { SendFD.sendfds_msghdr(a, [FILE], 'datagram') }
      message = SendFD.recvfds_msghdr(b, 1, 4)
      assert_equal ['data', 4], [message.data, message.length]
      refute_equal 0, message.flags & Socket::MSG_TRUNC
      SendFD.close(message.fds)
      message = SendFD.recvfds_msghdr(b, 1, 4, Socket::MSG_TRUNC)
      assert_equal ['data', 8], [message.data, message.length]
      SendFD.close(message.fds)
    end
  end

  test 'more than there is room for is an error, or with RECVFD_PARTIAL is left out' do
    pair do |a, b|
      2.times { SendFD.sendfds_msghdr(a, [FILE] * 3, 'data') }
      assert_raises(Errno::EMSGSIZE) { SendFD.recvfds_msghdr(b, 2, 10) }
      message = SendFD.recvfds_msghdr(b, 2, 10, SendFD::RECVFD_PARTIAL)
      assert_equal ['data', 2], [message.data, message.fds.size]
      refute_equal 0, message.flags & Socket::MSG_CTRUNC
      SendFD.close(message.fds)
      assert_raises(Errno::EINVAL) do
        SendFD.sendfds_msghdr(a, [FILE], 'x', SendFD::RECVFD_PARTIAL)
      end
    end
  end

  test 'a descriptor that was refused is -1, and as an object nil' do
    pair do |_, b|
      refused = lambda do |_, slots, count, header, _|
        slots[0, 12] = [-1, File.open('/dev/null').tap { |io| io.autoclose = false }.fileno, -1].pack('i*')
        count[0, 4] = [3].pack('i')
        header.to_ptr.put_int(48, Socket::MSG_CTRUNC) if FFI::Pointer.size == 8
        header.to_ptr.put_int(24, Socket::MSG_CTRUNC) if FFI::Pointer.size == 4
        1
      end
      SendFD::Library.stub(:recvfds_msghdr, refused) do
        fds = SendFD.recvfds_msghdr(b, 3, 1, SendFD::RECVFD_PARTIAL).fds
        assert_equal [-1, 0, -1], fds.map { |fd| [fd, 0].min }
        SendFD.close(fds[1])
        ios = SendFD.recvfds_msghdr(b, 3, 1, SendFD::RECVFD_PARTIAL, ios: true).fds
        assert_equal [NilClass, File, NilClass], ios.map(&:class)
        ios[1].close
      end
    end
  end

  test 'a socket of another domain, without descriptors' do
    tcp do |client, accepted, _|
      assert_equal 5, SendFD.sendfds_msghdr(client, [], %w[he llo])
      assert_equal 'hello', SendFD.recvfds_msghdr(accepted, 3, 100, control: 512).data
      client.close
      assert_nil SendFD.recvfds_msghdr(accepted, 3, 100)
    end
  end
end
