# For the checks of the examples that call the library through FFI: source it, with
# the directory of the build in O.
# shellcheck shell=sh
. tests/lib/tap.sh

: "${O:=build}"
library=$(realpath "$O")
export LIBSENDFD="$library/libsendfd.so.1"
scratch_directory
. tests/lib/processes.sh

# tests COMMAND...: the tests of a program that prints TAP, counted among these.
tests() {
	TMPDIR=$scratch $limited "$@" >"$scratch/tests"
	tests_status=$?
	awk -v n="$tap_tests" '/^(not )?ok / { sub(/ok ([0-9]+ )?/, "ok " ++n " ") } !/^1\.\./' \
		"$scratch/tests"
	tap_tests=$((tap_tests + $(grep -c -e '^ok ' -e '^not ok ' "$scratch/tests")))
	tap_failures=$((tap_failures + $(grep -c '^not ok ' "$scratch/tests")))
	ok "$*: the last of its tests was reached" grep '^1\.\.' "$scratch/tests"
	case $tests_status in
	0 | 1) ;;
	*) is "$tests_status" 0 "$*: its status" ;;
	esac
}

# start_server COMMAND...: its process in server.
start_server() {
	background server.log "$@"
	server=$process
	wait_until grep -qs ': listening on' server.log
}

# client_is_served NAME COMMAND...: the server prints the content of the file.
client_is_served() {
	name=$1
	shift
	$limited "$@" client place/socket file >client.log 2>&1
	is "$? $(tail -n 1 client.log | sed 's/[0-9][0-9]*/N/')" \
		'0 client N: the server has read it' "$name"
	ok "$name: the server prints it" grep '^the content of a file$' server.log
}

# A file that is more than a buffer, one that has nothing, one that does not end
# with a newline, and none: the words of the parent and the child are those of C.
family() {
	language=$1
	shift
	for family_file in long empty no_newline none; do
		$limited "$library/examples/parent_child" "$family_file" >c.log 2>/dev/null
		c_status=$?
		$limited "$@" "$family_file" >family.log 2>family.errors
		is "$? $(words family.log)" "$c_status $(words c.log)" \
			"$language: parent_child says and does what that in C does: $family_file"
	done
	is "$(cat family.errors)" "parent_child: parent: none: No such file or directory
parent_child: child: no byte came: end of file
parent_child: the child failed" "$language: parent_child tells what is wrong"
}

# What was printed, sorted (two processes print it), and without what differs.
words() {
	sed -e 's/^\(child\|parent\) [0-9]*/\1 N/' -e 's/descriptor [0-9]*/descriptor N/' "$1" |
		sort
}

# demos LANGUAGE DIRECTORY SUFFIX: all of the examples of a language.
demos() {
	if ! [ -x "$library/examples/unrelated" ]; then
		skip "the examples in $1: no $O/examples/unrelated to compare with"
		return
	fi
	examples=$(realpath "$2")
	demo=$(realpath examples/demo.sh)
	(
		cd "$scratch" && rm -rf demos place && mkdir demos place || exit 1
		ln -s "$examples/parent_child$3" demos/parent_child
		ln -s "$examples/unrelated$3" demos/unrelated
		printf 'the content of a file\n' >file
		awk 'BEGIN { for (i = 1; i <= 20000; i++) print "line", i }' >long
		: >empty
		printf 'no newline at the end' >no_newline
	)
	ok "$1: examples/demo.sh holds with them" "$demo" "$scratch/demos"
	here=$PWD
	cd "$scratch" || exit 1
	family "$1" demos/parent_child
	other_users "$1" demos/unrelated
	start_server demos/unrelated server place/socket
	kill -TERM "$(sed -n 's/^server \([0-9]*\): listening.*/\1/p' server.log)"
	finish "$server"
	is "$status $(ls -A place)" '0 ' "$1: SIGTERM ends the server with status 0, nothing is left"
	$limited demos/unrelated server place/socket none >usage.log 2>&1
	is "$? $(head -n 1 usage.log)" '2 usage: unrelated server PATH [CLIENTS]' "$1: the usage"
	$limited demos/unrelated server "$(printf '%0108d' 0)" >usage.log 2>&1
	is "$? $(cut -c 1-71 usage.log)" \
		'1 unrelated: the path of a socket has 1 to 107 bytes, this one has 108: 0' \
		"$1: a path that is too long"
	cd "$here" || exit 1
}

# other_users LANGUAGE COMMAND...: are not served, even where they can connect.
other_users() {
	if [ "$(id -u)" -ne 0 ] || ! have setpriv; then
		skip "$1: clients of other users: needs root and setpriv (util-linux)"
		return
	fi
	language=$1
	shift
	start_server "$@" server place/socket 1
	chmod 755 .
	chmod 666 place/socket
	cp "$library/examples/unrelated" "$LIBSENDFD" .
	LD_LIBRARY_PATH=$scratch setpriv --reuid 12348 --regid 12348 --clear-groups \
		$limited ./unrelated client place/socket file >client.log 2>&1
	is "$?" 1 "$language: the client of another user is refused"
	ok "$language: the server says so" \
		grep 'user 12348 connects: refused, it is another user' server.log
	client_is_served "$language: the next client is served" "$library/examples/unrelated"
	finish "$server"
}
