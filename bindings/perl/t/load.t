# Where the library is found, and what a program sees if it is not.
use strict;
use warnings;

use lib 't/lib';

use Cwd qw(abs_path);
use SendFD;
use Test::More;
use Testing;

# The library that the program has loaded, whose name libsendfd.so.1 may be a link.
my $loaded = q{open my $maps, '<', '/proc/self/maps'; print +(map { m{ (/\S*/libsendfd\S*)$} } <$maps>)[0]};
my $library = abs_path(do { open my $maps, '<', '/proc/self/maps'; (map { m{ (/\S*/libsendfd\S*)$} } <$maps>)[0] });
my $place = directory;
my @include = map { "-I" . abs_path($_) } grep { -d } @INC;

# A program of its own: what it prints, on one line.
sub program {
	my ($environment, @arguments) = @_;
	my $pid = open(my $output, '-|') // die "fork: $!";
	if ($pid == 0) {
		open STDERR, '>&', STDOUT or die $!;
		delete @ENV{qw(LIBSENDFD PERL5LIB PERLLIB LD_LIBRARY_PATH)};
		@ENV{keys %$environment} = values %$environment;
		$ENV{PATH} = '/usr/bin:/bin';
		exec $^X, @arguments or die "$^X: $!";
	}
	my $printed = join '', <$output>;
	close $output;
	return $printed;
}

sub copy_to {
	my ($path) = @_;
	system('cp', $library, $path) == 0 or die "cp $path";
	return $path;
}

mkdir "$place/$_" or die $! for qw(environment system bundle bundle/auto bundle/auto/SendFD);
my $of_environment = copy_to("$place/environment/libsendfd.so.9");
my $of_system      = copy_to("$place/system/libsendfd.so.1");
my $bundled        = "$place/bundle/auto/SendFD/libsendfd.so.1";
my %both           = (LIBSENDFD => $of_environment, LD_LIBRARY_PATH => "$place/system");
my $has_bundle     = grep { -e "$_/auto/SendFD/libsendfd.so.1" } @INC;

is $SendFD::VERSION, SendFD::sendfd_version(), 'one version, the library\'s';
ok eval 'use SendFD 1; 1', 'use SendFD 1';
ok !eval 'use SendFD 99; 1', 'not use SendFD 99';
like $@, qr/version 99 required/, 'which says why';

SKIP: {
	skip 'a bundled copy is installed', 2 if $has_bundle;
	is program({LD_LIBRARY_PATH => "$place/system"}, @include, '-MSendFD', '-e', $loaded),
		$of_system, 'the system\'s';
	like program({}, @include, '-e', 'print eval { require SendFD } ? $INC{"SendFD.pm"} : $@'),
		qr{\A(?:/|Can't load 'libsendfd\.so\.1' for module SendFD: \S+ cannot open .* line 1\.\n)},
		'none: the error of a module that cannot be loaded';
}
copy_to($bundled);
unshift @include, "-I$place/bundle";
is program({LD_LIBRARY_PATH => "$place/system"}, @include, '-MSendFD', '-e', $loaded),
	$bundled, 'a bundled copy is before it';
is program(\%both, @include, '-MSendFD', '-e', $loaded), $of_environment,
	'$LIBSENDFD is before that';
is program(\%both, '-T', @include, '-MSendFD', '-e', $loaded), $bundled, 'but not under -T';
SKIP: {
	skip 'a set-id program: needs root', 2 if $> != 0;
	is program(\%both, @include, '-e', "BEGIN { \$< = 12348 } use SendFD; $loaded"), $bundled,
		'nor with two users';
	is program(\%both, @include, '-e', "BEGIN { \$( = 12348 } use SendFD; $loaded"), $bundled,
		'nor with two groups';
}
is program({LIBSENDFD => ''}, @include, '-MSendFD', '-e', $loaded), $bundled,
	'an empty $LIBSENDFD is none';
like program({LIBSENDFD => '/no/such/libsendfd.so.1'}, @include, '-MSendFD', '-e', '1'),
	qr{\ACan't load '/no/such/libsendfd.so.1' for module SendFD: /no/such/\S+ cannot open},
	'a library that is not there: the path that was tried';
like program({LIBSENDFD => 'libc.so.6'}, @include, '-MSendFD', '-e', '1'),
	qr{\ACan't load 'libc.so.6' for module SendFD: it has no sendfd }, 'another library';

done_testing;
