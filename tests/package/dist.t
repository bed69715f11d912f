#!/bin/sh
# Packs a tree with make dist that builds and passes tests offline, given the crates that
# cargo has fetched, and packs it again from there.
. tests/lib/tap.sh
scratch_directory
unset MAKEFLAGS MFLAGS MAKELEVEL
O=$(realpath "$O") # which may be absolute, and must not be that of a make in another tree

mkdir "$scratch/out"
ok 'make dist' $MAKE -s dist O="$scratch/out"
tarball=$scratch/out/libsendfd-$VERSION.tar.gz
ok 'the tarball unpacks' tar -C "$scratch" -xzf "$tarball"
unpacked=$scratch/libsendfd-$VERSION
is "$(sed -n 's/^name = //p' "$unpacked/Cargo.lock" | tr '\n' ' ')" '"libc" "libsendfd" ' \
	'the library uses one crate'
ok 'it holds no built file' test ! -e "$unpacked/build" -a ! -e "$unpacked/target"
# A test in C, the Rust tests and a check: each of them all would be the same again.
ok 'it builds and passes tests offline' $MAKE -C "$unpacked" check O=build CARGO="$CARGO" \
	CARGOFLAGS='--locked --offline' c_test_names=round_trip cxx_test_names= \
	checks='tests/model/unit_tests.t tests/package/exports.t'
files_in() {
	tar -tzf "$1" | grep -v '/$' | sort
}

# The other one needs no registry. Root can take the network away, too.
vendored=$scratch/out/libsendfd-$VERSION-vendored.tar.gz
if [ -n "$CARGO_VENDOR" ]; then
	printf '# no tarball with the crate libc: there is no registry here\n'
else
	mkdir "$scratch/vendored"
	ok 'a tarball with the crate libc unpacks' tar -C "$scratch/vendored" -xzf "$vendored"
	ok 'it builds without a registry' env -u CARGO_VENDOR CARGO_HOME="$scratch/cargo" \
		$MAKE -s -C "$scratch/vendored/libsendfd-$VERSION" O=build CARGO="$CARGO"
	ok 'to the same bytes' cmp "$scratch/vendored/libsendfd-$VERSION/build/libsendfd.a" "$unpacked/build/libsendfd.a"
fi

mkdir "$unpacked/out" && touch "$unpacked/out/built"
! have git || git init -q "$scratch" # to which the tree does not belong
ok 'make dist works there, without git' $MAKE -s -C "$unpacked" dist O=out
files_in "$tarball" >"$scratch/packed"
files_in "$unpacked/out/libsendfd-$VERSION.tar.gz" >"$scratch/packed-again"
ok 'and packs the same files' diff "$scratch/packed" "$scratch/packed-again"
if ! have git; then
	printf '# there is no git that could fail\n'
	tap_done
fi
mkdir "$unpacked/.git"
ok 'where git fails, it does' sh -c "! $MAKE -s -C '$unpacked' dist O='$scratch/failed'"
ok 'and leaves no tarball' test ! -e "$scratch/failed/libsendfd-$VERSION.tar.gz"
tap_done
