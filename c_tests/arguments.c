/* Wrong arguments are reported before anything else is done: with a bad count no memory
 * is read, nothing is sent, nothing is taken from the queue, and a bad socket is not
 * noticed. A receive may have more room than any message needs. message_errors.c tests
 * the arguments of messages with data. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <limits.h>
#include <sys/mman.h>
#include <unistd.h>

/* Two pages, the second of which cannot be touched. */
struct pages {
    char *start;
    size_t size;
    int *forbidden;
};

static struct pages map_pages(void)
{
    struct pages pages = {.size = (size_t)sysconf(_SC_PAGESIZE)};
    pages.start = mmap(NULL, 2 * pages.size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    need(pages.start != MAP_FAILED);
    need(mprotect(pages.start + pages.size, pages.size, PROT_NONE) == 0);
    pages.forbidden = (int *)(void *)(pages.start + pages.size);
    return pages;
}

static const int bad_counts[] = {0, -1, -2, -253, INT_MIN + 1, INT_MIN};
static const int too_many_to_send[] = {254, 255, 256, 257, 65536 + 1, INT_MAX};
#define LENGTH(array) (sizeof(array) / sizeof(array)[0])

/* More than any array of a 32-bit machine, which the compiler would say. */
static volatile int most = INT_MAX;

static void bad_count_of_a_send(const struct socket_type *type, int pair[2], int *array,
                                int nfds)
{
    fails(sendfds(pair[0], array, nfds), EINVAL, "%s: sendfds of %d", type->name, nfds);
    fails(sendfds(pair[0], null_fds, nfds), EINVAL, "%s: of NULL too", type->name);
    fails(sendfds(-1, array, nfds), EINVAL, "%s: on descriptor -1 too", type->name);
}

static void bad_count_of_a_receive(const struct socket_type *type, int pair[2],
                                   int *array, int max_fds)
{
    fails(recvfds(pair[1], array, max_fds), EINVAL, "%s: recvfds of %d", type->name,
          max_fds);
    fails(recvfds(pair[1], null_fds, max_fds), EINVAL, "%s: of NULL too", type->name);
    fails(recvfds(-1, array, max_fds), EINVAL, "%s: on descriptor -1 too", type->name);
}

static void null_array(const struct socket_type *type, int pair[2])
{
    static const int counts[] = {1, 2, SENDFD_MAX_FDS};
    for (size_t i = 0; i < LENGTH(counts); i++) {
        fails(sendfds(pair[0], null_fds, counts[i]), EFAULT,
              "%s: sendfds of %d from NULL", type->name, counts[i]);
        fails(recvfds(pair[1], null_fds, counts[i]), EFAULT, "%s: recvfds of %d to NULL",
              type->name, counts[i]);
    }
    fails(recvfds(pair[1], null_fds, most), EFAULT, "%s: recvfds of INT_MAX to NULL",
          type->name);
    fails(sendfds(-1, null_fds, 1), EFAULT, "%s: sendfds on descriptor -1", type->name);
    fails(recvfds(-1, null_fds, 1), EFAULT, "%s: recvfds on descriptor -1", type->name);
}

/* One message waits all the time, and is the only one in the end. */
static void bad_arguments(const struct socket_type *type, const struct pages *pages)
{
    int pair[2], fd = open_file();
    socket_pair(type->type, pair);
    need(raw_send(pair[0], "a", 1, &fd, 1) == 1);
    for (size_t i = 0; i < LENGTH(bad_counts); i++) {
        bad_count_of_a_send(type, pair, pages->forbidden, bad_counts[i]);
        bad_count_of_a_receive(type, pair, pages->forbidden, bad_counts[i]);
        fails(sendfds_all(pair[0], pages->forbidden, bad_counts[i]), EINVAL,
              "%s: sendfds_all of %d", type->name, bad_counts[i]);
        fails(recvfds_all(pair[1], pages->forbidden, bad_counts[i]), EINVAL,
              "%s: recvfds_all of %d", type->name, bad_counts[i]);
    }
    for (size_t i = 0; i < LENGTH(too_many_to_send); i++)
        bad_count_of_a_send(type, pair, pages->forbidden, too_many_to_send[i]);
    null_array(type, pair);

    int received = recvfd(pair[1]);
    ok(same_file(fd, received), "%s: the message that waited comes", type->name);
    ok(is_empty(pair[1]), "%s: and no other was sent", type->name);
    if (received >= 0)
        close(received);
    close(fd);
    close_pair(pair);
}

/* 254 and more are the same as 253: no message has more. */
static void more_room_than_needed(const struct socket_type *type, const int *files)
{
    static const int rooms[] = {254, 255, 256, 257, 65536, INT_MAX};
    int pair[2], fds[SENDFD_MAX_FDS];
    socket_pair(type->type, pair);
    for (size_t i = 0; i < LENGTH(rooms); i++) {
        need(raw_send(pair[0], "a", 1, files, SENDFD_MAX_FDS) == 1);
        volatile int room = rooms[i]; /* the compiler would know that fds has less */
        int returned = recvfds(pair[1], fds, room);
        is(returned, SENDFD_MAX_FDS, "%s: recvfds of 253 with room for %d", type->name,
           rooms[i]);
        ok(returned == SENDFD_MAX_FDS && same_files(files, fds, returned),
           "%s: the right ones", type->name);
        close_fds(fds, returned);
    }
    close_pair(pair);
}

/* No more is read than is sent, no more written than came: the array ends where
 * the memory does. */
static void end_of_memory(const struct socket_type *type, const int *files,
                          const struct pages *pages)
{
    int pair[2], *last = pages->forbidden - 3;
    socket_pair(type->type, pair);
    for (int i = 0; i < 3; i++)
        last[i] = files[i];
    is(sendfds(pair[0], last, 3), 3, "%s: three at the end of memory are sent",
       type->name);
    is(recvfds(pair[1], last, most), 3, "%s: three are received there", type->name);
    ok(last[0] != files[0] && same_files(files, last, 3), "%s: the right ones",
       type->name);
    close_fds(last, 3);
    for (int i = 0; i < 3; i++)
        last[i] = files[i];
    is(sendfds_all(pair[0], last, 3), 3, "%s: by sendfds_all too", type->name);
    is(recvfds_all(pair[1], last, 3), 3, "%s: and recvfds_all", type->name);
    ok(last[0] != files[0] && same_files(files, last, 3), "%s: the right ones",
       type->name);
    close_fds(last, 3);
    close_pair(pair);
}

int main(void)
{
    int before = count_fds(), files[SENDFD_MAX_FDS];
    struct pages pages = map_pages();
    open_files(files, SENDFD_MAX_FDS);
    for (int i = 0; i < SOCKET_TYPES; i++) {
        bad_arguments(&socket_types[i], &pages);
        more_room_than_needed(&socket_types[i], files);
        end_of_memory(&socket_types[i], files, &pages);
    }
    close_fds(files, SENDFD_MAX_FDS);
    munmap(pages.start, 2 * pages.size);
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}
