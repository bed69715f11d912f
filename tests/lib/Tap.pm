# The Test Anything Protocol for the tests in Perl, as tests/lib/tap.sh is for those
# in sh; with nothing but what Debian's perl-base has.
package Tap;
use strict;
use warnings;
use Exporter 'import';
our @EXPORT = qw(ok diag skip done);

my ($tests, $failures) = (0, 0);

# ok PASSED, NAME, LINE...: the lines explain a failure.
sub ok {
    my ($passed, $name, @explanation) = @_;
    $tests++;
    print $passed ? '' : 'not ', "ok $tests - $name\n";
    unless ($passed) {
        $failures++;
        diag(@explanation);
    }
    return $passed;
}

sub diag {
    print "# $_\n" for map { split /\n/ } @_;
}

# Tells that something is not tested; a failure where REQUIRE_ALL=1.
sub skip {
    my ($reason) = @_;
    $tests++;
    my $required = ($ENV{REQUIRE_ALL} || 0) eq '1';
    $failures++ if $required;
    print $required ? 'not ' : '', "ok $tests # SKIP $reason\n";
}

sub done {
    print "1..$tests\n";
    exit($failures ? 1 : 0);
}

1;
