/* A send to a peer that is gone fails with EPIPE (ECONNREFUSED on a datagram
 * socket) and raises no SIGPIPE: the process survives with the signal at its
 * default action, and what it set up for SIGPIPE is as it was. Only a send that was
 * already waiting fails with ECONNRESET. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

/* No errno has this number. */
#define SUCCEEDED 120

static void close_peer(int pair[2])
{
    close(pair[1]);
    pair[1] = -1;
}

static void stop_writing(int pair[2])
{
    need(shutdown(pair[0], SHUT_WR) == 0);
}

static void peer_stops_reading(int pair[2])
{
    need(shutdown(pair[1], SHUT_RD) == 0);
}

struct ending {
    const char *name;
    void (*end)(int pair[2]);
    /* The errno of the first send, and of the next ones, in the order of socket_types. */
    int first[SOCKET_TYPES], then[SOCKET_TYPES];
};

static const struct ending endings[] = {
    {"the peer has closed",
     close_peer,
     {EPIPE, EPIPE, ECONNREFUSED},
     {EPIPE, EPIPE, ENOTCONN}},
    {"shutdown(SHUT_WR)", stop_writing, {EPIPE, EPIPE, EPIPE}, {EPIPE, EPIPE, EPIPE}},
    {"the peer did shutdown(SHUT_RD)",
     peer_stops_reading,
     {EPIPE, EPIPE, EPIPE},
     {EPIPE, EPIPE, EPIPE}},
};

static int send_one(int socket, int fd)
{
    return sendfd(socket, fd);
}

static int send_three(int socket, int fd)
{
    int fds[] = {fd, fd, fd};
    return sendfds(socket, fds, 3);
}

static int send_many(int socket, int fd)
{
    int fds[SENDFD_MAX_FDS + 1];
    for (int i = 0; i <= SENDFD_MAX_FDS; i++)
        fds[i] = fd;
    return sendfds_all(socket, fds, SENDFD_MAX_FDS + 1);
}

static int send_message(int socket, int fd)
{
    return (int)sendfds_msg(socket, &fd, 1, "abc", 3, 0);
}

static int send_bytes(int socket, int fd)
{
    (void)fd;
    return (int)sendfds_msg(socket, NULL, 0, "abc", 3, 0);
}

struct sender {
    const char *name;
    int (*send)(int socket, int fd);
};

#define SENDERS 5
static const struct sender senders[SENDERS] = {{"sendfd", send_one},
                                               {"sendfds", send_three},
                                               {"sendfds_all", send_many},
                                               {"sendfds_msg", send_message},
                                               {"sendfds_msg of bytes", send_bytes}};

struct trial {
    int type;
    void (*end)(int pair[2]);
    int (*send)(int socket, int fd);
};

/* In a child of its own, which SIGPIPE would kill: the errno of the send. */
static int send_by_default(void *argument)
{
    const struct trial *trial = argument;
    int pair[2], fd = open_file();
    sigset_t none;
    sigemptyset(&none);
    need(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
    need(sigprocmask(SIG_SETMASK, &none, NULL) == 0);
    socket_pair(trial->type, pair);
    trial->end(pair);
    errno = 0;
    return trial->send(pair[0], fd) == -1 ? errno : SUCCEEDED;
}

static void survival(int type, const struct ending *ending)
{
    for (int i = 0; i < SENDERS; i++) {
        struct trial trial = {socket_types[type].type, ending->end, senders[i].send};
        is(wait_for_child(run_in_child(send_by_default, &trial)), ending->first[type],
           "%s, %s: %s fails with errno %d, and its process lives",
           socket_types[type].name, ending->name, senders[i].name, ending->first[type]);
    }
}

static volatile sig_atomic_t signals;

static void count_signal(int signal)
{
    (void)signal;
    signals++;
}

static bool is_pending(int signal)
{
    sigset_t pending;
    need(sigpending(&pending) == 0);
    return sigismember(&pending, signal);
}

static bool same_set(const sigset_t *a, const sigset_t *b)
{
    for (int signal = 1; signal < NSIG; signal++)
        if (sigismember(a, signal) != sigismember(b, signal))
            return false;
    return true;
}

/* Nothing of what the process has arranged for SIGPIPE is touched. */
static void arrangements(int type, const struct ending *ending,
                         const struct sender *sender)
{
    const char *name = socket_types[type].name;
    struct sigaction action = {.sa_handler = count_signal, .sa_flags = SA_RESTART};
    struct sigaction action_after;
    sigset_t mask, mask_after;
    int pair[2], fd = open_file();
    socket_pair(socket_types[type].type, pair);
    ending->end(pair);
    sigemptyset(&action.sa_mask);
    sigaddset(&action.sa_mask, SIGUSR2);
    need(sigaction(SIGPIPE, &action, NULL) == 0);
    need(sigprocmask(SIG_SETMASK, NULL, &mask) == 0);
    signals = 0;

    fails(sender->send(pair[0], fd), ending->first[type], "%s, %s: %s with a handler",
          name, ending->name, sender->name);
    fails(sender->send(pair[0], fd), ending->then[type], "%s, %s: and once more", name,
          ending->name);
    is(signals, 0, "%s, %s: the handler is not called", name, ending->name);
    need(sigaction(SIGPIPE, NULL, &action_after) == 0);
    ok(action_after.sa_handler == count_signal &&
           (action_after.sa_flags & SA_RESTART) != 0 &&
           sigismember(&action_after.sa_mask, SIGUSR2),
       "%s, %s: it is still the handler", name, ending->name);
    need(sigprocmask(SIG_SETMASK, NULL, &mask_after) == 0);
    ok(same_set(&mask, &mask_after), "%s, %s: the signal mask is unchanged", name,
       ending->name);

    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGPIPE);
    need(sigprocmask(SIG_BLOCK, &blocked, NULL) == 0);
    need(sender->send(pair[0], fd) == -1);
    ok(!is_pending(SIGPIPE), "%s, %s: with SIGPIPE blocked none becomes pending", name,
       ending->name);
    need(raise(SIGPIPE) == 0);
    need(sender->send(pair[0], fd) == -1);
    ok(is_pending(SIGPIPE), "%s, %s: one that is pending already stays so", name,
       ending->name);
    need(sigprocmask(SIG_SETMASK, &mask, NULL) == 0);

    close(fd);
    close_pair(pair);
}

/* Shows that the children above could have died: the snippet kills its process. */
static void bare_send_kills(void)
{
    for (int i = 0; i < 2; i++) {
        struct trial trial = {SOCK_STREAM, endings[i].end, classic_sendfd};
        is(wait_for_child(run_in_child(send_by_default, &trial)), 128 + SIGPIPE,
           "SOCK_STREAM, %s: sendmsg without MSG_NOSIGNAL kills", endings[i].name);
    }
}

/* The errno of a send that waits for room when the peer closes. The peer has not received
 * what is queued, so it is not that of a send that starts afterwards. */
static int send_to_full_queue(void *argument)
{
    int *pair = argument;
    close_peer(pair);
    return sendfd(pair[0], pair[0]) == -1 ? errno : SUCCEEDED;
}

static void waiting_sends(void)
{
    static const int expected[] = {ECONNRESET, ECONNRESET, ECONNREFUSED};
    for (int type = 0; type < SOCKET_TYPES; type++) {
        int pair[2];
        socket_pair(socket_types[type].type, pair);
        need(fill_queue(pair[0]) > 0);
        pid_t child = run_in_child(send_to_full_queue, pair);
        wait_until_asleep(child);
        close(pair[1]);
        is(wait_for_child(child), expected[type],
           "%s, the peer closes while sendfd waits: errno %d", socket_types[type].name,
           expected[type]);
        fails(sendfd(pair[0], pair[0]), type == 2 ? ENOTCONN : EPIPE,
              "%s, the peer has closed while sendfd waited: the next send",
              socket_types[type].name);
        close(pair[0]);
    }
}

int main(void)
{
    int before = count_fds();
    bare_send_kills();
    waiting_sends();
    for (int type = 0; type < SOCKET_TYPES; type++)
        for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
            survival(type, &endings[i]);
            for (int k = 0; k < SENDERS; k++)
                arrangements(type, &endings[i], &senders[k]);
        }
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}
