# Which C tests a proof runs, for asan.t and valgrind.t: source it after tests/lib/tap.sh.
# shellcheck shell=sh

# choose_tests WHERE NOT_RUN: sets $names to those that are run there. NOT_RUN has a
# line NAME:REASON for each other, which is printed. With ONLY="NAME..." in the
# environment none but these are run.
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

# require_tests NAME...: a name of a test that is gone is an error.
require_tests() {
	for name; do
		[ -f "c_tests/$name.c" ] || [ -f "c_tests/$name.cc" ] ||
			ok "there is a c_tests/$name" false
	done
}
