#!/usr/bin/perl
# Two processes that are no relatives of each other pass an open file over a socket
# in the file system. In two terminals, in any order:
#
#     ./unrelated.pl server PATH [CLIENTS]     until Ctrl-C, or CLIENTS were served
#     ./unrelated.pl client PATH FILE
#
# The server reads the client's file through the descriptor that it is sent. PATH
# has one owner at a time, the process that holds a lock on PATH.lock: a second
# server is refused, and the socket that a killed one left is replaced. The other
# end may be the example of another language, and so may the other server.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use Errno
	qw(EAGAIN ECONNABORTED ECONNREFUSED EINTR EMSGSIZE ENOENT ENOMSG EPROTOTYPE EWOULDBLOCK);
use Fcntl qw(:flock :seek O_CREAT O_NOFOLLOW O_RDWR S_ISREG S_ISSOCK);
use IO::Handle;
use SendFD qw(sendfd recv_handle);
use Socket qw(AF_UNIX MSG_NOSIGNAL SOCK_NONBLOCK SOCK_STREAM SOL_SOCKET SOMAXCONN
	SO_PEERCRED SO_RCVTIMEO SO_SNDTIMEO pack_sockaddr_un);
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime);

use constant {
	SERVER_LIMIT => 10,     # seconds a client waits for a server to come up
	ANSWER_LIMIT => 60,     # and for its answer: others may be before it
	CLIENT_LIMIT => 5,      # seconds a server waits for what a client sends
	PATH_LIMIT   => 107,    # bytes in the path of a socket
};

sub fail { die 'unrelated: ', @_, "\n" }

# A full disk, or a reader of our output that went away.
sub check_output {
	STDOUT->flush && !STDOUT->error or fail 'standard output could not be written';
	return;
}

sub seconds { return clock_gettime(CLOCK_MONOTONIC) }

sub address {
	my ($path) = @_;
	my $length = length $path;
	fail 'the path of a socket has 1 to ', PATH_LIMIT, " bytes, this one has $length: $path"
		if $length < 1 || $length > PATH_LIMIT;
	return pack_sockaddr_un($path);
}

# --- the server: owning the path ---------------------------------------------

# What tells one file from another.
sub identity {
	my @file = @_;
	return @file ? "$file[0]:$file[1]" : '';
}

sub remove_if_still {
	my ($path, $identity) = @_;
	return if identity(lstat $path) ne $identity;
	unlink $path or warn "unrelated: removing $path: $!\n";
	return;
}

# Takes the lock; the kernel releases it when this process ends, however that is.
sub lock_place {
	my ($place) = @_;
	my $path = $place->{lock_path};
	while (1) {
		sysopen my $lock, $path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600
			or fail "$path: $!";
		flock $lock, LOCK_EX | LOCK_NB
			or fail $! == EWOULDBLOCK
			? "another server is running on $place->{path}"
			: "locking $path: $!";
		my @file = stat $lock or fail "$path: $!";
		# It will be removed: it had better not be somebody's data.
		fail "$path is not a lock file, leaving it alone"
			if !S_ISREG($file[2]) || $file[7] != 0;
		# A server that ended between open and flock has removed the file: the lock
		# is on one that nobody else will find.
		next if identity(lstat $path) ne identity(@file);
		@$place{qw(lock lock_identity)} = ($lock, identity(@file));
		return;
	}
}

# The file goes while it is locked: whoever opened it may now get the lock.
sub unlock_place {
	my ($place) = @_;
	remove_if_still($place->{lock_path}, $place->{lock_identity});
	close $place->{lock};
	return;
}

# Removes the socket of a killed server, and nothing else. Call with the lock held.
sub clear_place {
	my ($place) = @_;
	my $path = $place->{path};
	my @file = lstat $path;
	return if !@file && $! == ENOENT;
	fail "$path: $!" if !@file;
	fail "$path exists and is not a socket, leaving it alone" if !S_ISSOCK($file[2]);

	# Servers of this program hold the lock, those of others may not. Without
	# SOCK_NONBLOCK this would wait for one whose queue is full.
	socket my $probe, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0 or fail "socket: $!";
	my $refused = connect($probe, $place->{address}) ? 0 : $! + 0;
	fail "another program is listening on $path"
		if grep { $refused == $_ } 0, EAGAIN, EPROTOTYPE;
	$! = $refused;
	fail "$path is a socket, but whose? $!" if $refused != ECONNREFUSED;
	unlink $path or $! == ENOENT or fail "removing $path, which a server left: $!";
	print "server $$: took over $path, which a server left\n";
	return;
}

sub listen_at_place {
	my ($place) = @_;
	my $path = $place->{path};
	socket my $listener, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0 or fail "socket: $!";
	# For its owner only, from its first moment on.
	my $mask  = umask 0177;
	my $bound = bind $listener, $place->{address};
	umask $mask;
	fail "listening on $path: $!" if !$bound;
	$place->{socket_identity} = identity(lstat $path);
	if (!listen $listener, SOMAXCONN) {
		my $why_not = "$!";
		remove_if_still($path, $place->{socket_identity});
		fail "listening on $path: $why_not";
	}
	$place->{listener} = $listener;
	return;
}

sub take_place {
	my ($path) = @_;
	my $place =
		{path => $path, lock_path => "$path.lock", address => address($path)};
	lock_place($place);
	return $place if eval { clear_place($place); listen_at_place($place); 1 };
	my $why_not = $@;
	unlock_place($place);
	die $why_not;
}

sub leave_place {
	my ($place) = @_;
	remove_if_still($place->{path}, $place->{socket_identity});
	close $place->{listener};
	unlock_place($place);
	return;
}

# --- the server: serving -------------------------------------------------------

my $stop = 0;

# Waits until a handle is readable: true, or false if it is not in that time, or if
# a signal has told to stop. Perl runs signal handlers in between, and one that
# comes in the moment before select is seen after it: so no more than a second.
sub wait_for {
	my ($handle, $limit) = @_;
	my $give_up = defined $limit ? seconds() + $limit : undef;
	while (!$stop) {
		my $left = defined $give_up ? $give_up - seconds() : 1;
		return 0 if $left <= 0;
		vec(my $readable = '', fileno $handle, 1) = 1;
		my $ready = select $readable, undef, undef, $left < 1 ? $left : 1;
		fail "select: $!" if $ready < 0 && $! != EINTR;
		return 1 if $ready > 0 && !$stop;
	}
	return 0;
}

# The peer may be served if it is the same user, or root.
sub check_peer {
	my ($socket) = @_;
	my $peer = getsockopt $socket, SOL_SOCKET, SO_PEERCRED or fail "SO_PEERCRED: $!";
	my ($pid, $user) = unpack 'iII', $peer;
	my $welcome = $user == $> || $user == 0;
	print "server $$: process $pid of user $user connects",
		$welcome ? '' : ': refused, it is another user', "\n";
	return $welcome;
}

# Why a client gets no answer: the next one may.
sub not_served { die {reason => "@_"} }

sub receive_file {
	my ($socket) = @_;
	my $file = recv_handle($socket);
	return $file if $file;
	not_served('the client closed the connection and sent nothing') if !$!;
	not_served('the client sent a message without a descriptor')    if $! == ENOMSG;
	not_served('the client sent more than one descriptor')          if $! == EMSGSIZE;
	not_served("$!");
}

# Prints a file from its beginning, wherever the client has its offset, which goes
# back to where it was: perl has no pread.
sub print_file {
	my ($file) = @_;
	my @status = stat $file;
	not_served('the client sent something that is not a regular file')
		if !@status || !S_ISREG($status[2]);
	my $size = $status[7];
	printf "server %d: received a file of %d bytes, here it is descriptor %d\n", $$,
		$size, fileno $file;

	print "----- content begins\n";
	my $place  = sysseek $file, 0, SEEK_CUR;
	my $length = 0;
	my $last   = "\n";
	if ($place && sysseek $file, 0, SEEK_SET) {
		while ($length < $size && !$stop) {
			my $left = $size - $length;
			my $got  = sysread $file, my $block, $left < 65536 ? $left : 65536;
			last if !$got;
			print $block;
			$last = substr $block, -1;
			$length += $got;
		}
		sysseek $file, $place, SEEK_SET;
	}
	print $last eq "\n" ? '' : "\n", "----- content ends\n";
	not_served($stop ? 'told to stop' : 'the file cannot be read to its end')
		if $length < $size;
	return;
}

sub try_to_serve {
	my ($socket) = @_;
	wait_for($socket, CLIENT_LIMIT)
		or not_served($stop ? 'told to stop' : 'the client sent nothing in time');
	my $file = receive_file($socket);
	print_file($file);
	send $socket, '!', MSG_NOSIGNAL
		or not_served('the client did not wait for the answer');
	return;
}

# Serves one client: true if it got its answer.
sub serve {
	my ($socket) = @_;
	return 0 if !check_peer($socket);
	return 1 if eval { try_to_serve($socket); 1 };
	die $@ if !ref $@;
	print "server $$: not served: $@->{reason}\n";
	return 0;
}

# Serves one client after another; $clients is 0 for no limit.
sub serve_all {
	my ($listener, $clients) = @_;
	my $served = 0;
	while ($clients == 0 || $served < $clients) {
		check_output();
		wait_for($listener) or return;
		if (accept my $socket, $listener) {
			$served += serve($socket);
		} else {
			fail "accept: $!" if $! != EAGAIN && $! != ECONNABORTED && $! != EINTR;
		}
	}
	return;
}

sub server {
	my ($path, $clients) = @_;
	local $SIG{INT} = local $SIG{TERM} = sub { $stop = 1 };
	my $place = take_place($path);
	print "server $$: listening on $path\n";
	my $done    = eval { serve_all($place->{listener}, $clients); 1 };
	my $why_not = $@;
	leave_place($place);
	die $why_not if !$done;
	print "server $$: ends\n";
	return;
}

# --- the client ------------------------------------------------------------------

# Connects, and waits for a server that is not up yet.
sub connect_in_time {
	my ($socket, $path) = @_;
	my $address = address($path);
	my $give_up = seconds() + SERVER_LIMIT;
	my $waiting = 0;
	until (connect $socket, $address) {
		fail "connecting to $path: $!"
			if $! != ENOENT && $! != ECONNREFUSED && $! != EINTR;
		fail "no server on $path in ", SERVER_LIMIT, ' seconds' if seconds() >= $give_up;
		print "client $$: no server on $path yet, waiting\n" if !$waiting++;
		Time::HiRes::sleep(0.02);
	}
	return;
}

sub client {
	my ($path, $name) = @_;
	address($path);
	open my $file, '<', $name or fail "$name: $!";
	print "client $$: opened $name as descriptor ", fileno $file, "\n";

	my $limit = pack 'l!l!', ANSWER_LIMIT, 0;
	socket my $socket, AF_UNIX, SOCK_STREAM, 0 or fail "socket: $!";
	setsockopt $socket, SOL_SOCKET, $_, $limit or fail "socket: $!"
		for SO_RCVTIMEO, SO_SNDTIMEO;
	connect_in_time($socket, $path);

	sendfd($socket, $file) or fail "sendfd: $!";
	print "client $$: sent descriptor ", fileno $file, "\n";

	# Stopped and continued, a receive with a time limit ends with EINTR.
	my $got;
	do { $got = sysread $socket, my $answer, 1 } while !defined $got && $! == EINTR;
	fail 'the server did not answer: ', defined $got ? 'it closed the connection' : "$!"
		if !$got;
	print "client $$: the server has read it\n";
	return;
}

sub usage {
	print STDERR "usage: unrelated server PATH [CLIENTS]\n",
		"       unrelated client PATH FILE\n";
	exit 2;
}

STDOUT->autoflush;
local $SIG{PIPE} = 'IGNORE';
my ($role, @arguments) = @ARGV;
$role //= '';
my $done = eval {
	if ($role eq 'client' && @arguments == 2) {
		client(@arguments);
	} elsif ($role eq 'server' && @arguments == 1) {
		server(@arguments, 0);
	} elsif ($role eq 'server' && @arguments == 2 && $arguments[1] =~ /\A[1-9][0-9]*\z/) {
		server(@arguments);
	} else {
		usage();
	}
	check_output();
	1;
};
print STDERR $@ if !$done;
exit($done ? 0 : 1);
