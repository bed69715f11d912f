# Threads of perl receive at the same time, each what was sent to it, and end in silence.
use strict;
use warnings;

use Config;
use Test::More;

plan skip_all => 'a perl without threads' if !$Config{useithreads};

my $program = <<'END';
use threads;
use strict;
use warnings;
use lib 't/lib';
use SendFD qw(:all);
use Socket qw(AF_UNIX PF_UNSPEC SOCK_STREAM);
use POSIX ();

sub pass {
	my ($size) = @_;
	socketpair my $left, my $right, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!";
	for (1 .. 200) {
		sendfds($left, (0) x $size) or die "sendfds: $!";
		my @fds = recvfds($right, $size);
		die "@fds" if @fds != $size || grep { $_ < 3 } @fds;
		POSIX::close($_) or die "descriptor $_: $!" for @fds;
		sendfd($left, 0) or die "sendfd: $!";
		my $handle = recv_handle($right) or die "recv_handle: $!";
		sendfds_msghdr($left, [0], {data => ['x', $size]}) or die "sendfds_msghdr: $!";
		my ($message, $fd) = recvfds_msghdr($right, 1, {data => [1, 10]});
		die "@{$message->{data}}" if "@{$message->{data}}" ne "x $size";
		POSIX::close($fd);
	}
	return 'passed';
}

my @threads = map { my $size = $_; threads->create(sub { pass($size) }) } 1 .. 4;
print join(' ', map { $_->join // 'died' } @threads), "\n";
END

my @include = map { "-I$_" } @INC;
open my $output, '-|', 'timeout', '120', $^X, @include, '-e', "open STDERR, '>&', STDOUT; $program"
	or die "$^X: $!";
is join('', <$output>), "passed passed passed passed\n", 'four threads pass, and say nothing else';
ok close $output, 'the status is 0';

done_testing;
