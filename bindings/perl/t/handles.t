use strict;
use warnings;

use lib 't/lib';

use Errno qw(EBADF EMSGSIZE ENOTSOCK);
use Fcntl qw(:DEFAULT F_GETFD F_GETFL FD_CLOEXEC O_ACCMODE SEEK_SET);
use IO::Handle;
use POSIX ();
use Socket qw(SOCK_DGRAM);
use SendFD qw(:all);
use Test::More;
use Testing;

test 'handles are opened as their flags are' => sub {
	my ($left, $right) = pair();
	files(1);
	my %access = ('<' => O_RDONLY, '>>' => O_WRONLY | O_APPEND, '+<' => O_RDWR);
	for my $mode (sort keys %access) {
		open my $file, $mode, directory . "/0" or die $!;
		sendfd($left, $file);
		my $handle = recv_handle($right);
		ok fcntl($handle, F_GETFD, 0) & FD_CLOEXEC, "$mode: close-on-exec";
		is fcntl($handle, F_GETFL, 0) & (O_ACCMODE | O_APPEND), $access{$mode}, "$mode: flags";
		is scalar <$handle>, "file 0\n", "$mode: read" if $mode ne '>>';
		if ($mode ne '<') {
			seek $handle, 0, 1;
			ok print({$handle} "written $mode\n") && close $handle, "$mode: written";
		}
	}
	open my $file, '<', directory . "/0" or die $!;
	like join('', <$file>), qr/written >>/, 'it is in the file';
	my ($here, $there) = pair();
	sendfd($left, $here);
	my $handle = recv_handle($right);
	$handle->autoflush;
	print {$handle} "to a socket\n";
	is scalar <$there>, "to a socket\n", 'a socket, to write to';
	syswrite $there, "from a socket\n";
	is scalar <$handle>, "from a socket\n", 'and to read from';
	pipe my $reader, my $writer or die $!;
	sendfd($left, $writer);
	close $writer;
	$handle = recv_handle($right);
	print {$handle} "through a pipe\n";
	close $handle;
	is_deeply [<$reader>], ["through a pipe\n"], 'a pipe, with its end of file';
};

test 'layers' => sub {
	my ($left, $right) = pair();
	open my $file, '+>', directory . "/text" or die $!;
	print {$file} "\xc3\xa4\n";
	seek $file, 0, SEEK_SET;
	sendfd($left, $file);
	my $handle = recv_handle($right, ':encoding(UTF-8)');
	is scalar <$handle>, "\xe4\n", 'are those of the handle';
};

test 'a descriptor of which no handle can be made is closed' => sub {
	my ($left, $right) = pair();
	my ($file) = files(1);
	sendfd($left, $file);
	local $SIG{__WARN__} = sub { };
	ok !defined recv_handle($right, ':no_such_layer'), 'an unknown layer';
	ok $!, 'not the end of file';
	my $free = POSIX::dup(0);
	POSIX::close($free);
	is open_received($free), undef,     'a descriptor that is not open';
	is $! + 0,               EBADF,     'says why';
};

test 'several handles' => sub {
	my ($left, $right) = pair();
	my @files = files(3);
	open my $reader, '<', directory . '/0' or die $!;
	sendfds($left, @files, $reader);
	my @handles = recv_handles($right, 253);
	sysseek $_, 0, SEEK_SET for @handles;
	is_deeply [map { scalar <$_> } @handles], expected(0 .. 2, 0), 'in their order';
	is_deeply [map { fcntl($_, F_GETFL, 0) & O_ACCMODE } @handles],
		[O_RDWR, O_RDWR, O_RDWR, O_RDONLY], 'opened as their flags are';
	sendfds($left, @files);
	fails(EMSGSIZE, sub { recv_handles($right, 2) }, 'too many');
	sendfds($left, @files[0, 1]);
	@handles = recv_handles($right, 3, ':encoding(UTF-8)');
	is_deeply [map { (PerlIO::get_layers($_))[-1] } @handles], [('utf8') x 2], 'layers';
	sendfds($left, @files);
	local $SIG{__WARN__} = sub { };
	is_deeply [recv_handles($right, 3, ':no_such_layer')], [], 'an unknown layer';
	ok $!, 'is an error';
	dies_like(qr/list context/, sub { my $count = recv_handles($right, 3) }, 'scalar context');
	close $left;
	fails(0, sub { recv_handles($right, 3) }, 'the end of file');
};

# --- sockets ---------------------------------------------------------------------

# A listening socket of each kind is received, accepts, and what it accepts is received.
my %listeners = (
	'IO::Socket::INET' => sub { IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5) },
	'IO::Socket::IP'   => sub { IO::Socket::IP->new(LocalHost => '::1', Listen => 5) },
	'IO::Socket::UNIX' =>
		sub { IO::Socket::UNIX->new(Local => directory . '/listener', Listen => 5) },
);
for my $class (sort keys %listeners) {
	test "an $class" => sub {
		my ($left, $right) = pair();
		my $listener = $listeners{$class}->() or plan skip_all => "no $class here: $@";
		sendfd($left, $listener);
		my $received = recv_socket($right);
		is ref $received, $class, 'its class';
		is fileno($received) != fileno($listener), 1, 'a descriptor of its own';
		my $client =
			  $class eq 'IO::Socket::UNIX'
			? $class->new(Peer => directory . '/listener')
			: $class->new(PeerAddr => $listener->sockhost, PeerPort => $listener->sockport);
		my $accepted = $received->accept;
		is ref $accepted, $class, 'accept';
		sendfd($left, $accepted);
		close $accepted;
		$accepted = recv_socket($right);
		is ref $accepted, $class, 'the class of what it accepted';
		is $accepted->$_, $listener->$_, $_ for qw(sockdomain socktype protocol);
		if ($class eq 'IO::Socket::UNIX') {
			is $accepted->hostpath, directory . '/listener', 'hostpath';
		} else {
			is $accepted->peerhost, $listener->sockhost, 'peerhost';
			is $accepted->peerport, $client->sockport,   'peerport';
		}
		is select, 'main::STDOUT', 'the selected handle is what it was';
		print {$accepted} "line\n";
		is scalar <$client>, "line\n", 'what is printed is sent at once';
		is $accepted->blocking, 1, 'it is blocking, as it was';
	};
}
unlink directory . '/listener';

test 'a socket of another kind, and what is no socket' => sub {
	my ($left, $right) = pair();
	socket my $netlink, 16, SOCK_DGRAM, 0 or plan skip_all => "no AF_NETLINK here: $!";
	sendfd($left, $netlink);
	my $received = recv_socket($right);
	is ref $received, 'IO::Socket', 'the class of all';
	is $received->sockdomain, 16, 'its domain';
	my ($file) = files(1);
	sendfd($left, $file);
	fails(ENOTSOCK, sub { recv_socket($right) }, 'a file');
	close $left;
	fails(0, sub { recv_socket($right) }, 'the end of file');
};

done_testing;
