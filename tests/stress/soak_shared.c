/* Implements soak.h: the accounts, and descriptors that carry a label. */
#include "soak.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct shared *shared;

struct channel *channel_of(int from, int to, int type)
{
    return &shared->channels[(from * WORKERS + to) * SOCKET_TYPES + type];
}

void report(const char *format, ...)
{
    char text[200];
    va_list args;
    if (atomic_fetch_add(&shared->wrong, 1) >= 10)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    printf("# round %d: %s\n", shared->round, text);
}

void count_error(int error)
{
    if (error >= 0 && error < 256)
        shared->told[error]++;
}

void sleep_ms(long ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (nanosleep(&time, &time) < 0 && errno == EINTR)
        ;
}

uid_t workers_uid;

bool become_worker(void)
{
    uid_t uid = workers_uid;
    if (getuid() != 0 || uid == 0)
        return true;
    if (setgroups(0, NULL) < 0 && errno != EPERM)
        return false;
    return setresuid(uid, uid, uid) == 0 && prctl(PR_SET_DUMPABLE, 1) == 0;
}

/* --- random numbers ---------------------------------------------------------------- */

uint32_t seed;

bool one_in(uint32_t *state, int n)
{
    return random_below(state, n) == 0;
}

uint32_t state_for(int a, int b, int c)
{
    uint32_t state = (seed ^ (uint32_t)a * 2654435761u) + (uint32_t)b * 40503u +
                     (uint32_t)c * 2246822519u;
    state = state ? state : 1;
    for (int i = 0; i < 8; i++)
        random_below(&state, 1);
    return state;
}

/* --- labels ------------------------------------------------------------------------ */

static uint64_t pack(struct label label)
{
    return (uint64_t)label.number << 32 | (uint64_t)(label.round & 0xffff) << 16 |
           (uint64_t)label.nfds << 8 | label.channel;
}

static struct label unpack(uint64_t bits)
{
    return (struct label){
        .number = (unsigned)(bits >> 32),
        .round = (unsigned)(bits >> 16) & 0xffff,
        .nfds = (unsigned)(bits >> 8) & 0xff,
        .channel = (unsigned)bits & 0xff,
    };
}

bool make_sockets(int type, int pair[2])
{
    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) < 0)
        return false;
    for (int i = 0; i < 2; i++) {
        struct stat status;
        unsigned long place = shared->inodes_seen++;
        if (fstat(pair[i], &status) == 0)
            shared->inodes[place % MOST_INODES] = (uint32_t)status.st_ino;
    }
    return true;
}

static int in_pipe(const uint64_t *bits)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -1;
    bool written = write(ends[1], bits, sizeof *bits) == sizeof *bits;
    close(ends[1]);
    if (written)
        return ends[0];
    close(ends[0]);
    return -1;
}

static int written_to(int fd, const uint64_t *bits)
{
    if (fd >= 0 && write(fd, bits, sizeof *bits) == sizeof *bits)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static int in_file(const uint64_t *bits)
{
    char path[sizeof shared->directory + sizeof "/file.XXXXXX"];
    snprintf(path, sizeof path, "%s/file.XXXXXX", shared->directory);
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    return written_to(fd, bits);
}

/* A socket in whose queue is the label, and with it another such socket, and so on;
 * and the other end of itself. */
static int in_socket(uint32_t *state, const uint64_t *bits, int depth)
{
    int pair[2], fds[2], nfds = 0;
    if (!make_sockets(socket_types[random_below(state, SOCKET_TYPES)].type, pair))
        return -1;
    int inner = depth > 0 ? in_socket(state, bits, depth - 1) : -1;
    if (inner >= 0)
        fds[nfds++] = inner;
    if (one_in(state, 3))
        fds[nfds++] = pair[0];
    bool sent =
        sendfds_msg(pair[0], fds, nfds, bits, sizeof *bits, MSG_DONTWAIT) == sizeof *bits;
    if (inner >= 0)
        close(inner);
    close(pair[0]);
    if (sent)
        return pair[1];
    close(pair[1]);
    return -1;
}

int open_label(uint32_t *state, struct label label)
{
    uint64_t bits = pack(label);
    switch (random_below(state, 12)) {
    case 0:
        return in_file(&bits);
    case 1:
    case 2:
        return written_to(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), &bits);
    case 3:
    case 4:
    case 5:
        return in_pipe(&bits);
    case 6:
    case 7:
    case 8:
        return in_socket(state, &bits, random_below(state, 4));
    default:
        return written_to(memfd_create("soak", MFD_CLOEXEC), &bits);
    }
}

bool read_label(int fd, struct label *label)
{
    struct stat status;
    uint64_t bits;
    ssize_t bytes;
    if (fstat(fd, &status) < 0)
        return false;
    if (S_ISREG(status.st_mode))
        bytes = pread(fd, &bits, sizeof bits, 0);
    else if (S_ISSOCK(status.st_mode))
        bytes = recv(fd, &bits, sizeof bits, MSG_PEEK | MSG_DONTWAIT);
    else
        bytes = read(fd, &bits, sizeof bits);
    *label = unpack(bits);
    return bytes == sizeof bits;
}

void unpack_socket(int socket)
{
    int fds[4], nfds = 4;
    uint64_t bits;
    if (recvfds_msg(socket, fds, &nfds, &bits, sizeof bits, MSG_DONTWAIT) != sizeof bits)
        return;
    if (nfds > 0)
        unpack_socket(fds[0]);
    close_fds(fds, nfds);
}

void leave_a_cycle(void)
{
    int pair[2];
    if (!make_sockets(SOCK_STREAM, pair))
        return;
    for (int i = 0; i < 2; i++)
        if (sendfds_msg(pair[i], pair, 2, "", 1, MSG_DONTWAIT) < 0)
            break;
    close_pair(pair);
}
