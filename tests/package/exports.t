#!/bin/sh
# Compares the exported names with the map: in the shared object, in the archive, and as
# prototypes in the header; each has a version.
. tests/lib/tap.sh

map=$(sed -n 's/^ *\([a-z][a-z0-9_]*\);$/\1/p' src/libsendfd.map | sort)
ok 'the map lists something' test -n "$map"
is "$(nm -D --defined-only "$O/libsendfd.so" | awk '$2 == "T" { sub(/@.*/, "", $3); print $3 }' | sort)" \
	"$map" 'the shared object exports the functions of the map'
is "$(nm -D --defined-only "$O/libsendfd.so" | awk '$2 != "T" && $2 != "A"')" \
	'' 'and nothing that is not a function'
is "$(nm -D --defined-only "$O/libsendfd.so" | awk '$2 == "T" { print $3 }' | grep -v '@@LIBSENDFD_1\.0$')" \
	'' 'each with the version LIBSENDFD_1.0'
is "$(nm -g --defined-only "$O/libsendfd.a" | awk 'NF == 3 { print $3 }' | sort)" \
	"$map" 'the archive has the same global names'
is "$(nm -g --defined-only "$O/libsendfd.a" | awk '$2 == "W" { print $3 }' | sort | tr '\n' ' ')" \
	'recvfd sendfd ' 'of which a program may have these two itself: they are weak'
# Without what the header includes, the prototypes of the C library, and without attributes.
is "$(grep -v '^#include' include/sendfd.h | $CC -U__GNUC__ -E -P -x c - |
	tr '\n' ' ' | tr ';' '\n' | sed -n 's/.*[ *]\([a-z][a-z_0-9]*\)([^()]*) *$/\1/p' | sort)" \
	"$(printf '%s\n' "$map" | grep -v '^libsendfd_')" 'the header has their prototypes'
is "$(printf '%s\n' "$map" | sed -n 's/^libsendfd_//p' | tr '\n' ' ')" 'recvfd sendfd ' \
	'except the names to which it binds two of them'
tap_done
