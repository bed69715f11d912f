#!/bin/sh
# Builds the same sources twice and compares the bytes. Catches a path of the builder (of
# the sources, of O, of cargo's home) in the library, and everything that depends on the
# time, the time zone, the language, the umask, the environment or the number of jobs.
. tests/lib/tap.sh
scratch_directory
unset MAKEFLAGS MFLAGS MAKELEVEL

libraries="libsendfd.so.$VERSION libsendfd.a"
sources='Cargo.toml Cargo.lock build.rs Makefile src include man pkgconfig tools'
here=$scratch/a
there=$scratch/somewhere/else/with-a-longer-name
cargo_home=${CARGO_HOME:-$HOME/.cargo}

# The standard library's: /rustc/HASH/library/core/src/...
paths_of_std=/rustc/library/alloc/core/std/src/

copy_sources() {
	mkdir -p "$1"
	cp -R $sources "$1"
}

# A home of another name, with all that is in the one that there is.
other_cargo_home() {
	mkdir "$1"
	if [ -d "$cargo_home" ]; then
		find "$cargo_home" -mindepth 1 -maxdepth 1 -exec ln -s {} "$1" \;
	fi
}

build_here() {
	(umask 022 && cd "$here" && env TZ=UTC LC_ALL=C \
		$MAKE -j1 O=build CARGO="$CARGO" CARGOFLAGS="$CARGOFLAGS")
}

# Rustup finds its own files by HOME, or by RUSTUP_HOME.
build_there() {
	(umask 077 && cd "$there" && env TZ=Asia/Kathmandu LC_ALL=C.UTF-8 LANG=de_DE.UTF-8 \
		USER=somebody LOGNAME=somebody HOSTNAME=elsewhere SOURCE_DATE_EPOCH=1 \
		CARGO_HOME="$scratch/home-of-cargo" \
		$MAKE -j4 O="$scratch/another-place-for-what-is-built" CARGO="$CARGO" CARGOFLAGS="$CARGOFLAGS")
}

# Where the two differ: sections, strings, then bytes.
tell_the_difference() {
	for tool in 'readelf -SW' 'readelf -sW' 'readelf -nW' 'strings -a'; do
		$tool "$1" >"$scratch/1" 2>&1
		$tool "$2" >"$scratch/2" 2>&1
		diff "$scratch/1" "$scratch/2" >"$scratch/difference" ||
			{ printf '%s:\n' "$tool" && grep '^[<>]' "$scratch/difference" | head -n 10; }
	done
	cmp -l "$1" "$2" | head -n 5
}

same() {
	cmp "$1" "$2" || { tell_the_difference "$1" "$2" && false; }
}

mentions() {
	strings -a "$1" | grep -F "$2"
}

copy_sources "$here"
copy_sources "$there"
other_cargo_home "$scratch/home-of-cargo"
ok 'it builds in one place' build_here
ok 'and in another, as another user might' build_there
for library in $libraries; do
	ok "$library is the same bytes" same "$here/build/$library" "$scratch/another-place-for-what-is-built/$library"
	for path in "$scratch" "$cargo_home" "$HOME" "$(pwd)"; do
		case $paths_of_std in *"$path"*) continue ;; esac
		is "$(mentions "$here/build/$library" "$path" | head -n 3)" '' \
			"$library does not mention $path"
	done
done
# That a path would be found where there is one: in what is not remapped.
printf 'char path[] = "%s";\n' "$scratch" >"$scratch/path.c"
$CC -c -o "$scratch/path.o" "$scratch/path.c"
ok 'a path that gets in is seen' mentions "$scratch/path.o" "$scratch"
tap_done
