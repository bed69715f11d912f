# What the tests of SendFD share. Every test counts the open descriptors before and after.
package Testing;

use strict;
use warnings;

use Errno qw(EAGAIN);
use Exporter qw(import);
use Fcntl qw(F_GETFL F_SETFL O_NONBLOCK SEEK_SET);
use File::Temp qw(tempdir);
use POSIX ();
use SendFD ();
use Socket qw(AF_UNIX MSG_DONTWAIT PF_UNSPEC SOCK_STREAM);
use Test::More;
use Time::HiRes ();

our @EXPORT = qw(
	open_descriptors test pair directory files expected contents no_such_descriptor
	fails dies_like nothing_was_sent non_blocking signals
);

my $directory = tempdir(CLEANUP => 1);

sub directory () { return $directory }

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
	is $errno, $number, "$name: \$! says why";
	return;
}

sub dies_like {
	my ($pattern, $code, $name) = @_;
	eval { my @results = $code->(); 1 } and return fail "$name: it does not die";
	like $@, $pattern, $name;
	return;
}

sub nothing_was_sent {
	my ($receiver) = @_;
	fails(EAGAIN, sub { SendFD::recvfds_msg($receiver, 0, 1, MSG_DONTWAIT) }, 'nothing was sent');
	return;
}

sub non_blocking {
	my ($socket, $on) = @_;
	my $flags = fcntl $socket, F_GETFL, 0;
	fcntl $socket, F_SETFL, $on ? $flags | O_NONBLOCK : $flags & ~O_NONBLOCK
		or die "fcntl: $!";
	return;
}

# signals NAME TIMES CODE: a child sends this process a signal as soon as it waits in a
# system call; each time that it waits again, so many times.
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
	my $done = eval { my @results = $code->(); 1 };
	my $died = $@;
	kill KILL => $child;
	waitpid $child, 0;
	die $died if !$done;
	return;
}

1;
