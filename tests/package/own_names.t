#!/bin/sh
# A program with a global sendfd and recvfd of its own keeps them, and libraries below
# it keep libsendfd's; a program that declares the two by hand gets libsendfd's. Would
# catch a plug-in whose descriptors go to a function of the program's, of other arguments
# (it returned 0, and nothing was sent), and an archive that does not link there. With
# what make builds and with what cargo alone does.
# shellcheck disable=SC2086 # Flags are words.
. tests/lib/tap.sh
scratch_directory

# A library that uses the header, as a plug-in of somebody's program does.
cat >"$scratch/plugin.c" <<'end'
#include <sendfd.h>
int plugin_send(int socket, int fd) { return sendfd(socket, fd); }
int plugin_receive(int socket) { return recvfd(socket); }
end

# A pair of other arguments, as conmon's, and of other returns, as in TLPI.
cat >"$scratch/own.c" <<'end'
#include <stdlib.h>
struct file { const char *name; int fd; };
int sendfd(int socket, struct file file);
int recvfd(int socket, struct file *file);
int own_calls;
int sendfd(int socket, struct file file) { own_calls++; return file.fd < 0 || socket < 0; }
int recvfd(int socket, struct file *file) { own_calls++; file->fd = socket; return 0; }
int call_own(void);
int call_own(void)
{
    struct file file = {"name", 3};
    int failed = sendfd(3, file) != 0;
    return failed || recvfd(4, &file) != 0 || file.fd != 4 || own_calls != 2;
}
end

# Sends by the functions of MAKE_SEND and MAKE_RECEIVE and looks at what comes.
cat >"$scratch/main.c" <<'end'
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
int MAKE_SEND(int socket, int fd);
int MAKE_RECEIVE(int socket);
#ifdef OWN
extern int own_calls;
int call_own(void);
#endif
int main(void)
{
    int pair[2], ends[2], sent, received;
    struct stat a, b;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) || pipe(ends))
        return 2;
    sent = MAKE_SEND(pair[0], ends[0]);
    received = sent == 1 ? MAKE_RECEIVE(pair[1]) : -1;
    if (sent != 1 || received < 0 || fstat(ends[0], &a) || fstat(received, &b) ||
        a.st_ino != b.st_ino) {
        printf("sent: %d, received: %d\n", sent, received);
        return 1;
    }
#ifdef OWN
    if (own_calls != 0 || call_own()) {
        printf("the program's own functions were called, or do not work\n");
        return 1;
    }
#endif
    return 0;
}
end

# One that needs only what it has no name of its own for.
cat >"$scratch/by_hand.c" <<'end'
int sendfds(int socket, const int *fds, int nfds);
int recvfds(int socket, int *fds, int max_fds);
int by_hand_send(int socket, int fd) { return sendfds(socket, &fd, 1); }
int by_hand_receive(int socket) { int fd; return recvfds(socket, &fd, 1) == 1 ? fd : -1; }
end

compile() {
	$CC -std=c11 -Wall -Wextra -Werror -Iinclude "$@"
}

# linked ARGUMENT...: the program is compiled and linked so, and does what it should.
linked() {
	compile -o "$scratch/program" "$@" && LD_LIBRARY_PATH="$scratch/libraries" "$scratch/program"
}

plugin='-DMAKE_SEND=plugin_send -DMAKE_RECEIVE=plugin_receive'

# with_libraries WHOSE DIRECTORY ARCHIVE: all kinds of program with these two libraries.
with_libraries() {
	mkdir -p "$scratch/libraries"
	rm -f "$scratch/libraries"/*
	cp -P "$2"/libsendfd.so* "$scratch/libraries"
	[ -e "$scratch/libraries/libsendfd.so.1" ] ||
		ln -s libsendfd.so "$scratch/libraries/libsendfd.so.1"
	in_shared="-L$scratch/libraries -lsendfd"

	ok "$1: a shared library with libsendfd.so below it is linked" \
		compile -shared -fPIC -o "$scratch/libraries/libplugin.so" "$scratch/plugin.c" $in_shared
	with_plugin="-L$scratch/libraries -lplugin -Wl,-rpath-link,$scratch/libraries"
	for flags in '' -rdynamic; do
		ok "$1: a program with its own sendfd keeps it, the library has libsendfd's${flags:+, $flags}" \
			linked $plugin -DOWN $flags "$scratch/main.c" "$scratch/own.c" $with_plugin
	done
	ok "$1: a program without one" linked $plugin "$scratch/main.c" $with_plugin
	ok "$1: a program with its own, which links libsendfd.so itself, too" \
		linked $plugin -DOWN "$scratch/main.c" "$scratch/own.c" $in_shared $with_plugin

	ok "$1: a shared library with libsendfd.a inside it is linked" \
		compile -shared -fPIC -o "$scratch/libraries/libplugin.so" "$scratch/plugin.c" "$3"
	for flags in '' -rdynamic; do
		ok "$1: the program keeps its own, and the library's is inside it${flags:+, $flags}" \
			linked $plugin -DOWN $flags "$scratch/main.c" "$scratch/own.c" $with_plugin
	done

	by_hand='-DMAKE_SEND=by_hand_send -DMAKE_RECEIVE=by_hand_receive'
	ok "$1: a program with its own, which uses libsendfd.so without the header" \
		linked $by_hand -DOWN "$scratch/main.c" "$scratch/own.c" "$scratch/by_hand.c" $in_shared
	own_names='-DMAKE_SEND=sendfd -DMAKE_RECEIVE=recvfd'
	ok "$1: declarations by hand get libsendfd.so's functions" \
		linked $own_names "$scratch/main.c" $in_shared
	ok "$1: and libsendfd.a's" linked $own_names "$scratch/main.c" "$3"
	ok "$1: the header with libsendfd.a" linked $plugin "$scratch/main.c" "$scratch/plugin.c" "$3"
}

with_libraries make "$O" "$O/libsendfd.a"
# The plain names are weak there, so that both pairs can be.
ok 'make: a program with its own, which links libsendfd.a itself' \
	linked $by_hand -DOWN "$scratch/main.c" "$scratch/own.c" "$scratch/by_hand.c" "$O/libsendfd.a"
ok 'make: in the other order, too' \
	linked $by_hand -DOWN "$O/libsendfd.a" "$scratch/main.c" "$scratch/by_hand.c" "$scratch/own.c" "$O/libsendfd.a"
is "$(nm -g --defined-only "$O/libsendfd.a" | awk '$2 == "W" { print $3 }' | sort | tr '\n' ' ')" \
	'recvfd sendfd ' 'make: no other name of the archive is weak'

release=$O/target/${CARGO_BUILD_TARGET:+$CARGO_BUILD_TARGET/}release
ok 'cargo builds both kinds of library' \
	tools/cargo build --quiet --release
with_libraries cargo "$release" "$release/libsendfd.a"
tap_done
