# Shared by the tests that run the scenario: how to build its programs and how to run
# strace on them. Source it after tests/lib/tap.sh and scratch_directory.
# shellcheck shell=sh
# shellcheck disable=SC2154 # scratch_directory sets scratch.

# scenario_program NAME SOURCE ARGUMENT...: builds $O/tests/NAME with scenario.c.
scenario_program() {
	scenario_name=$1
	shift
	c_program "$scenario_name" -Itests/faults tests/faults/scenario.c c_tests/tap.c c_tests/peer.c "$@"
}

# passed_on NAME PROGRAM ARGUMENT...: runs a program that prints TAP as one test, and
# passes its skips on.
passed_on() {
	name=$1
	shift
	"$@" >"$scratch/tap" 2>&1
	status=$?
	notes=$(sed -n 's/^# \([0-9]* [a-z]*\)$/, \1/p' "$scratch/tap")
	grep -v '^ok' "$scratch/tap" | sed 's/^not ok/# not ok/; s/^\([^#]\)/# \1/' >"$scratch/failed"
	ok "$name: $(grep -c '^ok' "$scratch/tap") tests$notes" test "$status" -eq 0
	[ "$status" -eq 0 ] || head -n 30 "$scratch/failed"
	sed -n 's/^\(not \)*ok .*# SKIP //p' "$scratch/tap" | sort -u >"$scratch/skipped"
	while read -r reason; do
		skip "$reason"
	done <"$scratch/skipped"
}

# straced LOG STRACE-ARGUMENT...: with a time limit.
straced() {
	log=$1
	shift
	timeout -k 5 30 strace -qq -s 200 -o "$log" "$@"
}

# Whether processes may be traced here.
can_strace() {
	have strace && straced "$scratch/true" true 2>/dev/null
}

# The system calls between the marks in a log, one line for each pair of marks: the
# name of the mark, a colon, the calls. glibc's nanosleep is clock_nanosleep.
calls_between_marks() {
	awk '
		/^write\(-1, "begin / {
			name = $0; sub(/^write\(-1, "begin /, "", name); sub(/", [0-9]*\) .*/, "", name)
			inside = 1; line = name ":"; last = ""; next
		}
		/^write\(-1, "end"/ { print line; inside = 0; next }
		/^(---|\+\+\+)/ { if (inside) line = line " " $0; next }
		inside {
			call = $0; sub(/\(.*/, "", call)
			if (call == "clock_nanosleep") call = "nanosleep"
			if (call == "close" && last == "close") { sub(/\+?$/, "+", line); next }
			line = line " " call; last = call
		}' "$1"
}
