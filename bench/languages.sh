#!/bin/sh
# libsendfd called from Python, Perl, Ruby and Rust, next to the facilities of each
# language. The contenders of a language are in one process, which is written in it.
# shellcheck source=bench/part
. bench/part
start_part languages
LIBSENDFD=$(realpath "$O")/libsendfd.so.1
export LIBSENDFD
# For each of the two cases that a language has.
seconds=8
[ "$BENCH_QUICK" != 1 ] || seconds=0.3
calls=20
all=

# measure LANGUAGE COMMAND...: turns its rounds into the lines of the results.
measure() {
	language=$1
	shift
	printf '%s: %s\n' "$part" "$language" >&2
	limited "$@" "$seconds" >"$work/$language.rounds" 2>"$work/$language.log" ||
		fail "$language: $(cat "$work/$language.log")"
	cat "$work/$language.log" >&2
	if grep -q '^# skipped: ' "$work/$language.log"; then
		skipped=1
	fi
	awk -f bench/languages/rounds.awk "$work/$language.rounds" >"$work/$language.lines"
	all="$all $language"
}

# Debian's modules are for Debian's interpreter, which may not be the first in PATH.
measure_python() {
	python=${PYTHON:-/usr/bin/python3}
	have "$python" || python=python3
	if ! have "$python"; then
		skip Python 'no python3'
	elif ! "$python" -c 'import socket; socket.send_fds' 2>/dev/null; then
		skip Python 'it is older than 3.9'
	else
		# In a copy: pip writes to the source. Without pip there is no core in C.
		cp -R bindings/python "$work/python"
		limited "$python" -m pip install --quiet --no-build-isolation --no-index \
			--root-user-action=ignore --target "$work/installed" "$work/python" \
			>"$work/pip.log" 2>&1 || skip 'the core of the package for Python' "$(tail -n 1 "$work/pip.log")"
		measure Python env PYTHONPATH="$work/installed:$work/python/src" "$python" bench/languages/python.py
	fi
}

measure_perl() {
	if have perl; then
		measure Perl perl bench/languages/perl.pl
	else
		skip Perl 'no perl'
	fi
}

measure_ruby() {
	if have ruby; then
		measure Ruby ruby bench/languages/ruby.rb
	else
		skip Ruby 'no ruby'
	fi
}

# A crate that cannot be fetched is a skip; every later failure is an error.
measure_rust() {
	if ! have "${CARGO%% *}"; then
		skip Rust "no ${CARGO%% *}"
		return
	fi
	host=$("${RUSTC:-rustc}" -vV | sed -n 's/^host: //p')
	if ! $CARGO fetch --locked --manifest-path bench/rust/Cargo.toml --target "$host" \
		>"$work/fetch.log" 2>&1; then
		skip Rust "the crates cannot be fetched: $(grep -m 1 '^error' "$work/fetch.log")"
		return
	fi
	SENDFD_DIRECTORY=$(realpath "$O") timeout -k 5 300 $CARGO build --locked --quiet --release \
		--manifest-path bench/rust/Cargo.toml --target-dir "$work/rust-target" >&2 ||
		fail 'the crates cannot be built'
	measure Rust "$work/rust-target/release/bench"
	count_instructions "$work/rust-target/release/bench"
}

# Instructions outside the kernel for a send and a receive of one descriptor.
count_instructions() {
	if ! have valgrind || ! have callgrind_annotate; then
		skip 'instructions of the crates' 'no valgrind'
		return
	fi
	limited env LD_BIND_NOW=1 valgrind --tool=callgrind --callgrind-out-file="$work/callgrind.out" \
		--collect-atstart=no --toggle-collect='<bench::contenders::*>::one' "$1" calls "$calls" \
		2>"$work/callgrind.log" || fail "valgrind: $(cat "$work/callgrind.log")"
	limited callgrind_annotate --inclusive=yes --threshold=100 --show-percs=no \
		"$work/callgrind.out" 2>/dev/null | tr -d , |
		sed -n 's/^ *\([0-9]*\) .*:<bench::contenders::\([A-Za-z]*\) as .*>::one \[.*/\2 \1/p' \
			>"$work/instructions"
	for contender in Rustix:rustix Nix:nix Passfd:passfd 'SendfdCrate:sendfd; the crate' Uds:uds \
		UnixAncillary:unix-ancillary Libsendfd:libsendfd; do
		awk -v type="${contender%%:*}" -v name="${contender#*:}" -v calls="$calls" '
			FNR == NR && $1 == "Rustix" { baseline = $2 }
			FNR != NR && $1 == type {
				printf "Rust: instructions for one descriptor,%s,instructions,%.6g,%.4f,,\n",
					name, $2 / calls, $2 / baseline
				found = 1
			}
			END { exit !found }' "$work/instructions" "$work/instructions" ||
			fail "no instructions of ${contender#*:}"
	done >"$work/instructions.lines"
	all="$all instructions"
}

measure_python
measure_perl
measure_ruby
measure_rust
# shellcheck disable=SC2086 # words without a space
(cd "$work" && for language in $all; do cat "$language.lines"; done) >"$work/lines"
results "$work/lines"
