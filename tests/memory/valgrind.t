#!/bin/sh
# Runs the C tests under memcheck. Catches memory that is read, or passed to a system call,
# but was never written, such as the rest of the control buffer; an access outside the
# caller's arrays on the heap; a lost block.
#
# ONLY="NAME..." in the environment restricts it to these tests.
# Not in make check: it takes some minutes (time limit: 1200 s).
. tests/lib/tap.sh
. tests/memory/c_tests.sh

if ! have valgrind; then
	skip 'the C tests under memcheck: no valgrind'
	tap_done
fi

# Not run, NAME:REASON and what runs them instead.
not_run='
sendfd_hpp:it replaces operator new, which memcheck does too; tests/package/sendfd_hpp.t runs it with sanitizers
close_on_exec:it executes /proc/self/exe, which is valgrind; check-asan runs it
unrelated:it executes /proc/self/exe, which is valgrind; check-asan runs it
io_uring:memcheck does not know what the kernel writes for io_uring; check-asan runs it
any_number_errors:it waits for a limit of descriptors that valgrind does not set; check-asan runs it
too_many_in_flight:it waits for a limit of descriptors that valgrind does not set; check-asan runs it
'

# valgrind keeps RLIMIT_NOFILE to itself, so that no table is ever full here and
# what these expect of one does not come. What memcheck says of them counts;
# check and check-asan report whether they pass.
need_limit=' batches cancellation cancelled_cleanup cmsg full_table lossless_at_the_limit
	message_errors message_flags messages partial receive_msghdr send_errors '

# A few are linked with the shared object, too: one for each function.
also_shared='any_number drop_in glued_data simulated_kernel version'

is_in() {
	case $1 in *[[:space:]]"$2"[[:space:]]*) return 0 ;; esac
	return 1
}

choose_tests memcheck "$not_run"
programs=''
for name in $names; do
	if [ -f "c_tests/$name.cc" ] && ! have "$CXX"; then
		skip "$name under memcheck: no C++ compiler"
	else
		programs="$programs static/$name"
	fi
done
for name in ${ONLY:-$also_shared}; do
	programs="$programs shared/$name"
done

require_tests $need_limit $also_shared

build() {
	# shellcheck disable=SC2046
	$MAKE --no-print-directory O="$O" $(printf "$O/c_tests/%s " $programs)
}
ok 'the tests are built' build

# under_memcheck PROGRAM: memcheck writes what it finds to PROCESS.log, in lines with
# "==" (those with "--" are about system calls that it does not know).
under_memcheck() {
	mkdir -p "$logs/$1"
	REQUIRE_ALL=0 TAP_TIMEOUT=500 timeout -k 5 500 valgrind --quiet --leak-check=full \
		--errors-for-leak-kinds=definite,possible --show-leak-kinds=definite,possible \
		--error-exitcode=99 --suppressions=tests/memory/valgrind.supp \
		--log-file="$logs/$1/%p.log" "$O/c_tests/$1" \
		>"$logs/$1/tap" 2>&1 </dev/null
	echo $? >"$logs/$1/status"
}

scratch_directory
logs=$scratch

# Two at a time: each worker takes every other program, and the first one that is slow.
work() {
	while read -r program; do
		mkdir "$logs/$(printf '%s' "$program" | tr / .).taken" 2>/dev/null || continue
		under_memcheck "$program"
		printf '# %s of %d: %s\n' "$(find "$logs" -name status | wc -l)" "$(wc -l <"$logs/programs")" "$program"
	done <"$logs/programs"
}
printf '%s\n' $programs >"$logs/programs"
work &
work
wait

found_nothing() {
	status=$(cat "$logs/$1/status")
	if is_in "$need_limit" "${1#*/}"; then
		[ "$status" -le 1 ]
	else
		[ "$status" -eq 0 ]
	fi && ! grep -q '^==' "$logs/$1"/*.log && grep -q '^1\.\.[1-9]' "$logs/$1/tap" && return
	echo "exit status $status"
	grep -h '^==' "$logs/$1"/*.log | head -n 60
	grep -A 3 '^not ok' "$logs/$1/tap" | head -n 40
	return 1
}

for program in $programs; do
	ok "$program under memcheck" found_nothing "$program"
done
tap_done
