#!/usr/bin/perl
# The modules that pass descriptors in Perl, and libsendfd by the package SendFD: one
# descriptor, or 253 in a message, sent, received and closed over a socketpair. Prints a
# line for each contender in each round, for rounds.awk.
#
#     perl.pl SECONDS    to spend on each case
use strict;
use warnings;

use FindBin ();
use lib "$FindBin::RealBin/../../bindings/perl/lib";
use POSIX ();
use Socket qw(AF_UNIX PF_UNSPEC SOCK_STREAM SOL_SOCKET SCM_RIGHTS);
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

use constant MANY => 253;
# Seconds of each contender in a round: enough to be worth looking at the clock.
use constant SLICE => 0.001;

socketpair my $left, my $right, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!";
my ($sender, $receiver) = (fileno $left, fileno $right);
my @handles = map { open my $file, '<', '/dev/null' or die "/dev/null: $!"; $file } 1 .. MANY;
my @files   = map { fileno $_ } @handles;
my ($handle, $file) = ($handles[0], $files[0]);

# Contenders, each a name and what it does; the first is the baseline.
my (@one, @many);

sub has {
	my ($contender, $module) = @_;
	return 1 if eval "require $module";
	print STDERR "# skipped: $contender: $module cannot be loaded\n";
	return 0;
}

sub close_all {
	@_ == MANY or die scalar(@_), ' descriptors came';
	POSIX::close($_) for @_;
	return;
}

sub add_fdpass {
	has('IO::FDPass', 'IO::FDPass') or return;
	push @one, ['IO::FDPass', sub {
		IO::FDPass::send($sender, $file) or die "IO::FDPass::send: $!";
		my $fd = IO::FDPass::recv($receiver);
		$fd >= 0 or die "IO::FDPass::recv: $!";
		POSIX::close($fd);
	}];
	return;
}

sub pass_by_msghdr {
	my ($room, @fds) = @_;
	my $message = Socket::MsgHdr->new(buf => "\0");
	$message->cmsghdr(SOL_SOCKET, SCM_RIGHTS, pack 'i*', @fds);
	defined Socket::MsgHdr::sendmsg($left, $message) or die "sendmsg: $!";
	my $came = Socket::MsgHdr->new(buflen => 1, controllen => $room);
	Socket::MsgHdr::recvmsg($right, $came) or die "recvmsg: $!";
	my (undef, undef, $data) = $came->cmsghdr;
	return unpack 'i*', $data;
}

sub add_msghdr {
	has('Socket::MsgHdr', 'Socket::MsgHdr') or return;
	push @one, ['Socket::MsgHdr', sub {
		my ($fd) = pass_by_msghdr(24, $file);
		POSIX::close($fd);
	}];
	push @many, ['Socket::MsgHdr', sub { close_all(pass_by_msghdr(16 + 4 * MANY + 4, @files)) }];
	return;
}

sub add_module {
	push @one, ['libsendfd by FFI::Platypus', sub {
		SendFD::sendfd($left, $handle) or die "sendfd: $!";
		my $fd = SendFD::recvfd($right);
		defined $fd or die "recvfd: $!";
		POSIX::close($fd);
	}];
	push @one, ['libsendfd by FFI::Platypus; a handle', sub {
		SendFD::sendfd($left, $handle) or die "sendfd: $!";
		SendFD::recv_handle($right) or die "recv_handle: $!";
	}];
	push @many, ['libsendfd by FFI::Platypus', sub {
		SendFD::sendfds($left, @handles) or die "sendfds: $!";
		close_all(SendFD::recvfds($right, MANY));
	}];
	return;
}

sub add_functions {
	my $ffi = FFI::Platypus->new(api => 2, lib => $ENV{LIBSENDFD} || 'libsendfd.so.1');
	$ffi->attach([sendfd  => 'c_sendfd']  => ['int', 'int']          => 'int');
	$ffi->attach([recvfd  => 'c_recvfd']  => ['int']                 => 'int');
	$ffi->attach([sendfds => 'c_sendfds'] => ['int', 'int[]', 'int'] => 'int');
	$ffi->attach([recvfds => 'c_recvfds'] => ['int', 'int[]', 'int'] => 'int');
	my $name = 'libsendfd by FFI::Platypus; its functions alone';
	push @one, [$name, sub {
		c_sendfd($sender, $file) == 1 or die "sendfd: $!";
		my $fd = c_recvfd($receiver);
		$fd >= 0 or die "recvfd: $!";
		POSIX::close($fd);
	}];
	push @many, [$name, sub {
		c_sendfds($sender, \@files, MANY) == MANY or die "sendfds: $!";
		my @fds = (-1) x MANY;
		my $count = c_recvfds($receiver, \@fds, MANY);
		$count > 0 or die "recvfds: $!";
		close_all(@fds[0 .. $count - 1]);
	}];
	return;
}

sub timed {
	my ($work, $count) = @_;
	my $start = clock_gettime(CLOCK_MONOTONIC);
	$work->() for 1 .. $count;
	return (clock_gettime(CLOCK_MONOTONIC) - $start) / $count;
}

# Each contender in its turn, in each round from the next one on.
sub measure {
	my ($case, $seconds, @contenders) = @_;
	return if !@contenders;
	my $first = $contenders[0][1];
	$first->();
	my $count = POSIX::fmax(1, int(SLICE / timed($first, 3)));
	timed($_->[1], $count) for @contenders;
	my $end = clock_gettime(CLOCK_MONOTONIC) + $seconds;
	for (my $round = 0; $round < 3 || clock_gettime(CLOCK_MONOTONIC) < $end; $round++) {
		my @figures;
		for my $place (map { ($_ + $round) % @contenders } 0 .. $#contenders) {
			$figures[$place] = timed($contenders[$place][1], $count);
		}
		printf "%s,%s,ns,%d,%.0f\n", $case, $contenders[$_][0], $round, $figures[$_] * 1e9
			for 0 .. $#contenders;
	}
	return;
}

my ($seconds) = @ARGV;
add_fdpass();
add_msghdr();
if (has('libsendfd by FFI::Platypus', 'FFI::Platypus')) {
	require SendFD;
	add_module();
	add_functions();
}
measure('Perl: one descriptor', $seconds, @one);
measure('Perl: 253 in a message', $seconds, @many);
