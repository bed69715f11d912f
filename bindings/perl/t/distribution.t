# What is said of the distribution agrees with what is in it.
use strict;
use warnings;

use ExtUtils::Manifest qw(maniread manicheck);
use JSON::PP ();
use SendFD;
use Test::More;

plan skip_all => 'not where the distribution is' if !-e 'META.json';

$ExtUtils::Manifest::Quiet = 1;
is_deeply [manicheck()], [], 'each file of MANIFEST is there';
my $manifest = maniread();
my @missing = grep { !exists $manifest->{$_} }
	map { glob $_ } qw(*.PL *.md Changes LICENSE META.json lib/*.pm t/*.t t/lib/*.pm examples/*);
is_deeply \@missing, [], 'each file is in MANIFEST';

sub text {
	my ($path) = @_;
	open my $file, '<', $path or die "$path: $!";
	return join '', <$file>;
}

my $meta = JSON::PP::decode_json(text('META.json'));
is(version->parse($meta->{version}), version->parse($SendFD::VERSION),
	'META.json has the version of the module');
is_deeply $meta->{prereqs}, JSON::PP::decode_json(text('MYMETA.json'))->{prereqs},
	'and needs what Makefile.PL needs'
	if -e 'MYMETA.json';
like text('Changes'), qr/^\Q$SendFD::VERSION\E\s/m, 'Changes has an entry for it';

done_testing;
