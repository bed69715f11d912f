#!/bin/sh
# Catches a call that returns, writes or leaves open what a model of the contract
# does not say: some 40,000 random steps of a hostile peer and of the sockets' and
# the process's state, and 100,000 buffers as control messages. What fuzz.t does with
# a fuzzer, from random bytes and on any toolchain.
#
# SEED in the environment makes the same run again; TRACE=1 tells each step.
. tests/lib/tap.sh

build() {
	$CARGO build $CARGOFLAGS --quiet --manifest-path tests/model/Cargo.toml \
		--target-dir "$O/model"
}
if ! output=$(build 2>&1); then
	ok 'the model is built' false
	printf '%s\n' "$output" | sed 's/^/# /'
	tap_done
fi
exec "$O/model/debug/libsendfd-model"
