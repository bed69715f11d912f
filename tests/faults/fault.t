#!/bin/sh
# Makes every system call of the library fail, at every place of the scenario where it is
# made, with every errno of its man page; fault_scenario.c says what must happen then.
# strace makes the kernel fail a sample of them, with the same results: this catches a shim
# that differs from the kernel, and a library that bypasses the shim.
. tests/lib/tap.sh
scratch_directory
. tests/faults/scenario.sh

with_shim=$O/tests/fault/shim
without_shim=$O/tests/fault/plain
# shellcheck disable=SC2046 # One argument a word.
{
	scenario_program fault/shim tests/faults/fault_scenario.c $(shared_library)
	scenario_program fault/shim-static tests/faults/fault_scenario.c "$O/libsendfd.a"
	scenario_program fault/plain tests/faults/fault_scenario.c -DWITHOUT_SHIM $(shared_library)
}

# calls_before CALL: how many times the plain program makes it before the step begins.
calls_before() {
	straced "$scratch/log" -e trace="$1,write" \
		"$without_shim" one "$type" "$step" >"$scratch/unused" 2>&1 || return
	sed '/^write(-1, "begin /q' "$scratch/log" | grep -c "^$1("
}

# One line of the sample, in the variables that it is read into.
compare() {
	kernels_call=$call
	[ "$call" != nanosleep ] || kernels_call=clock_nanosleep
	shim=$("$with_shim" one "$type" "$step" "$call" "$occurrence" "$errno" $unclosed)
	first=$(calls_before "$kernels_call")
	inject="-e inject=$kernels_call:error=$errno:when=$((first + occurrence))"
	if [ -n "$too_many" ]; then
		first=$(calls_before sendmsg)
		inject="$inject -e inject=sendmsg:error=ETOOMANYREFS:when=$((first + 1))..$((first + too_many))"
	fi
	plain=$(straced "$scratch/log" $inject "$without_shim" one "$type" "$step")
	ok "$type: $step: $call $occurrence fails with $errno${unclosed:+, not closed}" \
		grep -q "^$kernels_call(.*$errno.*(INJECTED)" "$scratch/log"
	is "$plain" "$shim" "and comes to the same in the kernel"
}

# TYPE|STEP|CALL|OCCURRENCE|ERRNO, and where a close is skipped, as strace does, and how
# many sendmsg are to fail with ETOOMANYREFS before.
sample() {
	while IFS='|' read -r type step call occurrence errno unclosed too_many; do
		compare
	done <<'end'
SOCK_STREAM|sendfd|sendmsg|1|ENOBUFS
SOCK_STREAM|sendfd|getsockname|1|ENOBUFS
SOCK_STREAM|sendfd to UDP|getsockopt|1|ENOPROTOOPT
SOCK_SEQPACKET|sendfds of 253|sendmsg|1|EINTR
SOCK_STREAM|sendfds_all of 507|sendmsg|2|EPIPE
SOCK_DGRAM|sendfds_all of 507|sendmsg|3|ECONNREFUSED
SOCK_STREAM|sendfds_all of 507|getsockname|1|EBADF
SOCK_STREAM|sendfds_all of 507|sendmsg|2|ETOOMANYREFS
SOCK_STREAM|sendfds_all with too many in flight for a while|nanosleep|2|EINTR||2
SOCK_STREAM|sendfds_all with too many in flight for a while|fcntl|1|EPERM||1
SOCK_STREAM|sendfds_all with too many in flight until the send timeout|getsockopt|1|EINVAL||1
SOCK_DGRAM|sendfds_msg of 3 and data|sendmsg|1|EMSGSIZE
SOCK_STREAM|recvfd|recvmsg|1|EINTR
SOCK_STREAM|recvfd of none|getsockopt|1|EINVAL
SOCK_SEQPACKET|recvfd at the end of file|getsockopt|2|EFAULT
SOCK_STREAM|recvfds of 253|recvmsg|1|ENOMEM
SOCK_STREAM|recvfds with a full table|fcntl|1|EMFILE
SOCK_STREAM|recvfds with a full table|fcntl|1|EINVAL
SOCK_STREAM|recvfds of 3 into 2|close|1|EIO|unclosed
SOCK_DGRAM|recvfds of 3 into 2|close|3|EINTR|unclosed
SOCK_STREAM|recvfds with a full table|close|2|ENOSPC|unclosed
SOCK_SEQPACKET|recvfds_all of 2 messages|recvmsg|2|ECONNRESET
SOCK_STREAM|recvfds_all of some, then too many|close|1|EIO|unclosed
SOCK_STREAM|recvfds_all of some, then the end of file|getsockopt|1|EBADF
SOCK_DGRAM|recvfds_msg of 3 and data|recvmsg|1|EAGAIN
SOCK_SEQPACKET|recvfds_msg of 3 and data|recvmsg|1|ENOTCONN
end
}

passed_on 'with the shared object' "$with_shim"
passed_on 'with the archive' "$O/tests/fault/shim-static"
if can_strace; then
	sample
else
	skip 'that the kernel does what the shim does: no strace that may trace (Debian: strace)'
fi
tap_done
