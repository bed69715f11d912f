#!/bin/sh
# Runs the Rust unit tests (control messages), one TAP line for each.
. tests/lib/tap.sh

output=$(tools/cargo test --quiet --lib -- --format pretty 2>&1)
status=$?
for line in $(printf '%s\n' "$output" | sed -n 's/^test \([a-z0-9_:]*\) \.\.\. \(.*\)$/\1=\2/p'); do
	is "${line#*=}" ok "${line%%=*}"
done
is "$status" 0 'cargo test succeeds'
[ "$status" -eq 0 ] || printf '%s\n' "$output" | sed 's/^/# /'
ok 'there are unit tests' test "$tap_tests" -gt 1
tap_done
