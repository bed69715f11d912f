#!/usr/bin/perl
# Passes descriptors to and from programs of others: nc -F of OpenBSD's netcat, and ssh with
# ProxyUseFdpass, which connects to an sshd that this test starts. On loopback, at ports
# that the kernel chooses.
use strict;
use warnings;
use Cwd 'abs_path';
use POSIX ();
use Socket qw(AF_INET SOCK_STREAM SOL_SOCKET SHUT_WR INADDR_LOOPBACK pack_sockaddr_in
    unpack_sockaddr_in inet_ntoa);
use lib 'tests/lib';
use Processes;
use Test::More;

my $build = $ENV{O} // 'build';
my $talk  = "$build/tests/interop/talk";
my $proxy = abs_path("$build/examples/proxy_fdpass") // "$build/examples/proxy_fdpass";
$ENV{LC_ALL} = 'C';
$ENV{PATH} .= ':/usr/sbin:/usr/local/sbin:/sbin';

sub find_program {
    my ($name) = @_;
    return (grep { -f && -x _ } map { "$_/$name" } split /:/, $ENV{PATH})[0];
}

sub what_happened {
    return map { "$_->{title} ended with status $_->{status}: $_->{errors}\n" } @_;
}

# --- TCP ---------------------------------------------------------------------------

sub listen_on_loopback {
    socket my $listener, AF_INET, SOCK_STREAM, 0 or die "socket: $!\n";
    bind $listener, pack_sockaddr_in(0, INADDR_LOOPBACK) or die "bind: $!\n";
    listen $listener, 4 or die "listen: $!\n";
    my ($port) = unpack_sockaddr_in(getsockname $listener);
    return ($listener, $port);
}

sub connect_to_loopback {
    my ($port) = @_;
    socket my $connection, AF_INET, SOCK_STREAM, 0 or die "socket: $!\n";
    connect $connection, pack_sockaddr_in($port, INADDR_LOOPBACK) or die "connect: $!\n";
    return $connection;
}

sub read_to_end {
    my ($connection) = @_;
    local $/;
    return scalar(<$connection>) // '';
}

sub write_and_shut {
    my ($connection, $text) = @_;
    syswrite($connection, $text) // die "write: $!\n";
    shutdown $connection, SHUT_WR;
}

# Answers one connection with what it says, marked.
sub echo {
    my ($listener) = @_;
    accept my $connection, $listener or die "accept: $!\n";
    write_and_shut($connection, 'echo of ' . read_to_end($connection));
    return 0;
}

# An HTTP proxy for one connection, whose client speaks first and once.
sub connect_proxy {
    my ($listener) = @_;
    accept my $client, $listener or die "accept: $!\n";
    my $request = '';
    until ($request =~ /\r?\n\r?\n\z/) {
        sysread $client, $request, 1, length $request or die "no whole request: $request\n";
    }
    $request =~ /^CONNECT 127\.0\.0\.1:(\d+) / or die "not what a proxy is asked for: $request\n";
    my $server = connect_to_loopback($1);
    syswrite($client, "HTTP/1.0 200 Connected\r\n\r\n") // die "write: $!\n";
    write_and_shut($server, read_to_end($client));
    write_and_shut($client, read_to_end($server));
    return 0;
}

# --- nc ------------------------------------------------------------------------------

# nc connects, passes the connection over its standard output, and ends. Only then
# does ours receive it and speak.
sub receive_from_nc {
    my ($name, $options, $port) = @_;
    my ($standard_output, $ours) = socket_pair();
    my $nc = wait_for(start(title => 'nc', fds => {1 => $standard_output},
        command => ['nc', '-F', @$options, '127.0.0.1', $port]));
    close $standard_output;
    my $talk = wait_for(start(title => 'talk', fds => {3 => $ours},
        command => [$talk, "hello $name"]));
    ok($nc->{status} == 0, "nc -F $name ends when it has passed the connection")
        or diag(what_happened($nc));
    ok($talk->{status} == 0 && $talk->{output} eq "echo of hello $name\n",
        'recvfd receives it, and it is connected')
        or diag(what_happened($talk), $talk->{output});
}

sub test_nc {
    my $nc = find_program('nc');
    unless ($nc && run($nc, '-h')->{errors} =~ /-F\b.*[Pp]ass socket/) {
        missing('nc -F: no OpenBSD netcat (Debian: netcat-openbsd)');
        return;
    }
    my ($listener, $port) = listen_on_loopback();
    my $echo = start(title => 'the server', command => sub { echo($listener) });
    receive_from_nc('directly', [], $port);
    stop($echo);

    my ($proxy_listener, $proxy_port) = listen_on_loopback();
    my $proxy = start(title => 'the proxy', command => sub { connect_proxy($proxy_listener) });
    $echo = start(title => 'the server', command => sub { echo($listener) });
    receive_from_nc('through a proxy', ['-X', 'connect', '-x', "127.0.0.1:$proxy_port"], $port);
    ok(stop($proxy)->{status} == 0, 'the proxy was asked')
        or diag(what_happened($proxy));
    stop($echo);
}

# --- ssh -----------------------------------------------------------------------------

# Why ssh cannot be tested here, if it cannot.
sub unable_to_ssh {
    for (['ssh', 'client'], ['ssh-keygen', 'client'], ['sshd', 'server']) {
        my ($program, $package) = @$_;
        return "no $program (Debian: openssh-$package)" unless find_program($program);
    }
    my @account = getpwuid $> or return "user $> has no account to log in to";
    my ($user, $shell) = @account[0, 8];
    return "the account $user has no shell: $shell"
        if $shell =~ m{/(?:nologin|false)$} || ($shell ne '' && !-x $shell);
    return;
}

# The configuration of sshd and ssh, and their keys, all in the directory of the test.
sub configure_ssh {
    my ($directory) = @_;
    for my $key ('host_key', 'user_key') {
        my $made = run('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', $key,
            '-f', "$directory/$key");
        die "ssh-keygen: $made->{errors}" if $made->{status} != 0;
    }
    write_file("$directory/authorized_keys", read_file("$directory/user_key.pub"));
    write_file("$directory/known_hosts", 'the_test ' . read_file("$directory/host_key.pub"));
    write_file("$directory/sshd_config", <<"END");
HostKey $directory/host_key
AuthorizedKeysFile $directory/authorized_keys
PidFile $directory/sshd.pid
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
PrintMotd no
LogLevel VERBOSE
END
}

# As root sshd wants an empty directory, which the system makes when it starts an
# sshd of its own. Made here it is removed again. Returns why it cannot be had.
my $made_directory;

sub make_directory_of_sshd {
    my ($sshd, $config) = @_;
    my $checked = run($sshd, '-t', '-f', $config);
    return if $checked->{status} == 0;
    $checked->{errors} =~ /^Missing privilege separation directory: (\S+)/m
        or return; # sshd itself will say what is wrong
    my $directory = $1;
    mkdir $directory, 0755 or return "sshd wants $directory: $!";
    $made_directory = $directory;
    return;
}

END {
    rmdir $made_directory if defined $made_directory;
}

# Waits for one connection and becomes its sshd, having printed from which port it
# comes.
sub serve_ssh {
    my ($listener, $sshd, $config) = @_;
    my $from = accept my $connection, $listener or die "accept: $!\n";
    my ($port) = unpack_sockaddr_in($from);
    syswrite STDOUT, "$port\n";
    POSIX::dup2(fileno $connection, $_) for 0, 1;
    exec $sshd, '-i', '-e', '-f', $config or die "$sshd: $!\n";
}

sub ssh_command {
    my ($directory, $port, $proxy_command, $remote_command) = @_;
    return ['ssh', '-F', 'none', '-p', $port, '-l', scalar getpwuid $>,
        map({ ('-o', $_) } 'BatchMode=yes', 'ConnectTimeout=20', 'ControlPath=none',
            'IdentitiesOnly=yes', 'IdentityAgent=none', "IdentityFile=$directory/user_key",
            "UserKnownHostsFile=$directory/known_hosts", 'GlobalKnownHostsFile=/dev/null',
            'HostKeyAlias=the_test', 'StrictHostKeyChecking=yes', 'ProxyUseFdpass=yes',
            "ProxyCommand=$proxy_command"),
        '127.0.0.1', $remote_command];
}

sub test_ssh {
    my $reason = unable_to_ssh();
    my $directory = scratch();
    my $sshd = find_program('sshd');
    configure_ssh($directory) unless $reason;
    my $config = "$directory/sshd_config";
    $reason ||= make_directory_of_sshd($sshd, $config);
    if ($reason) {
        missing("ssh: $reason");
        return;
    }

    my ($listener, $port) = listen_on_loopback();
    my $server = start(title => 'sshd', command => sub { serve_ssh($listener, $sshd, $config) });
    my $text = "through a socket that came from a ProxyCommand\n";
    my $input_path = write_file("$directory/input", $text);
    open my $input, '<', $input_path or die "$input_path: $!\n";
    my $ssh = wait_for(start(title => 'ssh', fds => {0 => $input},
        environment => {SHELL => '/bin/sh'},
        command => ssh_command($directory, $port, "'$proxy' %h %p",
            'echo "$SSH_CONNECTION" && cat && exit 7')));
    $ssh->{status} == 7 ? wait_for($server) : stop($server);
    if ($server->{errors} =~ /^User .* not allowed because account is locked/m) {
        missing('ssh: the account is locked');
        return;
    }
    my ($came_from) = $server->{output} =~ /^(\d+)$/m;
    my ($connection, $echo) = split /^/, $ssh->{output}, 2;
    ok($ssh->{status} == 7, 'ssh has the socket of our ProxyCommand, and the command its status')
        or diag(what_happened($ssh, $server));
    ok(($connection // '') eq '127.0.0.1 ' . ($came_from // '?') . " 127.0.0.1 $port\n",
        'the connection is that of the ProxyCommand')
        or diag($ssh->{output});
    ok(($echo // '') eq $text, 'what ssh reads is what it has sent')
        or diag($ssh->{output});

    # And would all this succeed without a descriptor?
    $ssh = wait_for(start(title => 'ssh', environment => {SHELL => '/bin/sh'},
        command => ssh_command($directory, $port, 'true', 'true')));
    ok($ssh->{status} == 255, 'ssh fails if its ProxyCommand passes nothing')
        or diag(what_happened($ssh));
}

# --- our ProxyCommand by itself ---------------------------------------------------------

sub test_proxy_fdpass {
    my ($listener, $port) = listen_on_loopback();
    my $by_hand = wait_for(start(command => [$proxy, '127.0.0.1', $port]));
    ok($by_hand->{status} == 1 && $by_hand->{errors} =~ /no Unix-domain socket/,
        'proxy_fdpass needs a socket to pass to, and says so')
        or diag($by_hand->{errors});
    close $listener;
    my $refused = wait_for(start(command => [$proxy, '127.0.0.1', $port]));
    ok($refused->{status} == 1 && $refused->{errors} =~ /127\.0\.0\.1 port $port: /,
        'it says where it cannot connect')
        or diag($refused->{errors});
}

test_nc();
test_ssh();
test_proxy_fdpass();
done_testing();
