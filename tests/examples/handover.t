#!/bin/sh
# Replaces a server while it runs (examples/handover): every request is answered by one of
# the two servers, a successor that fails does no harm, and nothing is left behind.
# tests/examples/handover_peer.c is the other side.
. tests/lib/tap.sh
TMPDIR=${TMPDIR:-/tmp}
[ "${#TMPDIR}" -le 60 ] || TMPDIR=/tmp # the path of a socket has 107 bytes at most
scratch_directory
. tests/lib/processes.sh
if ! has_loopback; then
	skip 'a server is replaced: there is no loopback interface'
	tap_done
fi

handover=$O/examples/handover
load=$O/examples/load
peer=$scratch/peer
path=$scratch/socket
ok 'the other side compiles' $CC -std=c11 -Wall -Wextra -Wpedantic -Werror -D_GNU_SOURCE \
	-Iinclude -Iexamples/handover -o "$peer" tests/examples/handover_peer.c \
	examples/handover/messages.c "$O/libsendfd.a"
# The state that a client waits for when it is in the middle of something.
mkfifo "$scratch/go"
exec 3<>"$scratch/go"

# start NAME COMMAND...: in the background, its output in NAME.log; sets process.
start() {
	log=$scratch/$1.log
	shift
	: >"$log" # here, as what an earlier one printed is not to be taken for its
	timeout -k 5 "${TEST_TIMEOUT:-600}" "$@" >"$log" 2>&1 <&3 &
	process=$!
	processes="$processes$process "
}

# printed NAME PATTERN: waits until a line of NAME.log fits.
printed() {
	wait_until grep -q "$2" "$scratch/$1.log" || { cat "$scratch/$1.log" && return 1; }
}

# ends PROCESS NAME: that it does, with status 0; a test of its own, as only the
# shell that has started it can wait for it.
ends() {
	finish "$1"
	is "$status" 0 "$2"
}

# start_server NAME ARGUMENT...: and waits for it; sets process and NAME's pid.
start_server() {
	name=$1
	shift
	start "$name" "$handover" "$@"
	ok "$name: handover $*" printed "$name" '^server [0-9]*: \(listening\|took over\)'
	pid=$(sed -n 's/^server \([0-9]*\): \(listening\|took over\).*/\1/p' "$scratch/$name.log")
	if [ -z "$pid" ]; then
		ok 'there is a server to go on with' false
		tap_done
	fi
}

# count NAME PATTERN: the lines of NAME.log that fit.
count() {
	grep -c "$2" "$scratch/$1.log"
}

# one_more NAME PATTERN NUMBER: waits until more than that number of lines fit.
one_more() {
	wait_until has_more "$@" || { cat "$scratch/$1.log" && return 1; }
}

has_more() {
	[ "$(count "$1" "$2")" -gt "$3" ]
}

# report NAME PID: prints OPEN (LISTENING, CONNECTIONS, OTHERS) of a server.
report() {
	reports=$(count "$1" 'descriptors open')
	kill -USR1 "$2" && one_more "$1" 'descriptors open' "$reports" &&
		sed -n 's/.*served, \([0-9]*\) descriptors open (\([0-9]*\) [a-z ]*, \([0-9]*\) [a-z]*, \([0-9]*\) .*/\1 (\2, \3, \4)/p' \
			"$scratch/$1.log" | tail -n 1
}

# becomes NAME PID REPORT: waits until that is what it reports.
becomes() {
	tries=200
	until [ "$(report "$1" "$2")" = "$3" ]; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || { report "$1" "$2" && return 1; }
	done
}

# serves NAME PID CONNECTIONS: that it does, and has that many connections.
serves() {
	# shellcheck disable=SC2086 # many words
	timeout 20 "$load" 10 100 $ports &&
		becomes "$1" "$2" "$((listening + $3 + others)) ($listening, $3, $others)"
}

# first_server COUNT: starts afresh; sets what later ones are compared with.
first_server() {
	listening=$1
	start_server first --listen "$1" "$path"
	first=$process
	first_pid=$pid
	ports=$(sed -n 's/.*listening on ports//p' "$scratch/first.log")
	quiet=$(report first "$first_pid")
	others=${quiet##*, }
	others=${others%)}
	is "$quiet" "$(($1 + others)) ($1, 0, $others)" "$1 listening sockets"
}

# left NAME: that a server that has ended had all closed.
left() {
	is "$(sed -n 's/.*served, \([0-9]*\) descriptors open (0 .*, \([0-9]*\) others)/\1 \2/p' \
		"$scratch/$1.log" | tail -n 1)" "$((others - 4)) $((others - 4))" "$1: it has closed all"
}

# last_server NAME PROCESS PID: ends it.
last_server() {
	kill -TERM "$3"
	ends "$2" "$1: it ends"
	left "$1"
	ok "$1: its socket is gone" test ! -e "$path"
}

# under_load COUNT: two servers, each of which serves some of a load.
under_load() {
	first_server "$1"
	# shellcheck disable=SC2086 # many words
	start load "$load" 600 1000000000 $ports # until it is ended below
	load_process=$process
	ok 'under load' printed load "first answer from server $first_pid"
	start_server second --takeover "$path"
	second=$process
	second_pid=$pid
	ends "$first" 'the first one ends'
	left first
	ok 'the second one serves' printed load "first answer from server $second_pid"
	kill -TERM "$load_process"
	ends "$load_process" 'every request was answered'
	ok 'connections were handed over' grep -q ' [1-9][0-9]* of them answered by more' \
		"$scratch/load.log"
	ok 'as many are open as in the first one' becomes second "$second_pid" "$quiet"
}

printf '# one listening socket\n'
under_load 1
start middle "$peer" in_the_middle "$ports"
middle=$process
ok 'clients are in the middle of a request' printed middle '^waiting'
start_server third --takeover "$path"
third=$process
third_pid=$pid
ends "$second" 'the second one ends'
left second
ok 'half a request is handed over' grep -q \
	'took over 1 listening sockets and 3 connections (11 bytes of requests half read, 0 of' \
	"$scratch/third.log"
echo >&3
ends "$middle" 'the clients have all answers'
is "$(grep -v '^waiting' "$scratch/middle.log")" "whole: $second_pid a whole one
half: $third_pid half a request
half: $third_pid and another one
silent: $third_pid at last
whole: $third_pid once more" 'of the right server'
last_server third "$third" "$third_pid"

printf '# 254 listening sockets\n'
under_load 254
start many "$peer" many "${ports##* }"
many=$process
ok '600 clients are in the middle of a request' printed many '^waiting'
ok 'the server has them' becomes second "$second_pid" \
	"$((listening + 600 + others)) ($listening, 600, $others)"
start_server third --takeover "$path"
third=$process
third_pid=$pid
ends "$second" 'the second one ends'
left second
ok 'all are handed over' grep -q 'took over 254 listening sockets and 600 connections (' \
	"$scratch/third.log"
echo >&3
ends "$many" 'each has its own answer'
ok 'as many are open as in the first one' becomes third "$third_pid" "$quiet"
last_server third "$third" "$third_pid"

printf '# successors that fail\n'
first_server 254
start middle "$peer" in_the_middle "${ports##* }"
middle=$process
ok 'three clients are in the middle of a request' printed middle '^waiting'

# goes_on NAME COMMAND...: the first server does, after that.
goes_on() {
	failures=$(count first 'no handover, going on')
	why=$1
	shift
	ok "a successor that $why" ends_with "$@"
	ok 'the server lets it go' one_more first 'no handover, going on' "$failures"
	ok 'and goes on' serves first "$first_pid" 3
}

# ends_with STATUS COMMAND...
ends_with() {
	expected=$1
	shift
	timeout -k 5 20 "$@"
	status=$?
	[ "$status" -eq "$expected" ] || { echo "status $status" && return 1; }
}

killed=137
for when in connected header one_message listening ready connections; do
	goes_on "is killed: $when" $killed "$peer" successor "$path" "$when"
done
# shellcheck disable=SC2016 # sh -c expands it
for limit in 20 100 262; do
	goes_on "may have $limit descriptors only" 1 \
		sh -c 'ulimit -n "$1" && exec "$2" --takeover "$3"' - "$limit" "$handover" "$path"
done

# These take the seconds that the server waits for each, one after the other.
start second_client "$peer" in_the_middle "${ports##* }"
second_client=$process
ok 'three more clients are in the middle' printed second_client '^waiting'
goes_on_later=$(count first 'no handover, going on')
start silent "$peer" successor "$path" silent
silent=$process
start late "$peer" successor "$path" taken_too_late
late=$process
ok 'one connects' printed silent '^connected'
ok 'another one connects' printed late '^connected'
start_server second --takeover "$path"
second=$process
second_pid=$pid
ends "$silent" 'a successor that says nothing is let go'
ends "$late" 'one that says too late that it takes over cannot'
is "$(($(count first 'no handover, going on') - goes_on_later))" 2 'the server went on after each'
ends "$first" 'the one that came after them takes over'
left first
echo >&3
echo >&3
ends "$middle" 'the three clients have all answers'
ends "$second_client" 'the three more have, too'
is "$(cat "$scratch/middle.log" "$scratch/second_client.log" | grep -c ": $second_pid ")" 8 \
	'of the right server'
ok 'as many are open as in the first one' becomes second "$second_pid" "$quiet"

printf '# a client that does not read its answers\n'
start stuffed "$peer" stuffed "${ports##* }"
stuffed=$process
ok 'the server has answers that it cannot write' printed stuffed '^waiting'
start_server third --takeover "$path"
third=$process
third_pid=$pid
ok 'it hands them over' grep -q \
	'and 1 connections ([1-9][0-9]* bytes of requests half read, [1-9][0-9]* of answers' \
	"$scratch/third.log"
ends "$second" 'the second one ends'
echo >&3
ends "$stuffed" 'the client has them all'
ok 'as many are open as in the first one' becomes third "$third_pid" "$quiet"

printf '# a path that is taken, a path that is none\n'
ok 'a second server cannot start on the path' ends_with 1 "$handover" --listen 1 "$path"
last_server third "$third" "$third_pid"
ok 'nobody can take over where nobody is' ends_with 1 "$handover" --takeover "$path"

printf '# another user\n'
if [ "$(id -u)" -ne 0 ]; then
	skip 'another user is refused: only root can be another user'
elif ! have setpriv; then
	skip 'another user is refused: no setpriv'
else
	# A copy that others may run, and a directory in which others may work.
	printf '#!/bin/sh\nexec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"\n' \
		>"$scratch/as_other"
	chmod 755 "$scratch/as_other"
	chmod 711 "$scratch"
	mkdir "$scratch/open" && chmod 777 "$scratch/open"
	# shellcheck disable=SC2046 # many words
	$CC -std=c11 -D_GNU_SOURCE -Iinclude -o "$scratch/handover" \
		$(printf '%s\n' examples/handover/*.c | grep -v /load.c) "$O/libsendfd.a"
	handover=$scratch/handover
	first_server 1
	chmod 666 "$path"
	ok 'a successor of another user gives up' ends_with 1 \
		"$scratch/as_other" "$handover" --takeover "$path"
	ok 'as the server refuses it' printed first 'refused: the successor, .* is of user 65534'
	refused=$(count first 'refused: the successor')
	ok 'one that would not is given nothing' ends_with 1 \
		"$scratch/as_other" "$peer" successor "$path" header
	ok 'as the server refuses it too' one_more first 'refused: the successor' "$refused"
	ok 'and goes on' serves first "$first_pid" 0
	last_server first "$first" "$first_pid"

	theirs=$scratch/open/socket
	start theirs "$scratch/as_other" "$handover" --listen 1 "$theirs"
	their_process=$process
	ok 'the server of another user' printed theirs 'listening'
	their_pid=$(sed -n 's/^server \([0-9]*\): listening.*/\1/p' "$scratch/theirs.log")
	# shellcheck disable=SC2016 # sh -c expands it
	ok 'nothing is taken from it' sh -c '"$1" --takeover "$2" | grep "refused: the running server"' \
		- "$handover" "$theirs"
	ok 'by root, whom it refuses too' printed theirs 'refused: the successor, .* is of user 0'
	kill -TERM "$their_pid"
	ends "$their_process" 'it ends'
fi
tap_done
