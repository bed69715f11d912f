#!/bin/sh
# make dist packs a tree that builds and passes tests offline, given the crates
# that cargo has fetched, and packs it again from there.
. checks/tap.sh
scratch_directory
unset MAKEFLAGS MFLAGS MAKELEVEL

mkdir "$scratch/out"
ok 'make dist' $MAKE -s dist O="$scratch/out"
tarball=$scratch/out/libsendfd-$VERSION.tar.gz
ok 'the tarball unpacks' tar -C "$scratch" -xzf "$tarball"
unpacked=$scratch/libsendfd-$VERSION
is "$(sed -n 's/^name = //p' "$unpacked/Cargo.lock" | tr '\n' ' ')" '"libc" "libsendfd" ' \
	'the library uses one crate'
ok 'it holds no built file' test ! -e "$unpacked/build" -a ! -e "$unpacked/target"
# A test in C, the Rust tests and a check: each of them all would be the same again.
ok 'it builds and passes tests offline' $MAKE -C "$unpacked" check CARGO="$CARGO" \
	CARGOFLAGS='--locked --offline' c_test_names=round_trip cxx_test_names= interop_tests= \
	checks='checks/unit_tests.t checks/exports.t'
ok 'make dist works there, without git' \
	env GIT_CEILING_DIRECTORIES="$scratch" $MAKE -s -C "$unpacked" dist
is "$(tar -tzf "$unpacked/build/libsendfd-$VERSION.tar.gz" | grep -v '/$' | sort)" \
	"$(tar -tzf "$tarball" | grep -v '/$' | sort)" 'and packs the same files'
tap_done
