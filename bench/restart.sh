#!/bin/sh
# Measures how long a restart waits for the listening sockets of the running server.
# shellcheck source=bench/part
. bench/part
start_part restart
library="-L$O -lsendfd -Wl,-rpath,$(realpath "$O")"
# shellcheck disable=SC2086 # three words
compile restart bench/restart.c bench/bench.c bench/contenders.c $library
# shellcheck disable=SC2046,SC2086 # many words
compile handover $(printf '%s\n' examples/handover/*.c | grep -v /load.c) $library

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
(cd "$scratch" && timeout -k 5 120 "$work/restart" "$work/handover") >"$work/lines" ||
	fail 'it did not end well'
results "$work/lines"
