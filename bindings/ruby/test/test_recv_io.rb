# frozen_string_literal: true

require_relative 'helper'

# The objects that recv_io and recv_ios make, and who closes them.
class RecvIOTest < SendFDTest
  def receive_one(sent, ...)
    pair do |a, b|
      SendFD.sendfd(a, sent)
      SendFD.recv_io(b, ...)
    end
  end

  # The class of what comes when something is sent.
  def class_of(sent)
    receive_one(sent) { |io| io.class }
  end

  test 'the class fits: files' do
    assert_equal File, class_of(FILE)
    assert_equal File, class_of(OTHER)
    assert_equal Dir, class_of(Dir.new('/').tap { |dir| @dir = dir })
    @dir.close
    IO.pipe { |reader, writer| assert_equal [IO, IO], [class_of(reader), class_of(writer)] }
  end

  test 'the class fits: sockets' do
    tcp do |client, accepted, server|
      assert_equal [TCPSocket, TCPSocket, TCPServer], [client, accepted, server].map { |one| class_of(one) }
    end
    Dir.mktmpdir do |place|
      UNIXServer.open("#{place}/socket") { |server| assert_equal UNIXServer, class_of(server) }
    end
    %i[STREAM DGRAM SEQPACKET].each do |type|
      pair(:waiting, type) { |a, _| assert_equal UNIXSocket, class_of(a) }
    end
    UDPSocket.open { |socket| assert_equal UDPSocket, class_of(socket) }
    Socket.open(:NETLINK, :RAW) { |socket| assert_equal Socket, class_of(socket) }
  end

  test 'a received server accepts, and its socket talks' do
    tcp do |_, _, server|
      receive_one(server) do |received|
        TCPSocket.open('127.0.0.1', server.addr[1]) do |client|
          received.accept.tap { |accepted| accepted.puts('hello') }.close
          assert_equal "hello\n", client.gets
        end
      end
    end
  end

  test 'a received socket is as Ruby makes it' do
    pair do |a, peer|
      ours = UNIXSocket.for_fd(a.fileno).tap { |socket| socket.autoclose = false }
      receive_one(a) do |socket|
        %i[external_encoding internal_encoding binmode? sync do_not_reverse_lookup local_address].each do |name|
          assert_equal ours.public_send(name).inspect, socket.public_send(name).inspect, name
        end
        peer.write("one\ntwo\n")
        assert_equal "one\n", socket.gets
        socket.puts('three') # which does not lose what it has read ahead
        assert_equal ["three\n", "two\n"], [peer.gets, socket.gets]
        socket.close_write
        assert_equal '', peer.read
      end
    end
  end

  test 'the class that is wanted' do
    [IO, File, Class.new(File)].each do |klass|
      receive_one(FILE, klass) do |io|
        assert_instance_of klass, io
        assert_equal CONTENT, io.pread(1000, 0)
      end
    end
    pair do |a, _|
      [Socket, UNIXSocket, UNIXServer].each do |klass|
        receive_one(a, klass) { |socket| assert_instance_of klass, socket }
      end
    end
  end

  test 'a mode' do
    receive_one(FILE, mode: 'r:ISO-8859-1') do |io|
      assert_instance_of File, io
      assert_equal Encoding::ISO_8859_1, io.external_encoding
    end
    receive_one(FILE, IO, mode: File::RDONLY) { |io| assert_raises(IOError) { io.write('x') } }
    IO.pipe do |_, writer|
      receive_one(writer, mode: 'wb') { |io| assert io.binmode? }
      receive_one(writer, mode: 'w') { |io| refute io.binmode? }
    end
    # Which a socket and a directory do not have.
    pair { |a, _| receive_one(a, mode: 'r') { |socket| assert_instance_of UNIXSocket, socket } }
    assert_raises(Errno::EINVAL) { receive_one(FILE, mode: 'w') }
    assert_raises(ArgumentError) { receive_one(FILE, mode: 'nonsense') }
    assert_raises(TypeError) { receive_one(FILE, mode: :r) }
  end

  test 'a directory can be sent and received' do
    Dir.mktmpdir do |place|
      File.write("#{place}/one", '')
      Dir.open(place) do |sent|
        [nil, Dir].each do |klass|
          dir = receive_one(sent, klass)
          assert_instance_of Dir, dir
          assert_equal ['one'], dir.children
          assert_nil dir.path
          dir.close
          assert_equal ['one'], receive_one(sent, klass, &:children)
        end
      end
    end
    assert_raises(Errno::ENOTDIR) { receive_one(FILE, Dir) }
  end

  test 'with a block the object is closed after it, and its value returned' do
    kept = nil
    assert_equal 42, receive_one(FILE) { |io| (kept = io) && 42 }
    assert kept.closed?
    assert_raises(Stop) { receive_one(FILE) { |io| (kept = io) && raise(Stop) } }
    assert kept.closed?
    receive_one(FILE, &:close)
    pair do |a, b|
      %i[sendfds sendfds_all].zip(%i[recv_ios recv_ios_all]).each do |send, receive|
        SendFD.public_send(send, a, [FILE, OTHER])
        ios = []
        assert_equal 42, SendFD.public_send(receive, b, 2) { |given| ios.concat(given) && given.clear && 42 }
        assert_equal [true, true], ios.map(&:closed?)
      end
      a.close
      assert_nil(SendFD.recv_io(b) { flunk })
      assert_nil(SendFD.recv_ios(b, 1) { flunk })
      assert_nil(SendFD.recv_ios_all(b, 1) { flunk })
    end
  end

  test 'a conversion that fails leaves nothing open' do
    refuses = Class.new { def self.for_fd(*) = raise(ArgumentError, 'no') }
    assert_equal 'no', assert_raises(ArgumentError) { receive_one(FILE, refuses) }.message
    assert_raises(NoMethodError) { receive_one(FILE, Integer) }
    assert_raises(ArgumentError, SystemCallError) { receive_one(FILE, UNIXSocket) }
    pair do |a, b|
      %i[recv_ios recv_ios_all].each do |receive|
        SendFD.sendfds(a, [OTHER, FILE, OTHER])
        assert_raises(Errno::EINVAL) { SendFD.public_send(receive, b, 3, IO, mode: 'w') }
      end
    end
  end

  # After a conversion has failed, a stranger's file may have the number.
  def assert_stranger_lives(sent, klass, error, **options)
    assert_raises(error) { receive_one(sent, klass, **options) }
    stranger = File.open('/etc/passwd')
    identity = stranger.stat.ino
    collect
    assert_owned
    assert_equal identity, stranger.stat.ino
  ensure
    stranger&.close
    close_lost
  end

  test 'a stranger lives: for_fd raises after it has made the object' do
    klass = Class.new(File) { def self.for_fd(fd, *) = super.tap { raise ArgumentError } }
    20.times { assert_stranger_lives(FILE, klass, ArgumentError) }
    klass = Class.new(UNIXSocket) { def self.for_fd(*) = super.tap { raise ArgumentError } }
    pair { |a, _| assert_stranger_lives(a, klass, ArgumentError) }
  end

  test 'a stranger lives: for_fd raises and has closed the object' do
    klass = Class.new(File) { def self.for_fd(fd, *) = super.close || raise(ArgumentError) }
    20.times { assert_stranger_lives(FILE, klass, ArgumentError) }
  end

  test 'a stranger lives: Ruby raises when it has made the object' do
    # It reads then, to look for a byte order mark.
    Dir.open('/') { |dir| assert_stranger_lives(dir, IO, Errno::EISDIR, mode: 'r:BOM|UTF-8') }
  end

  test 'a stranger lives: a handler of a signal raises while the object is made' do
    klass = Class.new(File) { def self.for_fd(*) = super.tap { Process.kill(:USR1, $$) && sleep } }
    with_raising_handler(:USR1) { 20.times { assert_stranger_lives(FILE, klass, Stop) } }
  end

  test 'a class of one\'s own may be any object with for_fd' do
    maker = Object.new
    def maker.for_fd(fd, mode = nil) = [IO.for_fd(fd), mode]
    io, mode = receive_one(FILE, maker, mode: 'r')
    assert_equal [CONTENT, 'r'], [content(io), mode]
  end
end
