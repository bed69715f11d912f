#!/bin/sh
# Shows an open file passed from a parent to its child, and between unrelated
# processes, and checks that all went as it should: demo.sh DIRECTORY, which
# holds the programs parent_child and unrelated. Every wait has a limit.
set -u

say() {
	printf '%s\n' "$*"
}

fail() {
	say "FAILED: $*"
	exit 1
}

# show FILE: what a program printed.
show() {
	sed 's/^/    /' "$1"
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

programs=$(cd "${1:?which directory holds the programs?}" && pwd) || exit 2
scratch=$(mktemp -d) || exit 1
server=''
client=''
# timeout(1) passes the signal on, and kills what does not end by it.
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

# --- parent to child ---------------------------------------------------------

say 'Part 1: a parent opens /etc/hosts after the fork and passes it to its child.'
timeout -k 5 20 "$programs/parent_child" /etc/hosts >family 2>&1 ||
	{ show family && fail 'parent_child did not succeed'; }
show family
content family >came
awk 1 /etc/hosts | cmp -s - came || fail 'the content is not that of /etc/hosts'
size=$(($(wc -c </etc/hosts)))
grep -q "^child .* final offset $size\$" family || fail "the child's offset is not $size"
grep -q "^parent .* offset is $size too" family || fail "the parent's offset is not $size"
say "It held: the content is that of /etc/hosts, and both offsets are $size."
say

# --- between unrelated processes ---------------------------------------------

# start_server LOG ARGUMENT...: in the background; sets server, and its own pid.
start_server() {
	log=$1
	shift
	timeout -k 5 60 "$programs/unrelated" server place/socket "$@" >"$log" 2>&1 &
	server=$!
	wait_until grep -qs '^server [0-9]*: listening' "$log" ||
		{ show "$log" && fail 'the server does not listen'; }
	server_pid=$(sed -n 's/^server \([0-9]*\): listening.*/\1/p' "$log")
}

# start_client FILE: in the background, its output in FILE.log.
start_client() {
	timeout -k 5 20 "$programs/unrelated" client place/socket "$1" >"$1.log" 2>&1 &
	client=$!
}

# end_client FILE: waits for it, and checks that the server has read its file.
end_client() {
	wait "$client"
	status=$?
	client=''
	show "$1.log"
	[ "$status" -eq 0 ] || fail "the client of $1 ended with status $status"
	client_pid=$(sed -n 's/^client \([0-9]*\): opened.*/\1/p' "$1.log")
	grep -q "process $client_pid of user $(id -u) connects" "$log" ||
		fail 'the server did not tell who connected'
	awk 1 "$1" >>expected
	content "$log" | cmp -s - expected || fail "the server did not print the content of $1"
}

cat /etc/hosts >hosts
printf 'Passed from a process to one that is no relative of it.\n' >message
: >empty
awk 'BEGIN { for (i = 1; i <= 2000; i++) print "line", i }' >long
: >expected

say 'Part 2: unrelated processes pass files over a socket in the file system.'
say 'A client starts before there is a server: it waits.'
start_client hosts
wait_until grep -qs 'no server on place/socket yet, waiting' hosts.log ||
	{ show hosts.log && fail 'the client does not wait'; }
say 'The server starts.'
start_server first_server
end_client hosts
show first_server
mode=$(stat -c %a place/socket)
[ "$mode" = 600 ] || fail "the permissions of the socket are $mode"
say "The socket is its owner's only: its permissions are $mode."

say 'More clients, one after another.'
for file in message empty long; do
	start_client "$file"
	end_client "$file"
done
say 'The server has printed the content of each file.'

say 'A second server on the same path is refused.'
if timeout -k 5 20 "$programs/unrelated" server place/socket >second_server 2>&1; then
	fail 'it was not'
fi
show second_server
grep -q 'another server is running on place/socket' second_server ||
	fail 'it was not told why'
start_client message
end_client message
say 'The first one serves on.'

say 'The first server is killed, and cannot clean up.'
kill -KILL "$server_pid" || fail 'it is not there'
wait "$server" 2>/dev/null
server=''
[ -S place/socket ] || fail 'it left no socket'

say 'A third server, for one client, takes over the socket that was left.'
: >expected
start_server third_server 1
grep -q 'took over place/socket' third_server || fail 'it did not take over'
start_client message
end_client message
wait "$server"
status=$?
server=''
show third_server
[ "$status" -eq 0 ] || fail "the third server ended with status $status"
left=$(ls -A place)
[ -z "$left" ] || fail "the third server left behind: $left"
say 'It has served its client and left nothing behind.'
say
say 'All held.'
