#!/bin/sh
# Compares the system calls that the library makes with the documented ones, on every path:
# strace sees a successful send make getsockname and sendmsg, a successful receive one
# recvmsg, sendfds_all and recvfds_all one call for each message, and the failing paths the
# calls that scenario.c lists. Everything works under a seccomp filter that allows only
# these. Catches one system call more or less or in another order; a shim can count only
# the calls that it knows.
. tests/lib/tap.sh
scratch_directory
. tests/faults/scenario.sh

# The usual path of each function.
is_listed() {
	while IFS='|' read -r step calls; do
		is "$(grep -c ": $step: $calls\$" "$scratch/listed")" "$(grep -c ": $step:" "$scratch/listed")" \
			"$step: $calls"
		ok 'on each type of socket' test "$(grep -c ": $step:" "$scratch/listed")" -eq 3
	done <<'end'
sendfd|getsockname sendmsg
sendfds of 3|getsockname sendmsg
sendfds of 253|getsockname sendmsg
sendfds_all of 3|getsockname sendmsg
sendfds_all of 507|getsockname sendmsg sendmsg sendmsg
sendfds_msg of 3 and data|getsockname sendmsg
sendfds_msg of data|sendmsg
recvfd|recvmsg
recvfds of 3|recvmsg
recvfds of 253|recvmsg
recvfds_all of 2 messages|recvmsg recvmsg
recvfds_msg of 3 and data|recvmsg
recvfds_msg of data|recvmsg
recvfds_msg with MSG_PEEK|recvmsg
sendfds_msghdr of 3 and data|getsockname sendmsg
sendfds_msghdr of data|sendmsg
recvfds_msghdr of 3 and data|recvmsg
recvfds_msghdr of data|recvmsg
end
}

# Paths that this kernel does not take: strace replaces its answer.
too_many_in_flight() {
	step='sendfds_all with too many in flight for a while'
	straced "$scratch/log" -e trace=sendmsg,write "$plain" one SOCK_STREAM "$step" \
		>"$scratch/unused" 2>&1
	before=$(sed '/^write(-1, "begin /q' "$scratch/log" | grep -c '^sendmsg(')
	straced "$scratch/log" -e inject="sendmsg:error=ETOOMANYREFS:when=$((before + 1))..$((before + 2))" \
		"$plain" one SOCK_STREAM "$step" >"$scratch/unused" 2>&1
	wait='fcntl getsockopt nanosleep sendmsg'
	is "$(calls_between_marks "$scratch/log")" \
		"SOCK_STREAM: $step: getsockname sendmsg $wait $wait sendmsg sendmsg" \
		'too many in flight, twice: one fcntl, one getsockopt, one nanosleep and one sendmsg more for each'
}

plain=$O/tests/syscalls/plain
# shellcheck disable=SC2046 # One argument a word.
scenario_program syscalls/plain tests/faults/fault_scenario.c -DWITHOUT_SHIM $(shared_library)
"$plain" list >"$scratch/listed"
is_listed
if can_strace; then
	ok 'every step is made' straced "$scratch/log" "$plain" trace
	calls_between_marks "$scratch/log" >"$scratch/made"
	ok "strace sees what is listed, in $(wc -l <"$scratch/listed") calls" \
		diff "$scratch/listed" "$scratch/made"
	too_many_in_flight
else
	skip 'the system calls: no strace that may trace (Debian: strace)'
fi

if printf '#include <seccomp.h>\n' | $CC -E -x c - >/dev/null 2>&1; then
	# shellcheck disable=SC2046 # One argument a word.
	scenario_program syscalls/filtered tests/faults/seccomp_scenario.c $(shared_library) -lseccomp
	passed_on 'under seccomp' "$O/tests/syscalls/filtered"
else
	skip 'the system calls under seccomp: no seccomp.h (Debian: libseccomp-dev)'
fi
tap_done
