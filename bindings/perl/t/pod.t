use strict;
use warnings;

use SendFD;
use Test::More;

SKIP: {
	skip 'the documentation is well-formed: no Pod::Checker', 1 if !eval { require Pod::Checker };
	is Pod::Checker::podchecker($INC{'SendFD.pm'}, \*STDERR), 0, 'it is well-formed';
}
SKIP: {
	skip 'the documentation is complete: no Pod::Coverage', 1 if !eval { require Pod::Coverage };
	my $coverage = Pod::Coverage->new(package => 'SendFD', also_private => ['import']);
	is $coverage->coverage, 1, 'it is complete' or diag join ' ', $coverage->uncovered;
}

done_testing;
