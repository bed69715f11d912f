use strict;
use warnings;

use lib 't/lib';

use Errno qw(EAGAIN EINVAL EMSGSIZE);
use IO::File;
use Socket qw(MSG_OOB MSG_PEEK SOCK_SEQPACKET);
use SendFD qw(:all);
use Test::More;
use Testing;

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
	is $! + 0,             EINVAL, 'says why';
	for my $count (0, -1, -1000) {
		fails(EINVAL, sub { recvfds($right, $count) },         "recvfds of $count");
		fails(EINVAL, sub { recvfds_all($right, $count) },     "recvfds_all of $count");
		fails(EINVAL, sub { recvfds_msg($right, $count, 10) }, "recvfds_msg of $count")
			if $count < 0;
	}
	is sendfds_msg($left, [], 'abc'), 3, 'none at all with data';
	is_deeply [recvfds_msg($right, 0, 10)], ['abc'], 'is received';
	fails(EINVAL, sub { recvfds_msg($right, 0, 0) }, 'recvfds_msg of no bytes');
	fails(EINVAL, sub { sendfds_msg($left, [$left], '') },
		'sendfds_msg of descriptors without bytes');
	nothing_was_sent($right);
};

test 'data with descriptors, and flags' => sub {
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

done_testing;
