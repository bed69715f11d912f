#!/bin/sh
# Runs make demo, also with few tools: busybox for all of them, and programs that are
# linked with musl, whose sendmsg and error texts differ.
. tests/lib/tap.sh
scratch_directory

# demos NAME DIRECTORY COMMAND...: both demos pass with the programs of the directory,
# run by the command.
demos() {
	name=$1
	programs=$2
	shift 2
	ok "$name: processes pass files" "$@" examples/demo.sh "$programs"
	if has_loopback; then
		ok "$name: a server is replaced" "$@" examples/handover/demo.sh "$programs"
	else
		skip "$name: a server is replaced: there is no loopback interface"
	fi
}

# link_with_musl NAME FILE...
link_with_musl() {
	program=$1
	shift
	musl-gcc -std=c11 -D_GNU_SOURCE -static -Iinclude -o "$scratch/$program" "$@" \
		"$O/libsendfd.a"
}

demos 'the usual tools' "$O/examples" sh
if ! have busybox || ! have musl-gcc; then
	skip 'the demos with busybox and musl: needs busybox and musl-gcc (Debian: musl-tools)'
	tap_done
fi
for program in parent_child unrelated; do
	ok "$program, linked with musl" link_with_musl "$program" "examples/$program.c"
done
ok 'load, linked with musl' link_with_musl load examples/handover/load.c
# shellcheck disable=SC2046 # many words
ok 'handover, linked with musl' link_with_musl handover \
	$(printf '%s\n' examples/handover/*.c | grep -v /load.c)
mkdir "$scratch/tools" && busybox --install -s "$scratch/tools"
demos 'busybox and musl' "$scratch" env PATH="$scratch/tools" sh
tap_done
