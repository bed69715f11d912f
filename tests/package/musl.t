#!/bin/sh
# Links the archive into a static program with musl, and tries the limit of its sendmsg
# that libsendfd(7) names under "Limits".
. tests/lib/tap.sh
scratch_directory

if ! have musl-gcc; then
	skip 'a static program with musl: no musl-gcc (Debian: musl-tools)'
	tap_done
fi
ok 'a static program with musl is built' musl-gcc -std=c11 -Wall -Wextra -Wpedantic -Werror \
	-D_GNU_SOURCE -static -Iinclude -o "$scratch/musl" tests/package/musl.c "$O/libsendfd.a"
ok 'it passes 252 descriptors, and 253 or fails with ENOMEM' "$scratch/musl"
printf '# %s\n' "$tap_output"
tap_done
