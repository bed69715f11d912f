# Programs that run at the same time, each with a time limit, a process group of its
# own, and descriptors of the test's choosing; none outlives the test. The tests are
# those of Test::More.
package Processes;
use strict;
use warnings;
use Errno qw(ENOENT);
use Exporter 'import';
use Fcntl qw(F_DUPFD);
use File::Temp qw(tempdir);
use POSIX qw(WNOHANG);
use Socket qw(AF_UNIX SOCK_STREAM PF_UNSPEC);
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime);
our @EXPORT = qw(missing scratch seconds socket_pair start wait_any wait_for run stop read_file write_file);

# The smallest Perl of Debian, perl-base, has no Test::More.
BEGIN {
    unless (eval { require Test::More }) {
        print 'not ' if ($ENV{REQUIRE_ALL} || 0) eq '1';
        print "ok 1 # SKIP no Test::More (Debian: perl)\n1..1\n";
        exit;
    }
}

our $limit = 60; # seconds
my %running;     # by process number
my $started = 0;
my ($test_process, $scratch) = ($$);

# Explanations of a failure go into the log of the test, its standard output.
Test::More->builder->failure_output(\*STDOUT);
$| = 1;

# Reports that something is not tested, and why; a failure with REQUIRE_ALL=1.
sub missing {
    my ($reason) = @_;
    my $tests = Test::More->builder;
    return $tests->skip($reason) if ($ENV{REQUIRE_ALL} || 0) ne '1';
    $tests->ok(0, "skipped: $reason");
}

# A directory for this test, removed when it ends.
sub scratch {
    return $scratch ||= tempdir('libsendfd.XXXXXX', TMPDIR => 1);
}

# By a clock that nobody sets.
sub seconds {
    return clock_gettime(CLOCK_MONOTONIC);
}

sub read_file {
    my ($path) = @_;
    open my $file, '<', $path or return '';
    local $/;
    return scalar(<$file>) // '';
}

sub write_file {
    my ($path, $content, $mode) = @_;
    open my $file, '>', $path or die "$path: $!\n";
    chmod $mode, $path if defined $mode;
    print $file $content;
    close $file or die "$path: $!\n";
    return $path;
}

sub socket_pair {
    socketpair my $one, my $other, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!\n";
    return ($one, $other);
}

# In the child: gives file handles these descriptor numbers. It moves them to high
# numbers first, because one may be open at the number of another.
sub place {
    my (%handles) = @_;
    my %high = map { $_ => fcntl($handles{$_}, F_DUPFD, 100) } keys %handles;
    for my $number (keys %high) {
        POSIX::dup2($high{$number}, $number) // die "dup2: $!\n";
        POSIX::close($high{$number});
    }
}

# If the interpreter of a script is missing, the script itself seems to be missing.
sub cannot_run {
    my ($path) = @_;
    my ($error, $missing) = ("$!", $! == ENOENT);
    if ($missing && open my $file, '<', $path) {
        my $line = <$file>;
        if ($line =~ /^#! *(\S+)/) {
            print STDERR "no $1\n";
            POSIX::_exit(77);
        }
    }
    print STDERR "$path: $error\n";
    POSIX::_exit(127);
}

# start(command => [...] or sub, fds => {3 => $socket}, environment => {...}): at
# once. When it has ended its exit status is in status (a sub returns it), and what
# it has printed in output and errors; its input is empty. A descriptor in fds is
# used instead of these.
sub start {
    my (%process) = @_;
    my $log = scratch() . '/' . ++$started;
    open my $in,  '<', '/dev/null'  or die "/dev/null: $!\n";
    open my $out, '>', "$log.output" or die "$log.output: $!\n";
    open my $err, '>', "$log.errors" or die "$log.errors: $!\n";
    my %fds = (0 => $in, 1 => $out, 2 => $err, %{$process{fds} || {}});
    my $pid = fork // die "fork: $!\n";
    if ($pid == 0) {
        %running = ();
        $SIG{$_} = 'DEFAULT' for qw(HUP INT TERM);
        POSIX::setpgid(0, 0);
        %ENV = (%ENV, %{$process{environment} || {}});
        eval { place(%fds); 1 } or POSIX::_exit(127);
        if (ref $process{command} eq 'CODE') {
            my $status = eval { $process{command}->() };
            print STDERR $@;
            POSIX::_exit($status // 1);
        }
        no warnings 'exec';
        exec { $process{command}[0] } @{$process{command}} or cannot_run($process{command}[0]);
    }
    POSIX::setpgid($pid, $pid);
    delete $process{fds}; # an end of a socket that stays open here has no end of file
    @process{qw(pid log ends)} = ($pid, $log, seconds() + ($process{limit} || $limit));
    $running{$pid} = \%process;
    return \%process;
}

sub end_overdue {
    for my $process (values %running) {
        next if $process->{overdue} || seconds() < $process->{ends};
        $process->{overdue} = 1;
        kill KILL => -$process->{pid};
    }
}

sub ended {
    my ($process, $status) = @_;
    $process->{status} = $status & 127 ? 128 + ($status & 127) : $status >> 8;
    $process->{output} = read_file("$process->{log}.output");
    $process->{errors} = read_file("$process->{log}.errors");
    $process->{errors} .= "ended by the test: it took too long\n" if $process->{overdue};
    unlink "$process->{log}.output", "$process->{log}.errors";
    return $process;
}

# Waits until one of the started processes ends, and returns it.
sub wait_any {
    while (%running) {
        my $pid = waitpid -1, WNOHANG;
        if ($pid > 0) {
            my $process = delete $running{$pid} or next;
            return ended($process, $?);
        }
        end_overdue();
        select undef, undef, undef, 0.003;
    }
    return;
}

sub wait_for {
    my ($process) = @_;
    1 while !defined $process->{status} && wait_any();
    return $process;
}

# run COMMAND...: runs it to its end.
sub run {
    return wait_for(start(command => [@_]));
}

sub stop {
    my ($process) = @_;
    kill KILL => -$process->{pid} if $running{$process->{pid}};
    return wait_for($process);
}

$SIG{$_} = sub { exit 1 } for qw(HUP INT TERM);

END {
    if ($$ == $test_process) {
        my $status = $?;
        kill KILL => -$_ for keys %running;
        waitpid $_, 0 for keys %running;
        if (defined $scratch) {
            require File::Path;
            File::Path::remove_tree($scratch);
        }
        $? = $status;
    }
}

1;
