use strict;
use warnings;

use lib 't/lib';

use Errno qw(
	EACCES EAFNOSUPPORT EAGAIN EBADF ECONNREFUSED ECONNRESET EINVAL EMFILE EMSGSIZE ENOMSG
	ENOTCONN ENOTSOCK EPIPE
);
use Fcntl qw(SEEK_SET);
use POSIX ();
use Socket qw(AF_INET AF_UNIX SO_SNDBUF SOCK_DGRAM SOCK_STREAM SOL_SOCKET);
use SendFD qw(:all);
use Test::More;
use Testing;

test 'a failed send is undef, with its errno' => sub {
	my ($left, $right) = pair();
	my ($file) = files(1);
	my %sends = (
		sendfd      => sub { sendfd($_[0], $file) },
		sendfds     => sub { sendfds($_[0], $file) },
		sendfds_all => sub { sendfds_all($_[0], $file) || undef },
		sendfds_msg => sub { sendfds_msg($_[0], [$file], 'x') },
	);
	for my $name (sort keys %sends) {
		my $send = $sends{$name};
		fails(EBADF, sub { $send->(-1) }, "$name to no descriptor");
		open my $closed, '<', '/dev/null' or die $!;
		close $closed;
		fails(EBADF,    sub { $send->($closed) }, "$name to a closed handle");
		fails(ENOTSOCK, sub { $send->($file) },   "$name to a file");
		socket my $udp, AF_INET, SOCK_DGRAM, 0 or die $!;
		fails(EAFNOSUPPORT, sub { $send->($udp) }, "$name over UDP");
		socket my $alone, AF_UNIX, SOCK_STREAM, 0 or die $!;
		fails(ENOTCONN, sub { $send->($alone) }, "$name without a connection");
		my ($here, $there) = pair();
		close $there;
		fails(EPIPE, sub { $send->($here) }, "$name to a peer that has closed");
		($here, $there) = pair(SOCK_DGRAM);
		close $there;
		fails(ECONNREFUSED, sub { $send->($here) }, "$name of a datagram to one");
	}
	$! = EPIPE;
	is "$!", POSIX::strerror(EPIPE), 'with its message';
	fails(EBADF,  sub { sendfd($left, no_such_descriptor()) }, 'a descriptor that is not open');
	open my $closed, '<', '/dev/null' or die $!;
	close $closed;
	fails(EBADF,  sub { sendfd($left, $closed) },              'a handle that is closed');
	fails(EBADF,  sub { sendfds($left, $file, $closed) },      'one of two');
	fails(EBADF,  sub { sendfds($left, $file, -1) },           'one of two');
	fails(EINVAL, sub { sendfds($left, ($file) x 254) },       '254 descriptors');
	nothing_was_sent($right);
};

test 'a failed receive is undef or the empty list, with its errno' => sub {
	my ($file) = files(1);
	my %receives = (
		recvfd      => sub { recvfd($_[0]) },
		recvfds     => sub { recvfds($_[0], 2) },
		recvfds_all => sub { recvfds_all($_[0], 2) },
		recvfds_msg => sub { recvfds_msg($_[0], 2, 10) },
		recv_handle => sub { recv_handle($_[0]) },
	);
	for my $name (sort keys %receives) {
		my $receive = $receives{$name};
		fails(EBADF,    sub { $receive->(-1) },    "$name from no descriptor");
		fails(ENOTSOCK, sub { $receive->($file) }, "$name from a file");
		my ($left, $right) = pair();
		sendfds($left, ($file) x 3);
		fails(EMSGSIZE, sub { $receive->($right) }, "$name of too many");
		non_blocking($right, 1);
		fails(EAGAIN, sub { $receive->($right) }, "$name without blocking");
		syswrite $left, 'x';
		fails(ENOMSG, sub { $receive->($right) }, "$name without a descriptor")
			if $name ne 'recvfds_msg';
		syswrite $right, 'never received';
		my @some = recvfds_msg($right, 1, 1);
		close $left;
		fails(ECONNRESET, sub { $receive->($right) }, "$name from one that did not read");
		$! = ENOMSG;
		fails(0, sub { $receive->($right) }, "$name at the end of file");
	}
};

test 'a full table of descriptors: EMFILE, and nothing is left open' => sub {
	my ($left, $right) = pair();
	sendfds($left, (0) x 3) for 1 .. 3;
	my @taken;
	# Not by a limit, for which perl has no function: up to it.
	while (defined(my $fd = POSIX::dup(0))) { push @taken, $fd }
	POSIX::close(pop @taken) for 1 .. 2;
	my @errnos = map { my @got = $_->(); $! + 0 } sub { recvfds($right, 3) },
		sub { recvfds_msg($right, 3, 1) }, sub { recvfds_all($right, 3) };
	POSIX::close($_) for @taken;
	is_deeply \@errnos, [(EMFILE) x 3], 'for each of the functions';
};

test 'the loops of the documentation' => sub {
	my ($left, $right) = pair();
	my @files = files(3);
	sendfd($left, $_) or die "sendfd: $!" for @files;
	close $left;
	my @read;
	while (my $file = recv_handle($right)) {
		sysseek $file, 0, SEEK_SET;
		push @read, <$file>;
	}
	is $! + 0, 0, 'they end at the end of file';
	is_deeply \@read, expected(0 .. 2), 'and have received all';
};

test 'an empty message with a descriptor is not the end of file' => sub {
	my ($left, $right) = pair(SOCK_DGRAM);
	is send($left, '', 0), 0, 'an empty datagram';
	my @got = recvfds_msg($right, 1, 10);
	is_deeply \@got, [''], 'is data of no bytes';
};

test 'recvfds_all that ends early returns what came' => sub {
	my @files = files(3);
	my %ends  = (
		'the end of file' => [0, sub { close $_[0] }],
		'no descriptor'   => [ENOMSG, sub { syswrite $_[0], 'x' }],
		'too many'        => [EMSGSIZE, sub { sendfds($_[0], (0) x 3) }],
		'non-blocking'    => [EAGAIN, sub { non_blocking($_[1], 1) }],
	);
	for my $name (sort keys %ends) {
		my ($errno, $prepare) = @{$ends{$name}};
		my ($left, $right) = pair();
		sendfds($left, @files);
		$prepare->($left, $right);
		$! = EACCES;
		$@ = 'an exception before';
		my @fds    = recvfds_all($right, 5);
		my $reason = $! + 0;
		is $@, 'an exception before', "$name: it leaves \$@ alone";
		is $reason, $errno, "$name: \$! says why";
		is_deeply contents(@fds), expected(0 .. 2), "$name: what came";
	}
};

test 'sendfds_all that ends early returns how many went' => sub {
	my ($left, $right) = pair();
	is sendfds_all($left, (0) x 300, no_such_descriptor()), 253, 'a bad one in the second';
	is $! + 0, EBADF, 'says why';
	is scalar @{contents(recvfds_all($right, 253))}, 253, 'they can be received';
	nothing_was_sent($right);
	setsockopt $left, SOL_SOCKET, SO_SNDBUF, 1 or die $!;
	non_blocking($left, 1);
	my $sent = sendfds_all($left, (0) x 5060);
	is $! + 0, EAGAIN, 'a full queue says why';
	ok $sent > 0 && $sent < 5060, 'some went';
	is scalar @{contents(recvfds_all($right, $sent))}, $sent, 'they can be received';
	nothing_was_sent($right);
};

test 'misuse dies, and nothing is sent' => sub {
	my ($left, $right) = pair();
	my ($file) = files(1);
	my %bad = (
		'undefined'       => [undef,   qr/undefined/],
		'a name'          => ['STDIN', qr/not a whole number/],
		'a fraction'      => ['1.5',   qr/not a whole number/],
		'no handle'       => [[],      qr/not a handle/],
		'no handle class' => [bless({}, 'Nothing'), qr/not a handle/],
		'too large'       => [4294967296,  qr/too large/],
		'too small'       => [-4294967296, qr/too large/],
	);
	for my $name (sort keys %bad) {
		my ($bad, $pattern) = @{$bad{$name}};
		dies_like($pattern, sub { sendfd($left, $bad) }, "sendfd: $name");
		dies_like($pattern, sub { sendfd($bad, $file) }, "as the socket: $name");
		dies_like($pattern, sub { recvfd($bad) },        "recvfd: $name");
		dies_like($pattern, sub { sendfds($left, $file, $bad, $file) }, "sendfds: $name");
		dies_like($pattern, sub { sendfds_all($left, $file, $bad) }, "sendfds_all: $name");
		dies_like($pattern, sub { sendfds_msg($left, [$file, $bad], 'x') },
			"sendfds_msg: $name");
	}
	dies_like(qr/undefined/, sub { recvfds($right, undef) },        'no max_fds');
	dies_like(qr/undefined/, sub { recvfds_all($right) },           'no nfds');
	dies_like(qr/undefined/, sub { recvfds_msg($right, 1) },        'no length');
	dies_like(qr/negative/,  sub { recvfds_msg($right, 1, -5) },    'a negative length');
	dies_like(qr/undefined/, sub { sendfds_msg($left, [], undef) }, 'no data');
	dies_like(qr/reference/, sub { sendfds_msg($left, $file, 'x') }, 'no array');
	dies_like(qr/list context/, sub { my $count = recvfds($right, 1) },     'recvfds');
	dies_like(qr/list context/, sub { my $count = recvfds_all($right, 1) }, 'recvfds_all');
	dies_like(qr/list context/, sub { my $data = recvfds_msg($right, 1, 1) }, 'recvfds_msg');
	like $@, qr/errors\.t line/, 'it names the line of the caller';
	nothing_was_sent($right);
};

done_testing;
