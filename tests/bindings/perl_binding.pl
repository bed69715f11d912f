# Tests of examples/perl/SendFD.pm, as TAP. Every test counts the open descriptors
# before and after.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../../examples/perl";

use Errno qw(
	EACCES EAFNOSUPPORT EAGAIN EBADF ECONNREFUSED ECONNRESET EINVAL EMFILE EMSGSIZE ENOMSG
	ENOTCONN ENOTSOCK EPIPE
);
use Fcntl qw(:DEFAULT F_GETFD F_GETFL FD_CLOEXEC O_ACCMODE SEEK_SET);
use File::Temp qw(tempdir);
use IO::File;
use IO::Handle;
use POSIX ();
use SendFD qw(:all);
use Socket qw(
	AF_INET AF_UNIX MSG_DONTWAIT MSG_OOB MSG_PEEK PF_UNSPEC SHUT_WR SO_SNDBUF SOCK_DGRAM
	SOCK_SEQPACKET SOCK_STREAM SOL_SOCKET
);
use Test::More;
use Time::HiRes ();

my $directory = tempdir(CLEANUP => 1);

sub open_descriptors {
	opendir my $listing, '/proc/self/fd' or die "/proc/self/fd: $!";
	return scalar grep { /[0-9]/ } readdir $listing;
}

sub test {
	my ($name, $code) = @_;
	my $before = open_descriptors();
	subtest $name => sub {
		my $done = eval { $code->(); 1 };
		my $died = $@;
		ok $done, 'it does not die' or diag $died;
		is open_descriptors(), $before, 'as many descriptors are open as before';
	};
	return;
}

sub pair {
	my ($type) = @_;
	socketpair my $left, my $right, AF_UNIX, $type // SOCK_STREAM, PF_UNSPEC
		or die "socketpair: $!";
	return ($left, $right);
}

# Open files, each with its number in it.
sub files {
	my ($count) = @_;
	return map {
		open my $file, '+>', "$directory/$_" or die "$directory/$_: $!";
		syswrite $file, "file $_\n" or die "$directory/$_: $!";
		$file
	} 0 .. $count - 1;
}

sub expected { return [map { "file $_\n" } @_] }

# What is in received files, which are closed.
sub contents {
	my @fds = @_;
	return [
		map {
			POSIX::lseek($_, 0, SEEK_SET);
			POSIX::read($_, my $content, 100);
			POSIX::close($_);
			$content
		} @fds
	];
}

sub no_such_descriptor { return 1_000_000 }

# fails NUMBER CODE NAME: an empty or undefined result, and $!.
sub fails {
	my ($number, $code, $name) = @_;
	my @got   = $code->();
	my $errno = $! + 0;
	ok !grep({ defined } @got), "$name: no result" or diag "@got";
	is $errno, $number, "$name: \$! tells why";
	return;
}

sub dies_like {
	my ($pattern, $code, $name) = @_;
	eval { $code->(); 1 } and return fail "$name: it does not die";
	like $@, $pattern, $name;
	return;
}

sub nothing_was_sent {
	my ($receiver) = @_;
	fails(EAGAIN, sub { recvfds_msg($receiver, 0, 1, MSG_DONTWAIT) }, 'nothing was sent');
	return;
}

sub non_blocking {
	my ($socket, $on) = @_;
	my $flags = fcntl $socket, F_GETFL, 0;
	fcntl $socket, F_SETFL, $on ? $flags | O_NONBLOCK : $flags & ~O_NONBLOCK
		or die "fcntl: $!";
	return;
}

# signals NUMBER TIMES CODE: a child sends this process a signal as soon as it waits
# in a system call; each time that it waits again, so many times.
sub signals {
	my ($name, $times, $code) = @_;
	my $parent = $$;
	my $child  = fork // die "fork: $!";
	if ($child == 0) {
		for (1 .. $times) {
			my $state = '';
			until ($state eq 'S') {
				POSIX::_exit(1) if getppid != $parent;
				open my $stat, '<', "/proc/$parent/stat" or POSIX::_exit(1);
				($state) = <$stat> =~ /.*\) (\S)/;
				Time::HiRes::sleep(0.002);
			}
			kill $name, $parent;
			# Its handler runs before it waits again.
			Time::HiRes::sleep(0.01);
		}
		POSIX::_exit(0);
	}
	my $done = eval { $code->(); 1 };
	my $died = $@;
	kill KILL => $child;
	waitpid $child, 0;
	die $died if !$done;
	return;
}

# --- what comes and goes -------------------------------------------------------

test 'the version' => sub {
	is sendfd_version(), $ENV{VERSION} // '1.0.0', 'it is that of the library';
	is SENDFD_MAX_FDS,   253,                      'the constant';
};

test 'one descriptor, of a handle of any kind, of a number' => sub {
	my ($left, $right) = pair();
	my ($file) = files(1);
	for my $given ($file, fileno $file, *{$file}, *{$file}{IO},
		bless(\do { my $x = $file }, 'WithFileno'))
	{
		is sendfd($left, $given), 1, "sent $given";
		my $fd = recvfd($right);
		open my $probe, '<&=', $fd or die $!;
		is_deeply contents($fd), expected(0), 'and received';
	}
	is sendfd(fileno $left, $file), 1, 'the sockets as numbers';
	is_deeply contents(recvfd(fileno $right)), expected(0), 'both of them';
	sendfd($left, $file);
	sysread $right, my $byte, 9;
	is $byte, "\0", 'one zero byte';
};

{
	package WithFileno;
	sub fileno { my ($self) = @_; return CORE::fileno $$self }
}

test 'a descriptor of the number 0 is a descriptor' => sub {
	my ($left, $right) = pair();
	my ($file) = files(1);
	my $input = POSIX::dup(0);
	POSIX::close(0);
	sendfd($left, $file);
	my $fd = recvfd($right);
	is $fd, 0, 'it came';
	POSIX::close(0);
	sendfd($left, $file);
	my $handle = recv_handle($right);
	ok $handle && fileno $handle == 0, 'and a handle can be made of it';
	POSIX::dup2($input, 0);
	POSIX::close($input);
};

test '3 and 253 descriptors in a message, in their order' => sub {
	my ($left, $right) = pair();
	my @files = files(3);
	is sendfds($left, @files), 3, 'sent';
	is_deeply contents(recvfds($right, 3)), expected(0 .. 2), 'and received';
	is sendfds($left, fileno $files[1]), 1, 'one';
	is_deeply contents(recvfds($right, 2_000_000_000)), expected(1),
		'with room for very many';
	is sendfds($left, (@files) x 84, $files[0]), 253, 'as many as a message has';
	is_deeply contents(recvfds($right, 253)), expected((0 .. 2) x 84, 0),
		'and received';
};

test '1000 descriptors, in their order' => sub {
	my ($left, $right) = pair();
	my @files = files(4);
	is sendfds_all($left, (@files) x 250), 1000, 'sent';
	is_deeply contents(recvfds_all($right, 1000)), expected((0 .. 3) x 250), 'and received';
};

test 'no descriptors' => sub {
	my ($left, $right) = pair();
	fails(EINVAL, sub { sendfds($left) }, 'sendfds');
	is sendfds_all($left), 0,      'sendfds_all';
	is $! + 0,             EINVAL, 'tells why';
	for my $count (0, -1, -1000) {
		fails(EINVAL, sub { recvfds($right, $count) },         "recvfds of $count");
		fails(EINVAL, sub { recvfds_all($right, $count) },     "recvfds_all of $count");
		fails(EINVAL, sub { recvfds_msg($right, $count, 10) }, "recvfds_msg of $count")
			if $count < 0;
	}
	is sendfds_msg($left, [], 'abc'), 3, 'none at all beside data';
	is_deeply [recvfds_msg($right, 0, 10)], ['abc'], 'is received';
	fails(EINVAL, sub { recvfds_msg($right, 0, 0) }, 'recvfds_msg of no bytes');
	fails(EINVAL, sub { sendfds_msg($left, [$left], '') },
		'sendfds_msg of descriptors without bytes');
	nothing_was_sent($right);
};

test 'data beside descriptors, and flags' => sub {
	my ($left, $right) = pair(SOCK_SEQPACKET);
	my @files = files(3);
	is sendfds_msg($left, \@files, "a\0\xff"), 3, 'sent';
	my ($data, @fds) = recvfds_msg($right, 253, 100, MSG_PEEK);
	is $data, "a\0\xff", 'seen before they are received';
	is_deeply contents(@fds), expected(0 .. 2), 'with the descriptors';
	($data, @fds) = recvfds_msg($right, 3, 3);
	is $data, "a\0\xff", 'and received, with no room left over';
	is_deeply contents(@fds), expected(0 .. 2), 'with the descriptors';
	my ($again) = ($data, sendfds_msg($left, [], 'zz'), recvfds_msg($right, 0, 3));
	is $again, "a\0\xff", 'the next receive leaves the earlier data alone';

	my $wide = "\xe4\x{100}";
	dies_like(qr/wide character/, sub { sendfds_msg($left, [], $wide) }, 'a wide character');
	chop $wide;
	is sendfds_msg($left, [], $wide), 1, 'a string that perl has as UTF-8';
	is_deeply [recvfds_msg($right, 0, 10)], ["\xe4"], 'is sent as the bytes that it is';
	sendfds_msg($left, \@files, 'too long');
	fails(EMSGSIZE, sub { recvfds_msg($right, 3, 3) }, 'too long a message');
	fails(EINVAL, sub { sendfds_msg($left, [], 'x', MSG_OOB) }, 'an unknown flag');
	nothing_was_sent($right);
};

# --- errors ---------------------------------------------------------------------

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
		recvfds_msg($right, 1, 1);
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
	my @errnos = map { $_->(); $! + 0 } sub { recvfds($right, 3) },
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
		my @fds    = recvfds_all($right, 5);
		my $reason = $! + 0;
		is $reason, $errno, "$name: \$! tells why";
		is_deeply contents(@fds), expected(0 .. 2), "$name: what came";
	}
};

test 'sendfds_all that ends early returns how many went' => sub {
	my ($left, $right) = pair();
	is sendfds_all($left, (0) x 300, no_such_descriptor()), 253, 'a bad one in the second';
	is $! + 0, EBADF, 'tells why';
	is scalar @{contents(recvfds_all($right, 253))}, 253, 'they can be received';
	nothing_was_sent($right);
	setsockopt $left, SOL_SOCKET, SO_SNDBUF, 1 or die $!;
	non_blocking($left, 1);
	my $sent = sendfds_all($left, (0) x 5060);
	is $! + 0, EAGAIN, 'a full queue tells why';
	ok $sent > 0 && $sent < 5060, 'some went';
	is scalar @{contents(recvfds_all($right, $sent))}, $sent, 'they can be received';
	nothing_was_sent($right);
};

test 'misuse dies, and nothing is sent' => sub {
	my ($left, $right) = pair();
	my ($file) = files(1);
	my %bad = (
		'undefined'       => [undef,   qr/undefined/],
		'a name'          => ['STDIN', qr/not a number/],
		'a fraction'      => ['1.5',   qr/not a number/],
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
	is $@ =~ /perl_binding/, 1, 'it names the line of the caller';
	nothing_was_sent($right);
};

# --- handles --------------------------------------------------------------------

test 'handles are opened as their flags are' => sub {
	my ($left, $right) = pair();
	files(1);
	my %access = ('<' => O_RDONLY, '>>' => O_WRONLY | O_APPEND, '+<' => O_RDWR);
	for my $mode (sort keys %access) {
		open my $file, $mode, "$directory/0" or die $!;
		sendfd($left, $file);
		my $handle = recv_handle($right);
		ok fcntl($handle, F_GETFD, 0) & FD_CLOEXEC, "$mode: close-on-exec";
		is fcntl($handle, F_GETFL, 0) & (O_ACCMODE | O_APPEND), $access{$mode}, "$mode: flags";
		is scalar <$handle>, "file 0\n", "$mode: read" if $mode ne '>>';
		if ($mode ne '<') {
			seek $handle, 0, 1;
			ok print({$handle} "written $mode\n") && close $handle, "$mode: written";
		}
	}
	open my $file, '<', "$directory/0" or die $!;
	like join('', <$file>), qr/written >>/, 'it is in the file';
	my ($here, $there) = pair();
	sendfd($left, $here);
	my $handle = recv_handle($right);
	$handle->autoflush;
	print {$handle} "to a socket\n";
	is scalar <$there>, "to a socket\n", 'a socket, to write to';
	syswrite $there, "from a socket\n";
	is scalar <$handle>, "from a socket\n", 'and to read from';
	pipe my $reader, my $writer or die $!;
	sendfd($left, $writer);
	close $writer;
	$handle = recv_handle($right);
	print {$handle} "through a pipe\n";
	close $handle;
	is_deeply [<$reader>], ["through a pipe\n"], 'a pipe, with its end of file';
};

test 'layers' => sub {
	my ($left, $right) = pair();
	open my $file, '+>', "$directory/text" or die $!;
	print {$file} "\xc3\xa4\n";
	seek $file, 0, SEEK_SET;
	sendfd($left, $file);
	my $handle = recv_handle($right, ':encoding(UTF-8)');
	is scalar <$handle>, "\xe4\n", 'are those of the handle';
};

test 'a descriptor of which no handle can be made is closed' => sub {
	my ($left, $right) = pair();
	my ($file) = files(1);
	sendfd($left, $file);
	local $SIG{__WARN__} = sub { };
	ok !defined recv_handle($right, ':no_such_layer'), 'an unknown layer';
	ok $!, 'not the end of file';
	my $free = POSIX::dup(0);
	POSIX::close($free);
	is open_received($free), undef,     'a descriptor that is not open';
	is $! + 0,               EBADF,     'tells why';
};

# --- signals ----------------------------------------------------------------------

my %receives = (
	recvfd      => sub { recvfd($_[0]) },
	recvfds     => sub { recvfds($_[0], 2) },
	recvfds_all => sub { recvfds_all($_[0], 2) },
	recvfds_msg => sub { my ($data, @fds) = recvfds_msg($_[0], 2, 10); @fds },
	recv_handle => sub { recv_handle($_[0]) },
);

test 'alarm interrupts a blocked receive' => sub {
	my ($left, $right) = pair();
	local $SIG{ALRM} = sub { die "alarm\n" };
	dies_like(qr/\Aalarm\n\z/, sub { alarm 1; recvfd($right) }, 'recvfd');
};

test 'a handler that dies interrupts each blocked function' => sub {
	local $SIG{USR1} = sub { die "stop\n" };
	for my $name (sort keys %receives) {
		my ($left, $right) = pair();
		dies_like(qr/\Astop\n\z/,
			sub { signals('USR1', 1, sub { $receives{$name}->($right) }) }, $name);
	}
	my ($left, $right) = pair();
	non_blocking($left, 1);
	1 while sendfd($left, 0);
	non_blocking($left, 0);
	my %sends = (
		sendfd      => sub { sendfd($left, 0) },
		sendfds     => sub { sendfds($left, 0) },
		sendfds_all => sub { sendfds_all($left, (0) x 1000) },
		sendfds_msg => sub { sendfds_msg($left, [0], 'x') },
	);
	for my $name (sort keys %sends) {
		dies_like(qr/\Astop\n\z/, sub { signals('USR1', 1, $sends{$name}) }, $name);
	}
};

test 'what had come when a handler died is closed' => sub {
	my ($left, $right) = pair();
	local $SIG{USR1} = sub { die "stop\n" };
	sendfds($left, 0, 0);
	dies_like(qr/\Astop\n\z/,
		sub { signals('USR1', 1, sub { recvfds_all($right, 5) }) }, 'recvfds_all');
};

test 'after a handler that returns it goes on' => sub {
	my @files = files(2);
	for my $name (sort keys %receives) {
		my ($left, $right) = pair();
		my $handled = 0;
		# It changes $!, and passes descriptors itself.
		local $SIG{USR1} = sub {
			sendfd($left, $files[0]) for ++$handled == 2 ? (1, 2) : ();
			recvfd(-1);
		};
		signals('USR1', 2, sub {
			for my $got ($receives{$name}->($right)) {
				my $fd = ref $got ? POSIX::dup(fileno $got) : $got;
				is_deeply contents($fd), expected(0), $name;
			}
		});
		is $handled, 2, "$name: twice";
	}
};

test 'recvfds_all and sendfds_all go on where a handler interrupted them' => sub {
	my ($left, $right) = pair();
	my @files = files(4);
	local $SIG{USR1} = sub { sendfds($left, @files[2, 3]) };
	sendfds($left, @files[0, 1]);
	signals('USR1', 1, sub {
		is_deeply contents(recvfds_all($right, 4)), expected(0 .. 3), 'recvfds_all';
	});

	setsockopt $left, SOL_SOCKET, SO_SNDBUF, 1 or die $!;
	my @came;
	my $drain = sub {
		while (my ($byte, @fds) = recvfds_msg($right, 253, 1, MSG_DONTWAIT)) {
			push @came, @{contents(@fds)};
		}
	};
	local $SIG{USR1} = $drain;
	signals('USR1', 1000, sub {
		is sendfds_all($left, (@files) x 500), 2000, 'sendfds_all';
	});
	$drain->();
	is_deeply \@came, expected((0 .. 3) x 500), 'all in their order';
};

done_testing;
