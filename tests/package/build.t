#!/bin/sh
# Builds in unusual ways: nothing is written outside O, a read-only source tree builds,
# jobs run in parallel, and cargo alone makes a usable shared object.
. tests/lib/tap.sh
scratch_directory
unset MAKEFLAGS MFLAGS MAKELEVEL

# The sources alone: what a distribution builds from.
source_tree=$scratch/source
mkdir "$source_tree"
cp -R Cargo.toml Cargo.lock build.rs Makefile src include pkgconfig tools "$source_tree"
chmod -R a-w "$source_tree"
trap 'chmod -R u+w "$source_tree"; rm -rf "$scratch"' EXIT
before=$(find "$source_tree" | sort)

ok 'a read-only tree builds with O=, jobs in parallel' \
	$MAKE -C "$source_tree" -j4 O="$scratch/out" CARGO="$CARGO" CARGOFLAGS="$CARGOFLAGS"
is "$(find "$source_tree" | sort)" "$before" 'and nothing is written there'
for built in libsendfd.so.$VERSION libsendfd.so.1 libsendfd.so libsendfd.a sendfd.pc; do
	ok "$built is built" test -s "$scratch/out/$built"
done
is "$($MAKE -s -C "$source_tree" O="$scratch/out" CARGO="$CARGO" CARGOFLAGS="$CARGOFLAGS" V=1 2>&1 | grep -c -e ' -shared ')" \
	0 'a second make links nothing again'

build_in_place() {
	$MAKE -s -C "$source_tree" O="$scratch/out" CARGOFLAGS="$CARGOFLAGS" DESTDIR="$scratch/root" "$@"
}
ok 'make install needs no cargo that works where all is built' build_in_place install CARGO=false
ok 'what is installed is what was built' cmp "$scratch/out/libsendfd.a" \
	"$scratch/root/usr/local/lib/libsendfd.a"
chmod u+w "$source_tree"/src/*.rs
touch "$source_tree/src/lib.rs"
is "$(build_in_place install CARGO=false >/dev/null 2>&1 && echo installed)" '' \
	'where a source is newer, it does'
# what_fails VARIABLE=VALUE: what a build that cannot work says.
what_fails() {
	! $MAKE -s -C "$source_tree" O="$scratch/failing" CARGO="$CARGO" CARGOFLAGS="$CARGOFLAGS" "$1"
}

# says VARIABLE=VALUE TEXT: that it fails, with this message.
says() {
	ok "it cannot be built with ${1##*/}" what_fails "$1"
	printf '%s\n' "$tap_output" >"$scratch/says"
	ok "and says why: $2" grep -F "$2" "$scratch/says"
}

cat >"$scratch/cargo-of-old" <<'end'
#!/bin/sh
echo "cargo 1.62.0"
[ "$1" = --version ]
end
sed 's/1\.62/1.999/' "$scratch/cargo-of-old" >"$scratch/failing-cargo"
chmod +x "$scratch/cargo-of-old" "$scratch/failing-cargo"
says CARGO=no-cargo 'not found: no-cargo; '
says OBJCOPY=no-objcopy 'not found: no-objcopy'
says HARDENING=some 'HARDENING is empty or full'
says CARGO="$scratch/cargo-of-old" 'this is 1.62.0'
says LD=false 'LD=false has to be GNU ld or ld.lld'
ok 'nor with a cargo that fails' what_fails CARGO="$scratch/failing-cargo"
is "$(printf '%s\n' "$tap_output" | grep 'libsendfd needs')" '' 'whose age is not to blame'
ok 'CARGO_BUILD_TARGET is honoured' env CARGO_BUILD_TARGET="$(rustc -vV | sed -n 's/^host: //p')" \
	$MAKE -s -C "$source_tree" O="$scratch/target" CARGO="$CARGO" CARGOFLAGS="$CARGOFLAGS"

cat >"$scratch/cross-cc" <<'end'
#!/bin/sh
[ "$1" != -dumpmachine ] || { echo s390x-linux-gnu; exit; }
exec cc "$@"
end
cat >"$scratch/telling-cargo" <<'end'
#!/bin/sh
echo "the target is $CARGO_BUILD_TARGET" >&2
exit 1
end
chmod +x "$scratch/cross-cc" "$scratch/telling-cargo"
ok 'a C compiler for another processor is no obstacle' sh -c "! env -u CARGO_BUILD_TARGET \
	$MAKE -s -C '$source_tree' O='$scratch/cross' CC='$scratch/cross-cc' \
	CARGO='$scratch/telling-cargo' >'$scratch/says' 2>&1"
ok 'rustc is given its target' grep -q 'the target is s390x-unknown-linux-gnu' "$scratch/says"

# A directory of crates, as distributions have them, takes the place of the registry.
if [ -n "$CARGO_VENDOR" ]; then
	printf '# it was built with CARGO_VENDOR=%s\n' "$CARGO_VENDOR"
else
	ok 'cargo vendor' $CARGO vendor --quiet $CARGOFLAGS "$scratch/vendor"
	ok 'CARGO_VENDOR builds from it, without a registry' env CARGO_HOME="$scratch/cargo" \
		CARGO_VENDOR="$scratch/vendor" $MAKE -s -C "$source_tree" O="$scratch/vendored" \
		CARGO="$CARGO" CARGOFLAGS="$CARGOFLAGS"
	ok 'to the same bytes' cmp "$scratch/vendored/libsendfd.a" "$scratch/out/libsendfd.a"
fi

ok 'cargo build --release alone' tools/cargo build --quiet --release
is "$(readelf -dW "$O/target/release/libsendfd.so" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')" \
	libsendfd.so.1 'yields a cdylib with its SONAME'
if $CC -std=c11 -D_GNU_SOURCE -Iinclude -Ic_tests -pthread -o "$scratch/round_trip" \
	c_tests/round_trip.c c_tests/tap.c c_tests/peer.c "$O/target/release/libsendfd.so"; then
	ln -s "$(realpath "$O/target/release/libsendfd.so")" "$scratch/libsendfd.so.1"
	ok 'that works' env LD_LIBRARY_PATH="$scratch" "$scratch/round_trip"
else
	ok 'that links' false
fi
ok 'the dev profile builds too' tools/cargo build --quiet
tap_done
