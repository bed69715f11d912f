#!/bin/sh
# Compares the measured table of docs/COMPARISON.md with the output of comparison.py.
# comparison.t --table writes it there.
. tests/lib/tap.sh
scratch_directory
page=docs/COMPARISON.md
begins='<!-- measured by comparison.t -->'
ends='<!-- end of what is measured -->'

if ! have python3 || ! have strace || ! strace -o "$scratch/log" true 2>/dev/null; then
	skip 'the comparison: no python3, or no strace that may trace (Debian: python3 strace)'
	tap_done
fi

tests/interop/comparison.py >"$scratch/rows" 2>"$scratch/missing"
measured=$?
if [ "${1-}" = --table ]; then
	if [ "$measured" -ne 0 ] || [ -s "$scratch/missing" ]; then
		cat "$scratch/missing" >&2
		exit 1
	fi
	{
		sed "/^$begins/q" $page
		sed "1,/^$begins/d" $page | sed -n 1,2p
		cat "$scratch/rows"
		sed -n "/^$ends/,\$p" $page
	} >"$scratch/page" && cp "$scratch/page" $page
	exit
fi

is "$measured" 0 'the receivers are measured'
is "$(grep -cxF "$ends" $page)" 1 "$page has one table of what is measured"
while read -r reason; do
	skip "$reason"
done <"$scratch/missing"
sed -n "/^$begins/,/^$ends/p" $page | grep '^|' | sed 1,2d >"$scratch/documented"
while read -r line; do
	name=${line#| }
	ok "$page: ${name%% |*}" grep -qxF "$line" "$scratch/documented"
done <"$scratch/rows"
[ -s "$scratch/missing" ] ||
	is "$(wc -l <"$scratch/documented")" "$(wc -l <"$scratch/rows")" "$page has no other row"
tap_done
