#!/usr/bin/perl
# Two unrelated processes pass an open file over a socket in the file system. In two
# terminals, in any order:
#
#     ./unrelated.pl server PATH [CLIENTS]     until Ctrl-C, or CLIENTS were served
#     ./unrelated.pl client PATH FILE
#
# The server reads the client's file through the descriptor that it is sent. PATH has
# one owner at a time: a second server is refused, and the socket that a killed one left
# is replaced. Use a directory of your own: it is locked while a server starts. The other
# end may be the example of another language.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use Errno qw(EAGAIN ECONNREFUSED EMSGSIZE ENOENT ENOMSG EPROTOTYPE);
use Fcntl qw(:flock :mode :seek O_DIRECTORY O_RDONLY);
use File::Basename qw(dirname);
use IO::Handle;
use SendFD qw(sendfd recv_handle);
use Socket qw(AF_UNIX MSG_NOSIGNAL SOCK_NONBLOCK SOCK_STREAM SOL_SOCKET SOMAXCONN
	SO_PEERCRED SO_RCVTIMEO pack_sockaddr_un);
use Time::HiRes qw(sleep);

use constant {SECONDS_FOR_SERVER => 10, SECONDS_FOR_CLIENT => 5};

my ($path, $address);

sub fail { die 'unrelated: ', @_, "\n" }

sub set_address {
	($path) = @_;
	my $length = length $path;
	fail "the path of a socket has 1 to 107 bytes, this one has $length: $path"
		if $length < 1 || $length > 107;
	$address = pack_sockaddr_un($path);
	return;
}

sub unix_socket {
	my ($flags) = @_;
	socket my $socket, AF_UNIX, SOCK_STREAM | $flags, 0 or fail "socket: $!";
	return $socket;
}

# --- the server ------------------------------------------------------------------

my $own_socket;

# What tells one file from another.
sub identity {
	my ($device, $inode) = lstat shift;
	return defined $inode ? "$device:$inode" : '';
}

# Removes a socket that nobody listens on, and nothing else. Its server may be just about
# to remove it: then it is gone (ENOENT).
sub remove_stale_socket {
	my @file = lstat $path;
	return if !@file && $! == ENOENT;
	fail "$path: $!" if !@file;
	fail "$path exists and is not a socket, leaving it alone" if !S_ISSOCK($file[2]);
	fail "another server is running on $path"
		if connect(unix_socket(SOCK_NONBLOCK), $address) || $! == EAGAIN || $! == EPROTOTYPE;
	fail "$path: $!" if ($! != ECONNREFUSED || !unlink $path) && $! != ENOENT;
	print "server $$: took over $path, which a server left\n";
	return;
}

# The lock on the directory makes servers that start at once do so one by one.
sub listen_at_path {
	my $directory;
	sysopen $directory, dirname($path), O_RDONLY | O_DIRECTORY
		and flock $directory, LOCK_EX
		or fail "the directory of $path: $!";
	remove_stale_socket();
	my $listener = unix_socket(0);
	umask 0177;    # for its owner only, from its first moment on
	bind $listener, $address
		and $own_socket = identity($path)
		and listen $listener, SOMAXCONN
		or fail "listening on $path: $!";
	return $listener;
}

# Before the listener is closed: until then no other server takes the path.
sub remove_own_socket {
	unlink $path if identity($path) eq $own_socket;
	return;
}

# Whether the client may be served: the same user, or root.
sub check_peer {
	my ($socket) = @_;
	my $peer = getsockopt $socket, SOL_SOCKET, SO_PEERCRED or fail "SO_PEERCRED: $!";
	my ($pid, $user) = unpack 'iII', $peer;
	my $welcome = $user == $> || $user == 0;
	print "server $$: process $pid of user $user connects",
		$welcome ? '' : ': refused, it is another user', "\n";
	return $welcome;
}

# Dies with a reference to why the client is not served.
sub receive_file {
	my ($socket) = @_;
	setsockopt $socket, SOL_SOCKET, SO_RCVTIMEO, pack 'l!l!', SECONDS_FOR_CLIENT, 0
		or die \"$!";
	my $file = recv_handle($socket);
	return $file if $file;
	die \'the client closed the connection and sent nothing' if !$!;
	die \'the client sent nothing in time'                   if $! == EAGAIN;
	die \'the client sent a message without a descriptor'    if $! == ENOMSG;
	die \'the client sent more than one descriptor'          if $! == EMSGSIZE;
	die \"$!";
}

# Prints a file from its beginning. The offset is the client's as well, and perl has no
# pread: it goes back to where it was.
sub print_file {
	my ($file) = @_;
	die \'the client sent something that is not a regular file' if !-f $file;
	my $size = -s _;
	printf "server %d: received a file of %d bytes, here it is descriptor %d\n", $$, $size,
		fileno $file;

	print "----- content begins\n";
	my $offset = sysseek $file, 0, SEEK_CUR;
	sysseek $file, 0, SEEK_SET;
	my ($length, $last) = (0, "\n");
	while ($length < $size && sysread $file, my $block, 65536) {
		print $block;
		$length += length $block;
		$last = substr $block, -1;
	}
	sysseek $file, $offset, SEEK_SET;
	print $last eq "\n" ? '' : "\n", "----- content ends\n";
	die \'the file cannot be read to its end' if $length < $size;
	return;
}

# Whether the client got its answer.
sub serve {
	my ($socket) = @_;
	return 0 if !check_peer($socket);
	return 1 if eval {
		print_file(receive_file($socket));
		send $socket, '!', MSG_NOSIGNAL or die \'the client did not wait for the answer';
	};
	die $@ if !ref $@;
	print "server $$: not served: ${$@}\n";
	return 0;
}

sub server {
	my ($clients) = @_;
	my $listener = listen_at_path();
	$SIG{INT} = $SIG{TERM} = sub { remove_own_socket(); exit 0 };
	print "server $$: listening on $path\n";
	for (my $served = 0; !defined $clients || $served < $clients;) {
		accept my $socket, $listener or fail "accept: $!";
		$served += serve($socket);
	}
	remove_own_socket();
	print "server $$: ends\n";
	return;
}

# --- the client ------------------------------------------------------------------

# Connects, and waits for a server that is not up yet.
sub connect_in_time {
	my $socket = unix_socket(0);
	for (my $i = 0; !connect $socket, $address; $i++) {
		fail "connecting to $path: $!" if $! != ENOENT && $! != ECONNREFUSED;
		fail "no server on $path in ${\SECONDS_FOR_SERVER} seconds"
			if $i == SECONDS_FOR_SERVER * 50;
		print "client $$: no server on $path yet, waiting\n" if $i == 0;
		sleep 0.02;
	}
	return $socket;
}

sub client {
	my ($name) = @_;
	open my $file, '<', $name or fail "$name: $!";
	print "client $$: opened $name as descriptor ", fileno $file, "\n";
	my $socket = connect_in_time();
	sendfd($socket, $file) or fail "sendfd: $!";
	print "client $$: sent descriptor ", fileno $file, "\n";

	my $got = sysread $socket, my $answer, 1;
	fail 'the server did not answer: ', defined $got ? 'it closed the connection' : "$!"
		if !$got;
	print "client $$: the server has read it\n";
	return;
}

STDOUT->autoflush;    # whole lines, at once, in a pipe too
my ($role, @arguments) = @ARGV;
my $is_client = @ARGV == 3 && $role eq 'client';
my $is_server = @ARGV >= 2 && $role eq 'server' && @ARGV <= 3
	&& ($arguments[1] // 1) =~ /\A[1-9][0-9]*\z/;
if (!$is_client && !$is_server) {
	print STDERR "usage: unrelated server PATH [CLIENTS]\n",
		"       unrelated client PATH FILE\n";
	exit 2;
}
eval {
	set_address($arguments[0]);
	$is_client ? client($arguments[1]) : server($arguments[1]);
	1;
} or do {
	print STDERR $@;
	exit 1;
};
