/* Closing rejected descriptors is not a cancellation point: a thread that has been
 * cancelled by the time a receive cleans up still closes everything, and is cancelled
 * after the call. This program defines its own recvmsg, which requests the cancellation
 * just after the descriptors have come. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PASSPIDFD 76 /* SO_PASSPIDFD, Linux 6.5 */
#define SENT 5

static bool armed;

ssize_t cancelling_recvmsg(int, struct msghdr *, int) __asm__("recvmsg");

ssize_t cancelling_recvmsg(int socket, struct msghdr *message, int flags)
{
    ssize_t received = syscall(SYS_recvmsg, socket, message, flags);
    if (armed)
        need(pthread_cancel(pthread_self()) == 0);
    return received;
}

/* A receive that closes something, and what it returns. */
struct receive {
    const char *name;
    ssize_t (*receive)(int socket, int *fds);
    int nfds, room; /* sent; how many more can be open, 0: as many as there are */
    bool pidfd, stream;
    int returns, error, given;
};

static ssize_t receive_one(int socket, int *fds)
{
    (void)fds;
    return recvfd(socket);
}

static ssize_t receive_two(int socket, int *fds)
{
    return recvfds(socket, fds, 2);
}

static ssize_t receive_five(int socket, int *fds)
{
    return recvfds(socket, fds, SENT);
}

static ssize_t receive_all_of_two(int socket, int *fds)
{
    return recvfds_all(socket, fds, 2);
}

static ssize_t receive_without_room(int socket, int *fds)
{
    int nfds = 0;
    char data[8];
    return recvfds_msg(socket, fds, &nfds, data, sizeof data, 0);
}

static ssize_t receive_a_part(int socket, int *fds)
{
    int nfds = SENT;
    char byte;
    return recvfds_msg(socket, fds, &nfds, &byte, 1, 0);
}

static ssize_t receive_two_by_msghdr(int socket, int *fds)
{
    int nfds = 2;
    char data[8];
    struct iovec iov = {.iov_base = data, .iov_len = sizeof data};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    return recvfds_msghdr(socket, fds, &nfds, &message, 0);
}

/* The same, but what there is room for comes. */
static ssize_t receive_some_of_five(int socket, int *fds)
{
    int nfds = 2;
    char data[8];
    struct iovec iov = {.iov_base = data, .iov_len = sizeof data};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t bytes = recvfds_msghdr(socket, fds, &nfds, &message, RECVFD_PARTIAL);
    return bytes == 2 ? nfds : -1;
}

static ssize_t receive_two_by_cmsg(int socket, int *fds)
{
    int nfds = 2;
    char data[8];
    _Alignas(struct cmsghdr) char control[RECVFDS_CMSG_SPACE(SENT)];
    struct iovec iov = {.iov_base = data, .iov_len = sizeof data};
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control,
        .msg_controllen = sizeof control,
    };
    need(recvmsg(socket, &message, MSG_CMSG_CLOEXEC) == 2);
    return recvfds_cmsg(socket, fds, &nfds, &message, 0);
}

/* The first one also has libc load what it needs to cancel a thread, for which there is
 * no room in a full table. */
static const struct receive receives[] = {
    {"recvfd of 5", receive_one, SENT, 0, false, true, -1, EMSGSIZE, 0},
    {"recvfds of 5 with room for 2", receive_two, SENT, 0, false, true, -1, EMSGSIZE, 0},
    {"recvfds_all of 5 with room for 2", receive_all_of_two, SENT, 0, false, true, -1,
     EMSGSIZE, 0},
    {"recvfds_msg of 5 with room for none", receive_without_room, SENT, 0, false, true,
     -1, EMSGSIZE, 0},
    {"recvfds_msg of a longer datagram", receive_a_part, SENT, 0, false, false, -1,
     EMSGSIZE, 0},
    {"recvfds_msghdr of 5 with room for 2", receive_two_by_msghdr, SENT, 0, false, true,
     -1, EMSGSIZE, 0},
    {"recvfds_msghdr of 5 and a pidfd", receive_two_by_msghdr, SENT, 0, true, true, -1,
     EMSGSIZE, 0},
    {"recvfds_msghdr of 2 of 5 and a pidfd", receive_some_of_five, SENT, 0, true, true, 2,
     0, 2},
    {"recvfds_cmsg of 5 with room for 2", receive_two_by_cmsg, SENT, 0, false, true, -1,
     EMSGSIZE, 0},
    {"recvfds_cmsg of 5 and a pidfd", receive_two_by_cmsg, SENT, 0, true, true, -1,
     EMSGSIZE, 0},
    {"recvfds of 5 with a full table", receive_five, SENT, 3, false, true, -1, EMFILE, 0},
    {"recvfds of 5 and a pidfd", receive_five, SENT, 0, true, true, SENT, 0, SENT},
    {"recvfds of a pidfd", receive_five, 0, 0, true, true, -1, ENOMSG, 0},
};

struct job {
    const struct receive *receive;
    int socket, fds[SENT];
    ssize_t returned;
    int error;
    bool is_over;
};

static void *work(void *argument)
{
    struct job *job = argument;
    armed = true;
    errno = 0;
    job->returned = job->receive->receive(job->socket, job->fds);
    armed = false;
    job->error = errno;
    job->is_over = true;
    pthread_testcancel();
    return NULL;
}

static void cancel(const struct socket_type *type, const struct receive *receive)
{
    struct job job = {.receive = receive};
    int pair[2], files[SENT];
    pthread_t thread;
    void *ended;
    if (type->type == SOCK_STREAM && !receive->stream)
        return;
    socket_pair(type->type, pair);
    if (receive->pidfd && !set_option(pair[1], PASSPIDFD, 1)) {
        tap_skip("%s: no SO_PASSPIDFD before Linux 6.5", receive->name);
        close_pair(pair);
        return;
    }
    open_files(files, SENT);
    need(raw_send(pair[0], "ab", 2, files, receive->nfds) == 2);
    job.socket = pair[1];
    int before = count_fds();
    if (receive->room)
        leave_room_for(receive->room);
    need(pthread_create(&thread, NULL, work, &job) == 0);
    need(pthread_join(thread, &ended) == 0);
    armed = false;
    restore_limit();
    ok(job.is_over, "%s: %s: returns", type->name, receive->name);
    ok(job.returned == receive->returns && job.error == receive->error,
       "%s: %s: as without a cancellation", type->name, receive->name);
    ok(ended == PTHREAD_CANCELED, "%s: %s: the thread is cancelled afterwards",
       type->name, receive->name);
    if (receive->given > 0 && job.returned == receive->given) {
        ok(same_files(files, job.fds, receive->given), "%s: %s: the right descriptors",
           type->name, receive->name);
        close_fds(job.fds, receive->given);
    }
    is(count_fds(), before, "%s: %s: no other is left open", type->name, receive->name);
    close_fds(files, SENT);
    close_pair(pair);
}

int main(void)
{
    int before = count_fds();
    for (int i = 0; i < SOCKET_TYPES; i++)
        for (size_t j = 0; j < sizeof receives / sizeof receives[0]; j++)
            cancel(&socket_types[i], &receives[j]);
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}
