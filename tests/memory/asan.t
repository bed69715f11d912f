#!/bin/sh
# Runs the C tests with AddressSanitizer in the library and the tests, with all Rust code
# instrumented. Catches an access outside an array on the stack or the heap, memory used
# after its end, a lost block; and in the C tests everything that -fsanitize=undefined sees.
#
# One runtime serves both, that of the C compiler: rustc instruments calls of the same
# interface (__asan_version_mismatch_check_v8) and is asked to bring none.
#
# ONLY="NAME..." in the environment restricts it to these tests.
# Not in make check: it needs a nightly toolchain, and a minute (time limit: 1200 s).
. tests/lib/tap.sh
. tests/memory/c_tests.sh

export RUSTUP_TOOLCHAIN="${NIGHTLY:-nightly}" RUSTUP_AUTO_INSTALL=0
if ! rustc --version 2>/dev/null | grep -q nightly; then
	REQUIRE_ALL=0 # no failure anywhere: a nightly toolchain is not asked for
	skip 'the C tests under AddressSanitizer: no nightly toolchain of Rust (rustup)'
	tap_done
fi

# Not run, NAME:REASON and what runs them instead.
not_run='
cancellation:AddressSanitizer fails when a thread is unwound that is cancelled; check and check-valgrind run it
sendfd_hpp:it is in C++; tests/package/sendfd_hpp.t runs it so
'

choose_tests AddressSanitizer "$not_run"

scratch_directory
# A target of its own keeps the flags from what runs in the build, such as build.rs.
target=$(rustc -vV | sed -n 's/^host: //p')
library=$O/tests/asan/$target/release/libsendfd.a
flags='-g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all'

build_library() {
	RUSTFLAGS='-Zsanitizer=address -Zexternal-clangrt' $CARGO rustc $CARGOFLAGS --quiet \
		--release --lib --crate-type staticlib --target "$target" --target-dir "$O/tests/asan" \
		-- -C force-unwind-tables=yes
}
ok 'the library is built with AddressSanitizer' build_library
is_instrumented() {
	nm "$library" 2>/dev/null | grep -q 'U __asan_report_store'
}
ok 'and instrumented' is_instrumented

compile() {
	$CC -std=c11 -D_GNU_SOURCE -pthread $flags -Iinclude -Ic_tests -c -o "$scratch/$1.o" \
		"c_tests/$1.c"
}
link() {
	$CC -pthread $flags -o "$scratch/$1" "$scratch/$1.o" "$scratch/tap.o" "$scratch/peer.o" \
		"$scratch/classic_snippet.o" "$library"
}
build_half() {
	half=0
	for name in $names; do
		half=$((1 - half))
		[ "$half" -ne "$1" ] || { compile "$name" && link "$name"; }
	done
}
for name in tap peer classic_snippet; do
	ok "c_tests/$name.c is compiled" compile "$name"
done
build_half 0 >"$scratch/built.0" 2>&1 &
build_half 1 >"$scratch/built.1" 2>&1
wait

# That this is found shows that what the compilers made fits the runtime.
reading_beyond_is_found() {
	$CC -std=c11 $flags -Iinclude -o "$scratch/reads_beyond" tests/memory/reads_beyond.c \
		"$library" || return
	"$scratch/reads_beyond" 2>&1 | grep heap-buffer-overflow
}
ok 'the library reading beyond an array is found' reading_beyond_is_found

export ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1
export UBSAN_OPTIONS=print_stacktrace=1
passes() {
	if ! [ -x "$scratch/$1" ]; then
		cat "$scratch/built.0" "$scratch/built.1"
		return 1
	fi
	# check reports what a test skips.
	REQUIRE_ALL=0 TAP_TIMEOUT=150 timeout -k 5 170 "$scratch/$1" >"$scratch/output" 2>&1 \
		</dev/null && grep -q '^1\.\.[1-9]' "$scratch/output" && return
	grep -v '^ok' "$scratch/output" | head -n 80
	return 1
}
for name in $names; do
	ok "$name with AddressSanitizer" passes "$name"
done
tap_done
