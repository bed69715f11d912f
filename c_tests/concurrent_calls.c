/* Two calls that run at the same time do not affect each other: this program defines its
 * own sendmsg and recvmsg, in which two threads wait for each other. So both messages are
 * written before either is sent, and both have come before either is read, every time, on
 * one processor too. Catches a buffer, a result or an errno that calls share; threads.c
 * has many calls that meet by chance. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILES 3

/* The names for the linker are given because a libc may redirect those in C. */
ssize_t meeting_sendmsg(int, const struct msghdr *, int) __asm__("sendmsg");
ssize_t meeting_recvmsg(int, struct msghdr *, int) __asm__("recvmsg");

static pthread_barrier_t both;
static _Thread_local bool meets;
static _Thread_local int met;

static void meet(void)
{
    int error = errno;
    if (meets) {
        pthread_barrier_wait(&both);
        met++;
    }
    errno = error;
}

ssize_t meeting_sendmsg(int socket, const struct msghdr *message, int flags)
{
    meet();
    return syscall(SYS_sendmsg, socket, message, flags);
}

ssize_t meeting_recvmsg(int socket, struct msghdr *message, int flags)
{
    ssize_t received = syscall(SYS_recvmsg, socket, message, flags);
    meet();
    return received;
}

/* One of the two: its socket, what it sends, and what of that was not right. */
struct caller {
    int number, pair[2];
    int files[FILES];
    int wrong_sends, wrong_receives, wrong_errors, met;
};

static bool are_mine(const struct caller *self, const int *fds, int nfds)
{
    bool right = same_files(fds, self->files, nfds);
    close_fds(fds, nfds);
    return right;
}

static void pass_each_way(struct caller *self)
{
    const int *files = self->files;
    int in = self->pair[0], out = self->pair[1], fds[FILES], nfds = FILES;
    char data[2] = {(char)('a' + self->number)}, came[2];

    self->wrong_sends += sendfd(in, files[0]) != 1;
    fds[0] = recvfd(out);
    self->wrong_receives += fds[0] < 0 || !are_mine(self, fds, 1);

    self->wrong_sends += sendfds(in, files, 2) != 2;
    self->wrong_receives += recvfds(out, fds, FILES) != 2 || !are_mine(self, fds, 2);

    self->wrong_sends += sendfds_all(in, files, FILES) != FILES;
    self->wrong_receives +=
        recvfds_all(out, fds, FILES) != FILES || !are_mine(self, fds, FILES);

    self->wrong_sends += sendfds_msg(in, files, FILES, data, 2, 0) != 2;
    self->wrong_receives += recvfds_msg(out, fds, &nfds, came, 2, 0) != 2 ||
                            nfds != FILES || strcmp(came, data) != 0 ||
                            !are_mine(self, fds, FILES);
}

static bool failed_with(ssize_t returned, int error)
{
    return returned == -1 && errno == error;
}

/* One is refused its descriptor, and the other its message; one receives too many, and
 * the other none. */
static void fail_apart(struct caller *self)
{
    int in = self->pair[0], out = self->pair[1];
    bool first = self->number == 0;
    if (!first)
        fill_queue(in);
    self->wrong_errors +=
        first ? !failed_with(sendfd(in, -1), EBADF)
              : !failed_with(sendfds_msg(in, NULL, 0, "", 1, MSG_DONTWAIT), EAGAIN);
    if (!first) {
        int nfds;
        meets = false;
        drain_queue(out, &nfds);
        meets = true;
    }
    self->wrong_sends += sendfds_msg(in, self->files, first ? 2 : 0, "", 1, 0) != 1;
    self->wrong_errors += !failed_with(recvfd(out), first ? EMSGSIZE : ENOMSG);
}

static void *call(void *argument)
{
    struct caller *self = argument;
    meets = true;
    pass_each_way(self);
    fail_apart(self);
    self->met = met;
    return NULL;
}

static void at_once(const struct socket_type *type)
{
    struct caller callers[2];
    pthread_t threads[2];
    int before = count_fds();
    memset(callers, 0, sizeof callers);
    for (int i = 0; i < 2; i++) {
        callers[i].number = i;
        socket_pair(type->type, callers[i].pair);
        open_files(callers[i].files, FILES);
        need(pthread_create(&threads[i], NULL, call, &callers[i]) == 0);
    }
    for (int i = 0; i < 2; i++)
        need(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < 2; i++) {
        const char *which = i == 0 ? "one" : "the other";
        is(callers[i].met, 11, "%s, %s: each call meets one of the other", type->name,
           which);
        is(callers[i].wrong_sends, 0, "%s, %s: sends return what is right", type->name,
           which);
        is(callers[i].wrong_receives, 0, "%s, %s: its own files come", type->name, which);
        is(callers[i].wrong_errors, 0, "%s, %s: it gets its own errno", type->name,
           which);
        close_pair(callers[i].pair);
        close_fds(callers[i].files, FILES);
    }
    is(count_fds(), before, "%s: no descriptor is left open", type->name);
}

int main(void)
{
    need(pthread_barrier_init(&both, NULL, 2) == 0);
    for (int i = 0; i < SOCKET_TYPES; i++)
        at_once(&socket_types[i]);
    need(pthread_barrier_destroy(&both) == 0);
    return tap_done();
}
