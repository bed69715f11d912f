#!/bin/sh
# Runs each fuzz target for FUZZ_SECONDS (60), under AddressSanitizer: bytes as control
# messages, and steps of a hostile peer. Catches a walk that panics, leaves the buffer or
# misses a slot, a call that returns something that the contract does not say, and a
# descriptor that is left open.
#
# Starts from fuzz/corpus/, and writes new finds and failures below O.
#
# Not in make check: it takes minutes (time limit: 2 * ${FUZZ_SECONDS:-60} + 900 s).
. tests/lib/tap.sh

seconds=${FUZZ_SECONDS:-60}
export RUSTUP_TOOLCHAIN="${NIGHTLY:-nightly}" RUSTUP_AUTO_INSTALL=0
if ! rustc --version 2>/dev/null | grep -q nightly; then
	REQUIRE_ALL=0 # no failure anywhere: a nightly toolchain is not asked for
	skip 'fuzzing: no nightly toolchain of Rust (rustup)'
	tap_done
fi
if ! have "$CXX"; then
	skip 'fuzzing: libFuzzer needs a C++ compiler'
	tap_done
fi

directory=$(mkdir -p "$O/tests/fuzz" && cd "$O/tests/fuzz" && pwd) || exit 1
PATH=$O/tools/bin:$PATH
if ! have cargo-fuzz; then
	printf '# installing cargo-fuzz below %s\n' "$O/tools"
	ok 'cargo-fuzz is installed' \
		$CARGO install cargo-fuzz --version 0.13.2 --locked --quiet --root "$O/tools"
	have cargo-fuzz || tap_done
fi

# cargo-fuzz has no --locked: an unchanged lock file shows the same.
build() {
	cargo-fuzz fuzz build --fuzz-dir tests/model/fuzz --target-dir "$directory/target"
}
lock=$(cksum tests/model/Cargo.lock)
ok 'the fuzz targets are built' build
is "$(cksum tests/model/Cargo.lock)" "$lock" 'from the versions in tests/model/Cargo.lock'
[ "$tap_failures" -eq 0 ] || tap_done

# How far it is, now and then, and the last line of libFuzzer.
report_fuzzing() {
	fuzzed=0
	while sleep 10 >/dev/null 2>&1 3>&1 && kill -0 $$ 2>/dev/null; do
		fuzzed=$((fuzzed + 10))
		printf '# %s: %d of %d s: %s\n' "$1" "$fuzzed" "$seconds" "$(tail -n 1 "$directory/$1.log")" >&3
	done
}

# fuzz TARGET MOST_BYTES: libFuzzer writes to the first corpus, and only reads others.
fuzz() {
	mkdir -p "$directory/corpus/$1" "$directory/found"
	report_fuzzing "$1" &
	reporter=$!
	"$directory/target/$host/release/$1" -max_total_time="$seconds" -max_len="$2" \
		-timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
		-artifact_prefix="$directory/found/$1-" \
		"$directory/corpus/$1" "tests/model/fuzz/corpus/$1" >"$directory/$1.log" 2>&1
	status=$?
	kill $reporter
	sed -n 's/^stat::number_of_executed_units: */# '"$1"', runs: /p' "$directory/$1.log" >&3
	[ "$status" -eq 0 ] && return
	tail -n 60 "$directory/$1.log"
	return 1
}
exec 3>&1
host=$(rustc -vV | sed -n 's/^host: //p')
ok "control_messages, $seconds seconds" fuzz control_messages 512
ok "hostile_peer, $seconds seconds" fuzz hostile_peer 600
tap_done
