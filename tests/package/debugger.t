#!/bin/sh
# A breakpoint on each function is hit when the function is called, by the header's name and
# by that of a declaration by hand. Would catch debug information that places one behind the
# function, in the next one.
. tests/lib/tap.sh
scratch_directory
if ! have gdb; then
	skip 'breakpoints: no gdb (Debian: gdb)'
	tap_done
fi

cat >"$scratch/program.c" <<'end'
#include <sendfd.h>
int plain_sendfd(int socket, int fd) __asm__("sendfd");
int plain_recvfd(int socket) __asm__("recvfd");
int main(void)
{
    int fds[1] = {0}, nfds = 1;
    struct msghdr message = {0};
    char data[64] = "";
    volatile long all = 0;
    all += sendfd(-1, 0) + recvfd(-1) + plain_sendfd(-1, 0) + plain_recvfd(-1);
    all += sendfds(-1, fds, 1) + recvfds(-1, fds, 1);
    all += sendfds_all(-1, fds, 1) + recvfds_all(-1, fds, 1);
    all += sendfds_msg(-1, fds, 1, data, 1, 0) + recvfds_msg(-1, fds, &nfds, data, 1, 0);
    all += sendfds_msghdr(-1, fds, 1, &message, 0);
    all += recvfds_msghdr(-1, fds, &nfds, &message, 0);
    all += sendfds_cmsg(fds, 1, data, 0) + recvfds_cmsg(-1, fds, &nfds, &message, 0);
    return sendfd_version() == 0;
}
end
ok 'a program that calls each function' $CC -std=c11 -D_GNU_SOURCE -O0 -g -Iinclude \
	-o "$scratch/program" "$scratch/program.c" -L"$O" -lsendfd -Wl,-rpath,"$(realpath "$O")"

functions=$(sed -n 's/^ *\([a-z][a-z0-9_]*\);$/\1/p' src/libsendfd.map | grep -v '^libsendfd_')
{
	echo 'set breakpoint pending on'
	for function in $functions; do
		printf 'break %s\ncommands\nsilent\nprintf "hit %s\\n"\ncontinue\nend\n' \
			"$function" "$function"
	done
	echo run
} >"$scratch/commands"
timeout 60 gdb -q -nx -batch -x "$scratch/commands" "$scratch/program" </dev/null >"$scratch/hits" 2>&1
if ! grep -q '^hit ' "$scratch/hits" && grep -qi 'ptrace\|not permitted' "$scratch/hits"; then
	skip 'breakpoints: no process may be traced here'
	tap_done
fi
for function in $functions; do
	times=1
	case $function in sendfd | recvfd) times=2 ;; esac
	is "$(grep -cx "hit $function" "$scratch/hits")" "$times" "break $function"
done
tap_done
