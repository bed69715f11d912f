# Chooses the C tests that asan.t and valgrind.t run: source it after tests/lib/tap.sh.
# shellcheck shell=sh

# choose_tests WHERE NOT_RUN: sets $names to the tests that run there. NOT_RUN has a line
# NAME:REASON for each of the others, which is printed. With ONLY="NAME..." in the
# environment only these run.
choose_tests() {
	names=''
	for source in c_tests/*.c c_tests/*.cc; do
		name=${source##*/}
		name=${name%.*}
		case $name in tap | peer | classic_snippet) continue ;; esac
		case " ${ONLY:-$name} " in *" $name "*) ;; *) continue ;; esac
		reason=$(printf '%s' "$2" | sed -n "s/^$name://p")
		if [ -n "$reason" ]; then
			printf '# not under %s: %s: %s\n' "$1" "$name" "$reason"
		else
			names="$names $name"
		fi
	done
	# shellcheck disable=SC2046 # One word a name.
	require_tests $(printf '%s' "$2" | sed -n 's/:.*//p')
}

# require_tests NAME...: the name of a test that does not exist is an error.
require_tests() {
	for name; do
		[ -f "c_tests/$name.c" ] || [ -f "c_tests/$name.cc" ] ||
			ok "there is a c_tests/$name" false
	done
}
