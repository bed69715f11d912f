#!/bin/sh
# The part arrays: arrays.c says what it measures.
exec "$O/bench/arrays" >"$O/bench/arrays.csv"
