#!/bin/sh
# Compares the library with a model of the contract: some 40,000 random steps of a hostile
# peer and of the state of sockets and process, and 100,000 buffers as control messages.
# Catches a call that returns, writes or leaves open something that the model does not say.
# fuzz.t does the same with a fuzzer; this one needs no special toolchain.
#
# SEED in the environment makes the same run again; TRACE=1 prints each step.
. tests/lib/tap.sh

if ! rust_is 1.85; then
	skip 'the model: it needs Rust 1.85 or later'
	tap_done
fi
build() {
	$CARGO build $CARGOFLAGS --quiet --manifest-path tests/model/Cargo.toml \
		--target-dir "$O/tests/model"
}
if ! output=$(build 2>&1); then
	ok 'the model is built' false
	printf '%s\n' "$output" | sed 's/^/# /'
	tap_done
fi
exec "$O/tests/model/debug/libsendfd-model"
