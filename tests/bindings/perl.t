#!/bin/sh
# The examples in Perl: all functions through FFI::Platypus, what is undef and what
# is the end of file, handles, signals, and the demos.
. tests/bindings/bindings.sh

perl=${PERL:-perl}
if ! have "$perl"; then
	skip 'the examples in Perl: no perl'
	tap_done
fi
if ! "$perl" -e 'use FFI::Platypus 2.00' 2>"$scratch/why"; then
	skip "Perl's FFI::Platypus 2 (Debian: libffi-platypus-perl): $(head -n 1 "$scratch/why")"
	tap_done
fi
tests "$perl" tests/bindings/perl_binding.pl
ok 'the documentation of SendFD.pm is well-formed' \
	"$perl" -MPod::Checker -e 'exit podchecker(shift) != 0' examples/perl/SendFD.pm
demos perl examples/perl .pl
tap_done
