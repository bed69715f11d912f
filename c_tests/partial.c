/* RECVFD_PARTIAL: where a receive would fail because descriptors are too many, missing or
 * refused, it succeeds with those that came, each in its place, and sets MSG_CTRUNC.
 * Tested with real messages on each type of socket, and with simulated ones for Linux 7.3
 * and security modules. */
#include "simulation.h"

#include <stdint.h>
#include <stdio.h>

#define LENGTH(array) (sizeof(array) / sizeof(array)[0])
#define ROOM 4
#define TEN "0123456789"

/* The result of a receive. */
struct result {
    int fds[ROOM + 1], nfds, pidfd;
    ssize_t bytes;
    bool truncated;
};

/* Both functions that have the flag; room for descriptors, and for a pidfd or not. */
static struct result by_msghdr(int socket, int room, bool pidfd, int flags)
{
    struct result result = {.fds = {-7, -7, -7, -7, -7}, .nfds = room, .pidfd = -1};
    char data[16];
    _Alignas(struct cmsghdr) unsigned char control[CMSG_SPACE(sizeof(int))];
    struct iovec iov = {.iov_base = data, .iov_len = sizeof data};
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = pidfd ? control : NULL,
        .msg_controllen = pidfd ? sizeof control : 0,
    };
    result.bytes = recvfds_msghdr(socket, result.fds, &result.nfds, &message, flags);
    int error = errno;
    if (kernel.receive_flags & RECVFD_PARTIAL)
        ok(false, "the kernel is passed a flag that it does not know");
    struct cmsghdr *header = find_control(&message, SOL_SOCKET, PIDFD);
    if (result.bytes >= 0 && header)
        memcpy(&result.pidfd, CMSG_DATA(header), sizeof result.pidfd);
    result.truncated = message.msg_flags & MSG_CTRUNC;
    errno = error;
    return result;
}

static struct result by_cmsg(int socket, int room, bool pidfd, int flags)
{
    struct result result = {.fds = {-7, -7, -7, -7, -7}, .nfds = room, .pidfd = -1};
    char data[16];
    _Alignas(struct cmsghdr) unsigned char control[RECVFDS_CMSG_SPACE(ROOM + 1)];
    struct iovec iov = {.iov_base = data, .iov_len = sizeof data};
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control,
        .msg_controllen = sizeof control,
    };
    result.bytes =
        recvmsg(socket, &message, (flags & ~RECVFD_PARTIAL) | MSG_CMSG_CLOEXEC);
    if (result.bytes < 0)
        return result;
    int calls = calls_made() - kernel.closes;
    /* The socket is not asked, and so need not even be one. */
    if (recvfds_cmsg(flags & RECVFD_PARTIAL ? -1 : socket, result.fds, &result.nfds,
                     &message, flags & RECVFD_PARTIAL) < 0)
        result.bytes = -1;
    int error = errno;
    if (flags & RECVFD_PARTIAL)
        is(calls_made() - kernel.closes, calls, "there is no system call but close");
    struct cmsghdr *header = find_control(&message, SOL_SOCKET, PIDFD);
    if (header)
        memcpy(&result.pidfd, CMSG_DATA(header), sizeof result.pidfd);
    if (header && !pidfd && result.pidfd >= 0)
        close(result.pidfd);
    result.truncated = message.msg_flags & MSG_CTRUNC;
    errno = error;
    return result;
}

static struct result (*receive)(int socket, int room, bool pidfd, int flags);

/* --- real messages --------------------------------------------------------- */

/* sent descriptors to somebody with room for some, whose table has room for others. */
static void too_many(const struct socket_type *type, int sent, int room, int table)
{
    int pair[2], files[ROOM + 1];
    int given = sent < room ? sent : room;
    bool full = table < given;
    socket_pair(type->type, pair);
    open_files(files, sent);
    int before = count_fds();
    need(raw_send(pair[0], TEN, 10, files, sent) == 10);
    leave_room_for(table);
    struct result result = receive(pair[1], room, false, RECVFD_PARTIAL);
    restore_limit();
    /* Descriptors that the table had no room for are not counted. */
    given = full ? table : given;
    is(result.bytes, 10, "%s: %d sent, room for %d, and %d can be opened", type->name,
       sent, room, table);
    is(result.nfds, given, "%s: those that there is room for", type->name);
    ok(same_files(result.fds, files, given), "%s: come, in their places", type->name);
    ok(result.fds[given] == -7, "%s: no place behind them is written", type->name);
    is(result.truncated, given < sent, "%s: MSG_CTRUNC", type->name);
    close_fds(result.fds, given);
    is(count_fds(), before, "%s: the others are closed", type->name);
    ok(is_empty(pair[1]), "%s: the message is consumed", type->name);
    ok(passes_a_file(pair), "%s: the next one comes", type->name);
    close_fds(files, sent);
    close_pair(pair);
}

/* Where there is no error to replace, the flag changes nothing. */
static void other_ends(const struct socket_type *type)
{
    int pair[2], file = open_file();
    socket_pair(type->type, pair);
    need(raw_send(pair[0], TEN, 10, NULL, 0) == 10);
    struct result result = receive(pair[1], ROOM, false, RECVFD_PARTIAL);
    ok(result.bytes == 10 && result.nfds == 0 && !result.truncated,
       "%s: a message without descriptors", type->name);
    errno = 0;
    result = receive(pair[1], ROOM, false, RECVFD_PARTIAL | MSG_DONTWAIT);
    ok(result.bytes == -1 && errno == EAGAIN && result.nfds == ROOM, "%s: EAGAIN",
       type->name);
    need(raw_send(pair[0], TEN, 10, (int[]){file, file}, 2) == 10);
    int before = count_fds();
    result = receive(pair[1], 1, false, RECVFD_PARTIAL | MSG_PEEK);
    ok(result.bytes == 10 && result.nfds == 1 && result.truncated, "%s: a peek",
       type->name);
    close(result.fds[0]);
    is(count_fds(), before, "%s: closes the other", type->name);
    result = receive(pair[1], 2, false, RECVFD_PARTIAL);
    ok(result.bytes == 10 && result.nfds == 2 && !result.truncated,
       "%s: then all of it comes", type->name);
    close_fds(result.fds, 2);
    close(pair[0]);
    if (type->type != SOCK_DGRAM && receive == by_msghdr)
        is(receive(pair[1], ROOM, false, RECVFD_PARTIAL).bytes, RECVFD_EOF,
           "%s: the end of file", type->name);
    close(pair[1]);
    close(file);
}

/* Descriptors without data are no end of file, also if none of them has a place. */
static void without_data(const struct socket_type *type)
{
    int pair[2], files[2];
    if (type->type == SOCK_STREAM)
        return;
    socket_pair(type->type, pair);
    open_files(files, 2);
    for (int room = 0; room < 2; room++) {
        need(raw_send(pair[0], "", 0, files, 2) == 0);
        int before = count_fds();
        struct result result = receive(pair[1], room, false, RECVFD_PARTIAL);
        ok(result.bytes == 0 && result.nfds == room && result.truncated,
           "%s: two descriptors without data, room for %d", type->name, room);
        close_fds(result.fds, room);
        is(count_fds(), before, "%s: the others are closed", type->name);
    }
    close_fds(files, 2);
    close_pair(pair);
}

/* --- simulated ones ---------------------------------------------------------- */

static struct scene scene;

/* Takes the simulated message, with room for so many. */
static struct result take(int room, bool pidfd)
{
    return receive(scene.pair[1], room, pidfd, RECVFD_PARTIAL);
}

/* Refused slots (SO_RIGHTS_NOTRUNC) are -1, and count: r is refused, f a file. */
static void refused(const char *slots, int room)
{
    int sent = (int)strlen(slots), numbers[8], nfiles = 0, expected[8], given, right = 0;
    for (int i = 0; i < sent; i++)
        nfiles += slots[i] == 'f';
    set_scene(&scene, nfiles);
    for (int i = 0, file = 0; i < sent; i++)
        numbers[i] = slots[i] == 'f'   ? scene.files[file++]
                     : slots[i] == '1' ? -1
                                       : -EPERM;
    deliver(SCM_RIGHTS, numbers, sent);
    struct result result = take(room, false);
    given = sent < room ? sent : room;
    for (int i = 0; i < given; i++) {
        expected[i] = numbers[i] < 0 ? -1 : numbers[i];
        right += result.fds[i] == expected[i];
    }
    is(result.bytes, 1, "slots %s, room for %d", slots, room);
    is(result.nfds, given, "those that there is room for, refused ones too");
    ok(right == given && result.fds[given] == -7, "each in its place, refused ones -1");
    ok(result.truncated, "MSG_CTRUNC");
    is(kernel.negative_closes, 0, "no errno is closed");
    for (int i = 0; i < given; i++)
        if (numbers[i] >= 0)
            close(numbers[i]);
    end_scene(&scene, slots);
}

/* MSG_CTRUNC: nobody knows how many there were, and none is looked for. */
static void fewer_came(int nfds)
{
    set_scene(&scene, nfds);
    if (nfds)
        deliver(SCM_RIGHTS, scene.files, nfds);
    kernel.interferes = true;
    kernel.flags = MSG_CTRUNC;
    struct result result = take(ROOM, false);
    ok(result.bytes == 1 && result.nfds == nfds && result.truncated,
       "%d came, and MSG_CTRUNC", nfds);
    ok(memcmp(result.fds, scene.files, sizeof(int) * (size_t)nfds) == 0,
       "they are handed over");
    is(kernel.closes, 0, "and none is closed");
    close_fds(scene.files, nfds);
    end_scene(&scene, "fewer came");

    /* Without data it is no end of file: something was sent. */
    set_scene(&scene, nfds);
    need(recv(scene.pair[1], (char[1]){0}, 1, 0) == 1);
    need(send(scene.pair[0], "", 0, 0) == 0);
    if (nfds)
        deliver(SCM_RIGHTS, scene.files, nfds);
    kernel.interferes = true;
    kernel.flags = MSG_CTRUNC;
    result = take(ROOM, false);
    ok(result.bytes == 0 && result.nfds == nfds && result.truncated,
       "%d came without data, and MSG_CTRUNC", nfds);
    close_fds(scene.files, nfds);
    end_scene(&scene, "fewer came without data");
}

static void several_messages(void)
{
    set_scene(&scene, 4);
    deliver(SCM_RIGHTS, (int[]){scene.files[0], -EACCES}, 2);
    deliver(SCM_RIGHTS, (int[]){scene.files[1], scene.files[2], scene.files[3]}, 3);
    struct result result = take(3, false);
    ok(result.bytes == 1 && result.nfds == 3 && result.truncated,
       "two messages of descriptors, more than there is room for");
    ok(result.fds[0] == scene.files[0] && result.fds[1] == -1 &&
           result.fds[2] == scene.files[1],
       "in their order");
    is(kernel.closes, 2, "what has no room is closed");
    close_fds(scene.files, 2);
    end_scene(&scene, "two messages of descriptors");
}

/* A pidfd is no descriptor that was sent, here as elsewhere. */
static void pidfds(void)
{
    set_scene(&scene, 3);
    deliver(SCM_RIGHTS, (int[]){scene.files[0], -EPERM, scene.files[1]}, 3);
    deliver(PIDFD, scene.files + 2, 1);
    struct result result = take(2, true);
    ok(result.bytes == 1 && result.nfds == 2 && result.truncated,
       "a pidfd after too many");
    is(result.pidfd, scene.files[2], "it is the caller's");
    is(kernel.closes, 1, "the surplus is closed");
    close(scene.files[0]);
    close(scene.files[2]);
    end_scene(&scene, "a pidfd after too many");

    set_scene(&scene, 1);
    deliver(SCM_RIGHTS, scene.files, 1);
    deliver(PIDFD, (int[]){-EMFILE}, 1);
    result = take(ROOM, true);
    ok(result.bytes == 1 && result.nfds == 1 && !result.truncated,
       "no pidfd could be made: that is nobody's failure");
    is(result.pidfd, -EMFILE, "the caller gets the errno");
    close(scene.files[0]);
    end_scene(&scene, "no pidfd");
}

static void with_function(const char *name,
                          struct result (*function)(int, int, bool, int))
{
    static const char *const slots[] = {"r", "1", "rf", "fr", "frf", "f1f", "rrr", "ffr"};
    tap_note("%s", name);
    receive = function;
    reset_kernel();
    for (int i = 0; i < SOCKET_TYPES; i++) {
        const struct socket_type *type = &socket_types[i];
        for (int sent = 1; sent <= 3; sent++)
            for (int room = 0; room <= 3; room++)
                for (int table = 0; table <= 3; table++)
                    if (table >= sent || room >= sent)
                        too_many(type, sent, room, table);
        other_ends(type);
        without_data(type);
    }
    for (size_t i = 0; i < LENGTH(slots); i++)
        for (int room = 0; room <= 3; room++)
            refused(slots[i], room);
    for (int nfds = 0; nfds <= 2; nfds++)
        fewer_came(nfds);
    several_messages();
    pidfds();
}

/* Who does not take the flag. */
static void refused_flags(void)
{
    int pair[2], fd = 0, nfds = 1;
    char data[4];
    _Alignas(struct cmsghdr) char control[RECVFDS_CMSG_SPACE(1)];
    struct msghdr message = {.msg_control = control};
    socket_pair(SOCK_STREAM, pair);
    fails(sendfds_msg(pair[0], &fd, 1, "abc", 3, RECVFD_PARTIAL), EINVAL, "sendfds_msg");
    fails(recvfds_msg(pair[1], &fd, &nfds, data, sizeof data, RECVFD_PARTIAL), EINVAL,
          "recvfds_msg");
    fails(sendfds_msghdr(pair[0], &fd, 1, &message, RECVFD_PARTIAL), EINVAL,
          "sendfds_msghdr");
    static const int others[] = {MSG_DONTWAIT, MSG_PEEK, MSG_CMSG_CLOEXEC, MSG_TRUNC, 1};
    for (size_t i = 0; i < LENGTH(others); i++) {
        fails(recvfds_cmsg(pair[1], &fd, &nfds, &message, others[i]), EINVAL,
              "recvfds_cmsg: flags %#x", (unsigned)others[i]);
        fails(recvfds_cmsg(pair[1], &fd, &nfds, &message, others[i] | RECVFD_PARTIAL),
              EINVAL, "and with RECVFD_PARTIAL");
    }
    is(nfds, 1, "*nfds is as it was");
    close_pair(pair);
}

int main(void)
{
    int before = count_fds();
    with_function("recvfds_msghdr", by_msghdr);
    with_function("recvfds_cmsg", by_cmsg);
    refused_flags();
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}
