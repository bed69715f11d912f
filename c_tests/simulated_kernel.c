/* Simulates what this kernel cannot be made to do (simulation.h): system calls that fail,
 * and control messages that only other kernels deliver. It also sees the arguments of the
 * calls. */
#include "simulation.h"

#include <limits.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>

/* Each receiving function treats a message in the same way. */
static int receive_some(struct scene *scene)
{
    return recvfds(scene->pair[1], scene->returned, 5);
}

/* The queue is empty after one message, which ends it where that was not all. */
static int receive_all(struct scene *scene)
{
    return recvfds_all(scene->pair[1], scene->returned, 5);
}

/* A message without a descriptor is an error here. */
static int receive_message(struct scene *scene)
{
    int nfds = 5;
    char data[4];
    ssize_t bytes = recvfds_msg(scene->pair[1], scene->returned, &nfds, data, 4, 0);
    if (bytes < 0)
        return nfds == 5 ? -1 : -3;
    return nfds > 0 ? nfds : failure(ENOMSG);
}

/* With two buffers, and one for the other control messages, in which no pidfd fits. */
static int receive_msghdr(struct scene *scene)
{
    int nfds = 5;
    char data[2];
    unsigned char control[CMSG_LEN(0)];
    struct iovec iov[] = {{.iov_base = data, .iov_len = 1},
                          {.iov_base = data + 1, .iov_len = 1}};
    struct msghdr message = {
        .msg_iov = iov,
        .msg_iovlen = 2,
        .msg_control = control,
        .msg_controllen = sizeof control,
    };
    ssize_t bytes = recvfds_msghdr(scene->pair[1], scene->returned, &nfds, &message, 0);
    if (bytes < 0)
        return nfds == 5 && message.msg_controllen == sizeof control ? -1 : -3;
    return nfds > 0 ? nfds : failure(ENOMSG);
}

/* A caller that received the message itself. A pidfd is its own, and it trusts the kernel
 * not to report more than there was room for. */
static int receive_cmsg(struct scene *scene)
{
    int nfds = 5, pidfd = -1;
    char data[2];
    _Alignas(struct cmsghdr) char control[RECVFDS_CMSG_SPACE(5)];
    struct iovec iov = {.iov_base = data, .iov_len = sizeof data};
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control,
        .msg_controllen = sizeof control,
    };
    need(recvmsg(scene->pair[1], &message, MSG_CMSG_CLOEXEC) >= 0);
    if (message.msg_controllen > sizeof control)
        message.msg_controllen = sizeof control;
    int flags = message.msg_flags;
    if (recvfds_cmsg(scene->pair[1], scene->returned, &nfds, &message, 0) < 0) {
        int error = errno;
        if (message.msg_flags != flags)
            return -3;
        struct cmsghdr *header = find_control(&message, SOL_SOCKET, SCM_RIGHTS);
        if (header || find_control(&message, SOL_SOCKET, PIDFD) || nfds != 5)
            return -3;
        return failure(error);
    }
    struct cmsghdr *header = find_control(&message, SOL_SOCKET, PIDFD);
    if (header)
        memcpy(&pidfd, CMSG_DATA(header), sizeof pidfd);
    if (pidfd >= 0)
        close(pidfd);
    return nfds > 0 ? nfds : failure(ENOMSG);
}

static int (*receive)(struct scene *scene);

static bool are_untouched(const struct scene *scene)
{
    for (int i = 0; i < 5; i++)
        if (scene->returned[i] != -7)
            return false;
    return true;
}

/* System calls on success, and what they are passed. */
static void calls_of_a_send(int nfds)
{
    int pair[2], fds[SENDFD_MAX_FDS];
    bool one = nfds == 0;
    const char *name = one ? "sendfd" : "sendfds";
    socket_pair(SOCK_STREAM, pair);
    for (int i = 0; i < SENDFD_MAX_FDS; i++)
        fds[i] = 0;
    reset_kernel();
    is(one ? sendfd(pair[0], 0) : sendfds(pair[0], fds, nfds), one ? 1 : nfds, "%s of %d",
       name, nfds);
    ok(kernel.domain_calls == 1 && kernel.sendmsgs == 1,
       "one call that asks for the domain, one sendmsg");
    is(calls_made(), 2, "no other call");
    is(kernel.send_flags, MSG_NOSIGNAL, "flags MSG_NOSIGNAL, no other");
    is((long)kernel.send_bytes, 1, "one byte of data");
    size_t size = sizeof(int) * (one ? 1 : (size_t)nfds);
    is((long)kernel.send_cmsg_len, (long)CMSG_LEN(size), "cmsg_len of the descriptors");
    ok(kernel.send_controllen >= CMSG_LEN(size) &&
           kernel.send_controllen <= CMSG_SPACE(size),
       "and no more than that in the buffer");
    close_pair(pair);
}

static void calls_of_a_receive(int max_fds)
{
    int pair[2], fds[SENDFD_MAX_FDS], file = open_file();
    bool one = max_fds == 0;
    const char *name = one ? "recvfd" : "recvfds";
    socket_pair(SOCK_STREAM, pair);
    need(raw_send(pair[0], "a", 1, &file, 1) == 1);
    reset_kernel();
    if (one)
        fds[0] = recvfd(pair[1]);
    else
        need(recvfds(pair[1], fds, max_fds) == 1);
    is(kernel.recvmsgs, 1, "%s with room for %d: one recvmsg", name, max_fds);
    is(calls_made(), 1, "no other call");
    is(kernel.receive_flags, MSG_CMSG_CLOEXEC, "flags MSG_CMSG_CLOEXEC, no other");
    is((long)kernel.receive_bytes, 1, "one byte of data");
    int room = one ? 1 : max_fds > SENDFD_MAX_FDS ? SENDFD_MAX_FDS : max_fds;
    is((long)kernel.receive_controllen,
       (long)CMSG_SPACE(sizeof(int) * (size_t)room) + 512,
       "room for the descriptors and 512 bytes more");
    close_fds((int[]){fds[0], file}, 2);
    close_pair(pair);
}

/* Two messages: what the one before takes, twice. */
static void calls_for_any_number(void)
{
    int pair[2], nfds = 2 * SENDFD_MAX_FDS, fds[2 * SENDFD_MAX_FDS];
    socket_pair(SOCK_STREAM, pair);
    for (int i = 0; i < nfds; i++)
        fds[i] = 0;
    reset_kernel();
    is(sendfds_all(pair[0], fds, nfds), nfds, "sendfds_all of %d", nfds);
    ok(kernel.domain_calls == 1 && kernel.sendmsgs == 2,
       "one call that asks for the domain, two sendmsg");
    is(calls_made(), 3, "no other call");
    is(kernel.send_flags, MSG_NOSIGNAL, "flags MSG_NOSIGNAL, no other");
    reset_kernel();
    is(recvfds_all(pair[1], fds, nfds), nfds, "recvfds_all of %d", nfds);
    is(kernel.recvmsgs, 2, "two recvmsg");
    is(calls_made(), 2, "no other call");
    is(kernel.receive_flags, MSG_CMSG_CLOEXEC, "flags MSG_CMSG_CLOEXEC, no other");
    close_fds(fds, nfds);
    close_pair(pair);
}

static void calls_of_a_message(int nfds, int room, size_t len)
{
    static char data[4096];
    int pair[2], fds[SENDFD_MAX_FDS] = {0}, count = room;
    socket_pair(SOCK_STREAM, pair);
    reset_kernel();
    is(sendfds_msg(pair[0], fds, nfds, data, len, 0), (long)len,
       "sendfds_msg of %d and %zu bytes", nfds, len);
    ok(kernel.domain_calls == (nfds > 0) && kernel.sendmsgs == 1,
       "one call that asks for the domain if there are descriptors, one sendmsg");
    is(calls_made(), nfds > 0 ? 2 : 1, "no other call");
    is((long)kernel.send_bytes, (long)len, "so many bytes");
    is((long)kernel.send_cmsg_len, nfds ? (long)CMSG_LEN(sizeof(int) * (size_t)nfds) : 0,
       "a control message only if there are descriptors");
    is(kernel.send_controllen > 0, nfds > 0, "and a buffer");
    reset_kernel();
    is(recvfds_msg(pair[1], fds, &count, data, sizeof data, 0), (long)len,
       "recvfds_msg with room for %d", room);
    is(count, nfds, "the descriptors");
    is(kernel.recvmsgs, 1, "one recvmsg");
    is(calls_made(), 1, "no other call");
    is((long)kernel.receive_bytes, (long)sizeof data, "room for the bytes");
    int most = room > SENDFD_MAX_FDS ? SENDFD_MAX_FDS : room;
    is((long)kernel.receive_controllen,
       (long)CMSG_SPACE(sizeof(int) * (size_t)most) + 512,
       "room for the descriptors and 512 bytes more");
    close_fds(fds, count);
    close_pair(pair);
}

/* The same with several buffers, and with other control messages both ways. */
static void calls_of_a_msghdr(int nfds, int room)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(struct ucred))];
    struct ucred ids = {.pid = getpid(), .uid = getuid(), .gid = getgid()};
    int pair[2], fds[SENDFD_MAX_FDS] = {0}, count = room;
    char data[] = "abcdef";
    struct iovec iov[2] = {{.iov_base = data, .iov_len = 4},
                           {.iov_base = data + 4, .iov_len = 2}};
    struct msghdr message = {
        .msg_iov = iov,
        .msg_iovlen = 2,
        .msg_control = control,
        .msg_controllen =
            put_control(control, 0, SOL_SOCKET, SCM_CREDENTIALS, &ids, sizeof ids),
    };
    socket_pair(SOCK_STREAM, pair);
    need(set_option(pair[1], SO_PASSCRED, 1));
    reset_kernel();
    is(sendfds_msghdr(pair[0], fds, nfds, &message, MSG_DONTWAIT), 6,
       "sendfds_msghdr of %d", nfds);
    ok(kernel.domain_calls == (nfds > 0) && kernel.sendmsgs == 1,
       "one sendmsg, and one call that asks for the domain if there are descriptors");
    is(calls_made(), 1 + kernel.domain_calls, "no other call");
    is(kernel.send_flags, MSG_NOSIGNAL | MSG_DONTWAIT, "the flags, and MSG_NOSIGNAL");
    is((long)kernel.send_controllen,
       (long)(CMSG_SPACE(sizeof ids) + (nfds ? SENDFDS_CMSG_SPACE((size_t)nfds) : 0)),
       "the caller's control message, and one for the descriptors");
    reset_kernel();
    is(recvfds_msghdr(pair[1], fds, &count, &message, MSG_DONTWAIT), 6,
       "recvfds_msghdr with room for %d", room);
    is(count, nfds, "the descriptors");
    is(kernel.recvmsgs, 1, "one recvmsg");
    is(calls_made(), 1, "no other call");
    is(kernel.receive_flags, MSG_CMSG_CLOEXEC | MSG_DONTWAIT,
       "the flags, and MSG_CMSG_CLOEXEC");
    ok(find_control(&message, SOL_SOCKET, SCM_CREDENTIALS) != NULL, "the credentials");
    size_t most = room > SENDFD_MAX_FDS ? SENDFD_MAX_FDS : (size_t)room;
    ok(kernel.receive_controllen >= CMSG_SPACE(sizeof(int) * most) + 512,
       "room for the descriptors and 512 bytes more");
    close_fds(fds, count);
    close_pair(pair);
}

/* SO_SNDTIMEO: the sleeps are as long as it is, to the microsecond, whether it is given
 * in seconds, in microseconds or in both; the last one is cut to what is left. */
static void limits_of_the_wait(int socket)
{
    static const long micros[] = {1,     300,    1000,    1001,    3000,    8000,
                                  31000, 36000,  50000,   62999,   63000,   64000,
                                  95000, 999999, 1000000, 2000000, 2047000, 3007500};
    int fds[2] = {0, 1};
    for (size_t i = 0; i < sizeof micros / sizeof micros[0]; i++) {
        long first = 0, next = 1000, last;
        bool right = true;
        reset_kernel();
        kernel.send_timeout = micros[i];
        kernel.sendmsg_error = ETOOMANYREFS;
        fails(sendfds_all(socket, fds, 2), EAGAIN, "SO_SNDTIMEO of %ld us ends it",
              micros[i]);
        is(kernel.slept_in_all, micros[i], "after as much sleep");
        for (int j = 0; j < kernel.sleeps && j < 16; j++) {
            last = micros[i] - first < next ? micros[i] - first : next;
            right = right && kernel.slept[j] == last;
            first += last;
            next = next < 32000 ? 2 * next : next;
        }
        ok(right, "each as long as ever, but the last");
        is(kernel.sendmsgs, kernel.sleeps + 1, "and one more attempt than sleeps");
        is(kernel.domain_calls, 1, "the domain is asked for once");
    }
}

/* Another process that has the socket may make it non-blocking at any time. */
static void non_blocking_during_the_wait(void)
{
    int pair[2], fds[2] = {0, 1};
    socket_pair(SOCK_STREAM, pair);
    reset_kernel();
    kernel.sendmsg_error = ETOOMANYREFS;
    kernel.sleeping_socket = pair[0];
    kernel.nonblocking_from = 3;
    fails(sendfds_all(pair[0], fds, 2), ETOOMANYREFS,
          "O_NONBLOCK, set during the third sleep, ends it");
    is(kernel.sleeps, 3, "there is no fourth");
    close_pair(pair);
}

/* Too many in flight: how long sendfds_all sleeps, what ends that, and that nobody
 * else does. */
static void too_many_in_flight(void)
{
    static const long sleeps[] = {1000, 2000, 4000, 8000, 16000, 32000, 32000, 32000};
    int pair[2], fds[2] = {0, 1};
    struct iovec iov = {.iov_base = "a", .iov_len = 1};
    bool right = true;
    socket_pair(SOCK_STREAM, pair);
    reset_kernel();
    kernel.sendmsg_error = ETOOMANYREFS;
    kernel.sendmsg_errors = 8;
    is(sendfds_all(pair[0], fds, 2), 2, "sendfds_all at the ninth attempt");
    is(kernel.sendmsgs, 9, "one sendmsg each");
    is(kernel.sleeps, 8, "and a sleep between them");
    for (int i = 0; i < 8; i++)
        right = right && kernel.slept[i] == sleeps[i];
    ok(right, "1 ms, then twice as long each time, up to 32 ms");

    reset_kernel();
    kernel.sendmsg_error = ETOOMANYREFS;
    kernel.sleep_error = EINTR;
    fails(sendfds_all(pair[0], fds, 2), EINTR, "a sleep that is interrupted ends it");
    is(kernel.sendmsgs, 1, "and nothing is tried again");

    reset_kernel();
    set_timeout(pair[0], SO_SNDTIMEO, 50);
    kernel.sendmsg_error = ETOOMANYREFS;
    fails(sendfds_all(pair[0], fds, 2), EAGAIN, "SO_SNDTIMEO of 50 ms ends it");
    ok(kernel.slept_in_all >= 50000 && kernel.slept_in_all <= 60000,
       "after %ld us of sleep: the kernel has rounded it up", kernel.slept_in_all);
    set_timeout(pair[0], SO_SNDTIMEO, 0);
    limits_of_the_wait(pair[0]);
    non_blocking_during_the_wait();

    reset_kernel();
    kernel.sendmsg_error = ETOOMANYREFS;
    fails(sendfd(pair[0], 0), ETOOMANYREFS, "sendfd does not wait");
    fails(sendfds(pair[0], fds, 2), ETOOMANYREFS, "nor does sendfds");
    fails(sendfds_msg(pair[0], fds, 2, "a", 1, 0), ETOOMANYREFS, "nor sendfds_msg");
    fails(sendfds_msghdr(pair[0], fds, 2,
                         &(struct msghdr){.msg_iov = &iov, .msg_iovlen = 1}, 0),
          ETOOMANYREFS, "nor sendfds_msghdr");
    set_nonblocking(pair[0]);
    fails(sendfds_all(pair[0], fds, 2), ETOOMANYREFS,
          "nor sendfds_all on a non-blocking socket");
    is(kernel.sleeps, 0, "none sleeps");
    is(kernel.sendmsgs, 5, "or tries again");
    close_pair(pair);
}

/* Errors of system calls are passed on, and the call is not made again. */
static void errors_of_a_send(void)
{
    static const int errors[] = {
        ENOBUFS,      ENOMEM, EMSGSIZE, EPERM, EINTR,  EAGAIN,       ECONNRESET,
        ECONNREFUSED, EPIPE,  EACCES,   EBADF, EINVAL, ETOOMANYREFS, ENOTCONN,
    };
    int pair[2], fds[2] = {0, 1};
    struct iovec iov = {.iov_base = "a", .iov_len = 1};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    socket_pair(SOCK_STREAM, pair);
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        reset_kernel();
        kernel.sendmsg_error = errors[i];
        fails(sendfd(pair[0], 0), errors[i], "sendfd: %s", strerror(errors[i]));
        fails(sendfds(pair[0], fds, 2), errors[i], "sendfds: %s", strerror(errors[i]));
        fails(sendfds_msg(pair[0], fds, 2, "a", 1, 0), errors[i], "sendfds_msg: %s",
              strerror(errors[i]));
        fails(sendfds_msghdr(pair[0], fds, 2, &message, 0), errors[i],
              "sendfds_msghdr: %s", strerror(errors[i]));
        if (errors[i] == ETOOMANYREFS)
            set_nonblocking(pair[0]);
        fails(sendfds_all(pair[0], fds, 2), errors[i], "sendfds_all: %s",
              strerror(errors[i]));
        is(kernel.sendmsgs, 5, "one sendmsg each");
    }
    reset_kernel();
    kernel.getsockopt_error = ENOBUFS;
    fails(sendfd(pair[0], 0), ENOBUFS, "sendfd: getsockopt fails");
    fails(sendfds(pair[0], fds, 2), ENOBUFS, "sendfds: getsockopt fails");
    fails(sendfds_all(pair[0], fds, 2), ENOBUFS, "sendfds_all: getsockopt fails");
    fails(sendfds_msg(pair[0], fds, 2, "a", 1, 0), ENOBUFS,
          "sendfds_msg: getsockopt fails");
    fails(sendfds_msghdr(pair[0], fds, 2, &message, 0), ENOBUFS,
          "sendfds_msghdr: getsockopt fails");
    is(kernel.sendmsgs, 0, "no sendmsg then");

    /* A security module may forbid to ask for the name alone. */
    reset_kernel();
    kernel.getsockname_error = EACCES;
    is(sendfd(pair[0], 0), 1, "sendfd: only getsockname fails");
    is(sendfds_all(pair[0], fds, 2), 2, "sendfds_all: only getsockname fails");
    is(sendfds_msghdr(pair[0], fds, 2, &message, 0), 1,
       "sendfds_msghdr: only getsockname fails");
    is(kernel.sendmsgs, 3, "all are sent");
    close_pair(pair);
}

static void errors_of_a_receive(void)
{
    static const int errors[] = {
        EINTR, EAGAIN, ECONNRESET, ENOMEM, ENOBUFS, ENOTCONN, EMSGSIZE, EIO, EACCES,
    };
    int pair[2], fds[2] = {-7, -7}, nfds;
    char data[4];
    socket_pair(SOCK_STREAM, pair);
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        reset_kernel();
        nfds = 2;
        kernel.recvmsg_error = errors[i];
        fails(recvfd(pair[1]), errors[i], "recvfd: %s", strerror(errors[i]));
        fails(recvfds(pair[1], fds, 2), errors[i], "recvfds: %s", strerror(errors[i]));
        fails(recvfds_all(pair[1], fds, 2), errors[i], "recvfds_all: %s",
              strerror(errors[i]));
        fails(recvfds_msg(pair[1], fds, &nfds, data, 4, 0), errors[i], "recvfds_msg: %s",
              strerror(errors[i]));
        struct iovec iov = {.iov_base = data, .iov_len = 4};
        struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
        fails(recvfds_msghdr(pair[1], fds, &nfds, &message, 0), errors[i],
              "recvfds_msghdr: %s", strerror(errors[i]));
        is(nfds, 2, "*nfds is as it was");
        is(kernel.recvmsgs, 5, "one recvmsg each");
    }
    reset_kernel();
    need(send(pair[0], "a", 1, 0) == 1);
    kernel.getsockopt_error = ENOBUFS;
    fails(recvfd(pair[1]), ENOBUFS, "recvfd of no descriptor: getsockopt fails");
    ok(fds[0] == -7 && fds[1] == -7, "no descriptor is written");
    close_pair(pair);
}

/* MSG_CTRUNC with fewer descriptors than were sent: why depends on whether there
 * is room for one more, to be tried before what came is closed. */
static void fewer_came(int nfds, int dup_error, int expected)
{
    struct scene scene;
    char name[64];
    snprintf(name, sizeof name, "%d came, dup: %s", nfds,
             dup_error ? strerror(dup_error) : "works");
    set_scene(&scene, nfds);
    if (nfds > 0)
        deliver(SCM_RIGHTS, scene.files, nfds);
    kernel.interferes = true;
    kernel.flags = MSG_CTRUNC;
    kernel.dup_error = dup_error;
    fails(receive(&scene), expected, "%s: %s", name, strerror(expected));
    is(kernel.fcntls, 1, "%s: one dup is tried", name);
    is(kernel.dup_command, F_DUPFD_CLOEXEC, "%s: close-on-exec", name);
    is(kernel.closes_before_dup, 0, "%s: before anything is closed", name);
    is(kernel.closes, nfds + (dup_error == 0), "%s: all are closed, the copy too", name);
    ok(are_untouched(&scene), "%s: no descriptor is written", name);
    end_scene(&scene, name);

    set_scene(&scene, nfds > 0);
    if (nfds > 0)
        deliver(SCM_RIGHTS, scene.files, 1);
    kernel.interferes = true;
    kernel.flags = MSG_CTRUNC;
    kernel.dup_error = dup_error;
    fails(recvfd(scene.pair[1]), expected, "%s: recvfd too", name);
    end_scene(&scene, name);
}

/* On a socket of another domain no descriptor can be missing. */
static void truncated_on_another_domain(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), fds[2] = {-7, -7}, nfds = 2;
    char data[8];
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (!has_loopback()) {
        tap_skip("MSG_CTRUNC on a UDP socket: there is no loopback interface");
        close(udp);
        return;
    }
    need(udp >= 0 && bind(udp, (const void *)&address, length) == 0);
    need(getsockname(udp, (void *)&address, &length) == 0);
    need(connect(udp, (const void *)&address, length) == 0);
    need(send(udp, "hello", 5, 0) == 5 && send(udp, "hello", 5, 0) == 5);
    reset_kernel();
    kernel.interferes = true;
    kernel.flags = MSG_CTRUNC;
    is(recvfds_msg(udp, fds, &nfds, data, sizeof data, 0), 5,
       "MSG_CTRUNC on a UDP socket: the bytes");
    is(nfds, 0, "and no descriptor");
    is(kernel.fcntls, 0, "no dup is tried");
    fails(recvfd(udp), EAFNOSUPPORT, "recvfd: what is wrong is the socket");
    is(kernel.fcntls, 0, "no dup is tried");
    ok(fds[0] == -7 && fds[1] == -7, "no descriptor is written");
    close(udp);
}

/* A pidfd that was made before the kernel ran out of what it needs. */
static void fewer_came_and_a_pidfd(void)
{
    struct scene scene;
    set_scene(&scene, 3);
    deliver(SCM_RIGHTS, scene.files, 2);
    deliver(PIDFD, scene.files + 2, 1);
    kernel.flags = MSG_CTRUNC;
    fails(receive(&scene), EACCES, "a pidfd after fewer descriptors");
    end_scene(&scene, "a pidfd after fewer descriptors");
}

/* A control buffer that is full to its last byte. Only a message that ends there and that
 * the kernel has cut is left out: not one that is whole, nor one that comes before the
 * descriptors. */
static void full_control_buffer(bool cut)
{
    struct scene scene;
    int none[125] = {0}, nfds = 2, flags = cut ? RECVFD_PARTIAL : 0;
    int nslots = (int)((512 - CMSG_LEN(0)) / sizeof(int));
    char data;
    _Alignas(struct cmsghdr) char control[512];
    struct iovec iov = {.iov_base = &data, .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control,
        .msg_controllen = sizeof control,
    };
    const char *name = cut ? "descriptors cut at the end" : "full, not cut";
    set_scene(&scene, 2);
    if (cut)
        deliver(SCM_CREDENTIALS, none, nslots);
    deliver(SCM_RIGHTS, scene.files, 2);
    if (!cut)
        deliver(SCM_CREDENTIALS, none, nslots);
    kernel.flags = cut ? MSG_CTRUNC : 0;
    is(recvfds_msghdr(scene.pair[1], scene.returned, &nfds, &message, flags), 1,
       "%s: the byte", name);
    is((long)message.msg_controllen, 512, "%s: the whole other message", name);
    is(message.msg_flags & MSG_CTRUNC, kernel.flags, "%s: MSG_CTRUNC", name);
    is(nfds, 2, "%s: both descriptors", name);
    for (int i = 0; i < nfds; i++)
        close(scene.returned[i]);
    end_scene(&scene, name);
}

/* Which of several errors is reported: too many, then a refused slot, then fewer. */
static void order_of_errors(void)
{
    struct scene scene;
    set_scene(&scene, 2);
    deliver(SCM_RIGHTS, scene.files, 2);
    kernel.flags = MSG_CTRUNC;
    kernel.dup_error = EMFILE;
    fails(recvfd(scene.pair[1]), EMSGSIZE, "too many and MSG_CTRUNC: EMSGSIZE");
    end_scene(&scene, "too many and MSG_CTRUNC");

    set_scene(&scene, 1);
    deliver(SCM_RIGHTS, (int[]){scene.files[0], -ENFILE}, 2);
    fails(recvfd(scene.pair[1]), EMSGSIZE, "too many and a refused slot: EMSGSIZE");
    end_scene(&scene, "too many and a refused slot");

    set_scene(&scene, 1);
    deliver(SCM_RIGHTS, (int[]){-ENFILE, scene.files[0], -1, -1, -1, -1}, 6);
    fails(receive(&scene), EMSGSIZE, "six slots with room for five: EMSGSIZE");
    end_scene(&scene, "six slots with room for five");

    set_scene(&scene, 1);
    deliver(SCM_RIGHTS, (int[]){scene.files[0], -ENFILE}, 2);
    kernel.flags = MSG_CTRUNC;
    fails(receive(&scene), ENFILE, "a refused slot and MSG_CTRUNC: the slot's errno");
    is(kernel.fcntls, 0, "and no dup is tried");
    end_scene(&scene, "a refused slot and MSG_CTRUNC");
}

/* SO_RIGHTS_NOTRUNC (Linux 7.3): a slot is the errno of a refused descriptor. */
static void refused_slots(void)
{
    struct scene scene;
    set_scene(&scene, 2);
    deliver(SCM_RIGHTS, (int[]){scene.files[0], -EPERM, scene.files[1], -EACCES}, 4);
    fails(receive(&scene), EPERM, "the errno of the first refused slot");
    ok(are_untouched(&scene), "no descriptor is written");
    is(kernel.closes, 2, "the others are closed");
    is(kernel.negative_closes, 0, "and no errno is");
    end_scene(&scene, "refused slots amid others");

    for (int at = 0; at < 3; at++) {
        int slots[3] = {3, 4, 5};
        set_scene(&scene, 2);
        memcpy(slots, scene.files, 2 * sizeof(int));
        slots[2] = slots[at];
        slots[at] = -1;
        deliver(SCM_RIGHTS, slots, 3);
        fails(receive(&scene), 1, "a slot of -1 in place %d is errno 1", at);
        is(kernel.closes, 2, "the two others are closed");
        end_scene(&scene, "a slot of -1");
    }

    set_scene(&scene, 0);
    deliver(SCM_RIGHTS, (int[]){-1}, 1);
    fails(recvfd(scene.pair[1]), 1, "recvfd of a slot of -1");
    is(kernel.closes, 0, "there is nothing to close");
    end_scene(&scene, "recvfd of a slot of -1");

    set_scene(&scene, 0);
    deliver(SCM_RIGHTS, (int[]){-EMFILE}, 1);
    fails(recvfd(scene.pair[1]), EMFILE, "recvfd of a refused slot");
    is(kernel.closes, 0, "there is nothing to close");
    end_scene(&scene, "one refused slot");
}

/* Pidfds: closed wherever they stand, unless they are an errno. */
static void pidfds(void)
{
    struct scene scene;
    set_scene(&scene, 1);
    deliver(SCM_RIGHTS, scene.files, 1);
    deliver(PIDFD, (int[]){-EMFILE}, 1);
    is(recvfd(scene.pair[1]), scene.files[0], "a descriptor and no pidfd");
    is(kernel.closes, 0, "an errno in its place is not closed");
    close(scene.files[0]);
    end_scene(&scene, "a descriptor and no pidfd");

    set_scene(&scene, 3);
    deliver(PIDFD, scene.files, 1);
    deliver(SCM_RIGHTS, scene.files + 1, 2);
    is(receive(&scene), 2, "a pidfd before two descriptors");
    ok(scene.returned[0] == scene.files[1] && scene.returned[1] == scene.files[2],
       "which are handed over");
    is(kernel.closes, 1, "and it is closed");
    close_fds(scene.files + 1, 2);
    end_scene(&scene, "a pidfd before two descriptors");

    set_scene(&scene, 1);
    deliver(PIDFD, scene.files, 1);
    fails(recvfd(scene.pair[1]), ENOMSG, "a pidfd and no descriptor");
    end_scene(&scene, "a pidfd and no descriptor");

    for (int before = 0; before < 2; before++) {
        set_scene(&scene, 2);
        if (before)
            deliver(PIDFD, (int[]){-EMFILE}, 1);
        deliver(SCM_RIGHTS, (int[]){scene.files[0], -EPERM, scene.files[1]}, 3);
        if (!before)
            deliver(PIDFD, (int[]){-EMFILE}, 1);
        fails(receive(&scene), EPERM, "no pidfd %s a refused slot: that one's errno",
              before ? "before" : "after");
        is(kernel.closes, 2, "what came is closed");
        end_scene(&scene, "no pidfd after a refused slot");

        set_scene(&scene, 1);
        if (before)
            deliver(PIDFD, (int[]){-EMFILE}, 1);
        deliver(SCM_RIGHTS, scene.files, 1);
        if (!before)
            deliver(PIDFD, (int[]){-EMFILE}, 1);
        is(receive(&scene), 1, "no pidfd %s a descriptor", before ? "before" : "after");
        is(scene.returned[0], scene.files[0], "which is handed over");
        is(kernel.closes, 0, "and nothing is closed");
        close(scene.files[0]);
        end_scene(&scene, "no pidfd after a descriptor");
    }

    set_scene(&scene, 0);
    deliver(PIDFD, (int[]){-EMFILE}, 1);
    fails(recvfd(scene.pair[1]), ENOMSG, "no pidfd and no descriptor");
    end_scene(&scene, "no pidfd and no descriptor");
}

/* Number 0 is a descriptor as any other. */
static void number_0(void)
{
    struct scene scene;
    int kept = dup(0);
    need(kept > 0);
    set_scene(&scene, 1);
    need(dup2(scene.files[0], 0) == 0 && close(scene.files[0]) == 0);
    deliver(PIDFD, (int[]){0}, 1);
    fails(receive(&scene), ENOMSG, "a pidfd that is number 0 and no descriptor");
    scene.before--;
    end_scene(&scene, "a pidfd that is number 0");
    need(dup2(kept, 0) == 0);

    set_scene(&scene, 1);
    need(dup2(scene.files[0], 0) == 0 && close(scene.files[0]) == 0);
    deliver(PIDFD, (int[]){-EMFILE}, 1);
    deliver(SCM_RIGHTS, (int[]){0}, 1);
    is(receive(&scene), 1, "a descriptor that is number 0, after another message");
    is(scene.returned[0], 0, "is handed over, not taken for a refused one");
    end_scene(&scene, "a descriptor that is number 0");
    need(dup2(kept, 0) == 0);

    set_scene(&scene, 1);
    close(0);
    kernel.closes = 0;
    scene.before--;
    deliver(SCM_RIGHTS, scene.files, 1);
    kernel.flags = MSG_CTRUNC;
    fails(receive(&scene), EACCES, "fewer came while number 0 is free");
    is(kernel.closes, 2, "the copy, which is number 0, is closed too");
    end_scene(&scene, "fewer came while number 0 is free");
    need(dup2(kept, 0) == 0 && close(kept) == 0);
}

/* Other messages hold numbers too. They are nobody's to close or hand over. */
static void numbers_that_are_no_descriptors(void)
{
    struct scene scene;
    set_scene(&scene, 1);
    deliver(SCM_CREDENTIALS, (int[]){scene.files[0], 0, 0}, 3);
    deliver(SCM_RIGHTS, scene.files, 1);
    deliver(SCM_RIGHTS, scene.files, 1);
    kernel.messages[1].level = IPPROTO_IPV6;
    deliver(PIDFD, scene.files, 1);
    kernel.messages[3].level = IPPROTO_IPV6;
    is(receive(&scene), 1, "one descriptor among other messages");
    is(scene.returned[0], scene.files[0], "is handed over");
    is(kernel.closes, 0, "no other number is closed");
    close(scene.files[0]);
    end_scene(&scene, "other messages");

    set_scene(&scene, 0);
    deliver(SCM_CREDENTIALS, (int[]){getpid(), 0, 0}, 3);
    fails(recvfd(scene.pair[1]), ENOMSG, "credentials are no descriptor");
    end_scene(&scene, "credentials");

    set_scene(&scene, 0);
    deliver(SCM_RIGHTS, (int[]){0, 1}, 2);
    kernel.messages[0].level = IPPROTO_IPV6;
    fails(receive(&scene), ENOMSG, "the type of descriptors at another level is none");
    is(kernel.closes, 0, "no number is closed");
    end_scene(&scene, "another level");

    set_scene(&scene, 0);
    deliver(SCM_RIGHTS, (int[]){0}, 1);
    kernel.messages[0].level = IPPROTO_IPV6;
    fails(recvfd(scene.pair[1]), ENOMSG, "recvfd: it is none, too");
    end_scene(&scene, "another level to recvfd");
}

/* Linux merges what is sent in two; POSIX does not ask for that. */
static void two_messages_of_descriptors(void)
{
    struct scene scene;
    set_scene(&scene, 3);
    deliver(SCM_RIGHTS, scene.files, 1);
    deliver(SCM_RIGHTS, scene.files + 1, 2);
    is(receive(&scene), 3, "descriptors in two messages");
    ok(memcmp(scene.returned, scene.files, 3 * sizeof(int)) == 0, "in their order");
    close_fds(scene.files, 3);
    end_scene(&scene, "descriptors in two messages");

    set_scene(&scene, 2);
    deliver(SCM_RIGHTS, scene.files, 1);
    deliver(SCM_RIGHTS, scene.files + 1, 1);
    fails(recvfd(scene.pair[1]), EMSGSIZE, "one in each to recvfd");
    end_scene(&scene, "one in each to recvfd");

    static const int refused[][3] = {{-EPERM, 0, 0},
                                     {0, -EPERM, 0},
                                     {0, 0, -EPERM},
                                     {-EPERM, -EACCES, 0},
                                     {0, -EPERM, -1}};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        int slots[3], came = 0;
        set_scene(&scene, 3);
        for (int j = 0; j < 3; j++) {
            slots[j] = refused[i][j] ? refused[i][j] : scene.files[j];
            came += !refused[i][j];
            if (refused[i][j])
                close(scene.files[j]);
        }
        kernel.closes = 0;
        deliver(SCM_RIGHTS, slots, 1);
        deliver(SCM_RIGHTS, slots + 1, 2);
        fails(receive(&scene), EPERM, "two messages, the first slot refused is %d",
              slots[0] < 0   ? 0
              : slots[1] < 0 ? 1
                             : 2);
        is(kernel.closes, came, "the others are closed");
        ok(are_untouched(&scene), "no descriptor is written");
        end_scene(&scene, "a refused slot in one of two messages");
    }
}

/* Lengths that no kernel should report do not lead out of the buffer. */
static void lengths_out_of_bounds(void)
{
    static const size_t beyond[] = {CMSG_LEN(12), 100000, INT_MAX, SIZE_MAX - 7,
                                    SIZE_MAX};
    struct scene scene;
    for (size_t i = 0; i < sizeof beyond / sizeof beyond[0]; i++) {
        set_scene(&scene, 2);
        deliver(SCM_RIGHTS, scene.files, 2);
        kernel.messages[0].claimed_len = beyond[i];
        is(receive(&scene), 2, "cmsg_len of %zu for two descriptors", beyond[i]);
        ok(memcmp(scene.returned, scene.files, 2 * sizeof(int)) == 0, "it is those two");
        close_fds(scene.files, 2);
        end_scene(&scene, "cmsg_len beyond the buffer");
    }

    for (size_t claimed = 1; claimed < CMSG_LEN(0); claimed++) {
        set_scene(&scene, 0);
        deliver(SCM_RIGHTS, (int[]){0, 1}, 2);
        kernel.messages[0].claimed_len = claimed;
        fails(receive(&scene), ENOMSG, "cmsg_len of %zu has no descriptor", claimed);
        is(kernel.closes, 0, "none is closed");
        end_scene(&scene, "cmsg_len below that of a header");
    }

    /* Bytes that are no whole descriptor are none, and the next message is found. */
    for (int odd = 1; odd < (int)sizeof(int); odd++) {
        set_scene(&scene, 3);
        deliver(SCM_RIGHTS, scene.files, 1);
        kernel.messages[0].claimed_len = CMSG_LEN(sizeof(int)) + (size_t)odd;
        deliver(SCM_RIGHTS, scene.files + 1, 2);
        is(receive(&scene), 3, "cmsg_len of one descriptor and %d bytes", odd);
        ok(memcmp(scene.returned, scene.files, 3 * sizeof(int)) == 0,
           "it is that one and those of the next message");
        close_fds(scene.files, 3);
        end_scene(&scene, "an odd cmsg_len");

        set_scene(&scene, 1);
        deliver(SCM_RIGHTS, scene.files, 1);
        kernel.messages[0].claimed_len = CMSG_LEN(sizeof(int)) + (size_t)odd;
        is(recvfd(scene.pair[1]), scene.files[0], "recvfd: it is one");
        close(scene.files[0]);
        end_scene(&scene, "an odd cmsg_len to recvfd");
    }

    set_scene(&scene, 2);
    deliver(SCM_RIGHTS, scene.files, 2);
    kernel.extra_controllen = 1 << 20;
    is(receive(&scene), 2, "msg_controllen far beyond the buffer");
    close_fds(scene.files, 2);
    end_scene(&scene, "msg_controllen beyond the buffer");

    /* The last message ends where the buffer does, and claims to go on. */
    set_scene(&scene, 2);
    deliver(SCM_RIGHTS, scene.files, 2);
    kernel.at_the_end = true;
    kernel.messages[0].claimed_len = CMSG_LEN(5 * sizeof(int));
    kernel.extra_controllen = 1 << 20;
    is(receive(&scene), 2, "cmsg_len and msg_controllen beyond the buffer");
    ok(memcmp(scene.returned, scene.files, 2 * sizeof(int)) == 0,
       "what is behind the buffer is not read");
    close_fds(scene.files, 2);
    end_scene(&scene, "cmsg_len and msg_controllen beyond the buffer");
}

/* errno is that of the failure although close, in cleaning up, sets another. */
static void close_fails_while_cleaning_up(void)
{
    struct scene scene;
    set_scene(&scene, 3);
    deliver(SCM_RIGHTS, scene.files, 2);
    deliver(PIDFD, scene.files + 2, 1);
    kernel.close_error = EIO;
    fails(recvfd(scene.pair[1]), EMSGSIZE, "close fails: EMSGSIZE all the same");
    is(kernel.closes, 3, "each is closed once");
    end_scene(&scene, "close fails after EMSGSIZE");

    set_scene(&scene, 1);
    deliver(SCM_RIGHTS, (int[]){scene.files[0], -EPERM}, 2);
    kernel.close_error = EIO;
    fails(receive(&scene), EPERM, "close fails: the slot's errno all the same");
    end_scene(&scene, "close fails after a refused slot");

    for (int full = 0; full < 2; full++) {
        set_scene(&scene, 2);
        deliver(SCM_RIGHTS, scene.files, 2);
        kernel.flags = MSG_CTRUNC;
        kernel.dup_error = full ? ENFILE : 0;
        kernel.close_error = EINTR;
        fails(receive(&scene), full ? ENFILE : EACCES, "close fails: %s all the same",
              full ? "ENFILE" : "EACCES");
        is(kernel.closes, full ? 2 : 3, "each is closed once, the copy too");
        end_scene(&scene, "close fails after MSG_CTRUNC");
    }

    set_scene(&scene, 1);
    deliver(PIDFD, scene.files, 1);
    kernel.close_error = EIO;
    fails(recvfd(scene.pair[1]), ENOMSG, "close fails: ENOMSG all the same");
    end_scene(&scene, "close fails after ENOMSG");
}

/* Without a failure, errno is as it was before the call. */
static void close_fails_on_success(void)
{
    struct scene scene;
    set_scene(&scene, 3);
    deliver(SCM_RIGHTS, scene.files, 2);
    deliver(PIDFD, scene.files + 2, 1);
    kernel.close_error = EIO;
    errno = ENOTTY;
    is(recvfds(scene.pair[1], scene.returned, 5), 2, "close of a pidfd fails: success");
    is(errno, ENOTTY, "errno is as it was");
    is(kernel.closes, 1, "the pidfd is closed once");
    close_fds(scene.files, 2);
    end_scene(&scene, "close fails on success");

    set_scene(&scene, 3);
    deliver(SCM_RIGHTS, scene.files, 2);
    deliver(PIDFD, scene.files + 2, 1);
    need(shutdown(scene.pair[0], SHUT_WR) == 0);
    kernel.once = true;
    kernel.close_error = EIO;
    errno = ENOTTY;
    is(recvfds_all(scene.pair[1], scene.returned, 5), 2, "and before the end of file");
    is(errno, ENOTTY, "errno is as it was");
    close_fds(scene.files, 2);
    end_scene(&scene, "close fails before the end of file");

    set_scene(&scene, 1);
    deliver(PIDFD, scene.files, 1);
    need(recv(scene.pair[1], (char[1]){0}, 1, 0) == 1);
    need(shutdown(scene.pair[0], SHUT_WR) == 0);
    kernel.close_error = EIO;
    errno = ENOTTY;
    is(recvfd(scene.pair[1]), RECVFD_EOF, "and at the end of file");
    is(errno, ENOTTY, "errno is as it was");
    is(kernel.closes, 1, "the pidfd is closed once");
    end_scene(&scene, "close fails at the end of file");
}

/* Wrong arguments are reported before any system call; flags among them, which a socket
 * of another domain, or none, would otherwise hide. */
static void arguments_before_calls(void)
{
    int fd = 0, nfds, tcp = socket(AF_INET, SOCK_STREAM, 0);
    char data[4] = "abc";
    int *volatile no_fds = NULL; /* the compiler would know of some that they are wrong */
    char *volatile no_data = NULL;
    volatile int too_many = SENDFD_MAX_FDS + 1, too_few = -1;
    need(tcp >= 0);
    const int sockets[] = {-1, tcp, 0};
    for (size_t i = 0; i < sizeof sockets / sizeof sockets[0]; i++) {
        int socket = sockets[i];
        reset_kernel();
        tap_note("descriptor %d", socket);
        fails(sendfds_msg(socket, &fd, 1, data, 3, MSG_OOB), EINVAL, "a flag to send");
        fails(sendfds_msg(socket, no_fds, 0, data, 3, MSG_OOB), EINVAL, "with none, too");
        nfds = 1;
        fails(recvfds_msg(socket, &fd, &nfds, data, 3, MSG_OOB), EINVAL,
              "a flag to receive");
        fails(sendfds(socket, &fd, 0), EINVAL, "sendfds of none");
        fails(sendfds(socket, &fd, too_many), EINVAL, "of too many");
        fails(sendfds(socket, no_fds, 1), EFAULT, "from NULL");
        fails(sendfds_all(socket, &fd, 0), EINVAL, "sendfds_all of none");
        fails(sendfds_all(socket, no_fds, 1), EFAULT, "from NULL");
        fails(recvfds(socket, &fd, 0), EINVAL, "recvfds of none");
        fails(recvfds(socket, no_fds, 1), EFAULT, "to NULL");
        fails(recvfds_all(socket, &fd, 0), EINVAL, "recvfds_all of none");
        fails(recvfds_all(socket, no_fds, 1), EFAULT, "to NULL");
        fails(sendfds_msg(socket, &fd, too_few, data, 3, 0), EINVAL, "sendfds_msg of -1");
        fails(sendfds_msg(socket, no_fds, 1, data, 3, 0), EFAULT, "from NULL");
        fails(sendfds_msg(socket, &fd, 1, no_data, 3, 0), EFAULT, "data from NULL");
        nfds = -1;
        fails(recvfds_msg(socket, &fd, &nfds, data, 3, 0), EINVAL,
              "recvfds_msg with room for -1");
        nfds = 1;
        fails(recvfds_msg(socket, &fd, &nfds, data, 0, 0), EINVAL, "without bytes");
        nfds = 1;
        fails(recvfds_msg(socket, no_fds, &nfds, data, 3, 0), EFAULT, "to NULL");
        nfds = 1;
        fails(recvfds_msg(socket, &fd, &nfds, no_data, 3, 0), EFAULT, "data to NULL");
        nfds = 1;
        fails(recvfds_msg(socket, &fd, no_fds, data, 3, 0), EFAULT, "no number");
        is(calls_made(), 0, "none makes a system call");
    }
    close(tcp);
}

/* A message for one of the functions that receive several descriptors. */
static void what_comes(const char *name, int (*function)(struct scene *scene))
{
    tap_note("%s", name);
    receive = function;
    for (int nfds = 0; nfds <= 2; nfds++) {
        fewer_came(nfds, 0, EACCES);
        fewer_came(nfds, EMFILE, EMFILE);
        fewer_came(nfds, ENFILE, ENFILE);
        fewer_came(nfds, EINVAL, EMFILE); /* RLIMIT_NOFILE is 0 */
    }
    fewer_came_and_a_pidfd();
    order_of_errors();
    refused_slots();
    pidfds();
    number_0();
    numbers_that_are_no_descriptors();
    two_messages_of_descriptors();
    lengths_out_of_bounds();
    close_fails_while_cleaning_up();
}

int main(void)
{
    static const int counts[] = {0, 1, 2, 252, 253};
    static const int rooms[] = {0, 1, 2, 252, 253, 254, INT_MAX};
    int before = count_fds();
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        calls_of_a_send(counts[i]);
    for (size_t i = 0; i < sizeof rooms / sizeof rooms[0]; i++)
        calls_of_a_receive(rooms[i]);
    calls_for_any_number();
    calls_of_a_message(0, 0, 1);
    calls_of_a_message(0, 5, 4000);
    calls_of_a_message(1, 1, 10);
    calls_of_a_message(SENDFD_MAX_FDS, SENDFD_MAX_FDS, 10);
    calls_of_a_message(SENDFD_MAX_FDS, INT_MAX, 4000);
    calls_of_a_msghdr(0, 0);
    calls_of_a_msghdr(0, 5);
    calls_of_a_msghdr(1, 1);
    calls_of_a_msghdr(SENDFD_MAX_FDS, SENDFD_MAX_FDS);
    calls_of_a_msghdr(SENDFD_MAX_FDS, INT_MAX);
    too_many_in_flight();
    errors_of_a_send();
    errors_of_a_receive();
    arguments_before_calls();
    close_fails_on_success();
    truncated_on_another_domain();
    full_control_buffer(false);
    full_control_buffer(true);
    what_comes("recvfds", receive_some);
    what_comes("recvfds_all", receive_all);
    what_comes("recvfds_msg", receive_message);
    what_comes("recvfds_msghdr", receive_msghdr);
    what_comes("recvfds_cmsg", receive_cmsg);
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}
