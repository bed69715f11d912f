#!/bin/sh
# Compiles each short example by the command in its first comment, and runs those that use
# sendfds_msghdr, sendfds_cmsg and their counterparts: they do what they say and do not run
# out of descriptors. unrelated.t and demo.t run the others.
. tests/lib/tap.sh
scratch_directory
. tests/lib/processes.sh
: "${O:=build}"
build=$(realpath "$O")
examples=$build/examples
# shellcheck disable=SC2034 # for the eval below
include=$(realpath include)

# compiles FILE: by the command in its first comment, with what is built here.
compiles() {
	# shellcheck disable=SC2016 # eval expands it
	command=$(sed -n 's/^ \*     \(cc .* -o [a-z_]*\)$/\1/p' "$1" |
		sed 's,^cc,${CC:-cc},; s,\$(.*),"-I$include" "$build/libsendfd.a",')
	[ -n "$command" ] || { echo 'no command in its comment' && return 1; }
	cp "$1" "$scratch" && (cd "$scratch" && eval "$command")
}

for example in examples/*.c; do
	ok "$example: compiled by the command in its comment" compiles "$example"
done
cd "$scratch" || exit 1

# prints OUTPUT EXAMPLE ARGUMENT...: the example ends with status 0, and prints that.
prints() {
	expected=$1
	name=$2
	shift 2
	is "$($limited "$examples/$name" "$@" 2>&1 || echo "status $?")" \
		"$expected" "$name"
}

prints '10000 messages came, as they were sent' ring_buffer
prints 'message 0: a body of 0 bytes, 0 descriptors
message 1: a body of 524288 bytes, 1 descriptors
message 2: a body of 1048576 bytes, 2 descriptors' header_and_body
cat >part.h <<'END'
#include <sendfd.h>
#include <sys/socket.h>
static ssize_t send_part(int socket, const int *fds, int nfds, const struct msghdr *message,
                         int flags)
{
    struct iovec part = *message->msg_iov;
    struct msghdr short_message = {.msg_iov = &part, .msg_iovlen = 1};
    part.iov_len = part.iov_len > 5000 ? 5000 : (part.iov_len + 1) / 2;
    return sendfds_msghdr(socket, fds, nfds, &short_message, flags);
}
#define sendfds_msghdr send_part
END
ok 'header_and_body, where each call sends a part only, is compiled' "${CC:-cc}" -include part.h \
	-I"$include" -o in_parts header_and_body.c "$build/libsendfd.a"
is "$($limited ./in_parts)" "$($limited "$examples/header_and_body")" 'and all arrives once'
prints "$(for i in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
	echo "message $i: $((i % 3)) descriptors"
done)" batch

$limited "$examples/io_uring" >log 2>&1
status=$?
if [ "$status" -eq 77 ]; then
	skip "io_uring: $(cat log)"
else
	is "$status $(sort log)" '0 hello came with 2 descriptors
received 6 bytes
sent 6 bytes' 'io_uring'
fi

# --- who sent me this descriptor? ------------------------------------------------

: >file
# sent_by WORD...: what who_sent prints of a descriptor that who_sent sends it, run by
# these words; sets result.
sent_by() {
	rm -f socket
	background received "$examples/who_sent" socket
	receiver=$process
	wait_until grep -qs 'waiting at socket' received
	chmod 666 socket
	"$@" "$examples/who_sent" socket file >sent 2>&1 &
	sender=$!
	wait "$sender" || cat sent
	finish "$receiver"
	result="status $status
$(sed "1d; s/process $sender of/process SENDER of/; s/@[0-9a-f]*\$/@X/; s/[0-9]* here/N here/" received | sort)"
}

unknown=$(cat /proc/sys/kernel/overflowuid)
sent_by env
if [ "$(id -u)" -ne "$unknown" ]; then
	is "$result" "status 0
6 bytes and 1 descriptors from process SENDER of user $(id -u) at @X
accepted: it is descriptor N here" 'who_sent accepts a descriptor of the same user'
fi
if [ "$(id -u)" -ne 0 ] || ! have setpriv; then
	skip 'who_sent refuses other users: needs root and setpriv (util-linux)'
else
	chmod 711 .
	chmod 644 file
	examples=$scratch/examples # a copy that others may run
	mkdir examples
	cp "$build/examples/who_sent" "$build/libsendfd.so.1" examples
	export LD_LIBRARY_PATH="$examples"
	sent_by setpriv --reuid 12348 --clear-groups
	is "$result" "status 1
6 bytes and 1 descriptors from process SENDER of user 12348 at @X
who_sent: refused: another user" 'who_sent refuses another user'
	sent_by setpriv --reuid "$unknown" --clear-groups
	is "$result" "status 1
6 bytes and 1 descriptors from process SENDER of user $unknown at @X
who_sent: refused: nobody knows who this user is" 'who_sent refuses the user that stands for all unknown ones'
fi
tap_done
