#!/bin/sh
# The part one_descriptor: one_descriptor.c says what it measures.
exec "$O/bench/one_descriptor" >"$O/bench/one_descriptor.csv"
