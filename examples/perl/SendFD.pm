package SendFD;

=encoding UTF-8

=head1 NAME

SendFD - pass open file descriptors over a Unix-domain socket, with libsendfd

=head1 SYNOPSIS

    use SendFD qw(sendfd recv_handle);

    sendfd($socket, $file) or die "sendfd: $!";

    while (my $file = recv_handle($socket)) { ... }
    die "recv_handle: $!" if $!;        # 0 at the end of file

=head1 DESCRIPTION

Sockets and files are given as handles or as numbers. What you send stays open and
yours. What you receive is yours to close (POSIX::close for a number), and
close-on-exec. Environment: LIBSENDFD, the path of the library if it is not where
the loader looks.

    sendfd($socket, $file)                       1
    recvfd($socket)                              a number; 0 is one: test defined
    sendfds($socket, @files)                     how many: all of them, 1 to 253
    recvfds($socket, $max_fds)                   a list of 1 to $max_fds numbers
    sendfds_all($socket, @files)                 how many went
    recvfds_all($socket, $nfds)                  a list of numbers
    sendfds_msg($socket, \@files, $data, $flags) how many bytes went
    recvfds_msg($socket, $max_fds, $length, $flags)
                                                 a list: the bytes, then numbers
    sendfd_version()                             "1.0.0"
    recv_handle($socket, $layers)                a handle, opened as its flags are
    open_received($fd, $layers)                  likewise, of a received number; if
                                                 it fails, the number is closed

Failure is undef, or the empty list, with $! set, as of sysread; misuse (what is no
handle and no number) dies before anything is sent. The end of file is that with $!
set to 0, as of readdir: sysread's 0 is a descriptor here.

sendfds_all and recvfds_all may end early: fewer went or came than asked for, 0
included, and $! tells why. Those that came are yours.

A signal handler that dies interrupts a call, and what has come in it is closed;
one that does not die lets it go on, so EINTR is not seen.

=cut

use strict;
use warnings;

use Carp qw(croak);
use Errno qw(EINTR);
use Exporter qw(import);
use Fcntl qw(F_GETFL O_ACCMODE O_APPEND O_RDONLY O_RDWR);
use FFI::Platypus 2.00;
use FFI::Platypus::Buffer qw(grow scalar_to_pointer set_used_length);
use List::Util qw(min);
use POSIX ();
use Scalar::Util qw(blessed);

our @EXPORT_OK = qw(
	sendfd recvfd sendfds recvfds sendfds_all recvfds_all sendfds_msg recvfds_msg
	sendfd_version recv_handle open_received SENDFD_MAX_FDS
);
our %EXPORT_TAGS = (all => \@EXPORT_OK);

# Most descriptors in one message.
use constant SENDFD_MAX_FDS => 253;

# The name that the library has at run time: libsendfd.so, without the number, is
# for the linker and comes with the development package only, and is what
# find_lib would look for.
my $ffi = FFI::Platypus->new(api => 2, lib => $ENV{LIBSENDFD} || 'libsendfd.so.1');

my %c = map { $_->[0] => $ffi->function(@$_) } (
	[sendfd         => ['int', 'int']                                        => 'int'],
	[recvfd         => ['int']                                               => 'int'],
	[sendfds        => ['int', 'int[]', 'int']                               => 'int'],
	[recvfds        => ['int', 'int[]', 'int']                               => 'int'],
	[sendfds_all    => ['int', 'int[]', 'int']                               => 'int'],
	[recvfds_all    => ['int', 'int[]', 'int']                               => 'int'],
	[sendfds_msg    => ['int', 'int[]', 'int', 'opaque', 'size_t', 'int']    => 'ssize_t'],
	[recvfds_msg    => ['int', 'int[]', 'int*', 'opaque', 'size_t', 'int']   => 'ssize_t'],
	[sendfd_version => []                                                    => 'string'],
);

sub sendfd_version { return $c{sendfd_version}->call }

sub sendfd {
	my ($socket, $fd) = @_;
	return _until_done('sendfd', _fd($socket), _fd($fd));
}

sub recvfd {
	my ($socket) = @_;
	return _until_done('recvfd', _fd($socket));
}

sub sendfds {
	my ($socket, @files) = @_;
	my @fds = map { _fd($_) } @files;
	return _until_done('sendfds', _fd($socket), \@fds, scalar @fds);
}

sub recvfds {
	my ($socket, $max_fds) = @_;
	my $room  = SendFD::Room->new(min(_number($max_fds), SENDFD_MAX_FDS));
	my $count = _until_done('recvfds', _fd($socket), $room, scalar @$room);
	return $room->claim($count // 0);
}

sub sendfds_all {
	my ($socket, @files) = @_;
	my @fds  = map { _fd($_) } @files;
	my $sent = 0;
	$socket = _fd($socket);
	while (1) {
		my @rest = @fds[$sent .. $#fds];
		my ($result, $errno) = _once('sendfds_all', $socket, \@rest, scalar @rest);
		$sent += $result if $result > 0;
		next if $errno == EINTR && $result < @rest;
		$! = $errno;
		return $sent;
	}
}

sub recvfds_all {
	my ($socket, $nfds) = @_;
	$socket = _fd($socket);
	my $unclaimed = SendFD::Room->new(0);
	my $left      = _number($nfds);
	while (1) {
		# A new array for each call, which writes to its beginning.
		my $room = SendFD::Room->new($left);
		my ($result, $errno) = _once('recvfds_all', $socket, $room, $left);
		push @$unclaimed, $room->claim($result) if $result > 0;
		$left -= $result if $result > 0;
		next if $errno == EINTR && $left > 0;
		$! = $errno;
		return $unclaimed->claim(scalar @$unclaimed);
	}
}

sub sendfds_msg {
	my ($socket, $files, $data, $flags) = @_;
	croak 'the descriptors are not a reference to an array' if ref $files ne 'ARRAY';
	croak 'the data is undefined' if !defined $data;
	croak 'wide character in the data' if !utf8::downgrade($data, 1);
	my @fds = map { _fd($_) } @$files;
	return _until_done('sendfds_msg', _fd($socket), \@fds, scalar @fds,
		scalar_to_pointer($data), length $data, _number($flags // 0));
}

sub recvfds_msg {
	my ($socket, $max_fds, $length, $flags) = @_;
	$socket = _fd($socket);
	$max_fds = _number($max_fds);
	$length  = _number($length);
	$flags   = _number($flags // 0);
	croak "a negative length: $length" if $length < 0;
	my $room = SendFD::Room->new(min($max_fds, SENDFD_MAX_FDS));
	# Memory of its own: a copy of a string may share that of the original.
	my $data = '';
	grow($data, $length + 1);
	my $pointer = scalar_to_pointer($data);
	while (1) {
		my $count = min($max_fds, SENDFD_MAX_FDS);    # a failure leaves 0
		my ($result, $errno) =
			_once('recvfds_msg', $socket, $room, \$count, $pointer, $length, $flags);
		next if $result == -1 && $errno == EINTR;
		$! = $errno;
		return if $result < 0;
		set_used_length($data, $result);
		return ($data, $room->claim($count));
	}
}

sub recv_handle {
	my ($socket, $layers) = @_;
	my $fd = recvfd($socket);
	return if !defined $fd;
	return open_received($fd, $layers);
}

sub open_received {
	my ($fd, $layers) = @_;

	# fcntl wants a handle. That of the real mode shares the descriptor with this
	# one, and perl closes it with the last of the two.
	open my $probe, '<&=', $fd or return _closed($fd);
	my $flags  = fcntl $probe, F_GETFL, 0 or return;
	my $access = $flags & O_ACCMODE;
	my $mode =
		  $access == O_RDONLY ? '<'
		: $access == O_RDWR   ? '+<'
		: $flags & O_APPEND   ? '>>'
		:                       '>';
	open my $handle, "$mode&=", $fd or return;
	if (defined $layers && $layers ne '') {
		binmode $handle, $layers or return;
	}
	return $handle;
}

# Closes a descriptor; the reason for it stays in $!.
sub _closed {
	my ($fd) = @_;
	local $!;
	POSIX::close($fd);
	return;
}

# Calls a function once: what it returned, and errno, which is 0 at the end of
# file, as the library leaves it alone then.
sub _once {
	my ($name, @arguments) = @_;
	$! = 0;
	return ($c{$name}->call(@arguments), $! + 0);
}

# Calls a function until it is done. In between perl runs the handlers of signals:
# the interrupted call returns EINTR for that. If one dies, so does this.
sub _until_done {
	my ($name, @arguments) = @_;
	while (1) {
		my ($result, $errno) = _once($name, @arguments);
		next if $result == -1 && $errno == EINTR;
		$! = $errno;
		return $result < 0 ? undef : $result;
	}
}

# The descriptor of a handle, or a number. A handle that is closed has -1, with
# which the call fails: EBADF.
sub _fd {
	my ($file) = @_;
	return _number($file) if !ref $file && ref \$file ne 'GLOB';
	local $@;
	my $is_object = blessed $file && $file->can('fileno');
	my $fd        = eval { $is_object ? $file->fileno : fileno $file };
	croak "not a handle: $file" if $@;
	return $fd // -1;
}

# An int of C: platypus would take undef for 0, and cut off what is too much.
sub _number {
	my ($number) = @_;
	croak 'undefined, where a number is wanted' if !defined $number;
	croak "not a number: $number" if $number !~ /\A-?[0-9]+\z/;
	croak "too large a number: $number" if abs $number > 0x7fffffff;
	return $number + 0;
}

# An array that received descriptors are written to, as long as there may be
# descriptors: platypus extends none. It closes those that nobody has claimed, so
# that none is lost if a signal handler dies.
package SendFD::Room;

use List::Util qw(max);

sub new {
	my ($class, $count) = @_;
	return bless [(-1) x max($count, 0)], $class;
}

sub claim {
	my ($self, $count) = @_;
	return splice @$self, 0, $count;
}

sub DESTROY {
	my ($self) = @_;
	local ($!, $@);
	POSIX::close($_) for grep { $_ >= 0 } @$self;
	return;
}

1;
