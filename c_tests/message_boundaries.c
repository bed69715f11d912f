/* Each receive takes exactly one message and exactly one byte of a stream, so
 * that any mix of functions, of the snippet and of plain data stays in step. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static int pair[2], files[SENDFD_MAX_FDS];

static bool receives(int nfds)
{
    int fds[SENDFD_MAX_FDS], received = recvfds(pair[1], fds, SENDFD_MAX_FDS);
    bool right = received == nfds && same_files(files, fds, nfds);
    if (received > 0)
        close_fds(fds, received);
    return right;
}

/* Whether a descriptor that one call returned is of a file; closes it. */
static bool is_file(int fd, int file)
{
    bool right = fd >= 0 && same_file(fd, file);
    close(fd);
    return right;
}

static bool reads(const char *text)
{
    char bytes[32] = "";
    ssize_t length = (ssize_t)strlen(text);
    return read(pair[1], bytes, (size_t)length) == length && strcmp(bytes, text) == 0;
}

static void write_text(const char *text)
{
    need(write(pair[0], text, strlen(text)) == (ssize_t)strlen(text));
}

static void different_sizes(const char *name)
{
    static const int sizes[] = {1, 3, SENDFD_MAX_FDS, 2, 17, 1, 1};
    int messages = sizeof sizes / sizeof *sizes;
    for (int i = 0; i < messages; i++)
        need(sendfds(pair[0], files, sizes[i]) == sizes[i]);
    for (int i = 0; i < messages; i++)
        ok(receives(sizes[i]), "%s: message %d, of %d descriptors, by itself", name, i,
           sizes[i]);
    ok(is_empty(pair[1]), "%s: there is no other", name);
}

static void any_sender_any_receiver(const char *name)
{
    int one[1] = {-1};
    need(sendfds(pair[0], &files[0], 1) == 1);
    need(sendfd(pair[0], files[1]) == 1);
    need(classic_sendfd(pair[0], files[2]) == 1);
    need(sendfd(pair[0], files[3]) == 1);
    need(sendfds(pair[0], &files[4], 1) == 1);
    need(sendfds(pair[0], files, 2) == 2);
    need(sendfd(pair[0], files[5]) == 1);
    need(classic_sendfd(pair[0], files[6]) == 1);

    ok(is_file(recvfd(pair[1]), files[0]), "%s: sendfds of one, recvfd", name);
    is(recvfds(pair[1], one, 1), 1, "%s: sendfd, recvfds", name);
    ok(is_file(one[0], files[1]), "%s: it is the file", name);
    ok(is_file(recvfd(pair[1]), files[2]), "%s: the snippet, recvfd", name);
    ok(is_file(classic_recvfd(pair[1]), files[3]), "%s: sendfd, the snippet", name);
    ok(is_file(classic_recvfd(pair[1]), files[4]), "%s: sendfds of one, the snippet",
       name);
    ok(receives(2), "%s: sendfds of two, recvfds", name);
    ok(is_file(recvfd(pair[1]), files[5]), "%s: sendfd, recvfd", name);
    is(recvfds(pair[1], one, 1), 1, "%s: the snippet, recvfds", name);
    ok(is_file(one[0], files[6]), "%s: it is the file", name);
    ok(is_empty(pair[1]), "%s: nothing is left", name);
}

/* Between a message that is refused and the next there is a boundary too. */
static void after_a_refused_one(const char *name)
{
    int fds[2];
    need(sendfds(pair[0], files, 3) == 3);
    need(sendfds(pair[0], files, 2) == 2);
    need(raw_send(pair[0], "x", 1, NULL, 0) == 1);
    need(sendfds(pair[0], files, 4) == 4);
    fails(recvfds(pair[1], fds, 2), EMSGSIZE, "%s: more than there is room for", name);
    ok(receives(2), "%s: the next is whole", name);
    fails(recvfd(pair[1]), ENOMSG, "%s: one without a descriptor", name);
    ok(receives(4), "%s: the next is whole", name);
    ok(is_empty(pair[1]), "%s: nothing is left", name);
}

/* The rest of a longer datagram goes with it, and does not become a message. */
static void longer_datagrams(const char *name)
{
    need(raw_send(pair[0], "abc", 3, files, 2) == 3);
    need(sendfds(pair[0], files, 1) == 1);
    ok(receives(2), "%s: a datagram of three bytes", name);
    ok(receives(1), "%s: the next receive takes the next datagram", name);
    ok(is_empty(pair[1]), "%s: nothing is left", name);
}

/* Plain data is the caller's to read: as much as it knows to be there. */
static void plain_data_of_a_stream(const char *name)
{
    write_text("header");
    need(sendfds(pair[0], files, 3) == 3);
    write_text("between");
    need(sendfd(pair[0], files[0]) == 1);
    write_text("after");
    ok(reads("header"), "%s: data before the descriptors is read", name);
    ok(receives(3), "%s: the descriptors are received", name);
    ok(reads("between"), "%s: data between two messages is all there", name);
    ok(is_file(recvfd(pair[1]), files[0]), "%s: the second message is received", name);
    ok(reads("after"), "%s: data after it is all there", name);
    ok(is_empty(pair[1]), "%s: nothing is left", name);

    need(raw_send(pair[0], "abc", 3, files, 2) == 3);
    ok(receives(2), "%s: descriptors with three bytes come with the first", name);
    ok(reads("bc"), "%s: the other two are data", name);

    write_text("ab");
    need(sendfds(pair[0], files, 2) == 2);
    fails(recvfd(pair[1]), ENOMSG, "%s: data that was not read is no descriptor", name);
    fails(recvfd(pair[1]), ENOMSG, "%s: one byte of it at a time", name);
    ok(receives(2), "%s: the descriptors after it are received", name);
    ok(is_empty(pair[1]), "%s: nothing is left", name);
}

int main(void)
{
    int before = count_fds();
    for (int i = 0; i < SOCKET_TYPES; i++) {
        const char *name = socket_types[i].name;
        socket_pair(socket_types[i].type, pair);
        open_files(files, SENDFD_MAX_FDS);
        different_sizes(name);
        any_sender_any_receiver(name);
        after_a_refused_one(name);
        if (socket_types[i].type == SOCK_STREAM)
            plain_data_of_a_stream(name);
        else
            longer_datagrams(name);
        close_fds(files, SENDFD_MAX_FDS);
        close_pair(pair);
    }
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}
