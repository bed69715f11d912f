/* Makes each call that succeeds, as a program linked with libsendfd or with
 * hand_written.c:
 *
 *     calls COUNT    each so many times, for callgrind to count the instructions
 *     stack          prints each function and the bytes of stack that a call uses */
#include "sendfd.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAINTED ((size_t)32 * 1024)
#define PAINT 0xa5

static int sender, receiver;
static int files[SENDFD_MAX_FDS], received[SENDFD_MAX_FDS];

static void need(int holds, const char *what)
{
    if (holds)
        return;
    perror(what);
    exit(1);
}

/* Every sending step is followed by the one that receives what it sent. */
static int do_nothing(void)
{
    return 0;
}

static int do_sendfd(void)
{
    return sendfd(sender, files[0]) == 1 ? 0 : -1;
}

static int do_recvfd(void)
{
    received[0] = recvfd(receiver);
    return received[0] >= 0 ? 1 : -1;
}

static int do_sendfds(void)
{
    return sendfds(sender, files, SENDFD_MAX_FDS) == SENDFD_MAX_FDS ? 0 : -1;
}

static int do_recvfds(void)
{
    return recvfds(receiver, received, SENDFD_MAX_FDS);
}

static int do_sendfds_msg(void)
{
    return sendfds_msg(sender, files, 1, "request", 7, 0) == 7 ? 0 : -1;
}

static int do_recvfds_msg(void)
{
    char data[16];
    int nfds = 1;
    ssize_t bytes = recvfds_msg(receiver, received, &nfds, data, sizeof data, 0);
    return bytes == 7 ? nfds : -1;
}

static const struct step {
    const char *function;
    int (*call)(void); /* how many descriptors it has received, or -1 */
    int receives;
} steps[] = {
    {"sendfd", do_sendfd, 0},           {"recvfd", do_recvfd, 1},
    {"sendfds", do_sendfds, 0},         {"recvfds", do_recvfds, SENDFD_MAX_FDS},
    {"sendfds_msg", do_sendfds_msg, 0}, {"recvfds_msg", do_recvfds_msg, 1},
};
#define NSTEPS (sizeof steps / sizeof *steps)

static void make_calls(int count)
{
    for (int i = 0; i < count; i++)
        for (size_t s = 0; s < NSTEPS; s++) {
            need(steps[s].call() == steps[s].receives, steps[s].function);
            for (int fd = 0; fd < steps[s].receives; fd++)
                close(received[fd]);
        }
}

/* Paints the stack below the frame of the caller. */
__attribute__((noinline)) static void paint(void)
{
    unsigned char area[PAINTED];
    memset(area, PAINT, sizeof area);
    __asm__ volatile("" : : "r"(area) : "memory");
}

/* How far below this frame a call writes. */
__attribute__((noinline)) static long depth(int (*call)(void), int *result)
{
    const unsigned char *frame = __builtin_frame_address(0), *lowest = frame - PAINTED;
    paint();
    *result = call();
    /* The painted part starts below this frame, and so ends below the part that this
     * inspects. */
    while (*lowest == PAINT)
        lowest++;
    return (long)(frame - lowest);
}

static void measure_stack(void)
{
    int result;
    for (size_t s = 0; s < NSTEPS; s++) {
        long of_nothing = depth(do_nothing, &result);
        long used = depth(steps[s].call, &result) - of_nothing;
        need(result == steps[s].receives, steps[s].function);
        for (int fd = 0; fd < steps[s].receives; fd++)
            close(received[fd]);
        printf("%s %ld\n", steps[s].function, used);
    }
}

int main(int argc, char **argv)
{
    int pair[2];
    need(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "socketpair");
    sender = pair[0];
    receiver = pair[1];
    for (int i = 0; i < SENDFD_MAX_FDS; i++)
        need((files[i] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0, "/dev/null");
    if (argc == 3 && strcmp(argv[1], "calls") == 0) {
        make_calls(atoi(argv[2]));
    } else if (argc == 2 && strcmp(argv[1], "stack") == 0) {
        measure_stack();
    } else {
        fprintf(stderr, "usage: user_space calls COUNT or user_space stack\n");
        return 2;
    }
    return 0;
}
