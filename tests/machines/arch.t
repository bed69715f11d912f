#!/bin/sh
# Runs the library and the C tests on other machines, built with the oldest compiler that
# Cargo.toml promises, from the oldest crate libc: x86-64, i686 (which x86-64 runs
# natively), and under qemu-system aarch64 and s390x (big-endian). Catches assumptions
# that are true on x86-64 only: a word of a control message of 8 bytes, little-endian bytes,
# a length or a time that does not fit into 32 bits, a type that the C library defines
# differently, an import of the compiler's runtime, and a feature of a later Rust. For
# aarch64 HARDENING=full builds it, and the kernel enforces BTI and PAC.
#
# The compilers are Debian 12's own packages, rustc 1.63 and its cargo among them, which
# build from Debian's crate libc. They are unpacked below $CACHE, and used again.
#
# Not in make check: it takes some minutes (time limit: 1800 s).
. tests/lib/tap.sh
architectures='amd64 arm64 i386 s390x'
. tests/lib/apt.sh
. tests/lib/machine.sh
unset MAKEFLAGS MFLAGS MAKELEVEL

# NAME, Rust's triple, Debian's name of the architecture; x86-64 is this machine.
machines='i686:i686-unknown-linux-gnu:i386
aarch64:aarch64-unknown-linux-gnu:arm64
s390x:s390x-unknown-linux-gnu:s390x'

mkdir -p "$O/tests/arch"
here=$(cd "$O/tests/arch" && pwd)
root=$CACHE/compilers
libraries=$root/usr/lib/x86_64-linux-gnu

# How long a part took: call took PART after it.
started=$(date +%s)
took() {
	now=$(date +%s)
	printf '# %s: %d s\n' "$1" $((now - started))
	started=$now
}

# --- the compilers -----------------------------------------------------------

packages() {
	# The compiler, cargo, the crate, their libraries, and those of gcc.
	printf '%s\n' rustc cargo librust-libc-dev libstd-rust-1.63 libstd-rust-dev:amd64 libllvm14 \
		libgit2-1.5 libssh2-1 libhttp-parser2.9 libmbedcrypto7 libmbedtls14 libmbedx509-1 \
		libcurl3-gnutls libz3-4 libedit2 libbsd0 libmd0 libxml2 libicu72 \
		libisl23 libmpc3 libmpfr6 libgmp10
	for machine in $machines; do
		gnu=${machine%%:*}-linux-gnu
		debian=${machine##*:}
		printf '%s\n' "libstd-rust-dev:$debian" "binutils-$gnu" \
			"cpp-12-$gnu" "gcc-12-$gnu" "g++-12-$gnu" \
			"libgcc-12-dev-$debian-cross" "libgcc-s1-$debian-cross" \
			"libstdc++-12-dev-$debian-cross" "libstdc++6-$debian-cross" \
			"linux-libc-dev-$debian-cross" "libc6-dev-$debian-cross" \
			"libc6-$debian-cross"
	done
}

unpack() {
	rm -rf "$root" "$root.new"
	mkdir "$root.new"
	for deb in "$CACHE/debs"/*.deb; do
		dpkg-deb -x "$deb" "$root.new" || return
	done
	rm -rf "$CACHE/debs"
	packages >"$root.new/packages"
	mv "$root.new" "$root"
}

fetch() {
	[ "$(packages)" != "$(cat "$root/packages" 2>/dev/null)" ] || return 0
	has_suite bookworm || return
	rm -rf "$CACHE/debs"
	mkdir "$CACHE/debs"
	# shellcheck disable=SC2046 # One word a package.
	(cd "$CACHE/debs" && apt_in bookworm apt-get -q download $(packages)) >"$here/download.log" 2>&1 || {
		sed 's/^/# /' "$here/download.log"
		return 1
	}
	took 'downloading the compilers'
	unpack && took 'unpacking them'
}

# wrap NAME COMMAND...: a command of this name in bin/, for an unpacked program.
wrap() {
	wrapper=$here/bin/$1
	shift
	mkdir -p "${wrapper%/*}"
	printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$libraries" "$*" >"$wrapper"
	chmod +x "$wrapper"
}

wrap_compilers() {
	wrap rustc "$root/usr/bin/rustc" --sysroot "$root/usr"
	wrap cargo "$root/usr/bin/cargo"
	for machine in $machines; do
		name=${machine%%:*}
		for compiler in gcc g++; do
			wrap "$name/$compiler" "$root/usr/bin/$name-linux-gnu-$compiler-12" "--sysroot=$root"
		done
		for tool in ld ar objcopy strip nm readelf; do
			wrap "$name/$tool" "$root/usr/bin/$name-linux-gnu-$tool"
		done
	done
}

# --- one machine ---------------------------------------------------------------

tests=$(grep -l '^int main' c_tests/*.c c_tests/*.cc | sed 's|.*/||; s|\.cc*$||')

# Both kinds of each test, as the Makefile names them.
programs() {
	for kind in shared static; do
		for test in $tests; do
			printf '%s\n' "$here/$name/c_tests/$kind/$test"
		done
	done
}

# build VARIABLE=VALUE...: the library and the tests, as the Makefile builds them.
build() {
	# shellcheck disable=SC2046 # One word a program.
	env RUSTC="$here/bin/rustc" $MAKE -j"$(nproc)" O="$here/$name" CARGO="$here/bin/cargo" \
		CARGO_VENDOR="$root/usr/share/cargo/registry" CFLAGS='-O2 -g' CXXFLAGS='-O2 -g' CPPFLAGS= "$@" \
		all $(programs)
}

build_across() {
	build CARGO_BUILD_TARGET="$triple" CC="$here/bin/$name/gcc" CXX="$here/bin/$name/g++" \
		LD="$here/bin/$name/ld" AR="$here/bin/$name/ar" \
		OBJCOPY="$here/bin/$name/objcopy" "$@"
}

# judge CHECK: one of the checks of the library, with the tools of its machine.
judge() {
	env PATH="$here/bin/$name:$PATH" O="$here/$name" CC="$cc" STRIP="$strip" HARDENING="${HARDENING:-}" \
		"tests/package/$1"
}

# run_natively COMMAND...: each of the programs, after the words of the command.
run_natively() {
	for program in $(programs); do
		# What is broken there may well hang, each time.
		if [ $((tap_failures - failures)) -ge 5 ]; then
			printf '# %s: enough has failed, the rest is not run\n' "$name"
			return
		fi
		ok "$name: ${program##*/c_tests/}" timeout -k 5 150 "$@" "$program"
		printf '%s\n' "$tap_output" | sed -n 's/^ok .*# SKIP /# skipped: /p' | sort -u
	done </dev/null
}

run_i686() {
	run_natively env LD_LIBRARY_PATH="$root/usr/i686-linux-gnu/lib"
}

# One kind as root, the other as a plain user.
fill_initramfs() {
	new_initramfs "$busybox" && {
		printf 'root c_tests/shared/%s\n' $tests
		printf 'user c_tests/static/%s\n' $tests
		[ "$name" != aarch64 ] || echo root tests/branch_protection
	} >"$initramfs/programs" && copy_programs "$here/$name" "$strip" &&
		cp "$here/$name/libsendfd.so.1" "$root/usr/$name-linux-gnu/lib"/*.so.[0-9]* "$initramfs/lib"
}

# run_under_qemu IMAGE QEMU...: with the kernel of Debian's package IMAGE.
run_under_qemu() {
	package=$(kernel_package bookworm "$1:$debian")
	kernel=$(cached bookworm "$package" '*vmlinuz*')
	busybox=$(cached bookworm "busybox-static:$debian" '*/bin/busybox')
	ok "$name: a kernel comes from the mirror: ${package#linux-image-}" test -s "$kernel"
	ok "$name: the initramfs is made" fill_initramfs
	shift
	[ "$tap_failures" -ne "$failures" ] || run_machine "$name" "$kernel" "$@"
}

run_aarch64() {
	mkdir -p "$here/$name/tests"
	ok "$name: the test of BTI compiles" "$cc" -std=c11 -Wall -Wextra -Werror -D_GNU_SOURCE -Iinclude -Ic_tests \
		-o "$here/$name/tests/branch_protection" tests/machines/branch_protection.c c_tests/tap.c -L"$here/$name" -lsendfd
	run_under_qemu linux-image-cloud-arm64 qemu-system-aarch64 -accel tcg,thread=multi -cpu max,pauth-impdef=on -M virt \
		-nodefaults -serial stdio -append 'console=ttyAMA0 quiet loglevel=0 panic=-1'
}

run_s390x() {
	run_under_qemu linux-image-s390x qemu-system-s390x -accel tcg,thread=multi -cpu max -M s390-ccw-virtio \
		-nodefaults -chardev stdio,id=console -device sclpconsole,chardev=console \
		-append 'console=ttysclp0 quiet loglevel=0 panic=-1'
}

# The words of control messages have 4 bytes here.
unit_tests_i686() {
	env O="$here/i686" RUSTC="$here/bin/rustc" CARGO="$here/bin/cargo" \
		CARGO_VENDOR="$root/usr/share/cargo/registry" CARGO_BUILD_TARGET="$triple" \
		CARGO_TARGET_I686_UNKNOWN_LINUX_GNU_LINKER="$cc" \
		CARGO_TARGET_I686_UNKNOWN_LINUX_GNU_RUNNER="env LD_LIBRARY_PATH=$root/usr/i686-linux-gnu/lib" \
		RUSTFLAGS="-C link-arg=$interpreter" tests/model/unit_tests.t
}

# test_machine BUILD...: all there is to test on the machine called $name.
test_machine() {
	failures=$tap_failures
	ok "$name: the library and the tests build" "$@"
	took "$name: building"
	[ "$tap_failures" -eq "$failures" ] || return 0
	ok "$name: the exports are those of the map" judge exports.t
	ok "$name: the shared object needs the C library only, and is sound" judge shared_object.t
	$runner
	took "$name: testing"
}

this_machine() {
	name=x86_64 runner=run_natively
	cc=$CC
	strip=${STRIP:-strip}
	test_machine build
}

# other_machine NAME TRIPLE DEBIAN
other_machine() {
	name=$1 triple=$2 debian=$3 cc=$here/bin/$1/gcc strip=$here/bin/$1/strip runner=run_$1
	interpreter= # an initramfs has it where programs look for it
	[ "$name" != i686 ] || interpreter=-Wl,--dynamic-linker=$root/usr/i686-linux-gnu/lib/ld-linux.so.2
	HARDENING=
	[ "$name" != aarch64 ] || HARDENING=full
	test_machine build_across LDFLAGS="$interpreter" HARDENING="$HARDENING"
	[ "$name" != i686 ] || ok "$name: the unit tests of control messages" unit_tests_i686
}

# --- all of them ---------------------------------------------------------------

for command in qemu-system-aarch64 qemu-system-s390x cpio; do
	have "$command" || missing="${missing-} $command"
done
if [ "$(uname -m)" != x86_64 ] || [ -n "${missing-}" ] || ! can_ask_for_packages; then
	skip "other machines: they need x86-64, a mirror of Debian, qemu-system-arm, qemu-system-misc, cpio${missing+; not found:$missing}"
	tap_done
fi
mkdir -p "$CACHE"
if ! fetch; then
	skip "the mirror has not all of Debian 12's rustc and cross compilers"
	tap_done
fi
wrap_compilers
is "$("$here/bin/rustc" --version | cut -d ' ' -f 2)" \
	"$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml).0" \
	'the compiler is the oldest that Cargo.toml promises'
is "$(basename "$root"/usr/share/cargo/registry/libc-*)" \
	"libc-$(sed -n 's/^libc = { version = "\([^"]*\)".*/\1/p' Cargo.toml)" \
	'the crate libc is the oldest that it promises'
this_machine
for machine in $machines; do
	IFS=: read -r name triple debian <<-end
		$machine
	end
	other_machine "$name" "$triple" "$debian"
done
tap_done
