#!/bin/sh
# Lets processes and threads pass everything to each other while some are killed, for
# SOAK_SECONDS (60): soak.c. Catches a descriptor that is lost or left open where calls
# meet. SEED=n makes each thread repeat what it did with that seed.
#
# Not in make check: it takes a minute (time limit: ${SOAK_SECONDS:-60} + 120 s).
. tests/lib/tap.sh
# shellcheck disable=SC2046 # One argument a word.
c_program soak tests/stress/soak.c tests/stress/soak_worker.c tests/stress/soak_shared.c \
	c_tests/tap.c c_tests/peer.c $(shared_library)
exec "$O/tests/soak" "${SOAK_SECONDS:-60}"
