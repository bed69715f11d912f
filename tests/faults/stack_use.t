#!/bin/sh
# Measures how much stack each function uses, on every path of the scenario (stack_use.c).
# Catches a buffer that has grown or exists twice.
. tests/lib/tap.sh
. tests/faults/scenario.sh
# shellcheck disable=SC2046 # One argument a word.
scenario_program stack_use tests/faults/stack_use.c $(shared_library)
exec "$O/tests/stack_use"
