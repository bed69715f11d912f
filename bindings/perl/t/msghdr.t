use strict;
use warnings;

use lib 't/lib';

use Errno qw(EAGAIN EINVAL EMSGSIZE);
use POSIX ();
use SendFD qw(:all);
use Socket qw(
	AF_INET AF_UNIX INADDR_LOOPBACK MSG_CTRUNC MSG_PEEK MSG_TRUNC SCM_CREDENTIALS SCM_RIGHTS
	SOCK_DGRAM SOCK_SEQPACKET SOL_SOCKET SO_PASSCRED inet_ntoa pack_sockaddr_in
	pack_sockaddr_un unpack_sockaddr_in unpack_sockaddr_un
);
use Test::More;
use Testing;

use constant {SO_PASSPIDFD => 76, SCM_PIDFD => 4};

test 'data of several strings, into several buffers' => sub {
	my ($left, $right) = pair();
	my @files = files(3);
	is sendfds_msghdr($left, \@files, {data => ['ab', '', "c\0\xff"]}), 5, 'sent';
	my ($message, @fds) = recvfds_msghdr($right, 253, {data => [1, 0, 3, 4]});
	is_deeply contents(@fds), expected(0 .. 2), 'the descriptors';
	is_deeply [@$message{qw(length data control)}], [5, ['a', '', "bc\0", "\xff"], ''],
		'the data';
	is sendfds_msghdr($left, [], {data => 'one string'}), 10, 'sent as one';
	($message, @fds) = recvfds_msghdr($right, 0, {data => 100});
	is $message->{data}, 'one string', 'received as one';
	is @fds, 0, 'no descriptors';
	is sendfds_msghdr($left, [], {data => [map { "$_," } 1 .. 1000]}), 3893, 'of very many';
	($message) = recvfds_msghdr($right, 0, {data => 5000});
	is $message->{data}, join('', map { "$_," } 1 .. 1000), 'in their order';
};

test 'descriptors without data, in a record' => sub {
	my ($left, $right) = pair(SOCK_SEQPACKET);
	my ($file) = files(1);
	for my $data ([], '', ['', '']) {
		is sendfds_msghdr($left, [$file], {data => $data}), 0, 'sent';
		my ($message, @fds) = recvfds_msghdr($right, 1, {data => 10});
		is_deeply contents(@fds), expected(0), 'the descriptor';
		is $message->{data}, '', 'no data';
	}
	is sendfds_msg($left, [$file], ''), 0, 'sent by sendfds_msg';
	my ($data, @fds) = recvfds_msg($right, 1, 10);
	is_deeply contents(@fds), expected(0), 'received';
	is $data, '', 'no data';
};

test 'more data than room, and flags' => sub {
	my ($left, $right) = pair(SOCK_SEQPACKET);
	sendfds_msghdr($left, [0], {data => 'abcdef'});
	my ($message, @fds) = recvfds_msghdr($right, 1, {data => [1, 2]}, MSG_PEEK | MSG_TRUNC);
	is_deeply $message->{data}, ['a', 'bc'], 'what there is room for';
	is $message->{length}, 6, 'the length of the whole';
	ok $message->{flags} & MSG_TRUNC, 'the flags say so';
	POSIX::close($_) for @fds;
	($message, @fds) = recvfds_msghdr($right, 1, {data => 10});
	is $message->{data}, 'abcdef', 'after a peek it is still there';
	ok !($message->{flags} & MSG_TRUNC), 'and whole';
	POSIX::close($_) for @fds;
};

test 'the end of file, an error, and what is not in a message' => sub {
	my ($left, $right) = pair();
	sendfds_msghdr($left, [0, 0], {data => 'x'});
	fails(EMSGSIZE, sub { recvfds_msghdr($right, 1, {data => 10}) }, 'too many');
	fails(EINVAL, sub { recvfds_msghdr($right, 1, {data => 0}) }, 'no room');
	fails(EINVAL, sub { sendfds_msghdr($left, [0], {data => ''}) }, 'no data');
	close $left;
	fails(0, sub { recvfds_msghdr($right, 1, {data => [1, 1]}) }, 'the end of file');
	dies_like(qr/no 'iov'/, sub { sendfds_msghdr($right, [], {iov => ['x']}) }, 'a key');
	dies_like(qr/no 'flags'/, sub { recvfds_msghdr($right, 1, {data => 1, flags => 0}) },
		'of a receive, too');
	dies_like(qr/undefined/, sub { sendfds_msghdr($right, [], {}) },         'no data');
	dies_like(qr/undefined/, sub { recvfds_msghdr($right, 1, {}) },          'no length');
	dies_like(qr/negative/,  sub { recvfds_msghdr($right, 1, {data => -1}) }, 'a negative one');
	dies_like(qr/hash/,      sub { recvfds_msghdr($right, 1, 100) },         'no hash');
	dies_like(qr/wide/, sub { sendfds_msghdr($right, [], {data => "\x{100}"}) }, 'wide');
	dies_like(qr/list context/, sub { my $one = recvfds_msghdr($right, 1, {data => 1}) }, 'scalar');
};

test 'RECVFD_PARTIAL' => sub {
	my ($left, $right) = pair();
	my @files = files(3);
	sendfds_msghdr($left, \@files, {data => 'abc'});
	my ($message, @fds) = recvfds_msghdr($right, 2, {data => 10}, RECVFD_PARTIAL);
	is_deeply contents(@fds), expected(0, 1), 'as many as there is room for';
	is $message->{data}, 'abc', 'with the data';
	ok $message->{flags} & MSG_CTRUNC, 'and a flag';
	fails(EINVAL, sub { sendfds_msghdr($left, [], {data => 'x'}, RECVFD_PARTIAL) }, 'a send');
};

test 'addresses of datagrams' => sub {
	my @paths = map { pack_sockaddr_un(directory . "/socket$_") } 1, 2;
	my @sockets = map {
		socket my $socket, AF_UNIX, SOCK_DGRAM, 0 or die "socket: $!";
		bind $socket, $_ or die "bind: $!";
		$socket
	} @paths;
	my ($file) = files(1);
	is sendfds_msghdr($sockets[0], [$file], {data => 'x', name => $paths[1]}), 1, 'sent to one';
	my ($message, @fds) = recvfds_msghdr($sockets[1], 1, {data => 1, name => 110});
	is_deeply contents(@fds), expected(0), 'received';
	is unpack_sockaddr_un($message->{name}), directory . '/socket1', 'from the other';
	sendfds_msghdr($sockets[0], [], {data => 'x', name => $paths[1]});
	($message) = recvfds_msghdr($sockets[1], 0, {data => 1});
	is $message->{name}, '', 'without room there is no address';
	unlink map { unpack_sockaddr_un($_) } @paths;

	my @udp = map {
		socket my $socket, AF_INET, SOCK_DGRAM, 0 or die "socket: $!";
		bind $socket, pack_sockaddr_in(0, INADDR_LOOPBACK) or die "bind: $!";
		$socket
	} 1, 2;
	sendfds_msghdr($udp[0], [], {data => 'udp', name => getsockname $udp[1]});
	($message) = recvfds_msghdr($udp[1], 0, {data => 10, name => 30});
	is $message->{data}, 'udp', 'UDP, without descriptors';
	is $message->{name}, getsockname $udp[0], 'and its address';
};

test 'credentials' => sub {
	my ($left, $right) = pair();
	my ($file) = files(1);
	setsockopt $right, SOL_SOCKET, SO_PASSCRED, 1 or die "SO_PASSCRED: $!";
	my $mine = pack 'iII', $$, $<, (split ' ', $()[0];
	my $control = pack_control([SOL_SOCKET, SCM_CREDENTIALS, $mine]);
	is sendfds_msghdr($left, [$file], {data => 'x', control => $control}), 1, 'sent';
	my ($message, @fds) = recvfds_msghdr($right, 1, {data => 1, control => 100});
	is_deeply contents(@fds), expected(0), 'with the descriptor';
	is_deeply [unpack_control($message->{control})], [[SOL_SOCKET, SCM_CREDENTIALS, $mine]],
		'received';
	sendfd($left, $file);
	($message, @fds) = recvfds_msghdr($right, 1, {data => 1});
	is_deeply contents(@fds), expected(0), 'without room the descriptor comes all the same';
	is $message->{control}, '', 'and no credentials';
	my $rights = pack_control([SOL_SOCKET, SCM_RIGHTS, pack 'i', 0]);
	fails(EINVAL, sub { sendfds_msghdr($left, [], {data => 'x', control => $rights}) },
		'descriptors among the control messages');
};

test 'a pidfd is the receiver\'s if it has room' => sub {
	my ($left, $right) = pair();
	setsockopt $right, SOL_SOCKET, SO_PASSPIDFD, 1
		or plan skip_all => "SO_PASSPIDFD, of Linux 6.5: $!";
	sendfd($left, 0);
	my ($message, @fds) = recvfds_msghdr($right, 1, {data => 1, control => 100});
	my ($control, @more) = unpack_control($message->{control});
	is_deeply [@$control[0, 1], scalar @more], [SOL_SOCKET, SCM_PIDFD, 0], 'it comes';
	POSIX::close($_) for @fds, unpack 'i', $control->[2];
	sendfd($left, 0);
	($message, @fds) = recvfds_msghdr($right, 1, {data => 1});
	POSIX::close($_) for @fds;
};

test 'control messages, packed and unpacked' => sub {
	my @messages = ([1, 2, ''], [3, 4, 'x'], [-1, 5, 'x' x 8], [6, 7, 'x' x 13]);
	is_deeply [unpack_control(pack_control(@messages))], \@messages, 'all';
	is_deeply [unpack_control('')], [], 'none';
	is pack_control(), '', 'none packed';
	my $packed = pack_control(@messages[1, 2]);
	is_deeply [unpack_control(substr $packed, 0, -1)], [$messages[1]], 'not one that is cut';
	is_deeply [unpack_control("\0" x 100)], [], 'nor one that is shorter than its header';
};

done_testing;
