#!/bin/sh
# Compares README.md with reality: its program compiles without a warning and prints the
# file that it names; its table "What goes wrong" is the output of hazards.c; its packages
# are among those of .ci/run; it stays short.
. tests/lib/tap.sh
scratch_directory

# --- the program -----------------------------------------------------------------

# shellcheck disable=SC2016 # the backquotes are Markdown's
sed -n '/^```c$/,/^```$/{/^```/d;p}' README.md >"$scratch/pass.c"
ok 'its program compiles' $CC -std=c99 -Wall -Wextra -Wpedantic -Werror -D_GNU_SOURCE -Iinclude \
	-o "$scratch/pass" "$scratch/pass.c" "$O/libsendfd.a"
if [ -f /etc/hosts ]; then
	ok 'it runs' timeout 20 "$scratch/pass"
	is "$(timeout 20 "$scratch/pass")" "$(cat /etc/hosts)" 'it prints the file that it names'
else
	skip 'the program of README.md: no /etc/hosts'
fi

# --- what goes wrong -------------------------------------------------------------

ok 'hazards.c compiles' $CC -std=c11 -Wall -Wextra -Werror -D_GNU_SOURCE -pthread -Iinclude \
	-Ic_tests -o "$scratch/hazards" tests/documents/hazards.c c_tests/peer.c c_tests/tap.c \
	c_tests/classic_snippet.c "$O/libsendfd.a"
timeout 20 "$scratch/hazards" >"$scratch/happened"
sed -n '/^## What goes wrong/,/^## /p' README.md | grep '^|' | sed 1,2d >"$scratch/documented"
ok 'the table has rows' test -s "$scratch/documented"
while read -r row; do
	what=${row#| }
	what=${what%% |*}
	if [ "$what" = 'The socket is a TCP socket' ] && ! grep -q '^| The socket' "$scratch/happened"; then
		skip 'descriptors on a TCP socket: no loopback device'
	else
		is "$(grep "^| $what |" "$scratch/happened")" "$row" "$what"
	fi
done <"$scratch/documented"

# --- packages and length ---------------------------------------------------------

known=$(sed -n '/^packages/,/^export/p' .ci/run | tr -cs 'a-z0-9+-' '\n')
packages=$(sed -n '/apt-get install/{:a;p;/\\$/{n;ba};}' README.md | sed 's/.*install//; s/\\$//')
for package in $packages; do
	ok "$package is installed by .ci/run" grep -qxF "$package" <<-end
		$known
	end
done
ok 'it has no more than some 1,000 words' test "$(wc -w <README.md)" -le 1050
tap_done
