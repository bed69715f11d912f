#!/bin/sh
# The part load: load.c says what it measures.
exec "$O/bench/load" >"$O/bench/load.csv"
