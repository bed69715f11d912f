#!/bin/sh
# Calls all functions from signal handlers at random moments, one within the other, in
# threads that do the same (signal_storm.c). Catches state or a lock that calls share.
. tests/lib/tap.sh
# shellcheck disable=SC2046 # One argument a word.
c_program signal_storm tests/stress/signal_storm.c c_tests/tap.c c_tests/peer.c $(shared_library)
exec "$O/tests/signal_storm"
