#!/bin/sh
# The package for Perl: it is built, tested and installed as perl's are, its tests pass
# with what was installed, and its demos talk to those in C.
. tests/bindings/bindings.sh

perl=${PERL:-perl}
if ! have "$perl"; then
	skip 'the package for Perl: no perl'
	tap_done
fi
# Of these, a machine with perl-base only has none.
for module in ExtUtils::MakeMaker Test::More 'FFI::Platypus 2.00'; do
	if ! "$perl" -e "use $module" 2>"$scratch/why"; then
		skip "the package for Perl (Debian: perl, libffi-platypus-perl): $(head -n 1 "$scratch/why")"
		tap_done
	fi
done

# in_build COMMAND...: where the package is built, without what make passes on.
in_build() {
	(cd "$scratch/build" && unset MAKEFLAGS MAKELEVEL PERL_MM_OPT && $limited "$@")
}

export PERL_MM_USE_DEFAULT=1
cp -rL bindings/perl "$scratch/build"
ok 'perl Makefile.PL' in_build "$perl" Makefile.PL INSTALL_BASE="$scratch/installed"
ok 'make' in_build "$MAKE"
ok 'make test' in_build "$MAKE" test TEST_FILES=t/pass.t
ok 'make install' in_build "$MAKE" install
export PERL5LIB="$scratch/installed/lib/perl5"
# shellcheck disable=SC2016 # it is for perl
is "$("$perl" -MSendFD -e 'print SendFD->VERSION, " ", $INC{"SendFD.pm"}')" \
	"$VERSION $PERL5LIB/SendFD.pm" 'what is installed has the version of the library'

rm -r "$scratch/build/blib"
ok 'its tests pass with what is installed' \
	in_build sh -c "$perl -S prove -v t/*.t >../suite 2>&1 || { cat ../suite; exit 1; }"
grep -i '^ *ok .*# skip' "$scratch/suite" | sed 's/.*# skip */Perl: /I' | sort -u >"$scratch/skipped"
while IFS= read -r reason; do
	skip "$reason"
done <"$scratch/skipped"

# shellcheck disable=SC2016 # of Markdown
sed -n '/^```perl/,/^```$/ { /^```/d; p }' bindings/perl/README.md >"$scratch/readme.pl"
is "$($limited "$perl" "$scratch/readme.pl")" "$(cat /etc/hosts)" 'the program of its README'

unset PERL5LIB
demos perl bindings/perl/examples .pl
tap_done
