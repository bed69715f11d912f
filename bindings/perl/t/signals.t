use strict;
use warnings;

use lib 't/lib';

use Errno qw(EAGAIN EINTR);
use FFI::Platypus;
use POSIX ();
use Socket qw(MSG_DONTWAIT SO_SNDBUF SOL_SOCKET);
use SendFD qw(:all);
use Test::More;
use Testing;

# Each puts what it receives into an array: between the two there is no statement.
my %receives = (
	recvfd         => sub { $_[1][0] = recvfd($_[0]) },
	recvfds        => sub { @{$_[1]} = recvfds($_[0], 2) },
	recvfds_all    => sub { @{$_[1]} = recvfds_all($_[0], 2) },
	recvfds_msg    => sub { (undef, @{$_[1]}) = recvfds_msg($_[0], 2, 10) },
	recvfds_msghdr => sub { (undef, @{$_[1]}) = recvfds_msghdr($_[0], 2, {data => 10}) },
	recv_handle    => sub { $_[1][0] = recv_handle($_[0]) },
	recv_handles   => sub { @{$_[1]} = recv_handles($_[0], 2) },
	recv_socket    => sub { $_[1][0] = recv_socket($_[0]) },
);

# The C function: unlike POSIX::raise, it lets perl go on to where it runs handlers.
FFI::Platypus->new(api => 2, lib => [undef])->attach([raise => 'c_raise'] => ['int'] => 'int');

# Calls a function of the library with a signal that comes as soon as it has returned.
sub with_signal {
	my ($function, @when) = @_;
	no strict 'refs';
	no warnings 'redefine';
	my $original = \&{"SendFD::$function"};
	local *{"SendFD::$function"} = sub { ($original->(@_), c_raise(POSIX::SIGUSR1()))[0] };
	return $when[0]->();
}

test 'a handler that dies just after the library has received' => sub {
	my %function = (recv_handle => '_c_recvfd', recv_handles => '_c_recvfds',
		recv_socket => '_c_recvfd');
	for my $name (sort keys %receives) {
		my ($left, $right) = pair();
		sendfds($left, ($left) x ($name =~ /s(?:_|\z)/ ? 2 : 1));
		my $before = open_descriptors();
		my (@got, $died);
		with_signal($function{$name} // "_c_$name", sub {
			local $SIG{USR1} = sub { die "stop\n" };
			eval { $receives{$name}->($right, \@got); 1 } or $died = $@;
		});
		is $died, "stop\n", "$name: the caller sees the exception";
		is open_descriptors() - $before, grep({ defined && !ref } @got) + grep({ ref } @got),
			"$name: what the caller did not get is closed";
		for (@got) { POSIX::close($_) if defined && !ref }
	}
};

test 'a handler that dies just after the library has failed' => sub {
	for my $name (sort grep { !/handle|socket/ } keys %receives) {
		my ($left, $right) = pair();
		close $left;
		my $died;
		with_signal("_c_$name", sub {
			local $SIG{USR1} = sub { die "stop\n" };
			eval { $receives{$name}->($right, []); 1 } or $died = $@;
		});
		is $died, "stop\n", $name;
	}
};

test 'a handler that changes $! just after the library has failed' => sub {
	for my $name (sort grep { !/handle|socket/ } keys %receives) {
		my ($left, $right) = pair();
		non_blocking($right, 1);
		my $errno;
		with_signal("_c_$name", sub {
			local $SIG{USR1} = sub { $! = EINTR };
			$receives{$name}->($right, []);
			$errno = $! + 0;
		});
		is $errno, EAGAIN, $name;
	}
};

test 'a handler that dies does so where the arguments are looked at, too' => sub {
	my ($left, $right) = pair();
	my $file = bless [], 'Interrupted';
	local $SIG{USR1} = sub { die "stop\n" };
	dies_like(qr/\Astop\n\z/, sub { sendfd($left, $file) }, 'in fileno of an object');
	nothing_was_sent($right);
};

sub Interrupted::fileno { main::c_raise(POSIX::SIGUSR1()); return 0 }

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
			sub { signals('USR1', 1, sub { $receives{$name}->($right, []) }) }, $name);
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
	for my $name (grep { $_ ne 'recv_socket' } sort keys %receives) {
		my ($left, $right) = pair();
		my $handled = 0;
		# It changes $!, and passes descriptors itself.
		local $SIG{USR1} = sub {
			sendfd($left, $files[0]) for ++$handled == 2 ? (1, 2) : ();
			recvfd(-1);
		};
		signals('USR1', 2, sub {
			$receives{$name}->($right, \my @got);
			for my $got (@got) {
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
