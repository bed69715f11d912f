/* A stream may take a part of what sendfds_msg is given. Any return that is not
 * -1 means that every descriptor went, with the first byte; the rest is sent
 * without them, and each byte and each descriptor arrives exactly once. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MESSAGES 8
#define MESSAGE_BYTES ((size_t)1024 * 1024)
#define TOTAL (MESSAGES * MESSAGE_BYTES)

static const int descriptors_of[MESSAGES] = {3, 0, 1, SENDFD_MAX_FDS, 2, 0, 0, 5};

static unsigned char *payload;
static int files[SENDFD_MAX_FDS];

/* Fills the payload with random bytes, so that a lost or doubled byte is noticed. */
static void fill_payload(void)
{
    payload = malloc(TOTAL);
    need(payload != NULL);
    uint32_t state = 1;
    for (size_t i = 0; i < TOTAL; i++) {
        state = state * 1664525 + 1013904223;
        payload[i] = (unsigned char)(state >> 24);
    }
}

/* The receiver's counts, over all messages. */
struct seen {
    int socket;
    size_t bytes;
    int wrong_bytes, wrong_files, elsewhere, arrivals, end;
    int came_with[MESSAGES]; /* descriptors */
    pthread_t thread;
    /* Held while a message begins to be sent: nothing is taken out meanwhile, or a
     * receiver that is as fast as the sender makes room for the whole of it. */
    pthread_mutex_t beginning;
};

/* The message whose first byte is among these, or -1. */
static int message_starting_in(size_t from, size_t to)
{
    size_t message = (from + MESSAGE_BYTES - 1) / MESSAGE_BYTES;
    return message < MESSAGES && message * MESSAGE_BYTES < to ? (int)message : -1;
}

static void wait_for(int socket, short event)
{
    struct pollfd poll_for = {.fd = socket, .events = event};
    need(poll(&poll_for, 1, -1) == 1);
}

static void *receive_all(void *argument)
{
    struct seen *seen = argument;
    static unsigned char data[100000];
    static int fds[SENDFD_MAX_FDS];
    ssize_t bytes;
    for (;;) {
        int nfds = SENDFD_MAX_FDS;
        wait_for(seen->socket, POLLIN);
        pthread_mutex_lock(&seen->beginning);
        bytes = recvfds_msg(seen->socket, fds, &nfds, data, sizeof data, 0);
        pthread_mutex_unlock(&seen->beginning);
        if (bytes <= 0)
            break;
        size_t end = seen->bytes + (size_t)bytes;
        if (end > TOTAL || memcmp(payload + seen->bytes, data, (size_t)bytes) != 0)
            seen->wrong_bytes++;
        int message = message_starting_in(seen->bytes, end);
        if (nfds > 0) {
            seen->arrivals++;
            if (message < 0)
                seen->elsewhere++;
            else
                seen->came_with[message] += nfds;
            seen->wrong_files += !same_files(files, fds, nfds);
            close_fds(fds, nfds);
        }
        seen->bytes = end;
    }
    seen->end = (int)bytes;
    return NULL;
}

/* How a program is to do it: returns how many calls it took, or -1. */
static int send_whole(int socket, int nfds, const unsigned char *data, size_t len,
                      int flags, pthread_mutex_t *beginning)
{
    size_t sent = 0;
    int calls = 0;
    while (sent < len) {
        bool begins = sent == 0;
        if (begins)
            pthread_mutex_lock(beginning);
        ssize_t bytes = sendfds_msg(socket, files, nfds, data + sent, len - sent, flags);
        int error = errno;
        if (begins)
            pthread_mutex_unlock(beginning);
        if (bytes < 0 && error != EAGAIN)
            return -1;
        if (bytes < 0) {
            wait_for(socket, POLLOUT);
            continue;
        }
        calls++;
        nfds = 0;
        sent += (size_t)bytes;
    }
    return calls;
}

/* A sender that never blocks, with a short queue, and a receiver in a thread. */
static void megabytes(const char *name, bool nonblocking, int flags)
{
    struct seen seen = {.beginning = PTHREAD_MUTEX_INITIALIZER};
    int pair[2], partial = 0, failed = 0;
    socket_pair(SOCK_STREAM, pair);
    need(set_option(pair[0], SO_SNDBUF, 16384));
    if (nonblocking)
        set_nonblocking(pair[0]);
    seen.socket = pair[1];
    need(pthread_create(&seen.thread, NULL, receive_all, &seen) == 0);
    for (int i = 0; i < MESSAGES; i++) {
        int calls =
            send_whole(pair[0], descriptors_of[i], payload + (size_t)i * MESSAGE_BYTES,
                       MESSAGE_BYTES, flags, &seen.beginning);
        partial += calls > 1;
        failed += calls < 0;
    }
    close(pair[0]);
    need(pthread_join(seen.thread, NULL) == 0);

    is(failed, 0, "%s: sends fail only because of a full queue", name);
    is(partial, MESSAGES, "%s: every message is sent in parts", name);
    is((long)seen.bytes, (long)TOTAL, "%s: so many bytes arrive", name);
    is(seen.wrong_bytes, 0, "%s: the right ones", name);
    is(seen.elsewhere, 0, "%s: descriptors come with the first byte of a message", name);
    int arrivals = 0;
    for (int i = 0; i < MESSAGES; i++) {
        is(seen.came_with[i], descriptors_of[i], "%s: descriptors of message %d", name,
           i);
        arrivals += descriptors_of[i] > 0;
    }
    is(seen.arrivals, arrivals, "%s: those of each message once", name);
    is(seen.wrong_files, 0, "%s: the right ones", name);
    is(seen.end, RECVFD_EOF, "%s: then the end of file", name);
    close(pair[1]);
}

/* Takes out all that is queued; whether it is the payload, and where descriptors
 * came. */
struct drained {
    size_t bytes;
    bool right;
    int nfds, arrivals, nfds_of_first;
};

static struct drained drain(int socket)
{
    struct drained drained = {.right = true};
    struct raw_message message;
    while (raw_receive(socket, 1, MSG_DONTWAIT, &message) == 1) {
        if (drained.bytes == 0)
            drained.nfds_of_first = message.nfds;
        drained.right = drained.right && message.data[0] == payload[drained.bytes];
        drained.bytes++;
        drained.nfds += message.nfds;
        drained.arrivals += message.nfds > 0;
        close_fds(message.fds, message.nfds);
    }
    return drained;
}

/* Exactly the returned number of bytes arrives, and the descriptors with the first byte,
 * once. */
static void is_exact(const char *name, int pair[2], ssize_t returned)
{
    ok(returned > 0 && returned < (ssize_t)MESSAGE_BYTES, "%s: returns a part, %zd", name,
       returned);
    struct drained drained = drain(pair[1]);
    is((long)drained.bytes, (long)returned, "%s: so many bytes arrive", name);
    ok(drained.right, "%s: the right ones", name);
    is(drained.nfds_of_first, 3, "%s: the first has the descriptors", name);
    is(drained.nfds, 3, "%s: none arrives twice", name);
}

static void short_queue(int pair[2])
{
    socket_pair(SOCK_STREAM, pair);
    need(set_option(pair[0], SO_SNDBUF, 4096));
}

static void dont_wait(void)
{
    const char *name = "MSG_DONTWAIT";
    int pair[2];
    short_queue(pair);
    ssize_t sent = sendfds_msg(pair[0], files, 3, payload, MESSAGE_BYTES, MSG_DONTWAIT);
    fails(sendfds_msg(pair[0], files, 3, payload, 10, MSG_DONTWAIT), EAGAIN,
          "%s: then the queue is full", name);
    is_exact(name, pair, sent);
    close_pair(pair);
}

static void timeout(void)
{
    int pair[2];
    short_queue(pair);
    set_timeout(pair[0], SO_SNDTIMEO, 10);
    is_exact("SO_SNDTIMEO", pair,
             sendfds_msg(pair[0], files, 3, payload, MESSAGE_BYTES, 0));
    close_pair(pair);
}

static void do_nothing(int signal)
{
    (void)signal;
}

/* Without a part that was sent it is EINTR, which c_tests/interrupted.c tests. */
static void interrupted(int flags, const char *name)
{
    int pair[2];
    short_queue(pair);
    set_timeout(pair[0], SO_SNDTIMEO, 50000); /* SA_RESTART restarts nothing then */
    start_ticks(do_nothing, flags);
    ssize_t sent = sendfds_msg(pair[0], files, 3, payload, MESSAGE_BYTES, 0);
    stop_ticks();
    is_exact(name, pair, sent);
    close_pair(pair);
}

/* The peer closes while the send is blocked: the part that was sent is reported first. */
static int send_to_the_end(void *argument)
{
    int *pair = argument;
    close(pair[1]);
    ssize_t sent = sendfds_msg(pair[0], files, 3, payload, MESSAGE_BYTES, 0);
    if (sent <= 0 || sent >= (ssize_t)MESSAGE_BYTES)
        return 1;
    errno = 0;
    return sendfds_msg(pair[0], NULL, 0, payload, 10, 0) == -1 && errno == EPIPE ? 0 : 2;
}

static void peer_closes(void)
{
    int pair[2];
    short_queue(pair);
    pid_t child = run_in_child(send_to_the_end, pair);
    close(pair[0]);
    wait_until_asleep(child);
    close(pair[1]);
    is(wait_for_child(child), 0, "a peer that closes meanwhile: a part, then EPIPE");
}

int main(void)
{
    int before = count_fds();
    open_files(files, SENDFD_MAX_FDS);
    fill_payload();
    megabytes("non-blocking", true, 0);
    megabytes("MSG_DONTWAIT", false, MSG_DONTWAIT);
    dont_wait();
    timeout();
    interrupted(0, "interrupted");
    interrupted(SA_RESTART, "interrupted, with SA_RESTART and SO_SNDTIMEO");
    peer_closes();
    free(payload);
    close_fds(files, SENDFD_MAX_FDS);
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}
