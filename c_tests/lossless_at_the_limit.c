/* At the descriptor limit a message that is received is lost. The recipe of libsendfd(7)
 * loses none: peek with recvfds_msg, and when that has returned the descriptors, consume
 * as many bytes with read(2), which opens nothing. If the table is full, the peek fails
 * and the message stays queued until there is room, even if another thread makes it. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define FILES 31
#define MESSAGES 600
#define ROUND 10      /* messages in the queue at once */
#define MOST_HELD 400 /* descriptors */
#define MOST_BYTES 40

static int files[FILES];

/* How many descriptors message number i has, and with how many bytes. */
static int nfds_of(int i)
{
    return i % 5 == 3 ? 0 : i % 50 == 7 ? SENDFD_MAX_FDS : 1 + i * 7 % 23;
}

static int bytes_of(int i)
{
    return 1 + i * 11 % MOST_BYTES;
}

/* The messages and descriptors that a test sends. */
static int messages_sent, descriptors_sent;
static long bytes_sent;

static void send_message(int socket)
{
    int fds[SENDFD_MAX_FDS], nfds = nfds_of(messages_sent);
    unsigned char data[MOST_BYTES];
    for (int i = 0; i < nfds; i++)
        fds[i] = files[(descriptors_sent + i) % FILES];
    for (int i = 0; i < bytes_of(messages_sent); i++)
        data[i] = (unsigned char)(bytes_sent + i);
    ssize_t len = bytes_of(messages_sent);
    need(sendfds_msg(socket, fds, nfds, data, (size_t)len, 0) == len);
    messages_sent++;
    descriptors_sent += nfds;
    bytes_sent += len;
}

/* What has been received: the latest descriptors, which are held open, and counts. */
static int held[MOST_HELD + SENDFD_MAX_FDS], nheld;
static int descriptors_came, full_tables, wrong;
static long bytes_came;

static void release_all(void)
{
    close_fds(held, nheld);
    nheld = 0;
}

/* Takes what is next in the queue; false if the table has no room for it. There is
 * room for more bytes than are queued: a peek at a stream that ends earlier may bring
 * the descriptors of a message behind it. */
static bool receive_without_loss(int socket)
{
    unsigned char data[ROUND * MOST_BYTES + 1], consumed[sizeof data];
    int nfds = SENDFD_MAX_FDS;
    ssize_t bytes = recvfds_msg(socket, held + nheld, &nfds, data, sizeof data, MSG_PEEK);
    if (bytes < 0) {
        need(errno == EMFILE);
        full_tables++;
        return false;
    }
    wrong += read(socket, consumed, (size_t)bytes) != bytes ||
             memcmp(data, consumed, (size_t)bytes) != 0;
    for (ssize_t i = 0; i < bytes; i++)
        wrong += data[i] != (unsigned char)(bytes_came + i);
    for (int i = 0; i < nfds; i++)
        wrong += !same_file(held[nheld + i], files[(descriptors_came + i) % FILES]);
    bytes_came += bytes;
    descriptors_came += nfds;
    nheld += nfds;
    return true;
}

/* The limit goes up and down: at times there is room for few, or for none, and it is
 * to be made by closing what is held or by raising the limit. */
static void change_limit(int round)
{
    restore_limit();
    if (round % 4 != 3)
        leave_room_for(round * 5 % 60);
}

static void make_room(int times)
{
    if (times % 2)
        release_all();
    else
        restore_limit();
}

static void loses_nothing(const struct socket_type *type)
{
    int pair[2];
    messages_sent = descriptors_sent = descriptors_came = full_tables = wrong = nheld = 0;
    bytes_sent = bytes_came = 0;
    bool left_open = false;
    socket_pair(type->type, pair);
    int before = count_fds();
    for (int round = 0; round < MESSAGES / ROUND; round++) {
        for (int i = 0; i < ROUND; i++)
            send_message(pair[0]);
        change_limit(round);
        for (int times = 1; !is_empty(pair[1]); times++) {
            if (!receive_without_loss(pair[1]))
                make_room(round < 3 ? 0 : times);
            if (nheld > MOST_HELD - SENDFD_MAX_FDS)
                release_all();
        }
        restore_limit();
        left_open = left_open || count_fds() != before + nheld;
    }
    is((long)bytes_came, (long)bytes_sent, "%s: all bytes of %d messages come",
       type->name, messages_sent);
    is(descriptors_came, descriptors_sent, "%s: and all descriptors, each once",
       type->name);
    is(wrong, 0, "%s: the right ones in the right order", type->name);
    ok(!left_open, "%s: what is open is what was handed over", type->name);
    ok(full_tables > MESSAGES / ROUND / 2, "%s: although the table was full %d times",
       type->name, full_tables);
    release_all();
    is(count_fds(), before, "%s: and nothing else was open", type->name);
    close_pair(pair);
}

/* The recipe step by step, and what happens without it. */
static void step_by_step(const struct socket_type *type)
{
    int pair[2], fds[5], nfds = 5;
    char data[16];
    socket_pair(type->type, pair);
    int before = count_fds();
    need(sendfds_msg(pair[0], files, 5, "first", 5, 0) == 5);
    need(sendfds_msg(pair[0], files, 5, "second", 6, 0) == 6);
    leave_room_for(0);
    for (int i = 0; i < 3; i++) {
        nfds = 5;
        fails(recvfds_msg(pair[1], fds, &nfds, data, sizeof data, MSG_PEEK), EMFILE,
              "%s: a peek without room", type->name);
        ok(!is_empty(pair[1]), "%s: the message stays queued", type->name);
    }
    restore_limit();
    leave_room_for(5);
    nfds = 5;
    is(recvfds_msg(pair[1], fds, &nfds, data, sizeof data, MSG_PEEK), 5,
       "%s: a peek with room", type->name);
    ok(nfds == 5 && same_files(fds, files, 5), "%s: brings all", type->name);
    is(read(pair[1], data, 5), 5, "%s: to consume it needs no room", type->name);
    restore_limit();
    is(count_fds(), before + 5, "%s: nothing is open twice", type->name);
    close_fds(fds, 5);
    leave_room_for(4);
    nfds = 5;
    fails(recvfds_msg(pair[1], fds, &nfds, data, sizeof data, 0), EMFILE,
          "%s: a receive without room", type->name);
    restore_limit();
    ok(is_empty(pair[1]), "%s: loses the message", type->name);
    is(count_fds(), before, "%s: and leaves nothing open", type->name);
    close_pair(pair);
}

/* --- with a thread that opens and closes -------------------------------------- */

#define BESIDE_MESSAGES 3000

static atomic_bool over;

static void *open_and_close(void *unused)
{
    while (!over) {
        int fd = dup(0);
        if (fd >= 0)
            close(fd);
    }
    return unused;
}

/* Descriptors that other processes of this user have in flight count, and the limit is
 * low. */
static void send_one(int socket, int fd)
{
    while (sendfds(socket, &fd, 1) != 1)
        need(errno == ETOOMANYREFS && sched_yield() == 0);
}

/* The thread takes the only room and gives it back: a peek reports EMFILE, or EACCES
 * where it has come back before the library could see that there was none. */
static void beside_a_thread(const struct socket_type *type)
{
    int pair[2], came = 0, failed = 0, others = 0;
    bool right = true;
    char byte, consumed;
    pthread_t thread;
    socket_pair(type->type, pair);
    int before = count_fds();
    over = false;
    leave_room_for(1);
    need(pthread_create(&thread, NULL, open_and_close, NULL) == 0);
    for (int i = 0; i < BESIDE_MESSAGES; i++) {
        int fd, nfds;
        send_one(pair[0], files[i % FILES]);
        while (nfds = 1, recvfds_msg(pair[1], &fd, &nfds, &byte, 1, MSG_PEEK) == -1) {
            failed++;
            others += errno != EMFILE && errno != EACCES;
        }
        right = right && nfds == 1 && same_file(fd, files[i % FILES]);
        close_fds(&fd, nfds);
        came += read(pair[1], &consumed, 1) == 1;
    }
    over = true;
    need(pthread_join(thread, NULL) == 0);
    restore_limit();
    is(came, BESIDE_MESSAGES,
       "%s: all messages come in spite of a thread (%d peeks failed)", type->name,
       failed);
    ok(right, "%s: with their descriptors", type->name);
    is(others, 0, "%s: peeks fail with EMFILE or EACCES only", type->name);
    is(count_fds(), before, "%s: and nothing is left open", type->name);
    close_pair(pair);
}

int main(void)
{
    int before = count_fds();
    open_files(files, FILES);
    for (int i = 0; i < SOCKET_TYPES; i++) {
        step_by_step(&socket_types[i]);
        loses_nothing(&socket_types[i]);
        beside_a_thread(&socket_types[i]);
    }
    close_fds(files, FILES);
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}
