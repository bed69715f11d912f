#!/bin/sh
# include/sendfd.hpp compiles without a warning with gcc and with clang, as each
# standard from C++17 on, without exceptions, too, and so that objects of different
# standards can be linked; and its tests pass under AddressSanitizer and
# UndefinedBehaviorSanitizer.
. tests/lib/tap.sh
scratch_directory
program=$scratch/program

if ! have "$CXX"; then
	skip "sendfd.hpp: no $CXX (Debian: g++)"
	tap_done
fi

# knows COMPILER STANDARD
knows() {
	printf 'int f();\n' | $1 -std="$2" -fsyntax-only -x c++ - 2>/dev/null
}

# is_clean COMPILER WARNING...: for each standard that it knows. Some warnings come with
# the optimiser only, which takes its time, and sees the same in each standard.
is_clean() {
	compiler=$1
	shift
	set -- -Werror "$@" -Iinclude -DCALLER=call tests/package/sendfd_hpp.cc
	ok "$compiler knows C++20" knows "$compiler" c++20
	for standard in c++17 c++20 c++23 c++26; do
		knows "$compiler" $standard || continue
		ok "$compiler: clean as $standard" $compiler -std=$standard -fsyntax-only "$@"
		ok "$compiler: clean as $standard without exceptions" $compiler -std=$standard \
			-fsyntax-only -fno-exceptions -fno-rtti "$@"
	done
	ok "$compiler: clean when it optimises" $compiler -std=c++17 -O2 -c -o "$scratch/object" "$@"
}
is_clean "$CXX" -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wold-style-cast

clang=''
for name in clang++-19 clang++; do
	[ -n "$clang" ] || ! have $name || clang=$name
done
if [ -n "$clang" ]; then
	is_clean $clang -Weverything -Wno-c++98-compat -Wno-c++98-compat-pedantic -Wno-padded
else
	skip 'sendfd.hpp with clang: no clang++ (Debian: clang-19)'
fi

link_two_standards() {
	printf '%s\n' '#include <cstddef>' '#include <sys/socket.h>' 'std::size_t one(int, msghdr &);' \
		'std::size_t other(int, msghdr &);' 'int main(int argc, char **)' \
		'{ msghdr message = {}; return argc > 1 && one(-1, message) + other(-1, message); }' \
		>"$scratch/main.cc"
	for one in c++17:one c++20:other; do
		$CXX -std="${one%:*}" -Iinclude -DCALLER="${one#*:}" -c -o "$scratch/${one#*:}.o" \
			tests/package/sendfd_hpp.cc || return
	done
	$CXX -o "$program" "$scratch/main.cc" "$scratch/one.o" "$scratch/other.o" "$O/libsendfd.a" &&
		"$program"
}
ok 'C++17 and C++20 can be linked with one another' link_two_standards

# compiles STATEMENTS, refuses STATEMENTS: where warnings are errors.
compiles() {
	printf '#include <sendfd.hpp>\nvoid f(int s)\n{\n%s\n}\n' "$1" >"$program.cc"
	$CXX -std=c++17 -Werror -Iinclude -fsyntax-only "$program.cc"
}
refuses() {
	! compiles "$1"
}
ok 'with C++14 the first error says what is needed' \
	sh -c "printf '#include <sendfd.hpp>\n' | $CXX -std=c++14 -Iinclude -fsyntax-only -x c++ - 2>&1 |
		grep -m 1 'error:' | grep 'needs C++17'"
ok 'a descriptor that is received may be kept' compiles 'auto fd = libsendfd::receive(s);'
ok 'and is warned of if it is dropped' refuses 'libsendfd::receive(s);'
ok 'so is one that is released' refuses 'libsendfd::unique_fd(s).release();'

if printf '#include <asio.hpp>\n' | $CXX -std=c++17 -fsyntax-only -x c++ - 2>/dev/null; then
	ok 'a program with asio compiles' $CXX -std=c++17 -w -Iinclude -pthread -o "$program" \
		tests/package/asio.cc "$O/libsendfd.a"
	is "$(timeout -k 5 20 "$program" 2>&1)" 'hello hello... 2' \
		'and uses its sockets and buffers'
else
	skip 'sendfd.hpp with asio: no asio.hpp (Debian: libasio-dev)'
fi

# With the standard that has no span, and the latest that the compiler knows.
run_with_sanitizers() {
	for source in tap peer; do
		$CC -std=c11 -g -D_GNU_SOURCE -Iinclude -c -o "$scratch/$source.o" "c_tests/$source.c" ||
			return
	done
	$CXX -std="$1" -g -fsanitize=address,undefined -fno-sanitize-recover=all -D_GNU_SOURCE \
		-pthread -Iinclude -Ic_tests -o "$program" c_tests/sendfd_hpp.cc "$scratch/tap.o" \
		"$scratch/peer.o" "$O/libsendfd.a" || return
	UBSAN_OPTIONS=print_stacktrace=1 timeout -k 5 60 "$program" >"$scratch/output" 2>&1 &&
		grep -q '^1\.\.[1-9]' "$scratch/output" && return
	grep -v '^ok' "$scratch/output" | head -n 80
	return 1
}
for standard in c++17 c++20; do
	ok "c_tests/sendfd_hpp.cc as $standard with the sanitizers" run_with_sanitizers $standard
done
tap_done
