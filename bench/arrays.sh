#!/bin/sh
# The part arrays: arrays.c tells what it measures.
exec "$O/bench/arrays" >"$O/bench/arrays.csv"
