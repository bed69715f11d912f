/* A stream has no boundaries between bytes that were sent without descriptors: such bytes
 * come together with the message with descriptors that follows them. recvfds_msg returns
 * both; recvfd and recvfds, which read one byte, are exact. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static int files[3];

static void send_bytes(int socket, const char *text)
{
    need(send(socket, text, strlen(text), 0) == (ssize_t)strlen(text));
}

static void send_files(int socket, const char *text, int nfds)
{
    need(sendfds_msg(socket, files, nfds, text, strlen(text), 0) ==
         (ssize_t)strlen(text));
}

/* That a receive with room for len bytes brings these, and the first nfds files. */
static void brings_with(int socket, size_t len, int flags, const char *text, int nfds)
{
    int fds[SENDFD_MAX_FDS], count = SENDFD_MAX_FDS;
    char data[64] = "";
    need(len < sizeof data);
    is(recvfds_msg(socket, fds, &count, data, len, flags), (long)strlen(text),
       "with room for %zu: so many bytes", len);
    ok(strcmp(data, text) == 0, "which are \"%s\"", text);
    ok(count == nfds && same_files(fds, files, nfds), "with %d descriptors", nfds);
    close_fds(fds, count);
}

static void brings(int socket, size_t len, const char *text, int nfds)
{
    brings_with(socket, len, 0, text, nfds);
}

/* The bytes before a message with descriptors come with it, in order; it ends the
 * receive, whatever follows. */
static void glued(int pair[2])
{
    tap_note("bytes before, between and after two messages with descriptors");
    send_bytes(pair[0], "ab");
    send_bytes(pair[0], "cd");
    send_files(pair[0], "E", 2);
    send_bytes(pair[0], "fg");
    send_files(pair[0], "H", 1);
    send_bytes(pair[0], "ij");
    brings_with(pair[1], 60, MSG_PEEK, "abcdE", 2);
    brings(pair[1], 60, "abcdE", 2);
    brings(pair[1], 60, "fgH", 1);
    brings(pair[1], 60, "ij", 0);
    ok(is_empty(pair[1]), "nothing is left");
}

static void next_to_each_other(int pair[2])
{
    tap_note("three messages with descriptors next to each other");
    send_files(pair[0], "abc", 1);
    send_files(pair[0], "def", 3);
    send_files(pair[0], "ghi", 2);
    brings(pair[1], 60, "abc", 1);
    brings(pair[1], 60, "def", 3);
    brings(pair[1], 60, "ghi", 2);
    ok(is_empty(pair[1]), "nothing is left");
}

/* The descriptors come with the first byte of their message, neither earlier nor
 * later; the rest of it is like any bytes without descriptors. */
static void small_buffers(int pair[2])
{
    tap_note("a buffer that ends within the bytes before");
    send_bytes(pair[0], "abcde");
    send_files(pair[0], "FG", 2);
    brings(pair[1], 4, "abcd", 0);
    brings(pair[1], 60, "eFG", 2);

    tap_note("one that ends right before the message");
    send_bytes(pair[0], "abcd");
    send_files(pair[0], "FG", 2);
    brings(pair[1], 4, "abcd", 0);
    brings(pair[1], 60, "FG", 2);

    tap_note("one that ends within the message");
    send_bytes(pair[0], "ab");
    send_files(pair[0], "CDEF", 2);
    send_bytes(pair[0], "gh");
    send_files(pair[0], "I", 1);
    brings_with(pair[1], 4, MSG_PEEK, "abCD", 2);
    brings(pair[1], 4, "abCD", 2);
    brings(pair[1], 60, "EFghI", 1);
    ok(is_empty(pair[1]), "nothing is left");
}

/* A peek that ends before a message with descriptors may bring them all the same, as
 * Linux does; they come again with its first byte, and each time are the caller's. */
static void peek_before(int pair[2])
{
    int fds[3], nfds = 3, before = count_fds();
    char data[3];
    tap_note("a peek that ends before a message with descriptors");
    send_bytes(pair[0], "abcd");
    send_files(pair[0], "EF", 2);
    is(recvfds_msg(pair[1], fds, &nfds, data, 3, MSG_PEEK), 3, "bytes of the peek");
    ok(memcmp(data, "abc", 3) == 0, "which are \"abc\"");
    tap_note("it brings %d descriptors", nfds);
    ok(nfds == 0 || (nfds == 2 && same_files(fds, files, 2)), "descriptors of the peek");
    is(count_fds(), before + nfds, "no other is open");
    close_fds(fds, nfds);
    brings(pair[1], 4, "abcd", 0);
    brings(pair[1], 60, "EF", 2);
    ok(is_empty(pair[1]), "nothing is left");
}

/* Bytes that are glued before descriptors for which there is no room go with them. */
static void surplus(int pair[2])
{
    int fds[1], nfds = 1, before = count_fds();
    char data[60];
    tap_note("a surplus behind bytes without descriptors");
    send_bytes(pair[0], "ab");
    send_files(pair[0], "C", 2);
    send_bytes(pair[0], "de");
    fails(recvfds_msg(pair[1], fds, &nfds, data, sizeof data, 0), EMSGSIZE, "EMSGSIZE");
    is(count_fds(), before, "all are closed");
    brings(pair[1], 60, "de", 0);
    ok(is_empty(pair[1]), "nothing is left");
}

/* A byte a call: recvfd and recvfds find each message where it is. */
static void one_byte_each(int pair[2])
{
    int fd, fds[3];
    tap_note("recvfd and recvfds among bytes");
    send_bytes(pair[0], "ab");
    need(sendfd(pair[0], files[0]) == 1);
    send_bytes(pair[0], "c");
    send_files(pair[0], "DE", 2);
    send_bytes(pair[0], "f");
    need(sendfds(pair[0], files, 3) == 3);
    fails(recvfd(pair[1]), ENOMSG, "recvfd: the first byte has no descriptor");
    fails(recvfds(pair[1], fds, 3), ENOMSG, "recvfds: nor has the second");
    fd = recvfd(pair[1]);
    ok(same_file(fd, files[0]), "recvfd: the third has");
    close(fd);
    fails(recvfds(pair[1], fds, 3), ENOMSG, "recvfds: a byte behind it");
    is(recvfds(pair[1], fds, 3), 2, "recvfds: the first byte of a message of two");
    ok(same_files(fds, files, 2), "recvfds: has its descriptors");
    close_fds(fds, 2);
    fails(recvfd(pair[1]), ENOMSG, "recvfd: the second has none");
    fails(recvfds_all(pair[1], fds, 3), ENOMSG, "recvfds_all: nor has a byte behind it");
    is(recvfds_all(pair[1], fds, 3), 3, "recvfds_all: then come three");
    ok(same_files(fds, files, 3), "recvfds_all: the right ones");
    close_fds(fds, 3);
    ok(is_empty(pair[1]), "nothing is left");
}

/* A message ends where its sender ended it on the other types. */
static void boundaries(const struct socket_type *type)
{
    int pair[2];
    tap_note("%s", type->name);
    socket_pair(type->type, pair);
    send_bytes(pair[0], "ab");
    send_bytes(pair[0], "cd");
    send_files(pair[0], "E", 2);
    send_bytes(pair[0], "fg");
    brings(pair[1], 60, "ab", 0);
    brings(pair[1], 60, "cd", 0);
    brings(pair[1], 60, "E", 2);
    brings(pair[1], 60, "fg", 0);
    ok(is_empty(pair[1]), "nothing is left");
    close_pair(pair);
}

int main(void)
{
    int before = count_fds(), pair[2];
    open_files(files, 3);
    socket_pair(SOCK_STREAM, pair);
    glued(pair);
    next_to_each_other(pair);
    small_buffers(pair);
    peek_before(pair);
    surplus(pair);
    one_byte_each(pair);
    close_pair(pair);
    boundaries(&socket_types[1]);
    boundaries(&socket_types[2]);
    close_fds(files, 3);
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}
