/* A received descriptor is close-on-exec from the moment it exists, so no program that is
 * executed meanwhile inherits it. The flag can be cleared. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROUNDS 2000

enum inherited { ABSENT, PRESENT, ANOTHER_FILE };

static unsigned long inode_of(int fd)
{
    struct stat status;
    need(fstat(fd, &status) == 0);
    return (unsigned long)status.st_ino;
}

/* In the executed program: whether it has the descriptor. */
static int look_for(int fd, const char *inode)
{
    if (fcntl(fd, F_GETFD) < 0)
        return ABSENT;
    return inode_of(fd) == strtoul(inode, NULL, 10) ? PRESENT : ANOTHER_FILE;
}

/* Returns what a program that is executed now finds under the number of a descriptor. */
static int inherited(int fd)
{
    char number[16], inode[32];
    snprintf(number, sizeof number, "%d", fd);
    snprintf(inode, sizeof inode, "%lu", inode_of(fd));
    const char *arguments[] = {"close_on_exec", number, inode, NULL};
    return wait_for_child(run_in_child(execute_itself, arguments));
}

static void one_descriptor(const struct socket_type *type)
{
    int pair[2], fd = open_file();
    socket_pair(type->type, pair);
    need(fcntl(fd, F_SETFD, 0) == 0);
    need(sendfd(pair[0], fd) == 1);
    int received = recvfd(pair[1]);
    is(fcntl(received, F_GETFD), FD_CLOEXEC, "%s: recvfd: close-on-exec is set",
       type->name);
    is(fcntl(fd, F_GETFD), 0, "%s: recvfd: the sender's own is as it was", type->name);
    is(inherited(received), ABSENT, "%s: recvfd: an executed program does not have it",
       type->name);
    is(inherited(fd), PRESENT, "%s: recvfd: it has what is not close-on-exec",
       type->name);
    need(fcntl(received, F_SETFD, 0) == 0);
    is(inherited(received), PRESENT, "%s: recvfd: turned off, it has that too",
       type->name);
    close(received);
    close(fd);
    close_pair(pair);
}

static int receive_message(int socket, int *fds, int max_fds)
{
    char byte;
    return recvfds_msg(socket, fds, &max_fds, &byte, 1, 0) == 1 ? max_fds : -1;
}

static int receive_peeking(int socket, int *fds, int max_fds)
{
    char byte;
    return recvfds_msg(socket, fds, &max_fds, &byte, 1, MSG_PEEK) == 1 ? max_fds : -1;
}

struct receiver {
    const char *name;
    int (*receive)(int socket, int *fds, int max_fds);
};

static const struct receiver receivers[] = {{"recvfds", recvfds},
                                            {"recvfds_all", recvfds_all},
                                            {"recvfds_msg", receive_message},
                                            {"MSG_PEEK", receive_peeking}};
#define RECEIVERS (sizeof receivers / sizeof *receivers)

static void three_descriptors(const struct socket_type *type,
                              const struct receiver *receiver)
{
    int pair[2], fds[3], received[3];
    socket_pair(type->type, pair);
    open_files(fds, 3);
    need(sendfds(pair[0], fds, 3) == 3);
    need(receiver->receive(pair[1], received, 3) == 3);
    for (int i = 0; i < 3; i++)
        is(fcntl(received[i], F_GETFD), FD_CLOEXEC,
           "%s: %s: close-on-exec is set on number %d", type->name, receiver->name, i);
    need(fcntl(received[1], F_SETFD, 0) == 0);
    for (int i = 0; i < 3; i++)
        is(inherited(received[i]), i == 1 ? PRESENT : ABSENT, "%s: %s: number %d is %s",
           type->name, receiver->name, i,
           i == 1 ? "inherited when turned off" : "not inherited");
    close_fds(received, 3);
    close_fds(fds, 3);
    close_pair(pair);
}

/* The number that the next descriptor gets, and whether it was ever seen open
 * without the flag. */
static int watched;
static atomic_bool over, seen_without;
static atomic_long looks;

static void *watch(void *unused)
{
    (void)unused;
    while (!over) {
        if (fcntl(watched, F_GETFD) == 0)
            seen_without = true;
        looks++;
    }
    return NULL;
}

/* A flag that is set after the receipt leaves a window, in which another thread
 * may fork and execute: one that looks all the time would see it. */
static void no_window(const struct socket_type *type)
{
    pthread_t watcher;
    int pair[2], fd = open_file();
    socket_pair(type->type, pair);
    watched = dup(fd);
    close(watched);
    over = seen_without = false;
    looks = 0;
    need(pthread_create(&watcher, NULL, watch, NULL) == 0);
    while (looks == 0)
        sched_yield();
    bool same_number = true;
    for (int i = 0; i < ROUNDS; i++) {
        int received;
        need(sendfd(pair[0], fd) == 1);
        if (i % 4)
            need(receivers[i % 4 - 1].receive(pair[1], &received, 1) == 1);
        else
            received = recvfd(pair[1]);
        same_number = same_number && received == watched;
        close(received);
    }
    over = true;
    need(pthread_join(watcher, NULL) == 0);
    need(same_number);
    ok(!seen_without, "%s: another thread never sees one without the flag", type->name);
    close(fd);
    close_pair(pair);
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return look_for(atoi(argv[1]), argv[2]);
    int before = count_fds();
    for (int i = 0; i < SOCKET_TYPES; i++) {
        one_descriptor(&socket_types[i]);
        for (size_t k = 0; k < RECEIVERS; k++)
            three_descriptors(&socket_types[i], &receivers[k]);
        no_window(&socket_types[i]);
    }
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}
