# A timer interrupts each receive at random times, and its handler dies: no descriptor is
# lost, and every exception reaches the caller. SENDFD_STORM: rounds of each function.
use strict;
use warnings;

use lib 't/lib';

use POSIX ();
use SendFD qw(:all);
use Test::More;
use Testing;
use Time::HiRes qw(setitimer ITIMER_REAL);

my $rounds = $ENV{SENDFD_STORM} // 1500;

# Each puts what it receives into an array that outlives the exception.
my %receives = (
	recvfd         => sub { $_[1][0] = recvfd($_[0]) },
	recvfds        => sub { @{$_[1]} = recvfds($_[0], 3) },
	recvfds_all    => sub { @{$_[1]} = recvfds_all($_[0], 3) },
	recvfds_msg    => sub { (undef, @{$_[1]}) = recvfds_msg($_[0], 3, 10) },
	recvfds_msghdr => sub { (undef, @{$_[1]}) = recvfds_msghdr($_[0], 3, {data => [5, 5]}) },
	recv_handle    => sub { $_[1][0] = recv_handle($_[0]) },
	recv_handles   => sub { @{$_[1]} = recv_handles($_[0], 3) },
	recv_socket    => sub { $_[1][0] = recv_socket($_[0]) },
);

for my $name (sort keys %receives) {
	my $receive = $receives{$name};
	my $one   = $name =~ /\A(?:recvfd|recv_handle|recv_socket)\z/;
	my $armed = 0;
	my ($ran, $seen, $warned) = (0, 0, 0);
	local $SIG{__WARN__} = sub { $warned++; diag @_ };
	local $SIG{ALRM}     = sub {
		return if !$armed;
		$armed = 0;
		$ran++;
		die "stop\n";
	};
	my ($first, $second) = pair();
	my $before = open_descriptors();
	for (1 .. $rounds) {
		my ($left, $right) = pair();
		sendfds($left, $one ? $first : ($first, $second, $first)) or die "sendfds: $!";
		my @got;
		my $done = eval {
			$armed = 1;
			setitimer(ITIMER_REAL, 1e-6 + rand 60e-6);
			$receive->($right, \@got);
			$armed = 0;
			1;
		};
		my $died = $@;
		$armed = 0;
		$seen++ if !$done && $died eq "stop\n";
		for (@got) { POSIX::close($_) if defined && !ref }
	}
	setitimer(ITIMER_REAL, 0);
	is open_descriptors(), $before, "$name: none is lost in $rounds rounds, $ran interrupted";
	is $seen, $ran, "$name: the caller sees every exception";
	is $warned, 0, "$name: none becomes a warning";
}

done_testing;
