#!/bin/sh
# make does what its user expects: it makes again what was built with other flags, cleans
# up only after itself, and works, or says in one line that it cannot, wherever the
# sources are. Would catch a stale library after a change of CFLAGS, and files of somebody
# else that make clean removes.
. tests/lib/tap.sh
scratch_directory
unset MAKEFLAGS MFLAGS MAKELEVEL CFLAGS CPPFLAGS LDFLAGS RUSTFLAGS

# copy_sources DIRECTORY ENTRY...: what the library needs, and these.
copy_sources() {
	copy=$1
	shift
	mkdir "$copy" && cp -R Cargo.toml Cargo.lock build.rs Makefile src include man pkgconfig tools "$@" "$copy"
}

# make_in DIRECTORY ARGUMENT...
make_in() {
	directory=$1
	shift
	(cd "$directory" && O=build $MAKE CARGO="$CARGO" CARGOFLAGS="$CARGOFLAGS" "$@")
}

# --- flags -------------------------------------------------------------------

sources=$scratch/sources
library=$sources/build/libsendfd.so.$VERSION
copy_sources "$sources"
flags_of() {
	readelf -dW "$library" | sed -n 's/.*(FLAGS_1) *//p'
}
# That of the library itself: the compiler's own libraries may come with some.
debug_units() {
	readelf --debug-dump=info "$library" 2>/dev/null | grep -c 'DW_AT_comp_dir.*libsendfd-'
}

ok 'it builds' make_in "$sources"
is "$(make_in "$sources" V=1 2>&1 | grep -c -e ' -shared ')" 0 'a second make links nothing'
make_in "$sources" LDFLAGS=-Wl,-z,nodelete >/dev/null
is "$(flags_of)" 'Flags: NOW NODELETE' 'other LDFLAGS: the shared object is linked with them'
make_in "$sources" CFLAGS=-Wl,-z,nodlopen >/dev/null
is "$(flags_of)" 'Flags: NOW NOOPEN' 'other CFLAGS, too'
ok 'debug information is there' test "$(debug_units)" -gt 0
make_in "$sources" RUSTFLAGS=-Cdebuginfo=0 >/dev/null
is "$(debug_units)" 0 'other RUSTFLAGS: it is not'
is "$(flags_of)" 'Flags: NOW' 'and the flags of before are gone'
make_in "$sources" LDFLAGS=-Wl,-z,nodelete >/dev/null
make_in "$sources" install DESTDIR="$scratch/root" >/dev/null
ok 'make install takes what is built' cmp "$library" \
	"$scratch/root/usr/local/lib/libsendfd.so.$VERSION"
is "$(flags_of)" 'Flags: NOW NODELETE' 'with the flags that it was built with'
make_in "$sources" install DESTDIR="$scratch/root" LDFLAGS= >/dev/null
is "$(flags_of)" 'Flags: NOW' 'but not if it is given others'
touch "$sources/Makefile"
is "$(make_in "$sources" V=1 2>&1 | grep -c -e ' -shared ')" 1 'another Makefile: it is linked again'

# --- make clean --------------------------------------------------------------

make_in "$sources" dist >/dev/null 2>&1
ok 'there is a tarball' test -e "$sources/build/libsendfd-$VERSION.tar.gz"
make_in "$sources" clean >/dev/null
ok 'make clean removes the directory that it made' test ! -e "$sources/build"
mkdir -p "$sources/build/mine" && touch "$sources/build/notes" "$sources/build/mine/notes"
touch "$sources/build/sendfd-notes"
make_in "$sources" >/dev/null
ok 'make clean' make_in "$sources" clean
is "$(cd "$sources/build" && find . -type f | LC_ALL=C sort | xargs)" './mine/notes ./notes ./sendfd-notes' \
	'leaves what it did not make, and nothing else'

# --- directories -------------------------------------------------------------

# refuses DIRECTORY ARGUMENT...: make says why in one line.
refuses() {
	! refusal=$(make_in "$@" 2>&1) && printf '%s\n' "$refusal" &&
		[ "$(printf '%s\n' "$refusal" | wc -l)" -eq 1 ]
}
for name in 'a:b' 'a b'; do
	mkdir "$scratch/$name" && cp "$sources/Makefile" "$sources/Cargo.toml" "$scratch/$name"
	ok "sources in a directory called $name: an error in one line" refuses "$scratch/$name"
	ok "O=$name: too" refuses "$sources" O="$scratch/$name"
done
ok "O=it's: too" refuses "$sources" O="$scratch/it's"
ok 'O=.: too, lest make clean remove sources' refuses "$sources" O=.
ok 'O=..: too' refuses "$sources" O=..

quoted=$scratch/it\'s
copy_sources "$quoted" c_tests tests bench examples
ok 'sources in a directory with a quote in its name: it builds, and passes tests' \
	make_in "$quoted" check c_test_names=round_trip cxx_test_names= checks=tests/package/exports.t
ok 'it is installed to such a directory' make_in "$quoted" install DESTDIR="$quoted/root"
ok 'whole' cmp "$quoted/include/sendfd.h" "$quoted/root/usr/local/include/sendfd.h"
ok 'and uninstalled' make_in "$quoted" uninstall DESTDIR="$quoted/root"
is "$(find "$quoted/root" -type f)" '' 'so that nothing is left'
tap_done
