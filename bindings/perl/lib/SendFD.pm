package SendFD;

use 5.020;
use strict;
use warnings;

our $VERSION = '1.0.0';

use Carp qw(croak);
use Errno qw(EINTR);
use Exporter ();
use Fcntl qw(F_GETFL O_ACCMODE O_APPEND O_RDWR O_WRONLY);
use FFI::Platypus 2.00;
use FFI::Platypus::Buffer qw(grow scalar_to_pointer);
use FFI::Platypus::DL qw(dlerror dlopen dlsym RTLD_PLATYPUS_DEFAULT);
use List::Util qw(max min sum0);
use POSIX ();
use Scalar::Util qw(blessed looks_like_number reftype);
use Socket qw(AF_INET AF_INET6 AF_UNIX SOL_SOCKET SO_DOMAIN);

our @EXPORT_OK = qw(
	sendfd recvfd sendfds recvfds sendfds_all recvfds_all sendfds_msg recvfds_msg
	sendfds_msghdr recvfds_msghdr pack_control unpack_control
	recv_handle recv_handles recv_socket open_received
	sendfd_version SENDFD_MAX_FDS RECVFD_PARTIAL
);
our %EXPORT_TAGS = (all => \@EXPORT_OK);

use constant {
	SENDFD_MAX_FDS => 253,
	RECVFD_PARTIAL => 0x10000000,
};

# How a descriptor gets from the library to its owner
#
# A signal handler may die. Perl runs handlers where a statement begins and where the
# program branches: &&, ||, //, ?:, loops, and the call of a sub. A number that only a
# variable here holds would be lost then; and an object whose DESTROY closes it would
# swallow the exception of a handler that runs in there. So the call of the library, and
# whatever makes its result the caller's or a handle's, is one expression without any of
# these. It says "return RESULT if CONDITION" so:
#
#     map +(return RESULT), (1) x CONDITION
#
# t/signals.t sends each function a signal at this very place. ($! is safe: perl saves it
# when it runs a handler.)

# --- the library ----------------------------------------------------------------

# In a set-id program taint mode is on, unless perl was built without it.
sub _trusts_environment {
	return !${^TAINT} && $< == $> && (split ' ', $()[0] == (split ' ', $))[0];
}

sub _path {
	my $path = $ENV{LIBSENDFD} // '';
	return $path if $path ne '' && _trusts_environment();
	my ($bundled) = grep { -e } map { "$_/auto/SendFD/libsendfd.so.1" } grep { !ref } @INC;
	return $bundled // 'libsendfd.so.1';
}

# Arrays, buffers and struct msghdr are strings of perl's. fcntl is variadic in C; for
# F_GETFL it has no third argument.
sub _attach {
	my $path    = _path();
	my $library = dlopen($path, RTLD_PLATYPUS_DEFAULT)
		or croak "Can't load '$path' for module SendFD: ", dlerror();
	my $ffi = FFI::Platypus->new(api => 2, lib => [undef]);
	$ffi->attach([fcntl => '_c_fcntl'] => ['int', 'int'] => 'int');
	for (
		[sendfd         => ['int', 'int']                                       => 'int'],
		[recvfd         => ['int']                                              => 'int'],
		[sendfds        => ['int', 'string', 'int']                             => 'int'],
		[recvfds        => ['int', 'string', 'int']                             => 'int'],
		[sendfds_all    => ['int', 'string', 'int']                             => 'int'],
		[recvfds_all    => ['int', 'opaque', 'int']                             => 'int'],
		[sendfds_msg    => ['int', 'string', 'int', 'string', 'size_t', 'int']  => 'ssize_t'],
		[recvfds_msg    => ['int', 'string', 'int*', 'string', 'size_t', 'int'] => 'ssize_t'],
		[sendfds_msghdr => ['int', 'string', 'int', 'string', 'int']            => 'ssize_t'],
		[recvfds_msghdr => ['int', 'string', 'int*', 'string', 'int']           => 'ssize_t'],
		[sendfd_version => []                                                   => 'string'],
	) {
		my ($name, @signature) = @$_;
		my $address = dlsym($library, $name)
			or croak "Can't load '$path' for module SendFD: it has no $name";
		$ffi->attach([$address => "_c_$name"] => @signature);
	}
	return;
}

BEGIN { _attach() }

sub sendfd_version { return _c_sendfd_version() }

# recv_socket needs these. Whoever imports it gets them at once: a module that a handler
# interrupts while it is being loaded cannot be loaded again.
sub import {
	_load_classes() if grep { $_ eq 'recv_socket' || $_ eq ':all' } @_;
	goto &Exporter::import;
}

sub _load_classes {
	require IO::Socket::INET;
	require IO::Socket::IP;
	require IO::Socket::UNIX;
	return;
}

# --- arguments -------------------------------------------------------------------

# The descriptor of a handle, or a number. A handle that is closed has -1, with which
# the call fails: EBADF. Where it matters, the most usual kind is dealt with in place.
sub _fd {
	my ($file) = @_;
	return fileno $file // -1 if ref $file eq 'GLOB';
	return _number($file) if !ref $file && ref \$file ne 'GLOB';
	my $fd;
	if (blessed $file && $file->can('fileno')) {
		$fd = $file->fileno;
	} elsif (!ref $file || reftype($file) =~ /\A(?:GLOB|IO)\z/) {
		$fd = fileno $file;
	} else {
		croak "not a handle: $file";
	}
	return defined $fd ? _number($fd) : -1;
}

# An int of C: platypus would take undef for 0, and cut off what is too much.
sub _number {
	my ($number) = @_;
	croak 'undefined, where a number is wanted' if !defined $number;
	croak "not a whole number: $number"
		if !looks_like_number($number) || $number != int $number;
	croak "too large a number: $number" if abs $number > 0x7fffffff;
	return int $number;
}

sub _length {
	my ($length) = @_;
	croak "a negative length: $length" if _number($length) < 0;
	return int $length;
}

# An array of int.
sub _ints {
	my ($files) = @_;
	croak 'the descriptors are not a reference to an array' if ref $files ne 'ARRAY';
	return pack 'i*', map {
		ref() ? ref() eq 'GLOB' ? fileno $_ // -1 : _fd($_)
			: looks_like_number($_) && $_ == ($_ & 0x7fffffff) ? $_
			: _fd($_)
	} @$files;
}

# Makes copies of strings bytes.
sub _to_bytes {
	for (@_) {
		croak 'the data is undefined' if !defined;
		croak 'wide character in the data' if !utf8::downgrade($_, 1);
	}
	return;
}

sub _check_keys {
	my ($message) = @_;
	croak 'the message is not a reference to a hash' if ref $message ne 'HASH';
	for my $key (sort keys %$message) {
		croak "a message has no '$key'" if $key !~ /\A(?:data|name|control)\z/;
	}
	return;
}

# A struct msghdr: its pointers and its size_t have the size of a long.
sub _header {
	return pack 'P I x![L!] P L! P L! i x![L!]', @_, 0;
}

# What the library sets in it: msg_namelen, msg_controllen, msg_flags.
use constant _HEADER_RESULTS => 'x[L!] I x![L!] x[L!] x[L!] x[L!] L! i';

# --- results ---------------------------------------------------------------------

# Whether a call that failed is to be made again: a signal came, and its handler has run.
# At the end of file $! is 0.
sub _again {
	my ($result) = @_;
	$! = 0 if $result == -2;
	return $! == EINTR;
}

sub _wants_list {
	my ($name) = @_;
	croak "$name returns a list: call it in list context";
}

sub _raise {
	my ($exception) = @_;
	die $exception;
}

# --- sending ---------------------------------------------------------------------

sub sendfd {
	do {
		return 1
			if _c_sendfd(
			ref $_[0] eq 'GLOB' ? fileno $_[0] // -1 : _fd($_[0]),
			ref $_[1] eq 'GLOB' ? fileno $_[1] // -1 : _fd($_[1])
			) == 1;
	} while _again(-1);
	return;
}

sub sendfds {
	my $socket = _fd(shift);
	my $fds    = _ints(\@_);
	my $sent;
	do {
		$sent = _c_sendfds($socket, $fds, scalar @_);
		return $sent if $sent > 0;
	} while _again($sent);
	return;
}

sub sendfds_all {
	my ($socket, @files) = @_;
	$socket = _fd($socket);
	my $fds  = _ints(\@files);
	my $sent = 0;
	do {
		$! = 0;
		my $result = _c_sendfds_all($socket, $fds, @files - $sent);
		if ($result > 0) {
			$sent += $result;
			$fds = substr $fds, $result * length pack 'i', 0;
		}
	} while $! == EINTR && $sent < @files;
	return $sent;
}

sub sendfds_msg {
	my ($socket, $files, $data, $flags) = @_;
	$socket = _fd($socket);
	my $fds = _ints($files);
	_to_bytes($data);
	$flags = _number($flags // 0);
	my $sent;
	do {
		$sent = _c_sendfds_msg($socket, $fds, scalar @$files, $data, length $data, $flags);
		return $sent if $sent >= 0;
	} while _again($sent);
	return;
}

sub sendfds_msghdr {
	my ($socket, $files, $message, $flags) = @_;
	$socket = _fd($socket);
	my $fds = _ints($files);
	_check_keys($message);
	my ($name, $control) = @$message{qw(name control)};
	my @data = ref $message->{data} eq 'ARRAY' ? @{$message->{data}} : $message->{data};
	_to_bytes(@data, grep { defined } $name, $control);
	my $iov    = join '', map { pack 'P L!', $_, length } @data;
	my $header = _header($name, length($name // ''), $iov, scalar @data, $control,
		length($control // ''));
	$flags = _number($flags // 0);
	my $sent;
	do {
		$sent = _c_sendfds_msghdr($socket, $fds, scalar @$files, $header, $flags);
		return $sent if $sent >= 0;
	} while _again($sent);
	return;
}

# --- receiving numbers -----------------------------------------------------------

# Where the library writes the descriptors of a message, which has no more. One place is
# enough: what came has left it by the end of the expression that calls the library.
grow(my $fds_that_came = '', SENDFD_MAX_FDS * length pack 'i', 0);

sub recvfd {
	my $fd;
	do {
		map +(return $fd), (1) x (($fd = _c_recvfd(
			ref $_[0] eq 'GLOB' ? fileno $_[0] // -1 : _fd($_[0]))) >= 0);
	} while _again($fd);
	return;
}

sub recvfds {
	my ($socket, $max_fds) = @_;
	wantarray or _wants_list('recvfds');
	$socket  = _fd($socket);
	$max_fds = _number($max_fds);
	my $count;
	do {
		map +(return unpack "i$count", $fds_that_came),
			(1) x (($count = _c_recvfds($socket, $fds_that_came, $max_fds)) > 0);
	} while _again($count);
	return;
}

# A handler may run, and die, between two messages: what has come is closed then.
sub recvfds_all {
	my ($socket, $nfds) = @_;
	wantarray or _wants_list('recvfds_all');
	$socket = _fd($socket);
	$nfds   = _number($nfds);
	my $size = length pack 'i', 0;
	grow(my $fds = '', $size * max(0, $nfds) + 1);
	my $pointer = scalar_to_pointer($fds);
	my $count   = 0;
	my $done;
	local $@;
	return (map unpack("i$count", $fds), (1) x ($done = !!eval {
		do {
			$! = 0;
			$count += max(0,
				_c_recvfds_all($socket, $pointer + $size * $count, $nfds - $count));
		} while $! == EINTR && $count < $nfds;
		1;
	})), map _raise($@, map POSIX::close($_), unpack "i$count", $fds), (1) x !$done;
}

sub recvfds_msg {
	my ($socket, $max_fds, $length, $flags) = @_;
	wantarray or _wants_list('recvfds_msg');
	$socket = _fd($socket);
	my $nfds = _number($max_fds);
	$length = _length($length);
	$flags  = _number($flags // 0);
	grow(my $data = '', $length + 1);
	my $received;
	do {
		map +(return (substr($data, 0, $received), unpack "i$nfds", $fds_that_came)),
			(1) x (($received = _c_recvfds_msg(
				$socket, $fds_that_came, \$nfds, $data, $length, $flags)) >= 0);
	} while _again($received);
	return;
}

# To the library its buffers are one, of which they are parts.
sub recvfds_msghdr {
	my ($socket, $max_fds, $room, $flags) = @_;
	wantarray or _wants_list('recvfds_msghdr');
	$socket = _fd($socket);
	my $nfds = _number($max_fds);
	_check_keys($room);
	my $one_buffer = ref $room->{data} ne 'ARRAY';
	my @lengths    = map { _length($_) } $one_buffer ? $room->{data} : @{$room->{data}};
	my $length     = sum0(@lengths);
	my ($name_room, $control_room) = map { _length($_ // 0) } @$room{qw(name control)};
	$flags = _number($flags // 0);

	grow(my $data    = '', $length + 1);
	grow(my $name    = '', $name_room + 1);
	grow(my $control = '', $control_room + 1);
	my $iov    = pack 'P L!', $data, $length;
	my $header = _header($name, $name_room, $iov, 1, $control, $control_room);
	$header .= '';    # memory of its own: a copy may share that of the original
	my $split = join ' ', map { "a$_" } @lengths;
	my ($received, @data, $name_length, $control_length, $message_flags);
	do {
		map +(
			($name_length, $control_length, $message_flags) = unpack(_HEADER_RESULTS, $header),
			@data = unpack($split, substr $data, 0, $received),
			return (
				{
					length  => $received,
					data    => (\@data, @data)[$one_buffer],
					name    => substr($name, 0, min($name_length, $name_room)),
					control => substr($control, 0, $control_length),
					flags   => $message_flags,
				},
				unpack "i$nfds", $fds_that_came
			)
		), (1) x (($received = _c_recvfds_msghdr(
			$socket, $fds_that_came, \$nfds, $header, $flags)) >= 0);
	} while _again($received);
	return;
}

# --- control messages ------------------------------------------------------------

# A struct cmsghdr: a size_t, two ints, the data, and padding.
sub pack_control {
	my (@messages) = @_;
	return join '', map {
		my ($level, $type, $data) = @$_;
		_to_bytes($data);
		pack 'L! i i a* x![L!]', length(pack 'L! i i') + length $data, $level, $type, $data;
	} @messages;
}

sub unpack_control {
	my ($control) = @_;
	my @messages;
	my $header_length = length pack 'L! i i';
	while (length $control >= $header_length) {
		my ($length, $level, $type) = unpack 'L! i i', $control;
		last if $length < $header_length || $length > length $control;
		push @messages, [$level, $type, substr $control, $header_length, $length - $header_length];
		my $padded = length pack "x$length x![L!]";
		$control = $padded < length $control ? substr $control, $padded : '';
	}
	return @messages;
}

# --- receiving handles -----------------------------------------------------------

# How a handle is opened, by the flags of the file.
use constant _MODE_FLAGS => O_ACCMODE | O_APPEND;
my @mode;
@mode[map { $_, $_ | O_APPEND } 0 .. O_ACCMODE] = ('<&=') x 8;
@mode[O_WRONLY, O_WRONLY | O_APPEND, O_RDWR, O_RDWR | O_APPEND] = qw(>&= >>&= +<&= +<&=);

my %class = (
	AF_INET,  'IO::Socket::INET',
	AF_INET6, 'IO::Socket::IP',
	AF_UNIX,  'IO::Socket::UNIX',
);

sub recv_handle {
	my ($fd, $handle);
	do {
		map open($handle, $mode[_c_fcntl($fd, F_GETFL) & _MODE_FLAGS], $fd),
			(1) x (($fd = _c_recvfd(
				ref $_[0] eq 'GLOB' ? fileno $_[0] // -1 : _fd($_[0]))) >= 0);
		return defined $_[1] ? _with_layers($handle, $_[1]) : $handle if $handle;
	} while _again($fd);
	return;
}

sub recv_handles {
	my ($socket, $max_fds, $layers) = @_;
	wantarray or _wants_list('recv_handles');
	$socket  = _fd($socket);
	$max_fds = _number($max_fds);
	my ($count, @handles);
	do {
		map +(map open($handles[@handles], $mode[_c_fcntl($_, F_GETFL) & _MODE_FLAGS], $_),
			unpack "i$count", $fds_that_came),
			(1) x (($count = _c_recvfds($socket, $fds_that_came, $max_fds)) > 0);
		if (@handles) {
			for my $handle (@handles) {
				_with_layers($handle, $layers) or return if defined $layers;
			}
			return @handles;
		}
	} while _again($count);
	return;
}

sub recv_socket {
	my ($socket) = @_;
	_load_classes();
	my $received = recv_handle($socket) or return;
	my $domain = getsockopt $received, SOL_SOCKET, SO_DOMAIN or return;
	bless $received, $class{unpack 'i', $domain} // 'IO::Socket';
	# In one expression: what IO::Handle has for this swallows exceptions.
	select((select($received), $| = 1)[0]);
	return $received;
}

sub open_received {
	my ($fd, $layers) = @_;
	$fd = _number($fd);
	open my $handle, $mode[_c_fcntl($fd, F_GETFL) & _MODE_FLAGS], $fd or return;
	return defined $layers ? _with_layers($handle, $layers) : $handle;
}

sub _with_layers {
	my ($handle, $layers) = @_;
	return if $layers ne '' && !binmode $handle, $layers;
	return $handle;
}

1;

__END__

=encoding UTF-8

=head1 NAME

SendFD - pass open file descriptors over a Unix-domain socket, with libsendfd

=head1 SYNOPSIS

    use SendFD qw(sendfd recv_handle);

    sendfd($socket, $file) or die "sendfd: $!";

    while (my $file = recv_handle($socket)) { ... }
    die "recv_handle: $!" if $!;              # 0 at the end of file

=head1 DESCRIPTION

The functions of libsendfd, see L<libsendfd(7)>, in Perl's terms.

B<Arguments.> Sockets and files are given as handles or as numbers. Sending does not close
yours. Misuse, such as an argument that is neither a handle nor a number, dies before
anything is sent or received.

B<Results.> Received descriptors are close-on-exec, and yours to close: a handle closes
itself, a number is closed by C<POSIX::close>. 0 is a descriptor: test whether a number is
defined.

B<Failure> is C<undef>, or the empty list in list context, with C<$!> set. At B<the end of
file> it is the same with C<$!> set to 0, as with C<readdir>. The values of C<$!> are those
of L<recvfd(3)>: C<ENOMSG> if a message came without a descriptor, C<EMSGSIZE> if it had
more than there is room for, C<EMFILE> if the table of descriptors is full, and so on. On a
failure every descriptor that came has been closed.

B<Signals.> While a function waits, the handlers of signals run. After one that returns,
the function continues, so C<EINTR> is not seen. One that dies, as for a timeout,
interrupts the function: descriptors that came and were not returned are closed, and the
caller gets the exception. (This holds for perl's usual, deferred signals.) A signal that
comes just before the function begins to wait does not interrupt it, as with C<sysread>: a
limit that has to hold is C<SO_RCVTIMEO>, which ends a receive with C<EAGAIN>.

B<Prefer handles.> A number that a function has returned is held by a variable of yours,
and what dies before you close it, a handler for instance, leaves it open; no module can
change that. C<recv_handle>, C<recv_handles> and C<recv_socket> have no such gap.

=head1 FUNCTIONS

All are exported on request, or together with C<:all>.

=head2 Handles

=head3 recv_handle

    $handle = recv_handle($socket);
    $handle = recv_handle($socket, $layers);

Receives one descriptor, and returns a handle for it, which can do what the descriptor's
flags allow. C<$layers> is as for C<binmode>. If it cannot be applied, the descriptor is
closed, and that is a failure.

=head3 recv_handles

    @handles = recv_handles($socket, $max_fds);
    @handles = recv_handles($socket, $max_fds, $layers);

Receives one message of 1 to C<$max_fds> descriptors.

=head3 recv_socket

    $object = recv_socket($socket);

Receives one descriptor that is a socket, and returns an object that can C<accept>, and has
a C<peerhost>: an L<IO::Socket::INET>, L<IO::Socket::IP> (IPv6), L<IO::Socket::UNIX>, or, of
another domain, L<IO::Socket>. It is blocking or non-blocking as it was. A descriptor that
is not a socket is closed, and the function fails with C<ENOTSOCK>.

=head3 open_received

    $handle = open_received($fd);
    $handle = open_received($fd, $layers);

Makes a handle of a number that another function here has returned, as C<recv_handle> does.
If C<$layers> cannot be applied, the descriptor is closed.

=head2 Numbers

=head3 sendfd

    sendfd($socket, $file) or die "sendfd: $!";

Sends one descriptor, with one byte of value 0. Returns 1.

=head3 recvfd

    $fd = recvfd($socket);

Receives one descriptor, and reads one byte.

=head3 sendfds

    sendfds($socket, @files) or die "sendfds: $!";

Sends 1 to 253 descriptors in one message, with one byte whose value is their number.
Returns how many: all of them.

=head3 recvfds

    @fds = recvfds($socket, $max_fds);

Receives the 1 to C<$max_fds> descriptors of one message, and reads one byte.

=head3 sendfds_all

    sendfds_all($socket, @files) == @files or die "sendfds_all: $!";

Sends any number of descriptors, in as many messages as it takes. Returns how many were
sent, and that may be fewer, or 0: then C<$!> says why.

=head3 recvfds_all

    @fds = recvfds_all($socket, $nfds);
    @fds == $nfds or die $! ? "recvfds_all: $!" : 'the end of file came early';

Receives messages until C<$nfds> descriptors have come. Returns those that came, and these
may be fewer, or none: then C<$!> says why, 0 for the end of file.

=head2 Messages

=head3 sendfds_msg

    $length = sendfds_msg($socket, \@files, $data);
    $length = sendfds_msg($socket, \@files, $data, $flags);

Sends bytes with 0 to 253 descriptors. Returns how many bytes were sent. On a stream that
may be fewer than there are: send the rest, without the descriptors. C<$flags> can have
C<MSG_DONTWAIT> and C<MSG_EOR>, from L<Socket>.

=head3 recvfds_msg

    ($data, @fds) = recvfds_msg($socket, $max_fds, $length);
    ($data, @fds) = recvfds_msg($socket, $max_fds, $length, $flags);

Receives up to C<$length> bytes and up to C<$max_fds> descriptors, or none. C<$flags> can
have C<MSG_DONTWAIT> and C<MSG_PEEK>.

=head3 sendfds_msghdr

    $length = sendfds_msghdr($socket, \@files, {data => $data}, $flags);
    $length = sendfds_msghdr($socket, \@files, {
        data    => [$header, $body],
        name    => pack_sockaddr_un('/run/other'),
        control => pack_control([SOL_SOCKET, SCM_CREDENTIALS, pack 'iII', $$, $<, $gid]),
    });

Sends what L<sendmsg(2)> can send. C<data> is a string, or several, which are sent one after
another without being copied together. C<name> is an address, and C<control> are other
control messages than the descriptors; either may be missing.

=head3 recvfds_msghdr

    ($message, @fds) = recvfds_msghdr($socket, $max_fds, {data => $length}, $flags);
    ($message, @fds) = recvfds_msghdr($socket, $max_fds, {
        data    => [length $header, 65536],
        name    => 110,
        control => 512,
    });

Receives what L<recvmsg(2)> can receive. The hash says how many bytes there is room for:
C<data> is one length, or several, C<name> and C<control> are 0 if they are missing.
C<$message> is a reference to a hash:

    length   how many bytes of data came; with MSG_TRUNC in $flags, how many the
             datagram has
    data     the bytes; if several lengths were given, a reference to an array of as
             many strings
    name     the address of the sender, empty if it has none
    control  other control messages than descriptors, for unpack_control
    flags    such as MSG_TRUNC if there were more data, MSG_CTRUNC if something else
             was left out

With C<RECVFD_PARTIAL> in C<$flags>, descriptors that are too many or could not be received
are no failure: the data comes, with the descriptors that there are, and -1 in the place of
one that was refused. A descriptor in a control message (C<SCM_PIDFD>) is yours to close.

=head3 pack_control

    $control = pack_control([$level, $type, $data], ...);

Makes control messages into what C<sendfds_msghdr> takes.

=head3 unpack_control

    for (unpack_control($message->{control})) {
        my ($level, $type, $data) = @$_;
        ...
    }

The reverse, for what C<recvfds_msghdr> returns.

=head2 And

=head3 sendfd_version

The version of the library, such as C<"1.0.0">. The module has the same.

=head3 SENDFD_MAX_FDS

The most descriptors of one message: 253.

=head3 RECVFD_PARTIAL

A flag of C<recvfds_msghdr>.

=head1 ENVIRONMENT

C<LIBSENDFD> is the path of the library. It is ignored in a set-id program and under
C<perl -T>. Without it, a copy that was installed with the module is loaded, or else
F<libsendfd.so.1> from where the system has its libraries. If there is none, C<use SendFD>
dies, and says what it tried to load.

=head1 THREADS

The module can be used from several threads of perl (L<threads>) at once. A handler that
ends its thread by C<< threads->exit >> while C<recvfds_all> has received a part leaves that
part open; one that dies does not.

=head1 SEE ALSO

L<libsendfd(7)>, L<unix(7)>. L<IO::FDPass> passes one descriptor at a time, and
L<Socket::MsgHdr> makes the system calls themselves.

=head1 LICENSE

MIT. Copyright (c) 2026 the libsendfd maintainers.

=cut
