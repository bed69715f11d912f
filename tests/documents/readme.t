#!/bin/sh
# Holds README.md to a compiler: its program compiles without a warning and prints the
# file that it names.
. tests/lib/tap.sh
scratch_directory

# shellcheck disable=SC2016 # the backquotes are Markdown's
sed -n '/^```c$/,/^```$/{/^```/d;p}' README.md >"$scratch/pass.c"
ok 'its program has under 30 lines' test "$(wc -l <"$scratch/pass.c")" -lt 30
ok 'it compiles' $CC -std=c99 -Wall -Wextra -Wpedantic -Werror -D_GNU_SOURCE -Iinclude \
	-o "$scratch/pass" "$scratch/pass.c" "$O/libsendfd.a"
if [ -f /etc/hosts ]; then
	ok 'it runs' timeout 20 "$scratch/pass"
	is "$(timeout 20 "$scratch/pass")" "$(cat /etc/hosts)" 'it prints the file that it says'
else
	skip 'the program of README.md: no /etc/hosts'
fi

functions=$(sed -n 's/^ *\([a-z][a-z0-9_]*\);$/\1/p' src/libsendfd.map | grep -v '^libsendfd_\|_msghdr$\|_cmsg$')
for name in $functions; do
	ok "$name is in the table of functions" grep -q "^| \`.*\b$name(" README.md
done
tap_done
