/* More descriptors than the caller asked for, whatever a peer sends: EMSGSIZE,
 * every one of them closed, the message consumed, nothing written. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <unistd.h>

/* The receive that is tested: recvfd for room 1 and by_recvfd, else recvfds. */
struct receiver {
    bool by_recvfd;
    int max_fds;
};

static int receive(const struct receiver *receiver, int socket, int *fds)
{
    return receiver->by_recvfd ? recvfd(socket) : recvfds(socket, fds, receiver->max_fds);
}

/* Receives one message with nfds descriptors. Returns NULL if all is right, or else what
 * is wrong. */
static const char *wrong_with(const struct receiver *receiver, const int pair[2],
                              const int *files, int nfds, int before)
{
    int fds[SENDFD_MAX_FDS];
    for (int i = 0; i < SENDFD_MAX_FDS; i++)
        fds[i] = -7;
    need(raw_send(pair[0], "a", 1, files, nfds) == 1);
    errno = 0;
    int returned = receive(receiver, pair[1], fds);
    if (returned != -1 || errno != EMSGSIZE)
        return "not -1 and EMSGSIZE";
    if (count_fds() != before)
        return "not all are closed";
    for (int i = 0; i < SENDFD_MAX_FDS; i++)
        if (fds[i] != -7)
            return "the array is written";
    if (!is_empty(pair[1]))
        return "the message is not consumed";
    if (!passes_a_file(pair))
        return "the next message does not come";
    return NULL;
}

/* Every number of descriptors that is too many: some fit into the control
 * buffer because it has room for more, and some the kernel cuts off. */
static void too_many(const struct socket_type *type, const int *files,
                     const struct receiver *receiver)
{
    int pair[2];
    const char *wrong = NULL;
    socket_pair(type->type, pair);
    int before = count_fds();
    for (int nfds = receiver->max_fds + 1; nfds <= SENDFD_MAX_FDS && !wrong; nfds++) {
        wrong = wrong_with(receiver, pair, files, nfds, before);
        if (wrong)
            tap_note("of %d descriptors: %s", nfds, wrong);
    }
    ok(!wrong, "%s: %s with room for %d is sent %d to %d", type->name,
       receiver->by_recvfd ? "recvfd" : "recvfds", receiver->max_fds,
       receiver->max_fds + 1, SENDFD_MAX_FDS);
    close_pair(pair);
}

/* The same, one step after the other, with the fewest and the most. */
static void told_in_full(const struct socket_type *type, const int *files, int nfds)
{
    int pair[2], before = count_fds(), fds[SENDFD_MAX_FDS];
    socket_pair(type->type, pair);
    need(raw_send(pair[0], "a", 1, files, nfds) == 1);
    fails(recvfd(pair[1]), EMSGSIZE, "%s: recvfd of %d", type->name, nfds);
    need(raw_send(pair[0], "a", 1, files, nfds) == 1);
    fails(recvfds(pair[1], fds, nfds - 1), EMSGSIZE, "%s: recvfds of %d with room for %d",
          type->name, nfds, nfds - 1);
    ok(is_empty(pair[1]), "%s: both messages are consumed", type->name);
    is(count_fds(), before + 2, "%s: all are closed", type->name);
    need(raw_send(pair[0], "a", 1, files, nfds) == 1);
    is(recvfds(pair[1], fds, nfds), nfds, "%s: there is room for %d in %d", type->name,
       nfds, nfds);
    close_fds(fds, nfds);
    close_pair(pair);
}

static int receive_message(int socket, int *fds, int room)
{
    char byte;
    return (int)recvfds_msg(socket, fds, &room, &byte, 1, 0);
}

/* Number 0 is a descriptor as any other, which the kernel gives where it is free. */
static void number_0_is_free(const struct socket_type *type, const int *files)
{
    int pair[2], fds[3] = {-7, -7, -7};
    socket_pair(type->type, pair);
    int kept = dup(0);
    need(kept > 0 && close(0) == 0);
    int before = count_fds();
    need(raw_send(pair[0], "a", 1, files, 2) == 1);
    fails(recvfd(pair[1]), EMSGSIZE, "%s: recvfd of 2, number 0 is free", type->name);
    is(count_fds(), before, "%s: both are closed", type->name);
    need(raw_send(pair[0], "a", 1, files, 3) == 1);
    fails(recvfds(pair[1], fds, 2), EMSGSIZE, "%s: recvfds of 3", type->name);
    is(count_fds(), before, "%s: all are closed", type->name);
    need(raw_send(pair[0], "a", 1, files, 3) == 1);
    fails(recvfds_all(pair[1], fds, 2), EMSGSIZE, "%s: recvfds_all of 3", type->name);
    is(count_fds(), before, "%s: all are closed", type->name);
    need(raw_send(pair[0], "a", 1, files, 1) == 1);
    fails(receive_message(pair[1], fds, 0), EMSGSIZE, "%s: recvfds_msg of 1 too many",
          type->name);
    is(count_fds(), before, "%s: it is closed", type->name);
    ok(fds[0] == -7 && fds[1] == -7 && fds[2] == -7, "%s: the array is not written",
       type->name);

    need(raw_send(pair[0], "a", 1, files, 1) == 1);
    is(recvfd(pair[1]), 0, "%s: recvfd of 1 returns 0", type->name);
    ok(same_file(0, files[0]), "%s: it is what was sent", type->name);
    close(0);
    need(raw_send(pair[0], "a", 1, files, 2) == 1);
    is(recvfds(pair[1], fds, 3), 2, "%s: recvfds of 2", type->name);
    ok(fds[0] == 0 && same_files(fds, files, 2), "%s: the first is number 0", type->name);
    close_fds(fds, 2);
    need(dup2(kept, 0) == 0 && close(kept) == 0);
    close_pair(pair);
}

int main(void)
{
    static const struct receiver receivers[] = {
        {true, 1},    {false, 1},   {false, 2},   {false, 3},
        {false, 125}, {false, 200}, {false, 252},
    };
    int before = count_fds(), files[SENDFD_MAX_FDS];
    open_files(files, SENDFD_MAX_FDS);
    for (int i = 0; i < SOCKET_TYPES; i++) {
        told_in_full(&socket_types[i], files, 2);
        told_in_full(&socket_types[i], files, SENDFD_MAX_FDS);
        number_0_is_free(&socket_types[i], files);
        for (size_t j = 0; j < sizeof receivers / sizeof receivers[0]; j++)
            too_many(&socket_types[i], files, &receivers[j]);
    }
    close_fds(files, SENDFD_MAX_FDS);
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}
