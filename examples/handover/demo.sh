#!/bin/sh
# Replaces a TCP server twice while clients load it, and checks that no request is
# lost and no descriptor is left open: demo.sh DIRECTORY, which holds the programs
# handover and load. One line for each thing shown; 30 seconds at most.
set -u

fail() {
	printf 'FAILED: %s\n' "$*"
	cd "$scratch" && tail -n 5 ./*.log
	exit 1
}

programs=$(cd "${1:?which directory holds the programs?}" && pwd) || exit 2
scratch=$(mktemp -d) || exit 1
running=''
# timeout(1) passes the signal on, and kills a program that does not end by it.
clean_up() {
	for process in $running; do
		kill "$process" 2>/dev/null && wait "$process" 2>/dev/null
	done
	cd / && rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM
# Names without a directory: the path of a socket has 107 bytes at most.
cd "$scratch" || exit 1

# start NAME COMMAND...: in the background, its output in NAME.log; sets process.
start() {
	log=$1.log
	shift
	: >"$log"
	timeout -k 2 30 "$@" >"$log" 2>&1 &
	process=$!
	running="$running $process"
}

# await NAME PATTERN [NUMBER]: waits until that many lines of NAME.log fit, which is 1
# unless given; sets line to the last of them.
await() {
	tries=600
	until [ "$(grep -c "$2" "$1.log")" -ge "${3:-1}" ]; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || fail "$1 never printed: $2"
		sleep 0.05
	done
	line=$(grep "$2" "$1.log" | tail -n 1)
}

# report NAME NUMBER: the next report of a server; sets served, connections, and open,
# the descriptors that it has open besides connections.
report() {
	await "$1" 'descriptors open' "$2"
	served=${line#*: }
	served=${served%% requests*}
	open=${line#*served, }
	open=${open%% descriptors*}
	connections=${line#*sockets, }
	connections=${connections%% connections*}
	open=$((open - connections))
}

# ask NAME: makes a server report.
ask() {
	reports=$(($(grep -c 'descriptors open' "$1.log") + 1))
	kill -USR1 "$pid" || fail "server $pid is gone"
	report "$1" "$reports"
}

# load_goes_on: waits for 1000 more answers, which may be those that are on their way.
load_goes_on() {
	await load 'requests answered' "$(($(grep -c 'requests answered' load.log) + 2))"
}

# finished PROCESS: waits for it, and returns its status.
finished() {
	wait "$1"
	status=$?
	running=$(printf '%s\n' "$running" | sed "s/ $1\$//; s/ $1 / /")
	return "$status"
}

# ends NAME PROCESS: waits for a server to end, with status 0 and nothing open.
ends() {
	finished "$2" || fail "the $1 server ended with status $?"
	await "$1" 'ends$'
	report "$1" "$(grep -c 'descriptors open' "$1.log")"
	[ "$open" -eq "$left_open" ] || fail "the $1 server still had $open descriptors open"
	[ "$served" -gt 0 ] || fail "the $1 server has served no request"
	total=$((total + served))
}

# takes_over OLD NEW: a server takes over from another one; both have a name.
takes_over() {
	old_process=$server
	start "$2" "$programs/handover" --takeover socket
	server=$process
	await "$2" 'took over 300 listening sockets'
	pid=$(printf '%s\n' "$line" | sed 's/^server \([0-9]*\):.*/\1/')
	moved=${line#*sockets and }
	ends "$1" "$old_process"
	await load "first answer from server $pid"
	ask "$2"
	[ "$open" -eq "$quiet" ] || fail "it has $open descriptors open, the first one had $quiet"
	printf 'The %s server took over 300 listening sockets and %s; the %s one ended.\n' \
		"$2" "${moved%% (*}" "$1"
}

total=0 # requests that servers have served
start first "$programs/handover" --listen 300 socket
server=$process
await first 'listening on ports'
pid=$(printf '%s\n' "$line" | sed 's/^server \([0-9]*\):.*/\1/')
ports=${line#*ports }
ask first
quiet=$open
# It opens four itself, besides the listening sockets: two of epoll, signals, its path.
left_open=$((quiet - 300 - 4))
# shellcheck disable=SC2086 # many words
start load "$programs/load" 25 1000000 $ports
load=$process
load_goes_on
echo 'A TCP server with 300 listening sockets answers 48 clients at once.'

(
	# shellcheck disable=SC3045 # dash, bash and busybox have it
	ulimit -n 100
	exec "$programs/handover" --takeover socket
) >short.log 2>&1 && fail 'a successor with too few descriptors took over'
await short 'no takeover: receiving descriptors'
await first 'no handover, going on'
load_goes_on
echo 'A successor that may have only 100 descriptors gave up; the server went on.'

as_other_user() {
	setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
}
if [ "$(id -u)" -ne 0 ] || ! as_other_user test -x "$programs/handover" 2>/dev/null; then
	echo 'Not shown: a successor of another user. That takes root, setpriv, and a program' \
		'that others may run.'
else
	chmod 711 . && chmod 666 socket # lets it through to the socket
	as_other_user "$programs/handover" --takeover socket >other.log 2>&1 &&
		fail 'a successor of another user took over'
	chmod 600 socket
	await other 'refused: the running server'
	await first 'refused: the successor, process .* is of user 65534'
	echo 'A successor of another user was refused, and itself refused the server.'
fi

takes_over first second
takes_over second third

load_goes_on
kill -TERM "$load"
await load 'answered by more than one server'
passed=${line#*connections, }
passed=${passed%% of *}
await load 'load: .* refused'
answered=${line#*requests: }
answered=${answered%% answered*}
finished "$load" || fail 'the load ended with an error'
[ "$line" = "load: $answered requests: $answered answered, 0 refused, 0 failed" ] ||
	fail "not every request was answered: $line"
[ "$passed" -gt 0 ] || fail 'no connection was handed over'
ask third
while [ "$connections" -ne 0 ]; do
	ask third
done
kill -TERM "$pid"
ends third "$server"
[ "$total" -eq "$answered" ] || fail "the servers served $total requests, not $answered"
[ ! -e socket ] || fail 'the last server left its socket'
echo "All $answered requests were answered; $passed connections had answers of several servers."
