#!/bin/sh
# examples/broker.cc: the files that the parent opens come, whole and in order, and
# where it cannot open one the child reports the errno and both end.
. tests/lib/tap.sh
broker=${O:=build}/examples/broker
if ! [ -x "$broker" ]; then
	skip "the example in C++: no $broker (Debian: g++)"
	tap_done
fi
scratch_directory

awk 'BEGIN { for (i = 1; i <= 3000; i++) print "line", i }' >"$scratch/long"
printf 'without a newline' >"$scratch/short"
: >"$scratch/empty"

timeout -k 5 20 "$broker" "$scratch/long" "$scratch/empty" "$scratch/short" \
	>"$scratch/printed" 2>"$scratch/errors"
is "$?" 0 'three files: it succeeds'
cat "$scratch/long" "$scratch/short" >"$scratch/expected"
ok 'they are printed' cmp "$scratch/expected" "$scratch/printed"
is "$(cat "$scratch/errors")" '' 'and nothing else'

timeout -k 5 20 "$broker" "$scratch/short" "$scratch/missing" >"$scratch/printed" 2>"$scratch/errors"
is "$?" 1 'a file that is missing: it fails'
ok 'the one before it is printed' cmp "$scratch/short" "$scratch/printed"
ok 'and the errno of the parent is reported' \
	grep -q "^broker [0-9]*: $scratch/missing: No such file or directory$" "$scratch/errors"
tap_done
