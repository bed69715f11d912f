#!/usr/bin/perl
# A parent passes an open file to its child over a socketpair. The file is opened
# after the fork, so that the child cannot have inherited it. What the child gets is
# a descriptor for the same open file description: when it has read to the end, the
# parent's offset is at the end too.
#
#     ./parent_child.pl /etc/hosts
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use Fcntl qw(SEEK_CUR);
use IO::Handle;
use SendFD qw(sendfd recv_handle);
use Socket qw(AF_UNIX MSG_NOSIGNAL MSG_WAITALL PF_UNSPEC SOCK_STREAM);

sub fail { die 'parent_child: ', @_, "\n" }

# What an undefined result stands for, where $! is 0 at the end of file.
sub reason { return $! ? "$!" : 'end of file' }

# Prints all that can be read; returns the offset after that. It uses sysread, as a
# buffer would read further than it is asked to, and the offset is the parent's too.
sub print_content {
	my ($file) = @_;
	print "----- content begins\n";
	my ($last, $length) = ("\n", 0);
	while (my $got = sysread($file, my $block, 65536) // fail "child: read: $!") {
		print $block;
		$last = substr $block, -1;
		$length += $got;
	}
	print $last eq "\n" ? '' : "\n", "----- content ends\n";

	my $size = -s $file // fail "child: fstat: $!";
	fail "child: read $length bytes, but the size is $size" if $length != $size;
	return sysseek($file, 0, SEEK_CUR) + 0;
}

sub child {
	my ($socket) = @_;
	my $got = sysread $socket, my $byte, 1;
	fail 'child: no byte came: ', defined $got ? 'end of file' : "$!" if !$got;
	print "child $$: the byte '$byte' came\n";

	my $file = recv_handle($socket) or fail 'child: no descriptor came: ', reason();
	print "child $$: the file came, here it is descriptor ", fileno $file, "\n";

	my $offset = print_content($file);
	close $file;
	print "child $$: read it to the end, final offset $offset\n";
	(send($socket, pack('q', $offset), MSG_NOSIGNAL) // 0) == 8
		or fail "child: telling the offset: $!";
	return;
}

sub parent {
	my ($socket, $path) = @_;
	open my $file, '<', $path or fail "parent: $path: $!";
	printf "parent %d: opened %s as descriptor %d, offset 0; sending a byte, then it\n",
		$$, $path, fileno $file;

	# A byte of the program's own protocol: recvfd() leaves such bytes alone, as
	# long as the receiver reads them, and no more, before it calls it. So sysread
	# and recv, and no <$socket>.
	send $socket, '!', MSG_NOSIGNAL or fail "parent: sending a byte: $!";
	sendfd($socket, $file) or fail "parent: sendfd: $!";

	defined recv $socket, my $told, 8, MSG_WAITALL or fail "parent: recv: $!";
	fail 'parent: the child told no offset: end of file' if length $told != 8;
	my $of_child = unpack 'q', $told;
	my $offset   = sysseek($file, 0, SEEK_CUR) + 0;
	fail "parent: the offset is $offset here, $of_child there" if $offset != $of_child;
	print "parent $$: read nothing, yet its offset is $offset too: it is shared\n";
	return;
}

# Whether it went well: without a word that could not be printed.
sub succeeds {
	my ($part, @arguments) = @_;
	return 1 if eval {
		$part->(@arguments);
		STDOUT->flush && !STDOUT->error or fail 'standard output could not be written';
		1;
	};
	print STDERR $@;
	return 0;
}

my $path = $ARGV[0] // '/etc/hosts';
STDOUT->autoflush;    # or what is buffered would be printed twice
socketpair my $parents, my $childs, AF_UNIX, SOCK_STREAM, PF_UNSPEC
	or die "parent_child: socketpair: $!\n";
my $pid = fork // die "parent_child: fork: $!\n";

# Each closes the other's end: else it would never see the end of file.
if ($pid == 0) {
	close $parents;
	exit(succeeds(\&child, $childs) ? 0 : 1);
}
close $childs;
my $passed = succeeds(\&parent, $parents, $path);
close $parents;

waitpid $pid, 0;
print STDERR "parent_child: the child failed\n" if $? != 0;
exit($? == 0 && $passed ? 0 : 1);
