/* A full table of descriptors (RLIMIT_NOFILE): the kernel delivers what fits
 * and reports success, the library EMFILE; what fitted is closed, and the
 * socket can be used afterwards. Just enough room is no error. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define PASSPIDFD 76 /* SO_PASSPIDFD, Linux 6.5 */

/* The type of socket, whether it brings a pidfd on top, five files to send. */
struct situation {
    const struct socket_type *type;
    bool with_pidfd;
    const int *files;
};

static void start(const struct situation *situation, int pair[2])
{
    socket_pair(situation->type->type, pair);
    if (situation->with_pidfd)
        need(set_option(pair[1], PASSPIDFD, 1));
}

static const char *name_of(const struct situation *situation)
{
    static char name[64];
    snprintf(name, sizeof name, "%s%s", situation->type->name,
             situation->with_pidfd ? " with SO_PASSPIDFD" : "");
    return name;
}

/* One descriptor is sent, and there is no room for it. */
static void recvfd_without_room(const struct situation *situation)
{
    int pair[2];
    start(situation, pair);
    int before = count_fds();
    need(raw_send(pair[0], "a", 1, situation->files, 1) == 1);
    leave_room_for(0);
    fails(recvfd(pair[1]), EMFILE, "%s: recvfd without room", name_of(situation));
    restore_limit();
    is(count_fds(), before, "%s: nothing is open", name_of(situation));
    ok(is_empty(pair[1]), "%s: the message is consumed", name_of(situation));
    ok(passes_a_file(pair), "%s: the next one comes", name_of(situation));
    close_pair(pair);
}

/* Five are sent, and there is room for fewer. */
static void recvfds_with_room_for(const struct situation *situation, int room)
{
    int pair[2], fds[5] = {-7, -7, -7, -7, -7};
    start(situation, pair);
    int before = count_fds();
    need(raw_send(pair[0], "a", 1, situation->files, 5) == 1);
    leave_room_for(room);
    fails(recvfds(pair[1], fds, 5), EMFILE, "%s: recvfds of 5 with room for %d",
          name_of(situation), room);
    int reopened = dup(0);
    restore_limit();
    is(reopened >= 0, room > 0, "%s: what came is closed at once", name_of(situation));
    if (reopened >= 0)
        close(reopened);
    is(count_fds(), before, "%s: all of it", name_of(situation));
    bool untouched = true;
    for (int i = 0; i < 5; i++)
        untouched = untouched && fds[i] == -7;
    ok(untouched, "%s: the array is not written", name_of(situation));
    ok(is_empty(pair[1]), "%s: the message is consumed", name_of(situation));
    ok(passes_a_file(pair), "%s: the next one comes", name_of(situation));
    close_pair(pair);
}

/* No room is left over, not even for a pidfd, and none is needed. */
static void just_enough_room(const struct situation *situation)
{
    int pair[2], fds[5];
    start(situation, pair);
    int before = count_fds();
    need(raw_send(pair[0], "a", 1, situation->files, 1) == 1);
    need(raw_send(pair[0], "a", 1, situation->files, 5) == 1);
    leave_room_for(1);
    int fd = recvfd(pair[1]);
    restore_limit();
    ok(same_file(situation->files[0], fd), "%s: recvfd with room for 1",
       name_of(situation));
    leave_room_for(5);
    int returned = recvfds(pair[1], fds, 5);
    restore_limit();
    is(returned, 5, "%s: recvfds of 5 with room for 5", name_of(situation));
    ok(returned == 5 && same_files(situation->files, fds, 5), "%s: the files",
       name_of(situation));
    if (fd >= 0)
        close(fd);
    close_fds(fds, returned);
    is(count_fds(), before, "%s: nothing else is open", name_of(situation));
    close_pair(pair);
}

/* A limit of 0 makes even fcntl(F_DUPFD_CLOEXEC) fail in another way. */
static void limit_of_zero(const struct situation *situation)
{
    int pair[2], fds[5];
    start(situation, pair);
    int before = count_fds();
    need(raw_send(pair[0], "a", 1, situation->files, 1) == 1);
    need(raw_send(pair[0], "a", 1, situation->files, 5) == 1);
    set_limit(0);
    fails(recvfd(pair[1]), EMFILE, "%s: recvfd, RLIMIT_NOFILE is 0", name_of(situation));
    fails(recvfds(pair[1], fds, 5), EMFILE, "%s: recvfds, RLIMIT_NOFILE is 0",
          name_of(situation));
    restore_limit();
    is(count_fds(), before, "%s: nothing is open", name_of(situation));
    ok(passes_a_file(pair), "%s: the next one comes", name_of(situation));
    close_pair(pair);
}

/* Some of a surplus came: the error says that it is a surplus. */
static void surplus_in_a_full_table(const struct situation *situation)
{
    int pair[2], fds[1];
    start(situation, pair);
    int before = count_fds();
    need(raw_send(pair[0], "a", 1, situation->files, 5) == 1);
    need(raw_send(pair[0], "a", 1, situation->files, 5) == 1);
    leave_room_for(2);
    fails(recvfd(pair[1]), EMSGSIZE, "%s: recvfd of 5 with room for 2",
          name_of(situation));
    fails(recvfds(pair[1], fds, 1), EMSGSIZE, "%s: recvfds of 5 into 1 with room for 2",
          name_of(situation));
    restore_limit();
    is(count_fds(), before, "%s: nothing is open", name_of(situation));
    close_pair(pair);
}

/* A full table is no error where no descriptor was sent. */
static void nothing_to_receive(const struct situation *situation)
{
    int pair[2], fds[5];
    start(situation, pair);
    need(send(pair[0], "a", 1, 0) == 1);
    need(send(pair[0], "a", 1, 0) == 1);
    leave_room_for(0);
    fails(recvfd(pair[1]), ENOMSG, "%s: recvfd of none without room", name_of(situation));
    fails(recvfds(pair[1], fds, 5), ENOMSG, "%s: recvfds of none without room",
          name_of(situation));
    if (situation->type->type != SOCK_DGRAM) {
        need(shutdown(pair[0], SHUT_WR) == 0);
        is(recvfd(pair[1]), -2, "%s: the end of file without room", name_of(situation));
    }
    restore_limit();
    close_pair(pair);
}

static void in_situation(const struct situation *situation)
{
    recvfd_without_room(situation);
    for (int room = 0; room < 5; room++)
        recvfds_with_room_for(situation, room);
    just_enough_room(situation);
    limit_of_zero(situation);
    surplus_in_a_full_table(situation);
    nothing_to_receive(situation);
}

int main(void)
{
    int before = count_fds(), files[5], pair[2];
    open_files(files, 5);
    socket_pair(SOCK_STREAM, pair);
    bool has_pidfd = set_option(pair[1], PASSPIDFD, 1);
    close_pair(pair);
    if (!has_pidfd)
        tap_skip("this kernel has no SO_PASSPIDFD");
    for (int i = 0; i < SOCKET_TYPES; i++) {
        in_situation(&(struct situation){&socket_types[i], false, files});
        if (has_pidfd)
            in_situation(&(struct situation){&socket_types[i], true, files});
    }
    close_fds(files, 5);
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}
