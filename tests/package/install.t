#!/bin/sh
# Installs and uninstalls: make install puts the right files where it is told to, make
# uninstall removes exactly these, and the installed copy passes installcheck.
. tests/lib/tap.sh
scratch_directory
unset MAKEFLAGS MFLAGS MAKELEVEL

make_it() {
	$MAKE -s O="$O" CARGO="$CARGO" CARGOFLAGS="$CARGOFLAGS" "$@"
}
installed_in() {
	(cd "$1" && find . ! -type d | sort)
}
expected_names="include/sendfd.h
include/sendfd.hpp
lib/cmake/sendfd/sendfd-config.cmake
lib/cmake/sendfd/sendfd-config-version.cmake
lib/libsendfd.a
lib/libsendfd.so
lib/libsendfd.so.1
lib/libsendfd.so.$VERSION
lib/pkgconfig/sendfd.pc
share/man/man3/sendfd.hpp.3
share/man/man7/libsendfd.7
$(sed -n '/libsendfd_/d; s,^ *\([a-z][a-z0-9_]*\);$,share/man/man3/\1.3,p' src/libsendfd.map)"

destination=$scratch/destdir
mkdir -p "$destination/usr/include" && : >"$destination/usr/include/other.h"
# Whatever umask root has, everybody can use what is installed.
umask 077
ok 'make install with DESTDIR' make_it install prefix=/usr DESTDIR="$destination"
umask 022
for name in $expected_names; do
	ok "$name is installed" test -s "$destination/usr/$name"
done
is "$(installed_in "$destination/usr")" "$(printf './%s\n' $expected_names include/other.h | sort)" \
	'and nothing else'
is "$(cd "$destination/usr" && find . -type f ! -name other.h -printf '%m %P\n' | grep -v '^644 ')" \
	"755 lib/libsendfd.so.$VERSION" 'all can be read by everybody, and the shared object mapped'
is "$(find "$destination/usr/lib" "$destination/usr/share" -type d ! -perm 755)" '' \
	'and so can the directories that were made'
ok 'make installcheck with DESTDIR' make_it installcheck prefix=/usr DESTDIR="$destination" O="$O"
ok 'make uninstall' make_it uninstall prefix=/usr DESTDIR="$destination"
is "$(installed_in "$destination")" ./usr/include/other.h 'leaves what it did not install'

prefix=$scratch/prefix
libdir=$prefix/lib/some-arch
ok 'make install with prefix and libdir' make_it install prefix="$prefix" libdir="$libdir"
is "$(installed_in "$prefix/lib")" "$(printf './some-arch/%s\n' libsendfd.a libsendfd.so \
	libsendfd.so.1 "libsendfd.so.$VERSION" pkgconfig/sendfd.pc cmake/sendfd/sendfd-config.cmake \
	cmake/sendfd/sendfd-config-version.cmake | sort)" 'libdir is honoured'
ok 'make installcheck with libdir' make_it installcheck prefix="$prefix" libdir="$libdir"
ok 'make uninstall again' make_it uninstall prefix="$prefix" libdir="$libdir"
is "$(installed_in "$prefix")" '' 'leaves nothing'
ok 'nor a directory of its own' test ! -e "$libdir/cmake/sendfd"

ok 'PREFIX is understood' make_it install PREFIX="$prefix"
ok 'and goes where prefix does' test -s "$prefix/include/sendfd.h"

# pkg-config: what a user's build gets.
pc=$prefix/lib/pkgconfig
if have pkg-config; then
	is "$(PKG_CONFIG_PATH=$pc pkg-config --cflags --libs sendfd | xargs)" \
		"-I$prefix/include -L$prefix/lib -lsendfd" 'pkg-config --cflags --libs'
	is "$(PKG_CONFIG_PATH=$pc pkg-config --static --libs sendfd | xargs)" \
		"-L$prefix/lib -lsendfd" 'pkg-config --static --libs'
	mv "$prefix" "$scratch/moved"
	is "$(PKG_CONFIG_PATH=$scratch/moved/lib/pkgconfig pkg-config --define-prefix --cflags --libs sendfd | xargs)" \
		"-I$scratch/moved/include -L$scratch/moved/lib -lsendfd" 'it moves with --define-prefix'
else
	skip 'pkg-config: not installed'
fi
ok 'no place is left unfilled in sendfd.pc' sh -c "! grep @ '$O/sendfd.pc'"

# CMake: with includedir elsewhere, and after a move.
moved=$scratch/moved
rm -rf "$moved"
ok 'make install with includedir' \
	make_it install prefix="$prefix" includedir="$prefix/include/sendfd"
ok 'make installcheck with includedir' \
	make_it installcheck prefix="$prefix" includedir="$prefix/include/sendfd"
mv "$prefix" "$moved"
if have cmake; then
	is "$(cmake -S tests/package/cmake -B "$scratch/cmake" -DLANGUAGES=C \
		-DINSTALLED="$moved/lib/cmake/sendfd" 2>&1 | sed -n 's/^-- found //p' | xargs)" \
		"$moved/lib/libsendfd.so.$VERSION $moved/include/sendfd $moved/lib/libsendfd.a $moved/include/sendfd" \
		'the package for CMake moves with the rest'
else
	skip 'moving the package for CMake: no cmake (Debian: cmake)'
fi
ok 'no place is left unfilled in the files for CMake' \
	sh -c "! grep @ '$O/sendfd-config.cmake' '$O/sendfd-config-version.cmake'"
tap_done
