#!/bin/sh
# Shows a TCP server replaced twice while clients load it, and checks that no
# request is lost and no descriptor is left: handover_demo.sh DIRECTORY, which
# holds the programs handover and load. It takes 20 seconds at most.
set -u

if [ -z "${HANDOVER_DEMO_LIMIT:-}" ]; then
	HANDOVER_DEMO_LIMIT=20 exec timeout --foreground -k 2 20 "$0" "$@"
fi

say() {
	printf '%s\n' "$*"
}

fail() {
	say "FAILED: $*"
	exit 1
}

programs=$(cd "${1:?which directory holds the programs?}" && pwd) || exit 2
scratch=$(mktemp -d) || exit 1
running=''
clean_up() {
	for process in $running; do
		kill -KILL "$process" 2>/dev/null && wait "$process" 2>/dev/null
	done
	cd / && rm -rf "$scratch"
}
trap clean_up EXIT
trap 'say "FAILED: it was ended, or took too long"; exit 1' HUP INT TERM
# A name without a directory: the path of a socket has 107 bytes at most.
cd "$scratch" || exit 1
total=0 # requests that servers have told of
mkfifo first second third load || exit 1

# start FIFO PROGRAM ARGUMENT...: in the background; sets process. What it prints
# is read with await, which is how this script knows how far it is.
start() {
	fifo=$1
	program=$programs/$2
	shift 2
	"$program" "$@" >"$fifo" 2>&1 3<&- 4<&- 5<&- &
	process=$!
	running="$running $process"
}

# await DESCRIPTOR PATTERN: shows what comes until a line fits; sets line.
await() {
	while read -r line <&"$1"; do
		printf '    %.150s\n' "$line"
		# shellcheck disable=SC2254 # it is a pattern
		case $line in
		$2) return ;;
		esac
	done
	fail "it ended, and never printed: $2"
}

# ended PROCESS STATUS: waits for a process, which is to end with that status.
ended() {
	wait "$1"
	status=$?
	running=$(printf '%s\n' "$running" | tr ' ' '\n' | grep -vx "$1" | tr '\n' ' ')
	[ "$status" -eq "$2" ] || fail "process $1 ended with status $status, not $2"
}

# parse_report: of the line of a server, sets served, open, connections, others.
parse_report() {
	served=${line#*: }
	served=${served%% requests*}
	open=${line#*served, }
	open=${open%% descriptors*}
	connections=${line#*sockets, }
	connections=${connections%% connections*}
	others=${line##*connections, }
	others=${others%% others*}
}

# ask PROCESS DESCRIPTOR: makes a server report.
ask() {
	kill -USR1 "$1" || fail "server $1 is gone"
	await "$2" 'server * descriptors open *'
	parse_report
}

# finish PROCESS DESCRIPTOR: waits for the end of a server that is ending.
finish() {
	await "$2" 'server * descriptors open *'
	parse_report
	ended "$1" 0
	[ "$open" -eq "$before" ] || fail "it had $open descriptors open, not $before"
	[ "$served" -gt 0 ] || fail 'it has served no request'
	total=$((total + served))
	say "It has ended with status 0, and had closed everything."
}

# replace OLD DESCRIPTOR NEW DESCRIPTOR: of two servers, under load; the new one
# has been started.
replace() {
	await "$4" 'server * took over 300 listening sockets *'
	await "$2" 'server * handed over 300 listening sockets *'
	finish "$1" "$2"
	await 4 "load: first answer from server $3"
	await 4 'load: * requests answered'
	ask "$3" "$4"
	[ "$((open - connections))" -eq "$quiet" ] ||
		fail "it has $((open - connections)) descriptors besides connections, not $quiet"
	say "Besides connections it has $quiet open, as the first one had."
}

say 'Part 3: a TCP server is replaced twice while clients load it.'
start first handover --listen 300 socket
exec 3<first
first=$process
await 3 'server * listening on ports *'
ports=${line#*ports }
ask "$first" 3
quiet=$open
# What is left when it has closed all: it opens epoll, signals and its socket.
before=$((others - 3))
[ "$((open - others))" -eq 300 ] || fail 'it does not have 300 listening sockets'

say "The load begins: 48 clients, on all of its $(say "$ports" | wc -w) ports."
# shellcheck disable=SC2086 # many words
start load load 15 1000000 $ports
exec 4<load
load=$process
await 4 "load: first answer from server $first"
await 4 'load: * requests answered'

say 'A successor fails in the middle: it may have no more than 100 descriptors.'
(
	# shellcheck disable=SC3045 # dash, bash and busybox have it
	ulimit -n 100
	exec "$programs/handover" --takeover socket
) >short.log 2>&1 3<&- 4<&- && fail 'it took over'
sed 's/^/    /' short.log
grep -q 'no takeover: receiving descriptors: Too many open files' short.log ||
	fail 'that was not the reason'
await 3 'server * no handover, going on: *'
await 4 'load: * requests answered'
say 'The server goes on as if nothing had been.'

other_user() {
	setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
}
if [ "$(id -u)" -ne 0 ]; then
	say 'Not shown: that a successor of another user is refused. That takes root.'
elif ! other_user test -x "$programs/handover"; then
	say 'Not shown: that a successor of another user is refused. None may run it here.'
else
	say 'A successor of another user, let through to the socket for this.'
	chmod 711 . && chmod 666 socket
	other_user "$programs/handover" --takeover socket >other.log 2>&1 3<&- 4<&- &&
		fail 'it took over'
	chmod 600 socket
	sed 's/^/    /' other.log
	grep -q 'refused: the running server' other.log || fail 'it would have gone on'
	await 3 'server * refused: the successor, process * is of user 65534*'
	say 'Each refuses the other.'
fi

say 'The second server takes over.'
start second handover --takeover socket
exec 5<second
second=$process
replace "$first" 3 "$second" 5

say 'The third server takes over.'
start third handover --takeover socket
exec 3<third
third=$process
replace "$second" 5 "$third" 3

say 'The load ends.'
kill -TERM "$load"
await 4 'load: * of them answered by more than one server'
passed=${line#*connections, }
passed=${passed%% of *}
await 4 'load: * requests: *'
answered=${line#*requests: }
answered=${answered%% answered*}
ended "$load" 0
[ "$line" = "load: $answered requests: $answered answered, 0 refused, 0 failed" ] ||
	fail 'not every request was answered'
[ "$passed" -gt 0 ] || fail 'no connection was handed over'

say 'When the third server has seen that, it has as many open as the first one had.'
ask "$third" 3
while [ "$connections" -ne 0 ]; do
	ask "$third" 3
done
[ "$open" -eq "$quiet" ] || fail "it has $open descriptors open, not $quiet"
kill -TERM "$third"
await 3 'server * ends'
finish "$third" 3
[ "$total" -eq "$answered" ] || fail "the servers have served $total requests"
[ ! -e socket ] || fail 'it has left its socket'
say
say "All held: three servers have answered all $answered requests, and none was refused."
