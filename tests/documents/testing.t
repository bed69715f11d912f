#!/bin/sh
# Compares docs/TESTING.md with the tree: each test that it names exists, each test is
# named, each promise of libsendfd(7) has a row, and its table of breakages has a row for
# each tests/breakage/NAME.patch.
. tests/lib/tap.sh
scratch_directory
page=docs/TESTING.md

# shellcheck disable=SC2016 # the backquotes are Markdown's
sed -n '/^| promise/,/^$/p' $page | grep -o '`[a-z_]*`' | tr -d '`' | sort -u >"$scratch/named"
exists() {
	for place in "c_tests/$1.c" "c_tests/$1.cc" tests/*/"$1.t"; do
		[ ! -f "$place" ] || return 0
	done
	return 1
}
while read -r name; do
	ok "there is a $name" exists "$name"
done <"$scratch/named"

tests=$(grep -l '^int main' c_tests/*.c c_tests/*.cc | sed 's|.*/||; s|\.cc*$||')
scripts=$(find tests -name '*.t' ! -path '*/breakage/*' ! -name testing.t | sed 's|.*/||; s|\.t$||')
for name in $tests $scripts; do
	ok "$name guards something" grep -qx "$name" "$scratch/named"
done

promises=$(sed -n '/^\.Ss Promises/,/^\.Ss Return/p' man/libsendfd.7 | grep -c '^\.It')
is "$(grep -c '^| [0-9]*\. ' $page)" "$promises" 'each promise of libsendfd(7) has a row'

breakages() {
	awk 'FNR == 1 { what = $0 }
		FNR == 2 { sub(/^Seen by: /, ""); gsub(/ /, "`, `"); print "| " what " | `" $0 "` |" }' \
		tests/breakage/*.patch
}
breakages >"$scratch/breakages"
sed -n '/^| broken/,/^$/p' $page | sed '1,2d; /^$/d' >"$scratch/told"
ok 'its breakages are tests/breakage/*.patch' diff "$scratch/breakages" "$scratch/told"
tap_done
