#!/usr/bin/perl
# Passes descriptors between libsendfd and everything else that can, in both directions.
# Each cell is two processes over a socketpair, and passes if the receiver prints the
# content of the files that the sender has opened. A pair that cannot work is listed here
# with its reason, and must fail in that way.
#
# matrix.t --table writes the result to docs/INTEROP.md.
use strict;
use warnings;
use Cwd 'abs_path';
use lib 'tests/lib';
use Processes;
use Test::More;

my $build    = $ENV{O} // 'build';
my $document = 'docs/INTEROP.md';
my $peers    = 'tests/interop/peers';
my $at_once  = 4;   # cells
my $patience = 400; # seconds for all cells: then something hangs, time after time

# --- the peers -------------------------------------------------------------------

my @bindings = map {
    my ($name, $title, $command) = @$_;
    { name => $name, title => $title, command => [$command // "$peers/$name"] };
} (
    ['c', 'C', "$build/tests/interop/c"],
    ['python_ctypes',  'Python ctypes'],
    ['perl_platypus',  'Perl FFI::Platypus'],
    ['ruby_ffi',       'Ruby ffi'],
);

# single: its functions pass one descriptor per message, so that three are three
# messages.
my @others = map {
    my ($name, $title, $command, %more) = @$_;
    { name => $name, title => $title, command => $command, send => '-', receive => '-', %more };
} (
    ['classic', 'the classic snippet', ["$build/tests/interop/classic"], single => 1],
    ['python_socket', 'Python `socket.send_fds`, `recv_fds`', ["$peers/python_socket"]],
    ['multiprocessing_fds', 'Python `multiprocessing.reduction` `sendfds`, `recvfds`',
        ["$peers/python_multiprocessing"], send => 'sendfds', receive => 'recvfds'],
    ['multiprocessing_handle',
        'Python `multiprocessing.reduction` `send_handle`, `recv_handle`',
        ["$peers/python_multiprocessing"], send => 'send_handle', receive => 'recv_handle',
        single => 1],
    ['perl_fdpass', 'Perl IO::FDPass', ["$peers/perl_fdpass"], single => 1],
    ['perl_msghdr', 'Perl Socket::MsgHdr', ["$peers/perl_msghdr"]],
    ['ruby_send_io', 'Ruby `send_io`, `recv_io`', ["$peers/ruby_send_io"], single => 1],
    ['ruby_ancillary', 'Ruby `sendmsg`, `recvmsg` with `AncillaryData`',
        ["$peers/ruby_ancillary"]],
    (map { ["rust_$_", "Rust $_", ["$build/tests/interop/rust", $_]] }
        qw(sendfd uds nix rustix unix-ancillary)),
    ['rust_passfd', 'Rust passfd', ["$build/tests/interop/rust", 'passfd'], single => 1],
);

# --- what cannot work ------------------------------------------------------------

my %why = (
    single_sender => 'It sends one descriptor per message: `recvfds` returns the first, the next'
        . ' call the next.',
    single_receiver => 'It takes one descriptor of a message: the first of the three comes, the'
        . ' others are lost.',
    recv_io => 'It takes messages of one descriptor only, and refuses others.',
    count_byte => 'It wants the byte to be the number of descriptors, and that of `sendfd` is'
        . ' 0: send with `sendfds`.',
    one_handle => 'It takes one descriptor per message, has room for two, and wants the byte to'
        . ' be their number.',
    zero_byte => 'It wants the byte to be 0, and that of `sendfds` is the number of'
        . ' descriptors: send with `sendfd`.',
    four_bytes => 'It sends one descriptor per message, with four bytes. `recvfd` and `recvfds`'
        . ' read one of these, and then find bytes without a descriptor: ENOMSG. `recvfds_msg`'
        . ' reads all four.',
);

# Which of the other peers, and what libsendfd does; why; what the receiver says,
# and how many of the files it prints (a peer of ours that gets fewer than it wants
# may print those or none).
my @cannot = map {
    my ($peers, $what, $why, $says, $prints) = @$_;
    map { { peer => $_, what => $what, why => $why{$why}, says => $says, prints => $prints } }
        @$peers;
} (
    [['classic'], 'sendfds 3', 'single_receiver', qr/end of file\n.*1 of 3/, [1]],
    [['rust_passfd'], 'sendfds 3', 'single_receiver', qr/^0 bytes read$/, [1]],
    [['ruby_send_io'], 'sendfds 3', 'recv_io', qr/^SocketError: file descriptor was not passed/, [0]],
    [['classic', 'multiprocessing_handle', 'perl_fdpass', 'ruby_send_io'], 'recvfds 3',
        'single_sender', qr/\b1\b.*\b3\b/, [0, 1]],
    [['rust_passfd'], 'recvfds 3', 'four_bytes', qr/\b1\b.*\b3\b/, [0, 1]],
    [['multiprocessing_fds', 'multiprocessing_handle'], 'sendfd 1', 'count_byte',
        qr/: AssertionError: Len is 1 but msg\[0\] is 0$/, [0]],
    [['multiprocessing_handle'], 'sendfd 3', 'count_byte',
        qr/: AssertionError: Len is 1 but msg\[0\] is 0$/, [0]],
    # Room for two, where CMSG_SPACE pads: on 64-bit machines.
    [['multiprocessing_handle'], 'sendfds 3', 'one_handle',
        qr/: AssertionError: Len is [12] but msg\[0\] is 3$/, [0]],
    [['perl_fdpass'], 'sendfds 1', 'zero_byte', qr/-1: Numerical argument out of domain$/, [0]],
    [['perl_fdpass'], 'sendfds 3', 'zero_byte', qr/-1: Numerical argument out of domain$/, [0]],
    [['rust_passfd'], 'recvfd 3', 'four_bytes', qr/recvfd: No message of desired type\n.*1 of 3/, [1]],
    [['rust_passfd'], 'recvfds_all 3', 'four_bytes',
        qr/recvfds_all: No message of desired type\n.*1 of 3/, [1]],
);

# --- the cells -------------------------------------------------------------------

my @to     = (['sendfd', 1], ['sendfds', 1], ['sendfds', 3]);
my @from   = (['recvfd', 1], ['recvfds', 1], ['recvfds', 3]);
my @among  = (['sendfd', 'recvfd', 1], ['sendfds', 'recvfds', 3]);
my @single = grep { $_->{single} } @others;

my @files = map {
    write_file(scratch() . "/file$_", "file $_ of process $$\n" . 'content ' x (1000 * $_) . "\n")
} 1 .. 3;
chmod 0644, @files;
my @contents = map { read_file($_) } @files;

# A cell of a table: what sends, what receives, and how the two are called there.
sub cell {
    my ($sender, $send, $receiver, $receive, $count, $cannot) = @_;
    return {
        sender => $sender, receiver => $receiver, count => $count, cannot => $cannot,
        commands => {
            send    => [@{$sender->{command}}, 'send', $send, @files[0 .. $count - 1]],
            receive => [@{$receiver->{command}}, 'receive', $receive, $count],
        },
        name => join(' ', $sender->{name}, $send, 'to', $receiver->{name}, $receive,
            $count == 1 ? 'one' : 'three'),
    };
}

sub why_not {
    my ($other, $what) = @_;
    my ($found) = grep { $_->{peer} eq $other->{name} && $_->{what} eq $what } @cannot;
    $found->{used} = 1 if $found;
    return $found;
}

sub cell_to {
    my ($binding, $other, $send, $count) = @_;
    return cell($binding, $send, $other, $other->{receive}, $count,
        why_not($other, "$send $count"));
}

sub cell_from {
    my ($binding, $other, $receive, $count) = @_;
    return cell($other, $other->{send}, $binding, $receive, $count,
        why_not($other, "$receive $count"));
}

sub begin {
    my ($cell) = @_;
    my ($one, $other) = socket_pair();
    my %ends = (send => $one, receive => $other);
    $cell->{$_} = start(command => $cell->{commands}{$_}, fds => {3 => $ends{$_}}, cell => $cell)
        for qw(send receive);
}

sub measure {
    my @waiting = @_;
    my ($running, $measured, $enough) = (0, 0, seconds() + $patience);
    while (@waiting || $running) {
        @waiting = () if seconds() > $enough;
        if (@waiting && $running < $at_once) {
            begin(shift @waiting);
            $running++;
            next;
        }
        my $cell = wait_any()->{cell};
        next unless defined $cell->{send}{status} && defined $cell->{receive}{status};
        $running--;
        note("$measured of " . @_ . ' cells') if ++$measured % 50 == 0;
    }
}

# The receiver prints the content of the files that were sent, and both succeed.
sub works {
    my ($cell) = @_;
    return $cell->{send}{status} == 0 && $cell->{receive}{status} == 0
        && $cell->{receive}{output} eq join '', @contents[0 .. $cell->{count} - 1];
}

# The receiver says what it must, and prints no more than it must. The sender does
# not know, unless it has more to send.
sub fails_as_it_must {
    my ($cell) = @_;
    my $cannot = $cell->{cannot};
    return $cell->{receive}{status} == 1
        && $cell->{receive}{errors} =~ $cannot->{says}
        && grep({ $cell->{receive}{output} eq join '', @contents[0 .. $_ - 1] } @{$cannot->{prints}})
        && ($cell->{send}{status} == 0 || ($cell->{sender}{single} && $cell->{count} > 1));
}

sub what_happened {
    my ($cell) = @_;
    return 'not measured: others took too long' unless $cell->{receive};
    my $got = $cell->{receive}{output};
    my $whole = grep { $got eq join '', @contents[0 .. $_] } 0 .. $#contents;
    return map { s/^.*file\d: .*\n//mgr . "\n" } (
        "the sender ended with status $cell->{send}{status}: $cell->{send}{errors}",
        "the receiver ended with status $cell->{receive}{status}: $cell->{receive}{errors}",
        "printing " . length($got) . ' bytes' . ($whole ? ', the first of the files' : ''),
    );
}

sub judge {
    my ($cell) = @_;
    my $cannot = $cell->{cannot};
    $cell->{as_expected} = $cell->{receive}
        && ($cannot ? fails_as_it_must($cell) : works($cell));
    ok($cell->{as_expected}, $cell->{name} . ($cannot ? " cannot work: $cannot->{why}" : ''))
        or diag(what_happened($cell));
}

# --- the tables ------------------------------------------------------------------

my @footnotes;

sub footnote {
    my ($why) = @_;
    my ($number) = grep { $footnotes[$_ - 1] eq $why } 1 .. @footnotes;
    push @footnotes, $why unless $number;
    return '(' . ($number // scalar @footnotes) . ')';
}

sub mark {
    my ($cell) = @_;
    return '?' unless $cell->{as_expected};
    return $cell->{cannot} ? footnote($cell->{cannot}{why}) : '✓';
}

sub row {
    return '| ' . join(' | ', @_) . " |\n";
}

# table HEADINGS, ROW...: a row is its heading and, for each column, its cells.
sub table {
    my ($headings, @rows) = @_;
    return row(@$headings) . '|---' x @$headings . "|\n" . join '', map {
        my ($heading, @columns) = @$_;
        row($heading, map { join ' ', map { mark($_) } @$_ } @columns);
    } @rows;
}

my @titles = map { $_->{title} } @bindings;

my @to_rows = map {
    my $other = $_;
    [$other->{title}, map { my $binding = $_; [map { cell_to($binding, $other, @$_) } @to] } @bindings];
} @others;

my @from_rows = map {
    my $other = $_;
    [$other->{title}, map { my $binding = $_; [map { cell_from($binding, $other, @$_) } @from] } @bindings];
} @others;

my @single_rows = map {
    my $other = $_;
    [$other->{title}, [cell_to($bindings[0], $other, 'sendfd', 3)],
        map { [cell_from($bindings[0], $other, $_, 3)] } 'recvfd', 'recvfds_msg', 'recvfds_all'];
} @single;

my @among_rows = map {
    my $sender = $_;
    [$sender->{title}, map {
        my $receiver = $_;
        [map { my ($send, $receive, $count) = @$_;
            cell($sender, $send, $receiver, $receive, $count) } @among];
    } @bindings];
} @bindings;

sub tables {
    return join "\n",
        "### To other programs\n",
        "In each cell: `sendfd`; `sendfds` of one; `sendfds` of three.\n",
        table(['received by', @titles], @to_rows),
        "### From other programs\n",
        "In each cell: `recvfd`; `recvfds` of one; `recvfds` of three.\n",
        table(['sent by', @titles], @from_rows),
        "### Three, one per message\n",
        "With those whose functions pass one descriptor per message, and libsendfd in C:\n"
        . "`sendfd`, `recvfd` and `recvfds_msg` (room for four bytes) are called three times.\n",
        table(['', '`sendfd`', '`recvfd`', '`recvfds_msg`', '`recvfds_all`'], @single_rows),
        "### Among themselves\n",
        "In each cell: `sendfd` to `recvfd`; `sendfds` of three to `recvfds`.\n",
        table(['sent by, received by', @titles], @among_rows),
        join '', map { "- ($_) $footnotes[$_ - 1]\n" } 1 .. @footnotes;
}

# --- what is there -----------------------------------------------------------------

$ENV{LC_ALL}    = 'C';
$ENV{LIBSENDFD} = abs_path("$build/libsendfd.so") // "$build/libsendfd.so";
my $incomplete = 0;

# A peer that receives from nobody says so, or that it has not what it needs.
sub look_for {
    my ($peer, $receive) = @_;
    my ($nobody, $socket) = socket_pair();
    close $nobody;
    my $process = wait_for(start(command => [@{$peer->{command}}, 'receive', $receive, 1],
        fds => {3 => $socket}));
    close $socket;
    $peer->{there} = $process->{status} == 1;
    $incomplete = 1 unless $peer->{there};
    if ($process->{status} == 77) {
        missing("$peer->{name}: " . join ' ', split ' ', $process->{errors});
        return;
    }
    ok($process->{status} == 1 && $process->{output} eq '' && $process->{errors} ne '',
        "$peer->{name} reports the end of file")
        or diag("status $process->{status}\n", $process->{output}, $process->{errors});
}

# It is this library that is measured, and no other that may be installed.
sub honours_libsendfd {
    my ($binding) = @_;
    my ($one, $other) = socket_pair();
    my $process = wait_for(start(command => [@{$binding->{command}}, 'send', 'sendfd', $files[0]],
        fds => {3 => $one}, environment => {LIBSENDFD => '/nonexistent/libsendfd.so'}));
    ok($process->{status} != 0, "$binding->{name} takes the library that LIBSENDFD names");
}

# --- the document --------------------------------------------------------------------

my $begins = "<!-- measured by make interop-table -->\n";
my $ends   = "<!-- end of what is measured -->\n";

# With what is measured put where it belongs.
sub brought_up_to_date {
    my ($text, $tables) = @_;
    $text =~ s/(\Q$begins\E).*?(\Q$ends\E)/$1\n$tables\n$2/s or die "$document: no place for tables\n";
    return $text;
}

# --- the test ----------------------------------------------------------------------

my $write = @ARGV && $ARGV[0] eq '--table';

look_for($_, 'recvfd') for @bindings;
look_for($_, $_->{receive}) for @others;
$_->{there} && honours_libsendfd($_) for @bindings[1 .. $#bindings];
is(join(', ', map { "$_->{peer} $_->{what}" } grep { !$_->{used} } @cannot), '',
    'each reason belongs to a cell');

my @cells = grep { $_->{sender}{there} && $_->{receiver}{there} }
    map { my (undef, @columns) = @$_; map { @$_ } @columns }
    @to_rows, @from_rows, @single_rows, @among_rows;
my $since = seconds();
measure(@cells);
judge($_) for @cells;
note(scalar(@cells) . ' cells in ' . int(seconds() - $since) . ' s');

my $unexpected = grep { !$_->{as_expected} } @cells;
my $text       = read_file($document);
my $current    = brought_up_to_date($text, tables());
if ($write) {
    die "$document is left as it is: not every cell is measured and as expected\n"
        if $incomplete || $unexpected;
    write_file($document, $current);
} elsif ($incomplete) {
    missing("whether $document is current: not every peer is here");
} elsif (!$unexpected) {
    ok($text eq $current, "$document is current; if not: make interop-table");
}
done_testing();
