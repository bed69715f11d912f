# The Test Anything Protocol for tests in sh: source it, call ok and the like, end with
# tap_done.
# shellcheck shell=sh

set -u
tap_tests=0
tap_failures=0

# ok NAME COMMAND...: passes if the command does; its output explains a failure.
ok() {
	tap_name=$1
	shift
	tap_tests=$((tap_tests + 1))
	if tap_output=$("$@" 2>&1); then
		printf 'ok %d - %s\n' "$tap_tests" "$tap_name"
	else
		printf 'not ok %d - %s\n' "$tap_tests" "$tap_name"
		tap_failures=$((tap_failures + 1))
		printf '%s\n' "$*" "$tap_output" | sed 's/^/# /; 200q'
	fi
}

# is VALUE EXPECTED NAME: passes if the two strings are equal.
is() {
	ok "$3" test "$1" = "$2"
	[ "$1" = "$2" ] || printf '# got:\n%s\n# expected:\n%s\n' "$1" "$2" | sed 's/^[^#]/# &/; 200q'
}

# skip REASON: reports that something is not tested; a failure with REQUIRE_ALL=1.
skip() {
	tap_tests=$((tap_tests + 1))
	if [ "${REQUIRE_ALL:-0}" = 1 ]; then
		printf 'not '
		tap_failures=$((tap_failures + 1))
	fi
	printf 'ok %d # SKIP %s\n' "$tap_tests" "$1"
}

# have COMMAND: whether there is such a command.
have() {
	command -v "$1" >/dev/null 2>&1
}

# rust_is VERSION: whether the compiler is that old at most. The library needs less than
# some of what tests it.
rust_is() {
	[ "$(printf '%s\n' "$1" "$(${RUSTC:-rustc} --version | cut -d ' ' -f 2)" | sort -V |
		head -n 1)" = "$1" ]
}

# has_loopback: whether there is a loopback interface that is up.
has_loopback() {
	grep -q '127\.0\.0\.1' /proc/net/fib_trie 2>/dev/null
}

# A directory for this test, removed when it ends.
scratch_directory() {
	scratch=$(mktemp -d)
	trap 'rm -rf "$scratch"' EXIT
	trap 'exit 1' HUP INT TERM
}

# c_program NAME SOURCE ARGUMENT...: builds $O/tests/NAME; a test that cannot be built has
# failed.
c_program() {
	tap_program=$O/tests/$1
	shift
	mkdir -p "${tap_program%/*}"
	set -- $CC -std=c11 -Wall -Wextra -Wpedantic -Werror -D_GNU_SOURCE -pthread -O2 -g \
		-Iinclude -Ic_tests -o "$tap_program" "$@"
	if ! tap_compiler_says=$("$@" 2>&1); then
		ok "it compiles: $*" false
		printf '%s\n' "$tap_compiler_says" | sed 's/^/# /'
		tap_done
	fi
}

# The library to link with.
shared_library() {
	printf '%s\n' "-L$O" -lsendfd "-Wl,-rpath,$(realpath "$O")"
}

tap_done() {
	printf '1..%d\n' "$tap_tests"
	[ "$tap_failures" -eq 0 ]
	exit
}
