#!/bin/sh
# The part load: load.c tells what it measures.
exec "$O/bench/load" >"$O/bench/load.csv"
