/* Four threads send and four receive over one pair at once: each descriptor arrives
 * exactly once, and each call returns its own result, with errno in its own thread. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define THREADS 4
#define MESSAGES 300 /* of each sender */
#define MOST 3       /* descriptors in a message */
#define ROUNDS 2000  /* of a thread with its own pair */
#define TOTAL (THREADS * MESSAGES * MOST)

/* Descriptors are numbered; how often each has been sent and has arrived. */
static atomic_int sent[TOTAL], arrived[TOTAL];
static atomic_int wrong_sends, wrong_receives, endings;

struct way {
    const char *name;
    int most; /* descriptors in a message */
    int (*send)(int socket, const int *fds, int nfds);
    int (*receive)(int socket, int *fds);
};

static int send_one(int socket, const int *fds, int nfds)
{
    (void)nfds;
    return sendfd(socket, fds[0]);
}

static int receive_one(int socket, int *fds)
{
    int fd = recvfd(socket);
    if (fd < 0)
        return fd;
    fds[0] = fd;
    return 1;
}

static int receive_some(int socket, int *fds)
{
    return recvfds(socket, fds, MOST);
}

static int send_message(int socket, const int *fds, int nfds)
{
    return sendfds_msg(socket, fds, nfds, "m", 1, 0) == 1 ? nfds : -1;
}

/* A message without a descriptor is reported as by the other functions. */
static int receive_message(int socket, int *fds)
{
    int nfds = MOST;
    char byte;
    ssize_t bytes = recvfds_msg(socket, fds, &nfds, &byte, 1, 0);
    if (bytes == 1 && nfds == 0) {
        errno = ENOMSG;
        return -1;
    }
    return bytes == 1 ? nfds : (int)bytes;
}

/* One: of more, each could come to another thread. */
static int receive_all_of_one(int socket, int *fds)
{
    return recvfds_all(socket, fds, 1);
}

static const struct way ways[] = {
    {"sendfd and recvfd", 1, send_one, receive_one},
    {"sendfds and recvfds", MOST, sendfds, receive_some},
    {"sendfds_msg and recvfds_msg", MOST, send_message, receive_message},
    {"sendfds_all and recvfds_all", 1, sendfds_all, receive_all_of_one},
};
#define WAYS (sizeof ways / sizeof *ways)

/* One thread of several that work alike. */
struct worker {
    pthread_t thread;
    const struct way *way;
    int socket, number;
};

static void *send_all(void *argument)
{
    const struct worker *worker = argument;
    for (int i = 0; i < MESSAGES; i++) {
        int fds[MOST], nfds = 1 + i % worker->way->most;
        int first = (worker->number * MESSAGES + i) * MOST;
        for (int k = 0; k < nfds; k++) {
            fds[k] = open_numbered_file(first + k);
            sent[first + k]++;
        }
        if (worker->way->send(worker->socket, fds, nfds) != nfds)
            wrong_sends++;
        close_fds(fds, nfds);
    }
    return NULL;
}

/* Until the end of file, or in place of it a message without a descriptor. */
static void *receive_all(void *argument)
{
    const struct worker *worker = argument;
    for (;;) {
        int fds[MOST], nfds = worker->way->receive(worker->socket, fds);
        if (nfds == RECVFD_EOF || (nfds == -1 && errno == ENOMSG)) {
            endings++;
            return NULL;
        }
        if (nfds < 1 || nfds > worker->way->most) {
            wrong_receives++;
            return NULL;
        }
        int first = number_in(fds[0]);
        for (int k = 0; k < nfds; k++) {
            int number = number_in(fds[k]);
            if (number < 0 || number >= TOTAL || number != first + k)
                wrong_receives++;
            else
                arrived[number]++;
            close(fds[k]);
        }
    }
}

static void start(struct worker *workers, void *(*work)(void *), const struct way *way,
                  int socket)
{
    for (int i = 0; i < THREADS; i++) {
        workers[i].way = way;
        workers[i].socket = socket;
        workers[i].number = i;
        need(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    }
}

static void join(struct worker *workers)
{
    for (int i = 0; i < THREADS; i++)
        need(pthread_join(workers[i].thread, NULL) == 0);
}

static void at_once(const struct socket_type *type, const struct way *way)
{
    struct worker senders[THREADS], receivers[THREADS];
    int pair[2], lost = 0, doubled = 0, total = 0;
    for (int i = 0; i < TOTAL; i++)
        sent[i] = arrived[i] = 0;
    wrong_sends = wrong_receives = endings = 0;
    socket_pair(type->type, pair);
    /* A short queue, so that senders and receivers wait for each other all the time. */
    need(set_option(pair[0], SO_SNDBUF, 8192));

    start(receivers, receive_all, way, pair[1]);
    start(senders, send_all, way, pair[0]);
    join(senders);
    if (type->type == SOCK_DGRAM)
        for (int i = 0; i < THREADS; i++)
            need(raw_send(pair[0], "", 1, NULL, 0) == 1);
    else
        close(pair[0]);
    join(receivers);

    for (int i = 0; i < TOTAL; i++) {
        lost += arrived[i] < sent[i];
        doubled += arrived[i] > sent[i];
        total += sent[i];
    }
    is(wrong_sends, 0, "%s, %s: each send returns the number", type->name, way->name);
    is(wrong_receives, 0, "%s, %s: each receive has one message", type->name, way->name);
    is(lost, 0, "%s, %s: of %d descriptors none is lost", type->name, way->name, total);
    is(doubled, 0, "%s, %s: none arrives twice", type->name, way->name);
    is(endings, THREADS, "%s, %s: each receiver sees the end", type->name, way->name);
    ok(type->type != SOCK_DGRAM || is_empty(pair[1]), "%s, %s: nothing is left",
       type->name, way->name);
    close(pair[1]);
    if (type->type == SOCK_DGRAM)
        close(pair[0]);
}

/* Passes the same two files, of which no other thread has any, again and again. */
static void *pass_own(void *argument)
{
    const struct worker *worker = argument;
    int pair[2], files[2], received[2];
    socket_pair(worker->number, pair);
    open_files(files, 2);
    for (int i = 0; i < ROUNDS; i++) {
        received[0] = received[1] = -1;
        if (i % 2)
            wrong_sends += sendfds(pair[0], files, 2) != 2;
        else
            wrong_sends += sendfd(pair[0], files[0]) + sendfd(pair[0], files[1]) != 2;
        if (i % 2)
            wrong_receives += recvfds(pair[1], received, 2) != 2;
        else
            for (int k = 0; k < 2; k++)
                received[k] = recvfd(pair[1]);
        wrong_receives += !same_files(files, received, 2);
        close_fds(received, 2);
    }
    close_fds(files, 2);
    close_pair(pair);
    return NULL;
}

/* Threads with nothing in common but the library: it has no state to share. */
static void own_pairs(const struct socket_type *type)
{
    struct worker workers[THREADS];
    wrong_sends = wrong_receives = 0;
    for (int i = 0; i < THREADS; i++) {
        workers[i].number = type->type;
        need(pthread_create(&workers[i].thread, NULL, pass_own, &workers[i]) == 0);
    }
    join(workers);
    is(wrong_sends, 0, "%s: each thread with a pair of its own: each send is right",
       type->name);
    is(wrong_receives, 0, "%s: and each receives its own files", type->name);
}

static atomic_bool over;
static atomic_int failures_seen, wrong_errnos;

static void *fail_with(void *argument)
{
    struct worker *worker = argument;
    int error = worker->number;
    while (!over) {
        errno = 0;
        if (recvfd(worker->socket) != -1 || errno != error)
            wrong_errnos++;
        failures_seen++;
    }
    return NULL;
}

/* Threads that fail, each with an errno of its own, and one that succeeds. */
static void own_errno(const struct socket_type *type)
{
    int pair[2], fd = open_file(), wrong = 0;
    socket_pair(type->type, pair);
    struct worker failing[] = {{.socket = -1, .number = EBADF},
                               {.socket = fd, .number = ENOTSOCK}};
    over = false;
    failures_seen = wrong_errnos = 0;
    for (int i = 0; i < 2; i++)
        need(pthread_create(&failing[i].thread, NULL, fail_with, &failing[i]) == 0);
    for (int i = 0; i < 2000 || failures_seen < 2000; i++) {
        errno = 0;
        bool right = sendfd(pair[0], fd) == 1;
        int received = recvfd(pair[1]);
        wrong += !right || received < 0 || errno != 0;
        close(received);
    }
    over = true;
    for (int i = 0; i < 2; i++)
        need(pthread_join(failing[i].thread, NULL) == 0);
    is(wrong_errnos, 0, "%s: two threads that fail have each its own errno", type->name);
    is(wrong, 0, "%s: one that succeeds meanwhile has none", type->name);
    close(fd);
    close_pair(pair);
}

int main(void)
{
    int before = count_fds();
    for (int i = 0; i < SOCKET_TYPES; i++) {
        for (size_t k = 0; k < WAYS; k++)
            at_once(&socket_types[i], &ways[k]);
        own_pairs(&socket_types[i]);
        own_errno(&socket_types[i]);
    }
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}
