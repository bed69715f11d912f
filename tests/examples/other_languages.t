#!/bin/sh
# examples/other-languages: each program passes a descriptor to a peer in C and gets it
# back, and reports the errno of a failed call.
. tests/lib/tap.sh
scratch_directory
examples=examples/other-languages
peer=$scratch/peer
built=$(realpath "${O:=build}")
export LIBSENDFD="$built/libsendfd.so.1"

ok 'the peer compiles' $CC -std=c11 -D_GNU_SOURCE -Wall -Wextra -Wpedantic -Werror -Iinclude \
	-o "$peer" $examples/peer.c "$built/libsendfd.a"
awk 'BEGIN { for (i = 1; i <= 3000; i++) print "line", i }' >"$scratch/file"

# passes NAME COMMAND...
passes() {
	name=$1
	shift
	timeout -k 5 60 "$peer" "$@" "$scratch/file" >"$scratch/printed" 2>"$scratch/errors"
	is "$?" 0 "$name: it succeeds"
	ok "$name: the file that came back is the one that was sent" \
		cmp "$scratch/file" "$scratch/printed"
	timeout -k 5 60 "$@" "$scratch/file" 3</dev/null >/dev/null 2>"$scratch/errors"
	ok "$name: without a socket it reports the errno" \
		grep -iE 'sendfd: (socket operation on non-socket|ENOTSOCK)' "$scratch/errors"
}

if have luajit; then
	passes LuaJIT luajit $examples/luajit.lua
else
	skip 'the example in LuaJIT: no luajit (Debian: luajit)'
fi

if node -e 'require("koffi")' 2>/dev/null; then
	passes Node node $examples/node.js
else
	# No package of Debian: a skip that is never a failure.
	REQUIRE_ALL=0 skip 'the example in Node: no koffi (npm install koffi, and NODE_PATH)'
fi

build_go() {
	mkdir "$scratch/pkgconfig" &&
		printf '%s\n' 'Name: sendfd' 'Description: not installed' 'Version: 0' \
			"Cflags: -I$PWD/include" "Libs: $built/libsendfd.a" >"$scratch/pkgconfig/sendfd.pc" &&
		PKG_CONFIG_PATH=$scratch/pkgconfig GO111MODULE=off GOCACHE=$scratch/cache \
			go build -o "$scratch/cgo" $examples/cgo.go
}
if have go && have pkg-config; then
	ok 'Go: it builds' build_go
	passes Go "$scratch/cgo"
else
	skip 'the example in Go: no go (Debian: golang-go) or no pkg-config'
fi
tap_done
