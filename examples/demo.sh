#!/bin/sh
# Passes an open file from a parent to its child, and between unrelated processes, and
# checks that everything happened as it should: demo.sh DIRECTORY, which holds the
# programs parent_child and unrelated. One line for each thing shown.
set -u

fail() {
	printf 'FAILED: %s\n' "$*"
	tail -n 20 ./*.log
	exit 1
}

# wait_until COMMAND...: until it succeeds, for 20 seconds at most.
wait_until() {
	tries=400
	until "$@"; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || return 1
		sleep 0.05
	done
}

# content FILE: the content of files that a program printed.
content() {
	sed -n '/^----- content begins$/,/^----- content ends$/p' "$1" |
		sed '/^----- content begins$/d; /^----- content ends$/d'
}

# number TEXT LOG: the first number after the text in a program's output.
number() {
	sed -n "s/.*$1 \([0-9][0-9]*\).*/\1/p" "$2" | head -n 1
}

programs=$(cd "${1:?which directory holds the programs?}" && pwd) || exit 2
scratch=$(mktemp -d) || exit 1
server=''
client=''
# timeout(1) passes the signal on, and kills a program that does not end by it.
clean_up() {
	for process in $server $client; do
		kill "$process" 2>/dev/null && wait "$process" 2>/dev/null
	done
	cd / && rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM
# Names without a directory: the path of a socket has 107 bytes at most.
cd "$scratch" && mkdir place || exit 1

printf 'Passed from one process to another that is no relative of it.\n' >message
: >empty
awk 'BEGIN { for (i = 1; i <= 2000; i++) print "line", i }' >long
file=/etc/hosts
[ -r "$file" ] || file=$scratch/message

# --- parent to child ---------------------------------------------------------

timeout -k 5 20 "$programs/parent_child" "$file" >family.log 2>&1 ||
	fail 'parent_child did not succeed'
content family.log >came
awk 1 "$file" | cmp -s - came || fail "the content is not that of $file"
size=$(($(wc -c <"$file")))
grep -q "^child .* final offset $size\$" family.log || fail "the child's offset is not $size"
grep -q "^parent .* offset is $size too" family.log || fail "the parent's offset is not $size"
printf 'A parent (process %s) opened %s as descriptor %s after the fork and sent it.\n' \
	"$(number 'parent' family.log)" "$file" "$(number 'as descriptor' family.log)"
printf 'Its child (process %s) received it as descriptor %s and read all %s bytes.\n' \
	"$(number 'child' family.log)" "$(number 'is descriptor' family.log)" "$size"
printf "Both share the offset: the parent's is %s too, although it read nothing.\n" "$size"

# --- between unrelated processes ---------------------------------------------

# start_server LOG ARGUMENT...: in the background; sets server, and server_pid.
start_server() {
	log=$1
	shift
	timeout -k 5 60 "$programs/unrelated" server place/socket "$@" >"$log" 2>&1 &
	server=$!
	wait_until grep -qs '^server [0-9]*: listening' "$log" || fail 'the server does not listen'
	server_pid=$(number 'server' "$log")
}

# start_client FILE: in the background, its output in client.log.
start_client() {
	: >client.log
	timeout -k 5 20 "$programs/unrelated" client place/socket "$1" >client.log 2>&1 &
	client=$!
}

# end_client FILE: waits for it, and checks that the server has read its file.
end_client() {
	wait "$client"
	status=$?
	client=''
	[ "$status" -eq 0 ] || fail "the client of $1 ended with status $status"
	client_pid=$(number 'client' client.log)
	grep -q "process $client_pid of user $(id -u) connects" "$log" ||
		fail 'the server did not say who connected'
	awk 1 "$1" >>expected
	content "$log" | cmp -s - expected || fail "the server did not print the content of $1"
}

: >expected
start_client message
wait_until grep -q 'no server on place/socket yet, waiting' client.log ||
	fail 'the client does not wait'
start_server first.log
mode=$(stat -c %a place/socket)
[ "$mode" = 600 ] || fail "the permissions of the socket are $mode"
end_client message
echo 'A client waited for its server, sent it an open file, and the server printed the file.'

for file in empty long message; do
	start_client "$file"
	end_client "$file"
done
echo 'Three more clients sent theirs: an empty file, a long one and a short one.'

timeout -k 5 20 "$programs/unrelated" server place/socket >second.log 2>&1 &&
	fail 'a second server took the path'
grep -q 'another server is running on place/socket' second.log || fail 'it did not say why'
start_client message
end_client message
echo 'A second server was refused, because the path has an owner; the first one went on.'

kill -KILL "$server_pid" || fail 'the server is not there'
wait "$server" 2>/dev/null
server=''
[ -S place/socket ] || fail 'the killed server left no socket'
: >expected
start_server third.log 1
grep -q 'took over place/socket' third.log || fail 'the third server did not take over'
start_client message
end_client message
wait "$server"
status=$?
server=''
[ "$status" -eq 0 ] || fail "the third server ended with status $status"
left=$(ls -A place)
[ -z "$left" ] || fail "the third server left behind: $left"
echo 'The first server was killed; a third one replaced its socket and left nothing behind.'
