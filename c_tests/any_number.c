/* sendfds_all and recvfds_all pass any number of descriptors, as messages of 253
 * and a last one with the rest: each with a byte that is the number, and all
 * in order, within a process and between two. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST 20000
#define FILES 97 /* shares no factor with 253: a message in the wrong place is seen */

static const int counts[] = {1, 2, 252, 253, 254, 506, 507, 1000, MOST};

#define COUNTS (sizeof counts / sizeof counts[0])

/* The same few files again and again: a sender needs no descriptor for each. */
static int files[FILES], to_send[MOST], received[MOST + 1];
static ino_t inodes[FILES];

static ino_t inode_of(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 ? status.st_ino : 0;
}

static void open_the_files(void)
{
    open_files(files, FILES);
    for (int i = 0; i < FILES; i++)
        inodes[i] = inode_of(files[i]);
    for (int i = 0; i < MOST; i++)
        to_send[i] = files[i % FILES];
}

/* Whether these are the descriptors that were sent, beginning with number first. */
static bool are_right(const int *fds, int nfds, int first)
{
    for (int i = 0; i < nfds; i++)
        if (inode_of(fds[i]) != inodes[(first + i) % FILES] || !is_close_on_exec(fds[i]))
            return false;
    return true;
}

static void is_received(const char *name, int nfds, int returned, int before)
{
    is(returned, nfds, "%s: recvfds_all of %d", name, nfds);
    ok(are_right(received, returned, 0), "%s: the right files in the right order", name);
    is(count_fds(), before + nfds, "%s: so many are open", name);
    is(received[nfds], -7, "%s: no place beyond them is written", name);
    close_fds(received, returned);
}

static void in_one_process(const struct socket_type *type, int nfds)
{
    int pair[2];
    socket_pair(type->type, pair);
    int before = count_fds();
    received[nfds] = -7;
    errno = 0;
    is(sendfds_all(pair[0], to_send, nfds), nfds, "%s: sendfds_all of %d", type->name,
       nfds);
    is_received(type->name, nfds, recvfds_all(pair[1], received, nfds), before);
    ok(errno == 0, "%s: errno is as it was", type->name);
    ok(is_empty(pair[1]), "%s: nothing is left in the queue", type->name);
    close_pair(pair);
}

/* A sender in another process, and a pair with a short queue: each waits for the
 * other, and few are in flight at a time, which counts for all tests of this user. */
struct sender {
    int pair[2], nfds;
};

static int send_all(void *argument)
{
    const struct sender *sender = argument;
    close(sender->pair[1]);
    return sendfds_all(sender->pair[0], to_send, sender->nfds) == sender->nfds ? 0 : 1;
}

static pid_t start_sender(const struct socket_type *type, struct sender *sender)
{
    socket_pair(type->type, sender->pair);
    need(set_option(sender->pair[0], SO_SNDBUF, 4096));
    return run_in_child(send_all, sender);
}

static void between_two_processes(const struct socket_type *type, int nfds)
{
    struct sender sender = {.nfds = nfds};
    pid_t child = start_sender(type, &sender);
    close(sender.pair[0]);
    int before = count_fds();
    received[nfds] = -7;
    tap_note("%s: %d from another process", type->name, nfds);
    is_received(type->name, nfds, recvfds_all(sender.pair[1], received, nfds), before);
    is(wait_for_child(child), 0, "%s: it has sent all", type->name);
    if (type->type == SOCK_DGRAM)
        ok(is_empty(sender.pair[1]), "%s: and no more", type->name);
    else
        is(recvfds_all(sender.pair[1], received, 1), RECVFD_EOF, "%s: and no more",
           type->name);
    close(sender.pair[1]);
}

/* Each message is one of sendfds: a byte with the number of its descriptors. */
static void on_the_wire(const struct socket_type *type, int nfds)
{
    struct sender sender = {.nfds = nfds};
    struct raw_message message;
    int came = 0, messages = 0, wrong_sizes = 0, wrong_bytes = 0;
    bool right = true;
    pid_t child = start_sender(type, &sender);
    while (came < nfds &&
           raw_receive(sender.pair[1], sizeof message.data, 0, &message) > 0) {
        int rest = nfds - came;
        messages++;
        wrong_sizes += message.nfds != (rest < SENDFD_MAX_FDS ? rest : SENDFD_MAX_FDS);
        wrong_bytes += message.bytes != 1 || message.data[0] != message.nfds;
        right = right && are_right(message.fds, message.nfds, came);
        came += message.nfds;
        close_fds(message.fds, message.nfds);
    }
    is(wait_for_child(child), 0, "%s: %d for the wire are sent", type->name, nfds);
    is(came, nfds, "%s: so many come", type->name);
    is(messages, (nfds + SENDFD_MAX_FDS - 1) / SENDFD_MAX_FDS,
       "%s: in no more messages than it takes", type->name);
    is(wrong_sizes, 0, "%s: 253 in each but the last", type->name);
    is(wrong_bytes, 0, "%s: each with one byte, their number", type->name);
    ok(right, "%s: the right files in the right order", type->name);
    ok(is_empty(sender.pair[1]), "%s: and no other message", type->name);
    close_pair(sender.pair);
}

/* Messages of any size and any byte make up the number, and what is behind them
 * stays in the queue. */
static void from_other_messages(const struct socket_type *type)
{
    static const int sizes[] = {1, 2, 3, 4, 5, SENDFD_MAX_FDS, 7};
    int pair[2], sent = 0, before;
    socket_pair(type->type, pair);
    before = count_fds();
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        need(raw_send(pair[0], "x", 1, to_send + sent, sizes[i]) == 1);
        sent += sizes[i];
    }
    need(sendfd(pair[0], to_send[sent]) == 1);
    received[sent] = -7;
    is_received(type->name, sent, recvfds_all(pair[1], received, sent), before);
    int fd = recvfd(pair[1]);
    ok(same_file(fd, to_send[sent]), "%s: the next message is still there", type->name);
    close(fd);
    close_pair(pair);
}

/* Where one receive ends another goes on. */
static void in_two_parts(const struct socket_type *type, int at_once)
{
    int part = at_once / 2 / SENDFD_MAX_FDS * SENDFD_MAX_FDS, rest = at_once - part;
    struct sender sender = {.nfds = at_once};
    pid_t child = start_sender(type, &sender);
    int before = count_fds();
    received[part] = -7;
    is_received(type->name, part, recvfds_all(sender.pair[1], received, part), before);
    is(recvfds_all(sender.pair[1], received, rest), rest,
       "%s: and recvfds_all of the other %d", type->name, rest);
    ok(are_right(received, rest, part), "%s: those that follow", type->name);
    close_fds(received, rest);
    is(wait_for_child(child), 0, "%s: all were sent at once", type->name);
    ok(is_empty(sender.pair[1]), "%s: nothing is left in the queue", type->name);
    close_pair(sender.pair);
}

/* And any receiver takes what sendfds_all sends. */
static void to_other_receivers(const struct socket_type *type)
{
    int pair[2], nfds = SENDFD_MAX_FDS;
    char data[4];
    socket_pair(type->type, pair);
    need(sendfds_all(pair[0], to_send, SENDFD_MAX_FDS * 2 + 1) == SENDFD_MAX_FDS * 2 + 1);
    is(recvfds(pair[1], received, SENDFD_MAX_FDS), SENDFD_MAX_FDS,
       "%s: recvfds receives the first message", type->name);
    is(recvfds_msg(pair[1], received + nfds, &nfds, data, 4, 0), 1,
       "%s: recvfds_msg the second", type->name);
    is(nfds, SENDFD_MAX_FDS, "%s: with so many", type->name);
    received[2 * nfds] = recvfd(pair[1]);
    ok(are_right(received, 2 * nfds + 1, 0), "%s: and recvfd the last", type->name);
    close_fds(received, 2 * nfds + 1);
    close_pair(pair);
}

int main(void)
{
    open_the_files();
    int before = count_fds();
    int at_once = can_hold(MOST + 256) - 256;
    /* Who sends and receives in turn cannot wait until too many in flight, those of
     * other processes of this user among them, have become fewer. */
    bool in_one = can_hold(10 * MOST) == 10 * MOST;
    if (at_once < counts[COUNTS - 2]) {
        tap_skip("RLIMIT_NOFILE is too low to receive %d descriptors",
                 counts[COUNTS - 2]);
        return tap_done();
    }
    if (at_once < MOST)
        tap_note("RLIMIT_NOFILE: at most %d are received at once", at_once);
    for (int i = 0; i < SOCKET_TYPES; i++) {
        const struct socket_type *type = &socket_types[i];
        for (size_t k = 0; k < COUNTS; k++) {
            if (counts[k] < MOST || in_one)
                in_one_process(type, counts[k]);
            between_two_processes(type, counts[k] < at_once ? counts[k] : at_once);
            on_the_wire(type, counts[k]);
        }
        in_two_parts(type, at_once);
        from_other_messages(type);
        to_other_receivers(type);
    }
    is(count_fds(), before, "no descriptor is left open");
    close_fds(files, FILES);
    return tap_done();
}
