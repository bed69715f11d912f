#!/bin/sh
# soak.c for SOAK_SECONDS (20), with the shared object: see there for what it
# would catch. SEED=n makes each thread do again what it did with that seed.
mkdir -p "$O/tests/stress"
$CC -std=c11 -Wall -Wextra -Wpedantic -Werror -D_GNU_SOURCE -pthread -O2 -g -Iinclude \
	-Ic_tests -o "$O/tests/stress/soak" tests/stress/soak.c tests/stress/soak_worker.c \
	tests/stress/soak_shared.c c_tests/tap.c c_tests/peer.c \
	-L"$O" -lsendfd -Wl,-rpath,"$(realpath "$O")" || exit
exec "$O/tests/stress/soak" "${SOAK_SECONDS:-20}"
