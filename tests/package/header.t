#!/bin/sh
# Compares include/sendfd.h with src/ffi.rs, and compiles it without a warning as every C
# and C++ that the compilers here know, alone and included twice. The compiler warns about
# calls that are visibly wrong.
# shellcheck disable=SC2086 # Flags are words.
. tests/lib/tap.sh
scratch_directory

if $CARGO fetch $CARGOFLAGS --quiet --manifest-path tools/header/Cargo.toml 2>"$scratch/fetch"; then
	ok 'cbindgen generates a header' tools/header/generate "$scratch/sendfd.h"
	ok 'the committed header is the generated one; if not: make header' \
		diff -u include/sendfd.h "$scratch/sendfd.h"
else
	skip "header drift: there is no cbindgen: $(head -n 1 "$scratch/fetch")"
fi

cat >"$scratch/program.c" <<'END'
#include <sendfd.h>
#include <sendfd.h>
int main(void)
{
    static struct cmsghdr aligned;
    static char control[SENDFDS_CMSG_SPACE(SENDFD_MAX_FDS) + RECVFDS_CMSG_SPACE(2)];
    static struct msghdr message;
    int fds[SENDFD_MAX_FDS], nfds = 1;
    fds[0] = 0;
    if (sendfd(-1, 0) != -1 || sendfds(-1, fds, 1) != -1 || recvfd(-1) == RECVFD_EOF ||
        sendfds_all(-1, fds, 1) != -1 || recvfds(-1, fds, 1) - RECVFD_EOF != 1 ||
        recvfds_all(-1, fds, 1) != -1 || sendfds_msg(-1, fds, 1, "a", 1, 0) != -1 ||
        recvfds_msg(-1, fds, &nfds, control, sizeof control, 0) != -1 ||
        sendfds_msghdr(-1, fds, 1, &message, 0) != -1 ||
        recvfds_msghdr(-1, fds, &nfds, &message, RECVFD_PARTIAL) != -1 ||
        sendfds_cmsg(fds, 1, &aligned, 0) != -1 ||
        recvfds_cmsg(-1, fds, &nfds, &message, 0) != 0)
        return 1;
    return sendfd_version() == 0;
}
END
cp "$scratch/program.c" "$scratch/program.cc"

warnings="-Wall -Wextra -Wpedantic -pedantic-errors -Werror -O2 -Iinclude"

# in_every PROGRAM COMPILER... -- STANDARD...: those that a compiler knows.
in_every() {
	program=$1
	compilers=''
	shift
	while [ "$1" != -- ]; do
		case " $compilers " in *" $1 "*) ;; *) ! have "$1" || compilers="$compilers $1" ;; esac
		shift
	done
	shift
	for compiler in $compilers; do
		for standard; do
			: >"$scratch/empty.${program##*.}"
			$compiler -std=$standard -c -o "$scratch/object" "$scratch/empty.${program##*.}" 2>/dev/null ||
				continue
			ok "$compiler: clean as $standard" \
				$compiler -std=$standard $warnings -c -o "$scratch/object" "$program"
		done
	done
}

in_every "$scratch/program.c" "$CC" gcc clang -- c89 gnu89 c99 c11 c17 c2x
if have "$CXX"; then
	in_every "$scratch/program.cc" "$CXX" g++ clang++ -- c++98 c++11 c++14 c++17 c++20 c++2b
else
	skip "the header as C++: no $CXX (Debian: g++)"
fi

printf '#include <sendfd.h>\nvoid f(int s);\nvoid f(int s) { recvfd(s); }\n' >"$scratch/ignores.c"
ok 'an ignored result is warned of' \
	sh -c "! $CC -std=c99 $warnings -c -o '$scratch/object' '$scratch/ignores.c'"
ok 'unless the program says that it need not be used' \
	$CC -std=c99 -DSENDFD_MUST_USE= $warnings -c -o "$scratch/object" "$scratch/ignores.c"

# A compiler without asm labels gets the plain names.
names_declared() {
	printf '#include <sendfd.h>\n' | $CC -std=c99 "$@" -Iinclude -E -P -x c - |
		grep -o '\(libsendfd_\)*\(send\|recv\)fd\>' | sort -u | tr '\n' ' '
}
is "$(names_declared)" 'libsendfd_recvfd libsendfd_sendfd recvfd sendfd ' 'calls bind to names of the library alone'
is "$(names_declared -U__GNUC__)" 'recvfd sendfd ' 'where the compiler can do that'

# A line for each function, of which all but those of the last lines are wrong.
cat >"$scratch/wrong.c" <<'END'
#include <sendfd.h>
#include <stdlib.h>
int room_beyond_the_array(int s) { int fds[2]; return recvfds(s, fds, 8); }
int more_than_the_array_has(int s) { int fds[2] = {0, 1}; return sendfds(s, fds, 3); }
int bytes_for_a_count(int s) { int fds[4] = {0}; return sendfds(s, fds, sizeof fds); }
int no_array(int s) { return recvfds_all(s, NULL, 4); }
int nothing_in_the_array(int s) { int fds[2]; return sendfds(s, fds, 2); }
long room_beyond_the_data(int s) { int fd, n = 1; char b[4]; return recvfds_msg(s, &fd, &n, b, 64, 0); }
long nothing_in_the_count(int s) { int fd, n; char b[4]; return recvfds_msg(s, &fd, &n, b, 4, 0); }
void result_ignored(int s, int fd) { sendfd(s, fd); }
int room_beyond_the_block(int s) { int *p = malloc(4), r; if (!p) return -1; r = recvfds(s, p, 4); free(p); return r; }
long control_too_small(void) { int fd = 0; struct cmsghdr c[1]; return sendfds_cmsg(&fd, 1, c, 64); }
int right(int s) { int fds[2] = {0, 1}; return sendfds(s, fds, 2) == 2 ? recvfds(s, fds, 2) : -1; }
long right_message(int s) { int fd, n = 1; char b[4]; return recvfds_msg(s, &fd, &n, b, 4, 0); }
long bytes_alone(int s) { int n = 0; char b[4]; return recvfds_msg(s, NULL, &n, b, 4, 0); }
END
warned_of() {
	LC_ALL=C $CC -std=c99 -O2 -Wall -Iinclude -c -o "$scratch/object" "$scratch/wrong.c" 2>&1 |
		sed -n "s/.*In function '\([a-z_]*\)'.*/\1/p" | sort -u
}
# gcc has looked at these since version 12.
if [ "$(printf '#if defined(__GNUC__) && !defined(__clang__)\n__GNUC__\n#endif\n' | $CC -E -P - | tr -d '[:space:]')" -ge 12 ] 2>/dev/null; then
	is "$(warned_of)" "$(sed -n '/^[a-z].*{/s/^[a-z]* \([a-z_]*\)(.*/\1/p' "$scratch/wrong.c" |
		grep -v '^right\|^bytes_alone' | sort)" 'each wrong call is warned of, and no right one'
else
	skip 'warnings of wrong calls: CC is no gcc 12 or later'
fi
ok 'no Rust documentation links, no Safety headings' \
	sh -c "! grep -nE '\[\`|\`\]|# Safety|::' include/sendfd.h"
tap_done
