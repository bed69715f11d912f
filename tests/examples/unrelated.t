#!/bin/sh
# Starts, ends and kills servers of examples/unrelated.c at the same moment: the path has
# one owner at a time, a server removes only its own files, and no client stops it.
. tests/lib/tap.sh

if ! [ -x "${O:=build}/examples/unrelated" ]; then
	skip "the server of the examples: no $O/examples/unrelated"
	tap_done
fi
unrelated=$(realpath "$O/examples/unrelated")
library=$(realpath "$O")
scratch_directory
. tests/lib/processes.sh
misbehaving_client=$scratch/misbehaving_client
"${CC:-cc}" -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -Iinclude -o "$misbehaving_client" \
	tests/examples/misbehaving_client.c "$O/libsendfd.a" || misbehaving_client=''

# Names without a directory: the path of a socket has 107 bytes at most.
cd "$scratch" && mkdir place || exit 1
socket=place/socket
printf 'the content of a file\n' >file

# run LOG COMMAND...: in the foreground.
run() {
	log=$1
	shift
	$limited "$@" >"$log" 2>&1
	status=$?
}

# start_server LOG ARGUMENT...: its process in server, its own in server_pid.
start_server() {
	log=$1
	shift
	background "$log" "$unrelated" server "$@"
	server=$process
	wait_until grep -qs ': listening on' "$log"
	server_pid=$(pid_of "$log")
}

pid_of() {
	sed -n 's/^server \([0-9]*\): listening.*/\1/p' "$1"
}

# serves LOG: whether a client is served by the server that prints to LOG.
serves() {
	served_before=$(grep -c '^the content of a file$' "$1")
	run client "$unrelated" client "$socket" file
	[ "$status" -eq 0 ] && cat client "$1" &&
		[ "$(grep -c '^the content of a file$' "$1")" -eq $((served_before + 1)) ]
}

# refused LOG STATUS MESSAGE NAME
refused() {
	ok "$4" test "$2" -eq 1
	ok "$4: it says why" grep "$3" "$1"
}

left_in_place() {
	ls -A place
}

# --- one owner -----------------------------------------------------------------

background nowhere "$unrelated" client place/nowhere file
gives_up=$process

# race ROUND: several servers at once on what the killed one before has left.
race() {
	contenders=''
	rm -f go contender[1-8]
	for contender in 1 2 3 4 5 6 7 8; do
		(
			until [ -e go ]; do :; done
			exec $limited "$unrelated" server "$socket"
		) >"contender$contender" 2>&1 &
		contenders="$contenders $contender:$!"
		processes="$processes$! "
	done
	: >go
	wait_until decided
	owners=0
	losers=0
	for contender in $contenders; do
		log=contender${contender%:*}
		if grep -q ': listening on' "$log"; then
			owners=$((owners + 1))
			owner=$log
		else
			finish "${contender#*:}"
			[ "$status" -eq 1 ] && grep -q '^unrelated: another server is running on' "$log" &&
				losers=$((losers + 1))
		fi
	done
	is "$owners owns, $losers refused" '1 owns, 7 refused' \
		"round $1: of 8 servers that start at once on a stale path"
	ok "round $1: the owner serves" serves "$owner"
	for contender in $contenders; do
		log=contender${contender%:*}
		grep -q ': listening on' "$log" || continue
		kill -KILL "$(pid_of "$log")"
		finish "${contender#*:}"
	done
}

decided() {
	[ "$(cat contender[1-8] 2>/dev/null | grep -c -e ': listening on' -e '^unrelated: ')" -ge 8 ]
}

for round in 1 2 3 4 5 6 7 8 9 10 11 12; do
	race "$round"
done
rm -f "$socket"

# Servers for one client each come and go. If two ever owned the path, one of them would
# wait in vain.
for worker in 1 2 3 4; do
	(
		served=0
		while [ "$served" -lt 10 ] && ! [ -e enough ]; do
			timeout -k 5 15 "$unrelated" server "$socket" 1
			case $? in
			0) served=$((served + 1)) ;;
			1) ;;
			*) echo 'waited in vain' ;;
			esac
		done
	) >"worker$worker" 2>&1 &
	workers="${workers:-} $!"
done
clients_served=0
clients_left=200
while [ "$clients_served" -lt 40 ] && [ "$clients_left" -gt 0 ]; do
	run client "$unrelated" client "$socket" file
	[ "$status" -eq 0 ] && clients_served=$((clients_served + 1))
	clients_left=$((clients_left - 1))
	grep -q 'in 10 seconds' client && break
done
: >enough
for worker in $workers; do
	wait "$worker"
done
is "$clients_served" 40 'servers that come and go serve their clients'
is "$(cat worker[1-4] | grep -c '^server .* ends$')" 40 'one client each'
is "$(cat worker[1-4] | grep -v -e '^server ' -e '^-----' -e '^the content' \
	-e '^unrelated: another server is running')" '' 'with no other complaint'
is "$(left_in_place)" '' 'and leave nothing behind'

start_server first "$socket"
is "$(stat -c %a "$socket")" 600 'the socket is for its owner only'
run second "$unrelated" server "$socket"
refused second "$status" 'another server is running' 'a second server is refused'
ok 'the first serves on' serves first
kill -TERM "$server_pid"
finish "$server"
is "$status" 0 'SIGTERM ends it with status 0'
is "$(left_in_place)" '' 'and nothing is left'

start_server first "$socket"
kill -INT "$server_pid"
finish "$server"
is "$status" 0 'SIGINT too'
is "$(left_in_place)" '' 'and nothing is left then'

# --- nothing of others is removed -----------------------------------------------

echo data >"$socket"
run first "$unrelated" server "$socket"
refused first "$status" 'is not a socket' 'a regular file at the path'
is "$(cat "$socket")" data 'is not touched'
is "$(left_in_place)" socket 'and nothing else is left'
rm "$socket"

ln -s ../file "$socket"
run first "$unrelated" server "$socket"
refused first "$status" 'is not a socket' 'a symbolic link at the path'
ok 'is not removed' test -L "$socket"
rm "$socket"

start_server first "$socket"
rm "$socket"
first=$server
first_pid=$server_pid
start_server second "$socket"
kill -TERM "$first_pid"
finish "$first"
ok 'a server whose socket was replaced leaves the new one' serves second
kill -TERM "$server_pid"
finish "$server"
is "$(left_in_place)" '' 'and nothing is left of all that'

# --- the length of the path --------------------------------------------------------

longest=$(printf '%0107d' 0)
run first "$unrelated" server "0$longest"
refused first "$status" 'has 1 to 107 bytes, this one has 108' 'a path of 108 bytes'
run first "$unrelated" client "0$longest" file
refused first "$status" 'has 1 to 107 bytes' 'for a client'
run first "$unrelated" server ''
refused first "$status" 'has 1 to 107 bytes' 'an empty path'
start_server first "$longest" 1
run client "$unrelated" client "$longest" file
is "$status" 0 'a path of 107 bytes will do'
finish "$server"

# --- clients that misbehave ---------------------------------------------------------

# misbehaves HOW MESSAGE
misbehaves() {
	run misbehaving "$misbehaving_client" "$1" "$socket"
	is "$status" 0 "a client that $1 gets no answer"
	wait_until grep -qs "not served: .*$2" first
	ok 'the server says so' grep "not served: .*$2" first
}

count_open() {
	find "/proc/$server_pid/fd" -type l | wc -l
}

has_open() {
	[ "$(count_open)" -eq "$1" ]
}

if [ -n "$misbehaving_client" ]; then
	start_server first "$socket"
	descriptors=$(count_open)
	misbehaves 'closes' 'closed the connection and sent nothing'
	misbehaves 'sends a byte' 'without a descriptor'
	misbehaves 'sends two' 'more than one descriptor'
	misbehaves 'sends a pipe' 'not a regular file'
	misbehaves 'sends what cannot be read' 'cannot be read to its end'
	misbehaves 'takes no answer' 'did not wait for the answer'
	misbehaves 'hangs' 'sent nothing in time'
	ok 'the next client is served' serves first
	wait_until has_open "$descriptors" # it closes after the client has its answer
	ok 'no descriptor is left open' has_open "$descriptors"
	background hanging "$misbehaving_client" hangs "$socket"
	hanging=$process
	wait_until grep -qs connected hanging
	kill -TERM "$server_pid"
	finish "$server"
	is "$status" 0 'SIGTERM ends the server while a client hangs'
	finish "$hanging"
	is "$(left_in_place)" '' 'and nothing is left'
else
	skip 'clients that misbehave: no C compiler for tests/examples/misbehaving_client.c'
fi

# --- killed while clients wait ---------------------------------------------------------

start_server first "$socket"
kill -STOP "$server_pid"
clients=''
for client in 1 2 3; do
	background "client$client" "$unrelated" client "$socket" file
	clients="$clients $client:$process"
done
wait_until sh -c 'grep -q "sent descriptor" client1 && grep -q "sent descriptor" client2 &&
	grep -q "sent descriptor" client3'
kill -KILL "$server_pid"
finish "$server"
for client in $clients; do
	finish "${client#*:}"
	refused "client${client%:*}" "$status" 'the server did not answer' \
		"client ${client%:*} of a server that is killed"
done
background client1 "$unrelated" client "$socket" file
early=$process
wait_until grep -qs 'no server on .* yet, waiting' client1
start_server second "$socket" 1
ok 'another server takes over' grep 'took over place/socket' second
finish "$early"
is "$status" 0 'and serves the client that waited for it'
finish "$server"
is "$status" 0 'for its one client'
is "$(left_in_place)" '' 'and leaves nothing behind'

# --- other users ---------------------------------------------------------------------

if [ "$(id -u)" -eq 0 ] && have setpriv; then
	cp "$unrelated" .
	cp "$library/libsendfd.so" libsendfd.so.1
	export LD_LIBRARY_PATH="$scratch"
	chmod 755 . unrelated
	chmod 644 file
	chown 12347 place
	as_user() {
		unrelated=$scratch/as_$1
		printf '#!/bin/sh\nexec setpriv --reuid %s --regid %s --clear-groups %s "$@"\n' \
			"$1" "$1" "$scratch/unrelated" >"$unrelated"
		chmod 755 "$unrelated"
	}
	as_user 12347
	start_server first "$socket"
	ok 'a plain user serves himself' serves first
	as_user 12348
	run client "$unrelated" client "$socket" file
	refused client "$status" 'Permission denied' 'another user cannot connect'
	run second "$unrelated" server "$socket"
	refused second "$status" 'Permission denied' 'nor take the path'
	chmod 666 "$socket"
	run client "$unrelated" client "$socket" file
	refused client "$status" 'the server did not answer\|Broken pipe' \
		'nor is he served where the permissions let him connect'
	ok 'the server says so' grep 'user 12348 connects: refused, it is another user' first
	as_user 0
	ok 'root is served' serves first
	kill -TERM "$server_pid"
	finish "$server"
	is "$status" 0 'the server of a plain user ends'
	is "$(left_in_place)" '' 'and leaves nothing behind as well'
else
	skip 'other users: needs root and setpriv (util-linux)'
fi

finish "$gives_up"
refused nowhere "$status" 'no server on place/nowhere in 10 seconds' 'without a server a client gives up'
tap_done
