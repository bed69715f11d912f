/* No call of the library, whether it succeeds or fails, allocates memory or
 * takes a lock: the functions that would are replaced here by ones that count.
 * And each call uses less than 4 KiB of stack: it runs on one that was painted. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define STACK_LIMIT 4096
#define STACK_SIZE ((size_t)256 * 1024)
#define PAINTED ((size_t)32 * 1024) /* before each call */
#define PAINT 0xa5

/* --- what counts ---------------------------------------------------------- */

static volatile int counted;

/* A sanitizer brings an allocator of its own, and another layout of the stack. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#    define REPLACES_ALLOCATOR 0
#else
#    define REPLACES_ALLOCATOR 1

/* The whole program allocates from here and gives nothing back: it needs little. */
static _Alignas(max_align_t) unsigned char arena[1 << 20];
static size_t used;

static void *take(size_t size, size_t alignment)
{
    counted++;
    size_t start = (used + sizeof(size_t) + alignment - 1) / alignment * alignment;
    if (size > sizeof arena || start + size > sizeof arena) {
        errno = ENOMEM;
        return NULL;
    }
    memcpy(&arena[start - sizeof size], &size, sizeof size);
    used = start + size;
    return &arena[start];
}

void *malloc(size_t size)
{
    return take(size, _Alignof(max_align_t));
}

void free(void *block)
{
    (void)block;
    counted++;
}

void *calloc(size_t number, size_t size)
{
    /* The arena starts as zeros and nothing in it is used twice. */
    return take(number * size, _Alignof(max_align_t));
}

void *realloc(void *block, size_t size)
{
    size_t old = 0;
    void *moved = take(size, _Alignof(max_align_t));
    if (block)
        memcpy(&old, (unsigned char *)block - sizeof old, sizeof old);
    if (moved && block)
        memcpy(moved, block, old < size ? old : size);
    return moved;
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return take(size, alignment);
}

int posix_memalign(void **place, size_t alignment, size_t size)
{
    *place = take(size, alignment);
    return *place ? 0 : ENOMEM;
}

/* Nobody but the library could call these: libc does not go through its symbols. */
void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
    (void)address, (void)length, (void)protection, (void)flags, (void)fd, (void)offset;
    counted++;
    errno = ENOMEM;
    return MAP_FAILED;
}

void *sbrk(intptr_t increment)
{
    (void)increment;
    counted++;
    errno = ENOMEM;
    return MAP_FAILED;
}

static int count(void)
{
    counted++;
    return 0;
}

int pthread_mutex_lock(pthread_mutex_t *mutex)
{
    (void)mutex;
    return count();
}

int pthread_mutex_trylock(pthread_mutex_t *mutex)
{
    (void)mutex;
    return count();
}

int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    (void)mutex;
    return count();
}

int pthread_rwlock_rdlock(pthread_rwlock_t *lock)
{
    (void)lock;
    return count();
}

int pthread_rwlock_wrlock(pthread_rwlock_t *lock)
{
    (void)lock;
    return count();
}

int pthread_rwlock_unlock(pthread_rwlock_t *lock)
{
    (void)lock;
    return count();
}
#endif

/* --- the calls ------------------------------------------------------------ */

#define MANY (2 * SENDFD_MAX_FDS)

static int pair[2], inet, fds[MANY], received[MANY];
static char data[65536];
static struct rlimit limit;

/* What comes before a call. */
static void send_many(void)
{
    need(raw_send(pair[0], "", 1, fds, SENDFD_MAX_FDS) == 1);
}

static void send_three(void)
{
    need(raw_send(pair[0], "", 1, fds, 3) == 1);
}

static void send_one(void)
{
    need(raw_send(pair[0], "", 1, fds, 1) == 1);
}

static void send_none(void)
{
    need(raw_send(pair[0], "", 1, NULL, 0) == 1);
}

/* There is room in the table of descriptors for two of the many that come. */
static void fill_table(void)
{
    struct rlimit full = limit;
    send_many();
    int next = dup(inet);
    need(next >= 0 && close(next) == 0);
    full.rlim_cur = (rlim_t)next + 2;
    need(setrlimit(RLIMIT_NOFILE, &full) == 0);
}

static void make_nonblocking(void)
{
    set_nonblocking(pair[0]);
    set_nonblocking(pair[1]);
}

static void fill_up(void)
{
    make_nonblocking();
    need(fill_queue(pair[0]) > 0);
}

static void close_receiver(void)
{
    need(close(pair[1]) == 0);
    pair[1] = -1;
}

static void end_the_file(void)
{
    need(close(pair[0]) == 0);
    pair[0] = -1;
}

static int call_sendfd(void)
{
    return sendfd(pair[0], fds[0]);
}

static int call_sendfds(void)
{
    return sendfds(pair[0], fds, SENDFD_MAX_FDS);
}

static int call_recvfd(void)
{
    received[0] = recvfd(pair[1]);
    return received[0] >= 0 ? 1 : received[0];
}

static int call_recvfds(void)
{
    return recvfds(pair[1], received, SENDFD_MAX_FDS);
}

static int call_recvfds_of_two(void)
{
    return recvfds(pair[1], received, 2);
}

static void send_bytes(void)
{
    need(raw_send(pair[0], "0123456789", 10, fds, SENDFD_MAX_FDS) == 10);
}

static void send_twice(void)
{
    send_many();
    send_many();
}

static void send_once_to_nonblocking(void)
{
    make_nonblocking();
    send_three();
}

static int call_sendfds_all(void)
{
    return sendfds_all(pair[0], fds, MANY);
}

static int call_recvfds_all(void)
{
    return recvfds_all(pair[1], received, MANY);
}

static int recvfds_all_of_two(void)
{
    return recvfds_all(pair[1], received, 2);
}

static int sendfds_all_of_none(void)
{
    return sendfds_all(pair[0], fds, 0);
}

static int call_sendfds_msg(void)
{
    return (int)sendfds_msg(pair[0], fds, SENDFD_MAX_FDS, data, sizeof data, 0);
}

static int sendfds_msg_out_of_band(void)
{
    return (int)sendfds_msg(pair[0], fds, 1, "a", 1, MSG_OOB);
}

static int receive_message(int nfds, size_t len, int flags)
{
    return (int)recvfds_msg(pair[1], received, &nfds, data, len, flags);
}

static int call_recvfds_msg(void)
{
    return receive_message(SENDFD_MAX_FDS, sizeof data, 0);
}

static int call_recvfds_msg_to_peek(void)
{
    return receive_message(SENDFD_MAX_FDS, sizeof data, MSG_PEEK);
}

static int recvfds_msg_of_two(void)
{
    return receive_message(2, sizeof data, 0);
}

static int recvfds_msg_with_flag(void)
{
    return receive_message(2, sizeof data, MSG_OOB);
}

static int sendfd_of_bad(void)
{
    return sendfd(pair[0], -1);
}

static int sendfds_to_bad(void)
{
    return sendfds(-1, fds, 3);
}

static int sendfds_of_too_many(void)
{
    return sendfds(pair[0], fds, SENDFD_MAX_FDS + 1);
}

static int sendfds_of_null(void)
{
    return sendfds(pair[0], null_fds, 1);
}

static int sendfd_to_inet(void)
{
    return sendfd(inet, fds[0]);
}

static int recvfds_of_none(void)
{
    return recvfds(pair[1], received, 0);
}

static int recvfds_to_null(void)
{
    return recvfds(pair[1], null_fds, 1);
}

static int recvfd_from_bad(void)
{
    return recvfd(-1);
}

static int call_version(void)
{
    return sendfd_version()[0] == SENDFD_VERSION[0];
}

struct call {
    const char *name;
    void (*prepare)(void); /* unless it is NULL */
    int (*make)(void);
    int returns, error; /* the errno of -1, unless it differs between the types */
};

static const struct call calls[] = {
    {"sendfd", NULL, call_sendfd, 1, 0},
    {"sendfds of 253", NULL, call_sendfds, SENDFD_MAX_FDS, 0},
    {"recvfd", send_one, call_recvfd, 1, 0},
    {"recvfds of 253", send_many, call_recvfds, SENDFD_MAX_FDS, 0},
    {"sendfd_version", NULL, call_version, 1, 0},
    {"sendfd of descriptor -1", NULL, sendfd_of_bad, -1, EBADF},
    {"sendfds to socket -1", NULL, sendfds_to_bad, -1, EBADF},
    {"sendfds of 254", NULL, sendfds_of_too_many, -1, EINVAL},
    {"sendfds of NULL", NULL, sendfds_of_null, -1, EFAULT},
    {"sendfd to another kind of socket", NULL, sendfd_to_inet, -1, EAFNOSUPPORT},
    {"sendfd on a full queue", fill_up, call_sendfd, -1, EAGAIN},
    {"sendfds on a full queue", fill_up, call_sendfds, -1, EAGAIN},
    {"sendfd to a closed peer", close_receiver, call_sendfd, -1, 0},
    {"sendfds to a closed peer", close_receiver, call_sendfds, -1, 0},
    {"recvfds of 0", send_three, recvfds_of_none, -1, EINVAL},
    {"recvfds to NULL", send_three, recvfds_to_null, -1, EFAULT},
    {"recvfd from socket -1", NULL, recvfd_from_bad, -1, EBADF},
    {"recvfd on an empty queue", make_nonblocking, call_recvfd, -1, EAGAIN},
    {"recvfds on an empty queue", make_nonblocking, call_recvfds, -1, EAGAIN},
    {"recvfd of none", send_none, call_recvfd, -1, ENOMSG},
    {"recvfds of none", send_none, call_recvfds, -1, ENOMSG},
    {"recvfd of 253", send_many, call_recvfd, -1, EMSGSIZE},
    {"recvfds of 3 into 2", send_three, call_recvfds_of_two, -1, EMSGSIZE},
    {"recvfds with a full table", fill_table, call_recvfds, -1, EMFILE},
    {"recvfd at the end of file", end_the_file, call_recvfd, RECVFD_EOF, 0},
    {"recvfds at the end of file", end_the_file, call_recvfds, RECVFD_EOF, 0},
    {"sendfds_all of 506", NULL, call_sendfds_all, MANY, 0},
    {"sendfds_all of 0", NULL, sendfds_all_of_none, -1, EINVAL},
    {"sendfds_all on a full queue", fill_up, call_sendfds_all, -1, EAGAIN},
    {"recvfds_all of 506", send_twice, call_recvfds_all, MANY, 0},
    {"recvfds_all of some", send_once_to_nonblocking, call_recvfds_all, 3, 0},
    {"recvfds_all of 3 into 2", send_three, recvfds_all_of_two, -1, EMSGSIZE},
    {"recvfds_all with a full table", fill_table, call_recvfds_all, -1, EMFILE},
    {"recvfds_all at the end of file", end_the_file, call_recvfds_all, RECVFD_EOF, 0},
    {"sendfds_msg of 253 and 64 KiB", NULL, call_sendfds_msg, sizeof data, 0},
    {"sendfds_msg with MSG_OOB", NULL, sendfds_msg_out_of_band, -1, EINVAL},
    {"sendfds_msg to a closed peer", close_receiver, call_sendfds_msg, -1, 0},
    {"recvfds_msg of 253", send_bytes, call_recvfds_msg, 10, 0},
    {"recvfds_msg with MSG_PEEK", send_bytes, call_recvfds_msg_to_peek, 10, 0},
    {"recvfds_msg of 253 into 2", send_bytes, recvfds_msg_of_two, -1, EMSGSIZE},
    {"recvfds_msg with MSG_OOB", send_bytes, recvfds_msg_with_flag, -1, EINVAL},
    {"recvfds_msg with a full table", fill_table, call_recvfds_msg, -1, EMFILE},
    {"recvfds_msg at the end of file", end_the_file, call_recvfds_msg, RECVFD_EOF, 0},
};
#define CALLS (sizeof calls / sizeof *calls)

/* --- the measurement ------------------------------------------------------ */

/* What a call did. */
struct use {
    int returned, error, counted;
    long stack; /* bytes, those of the measurement's own frame among them */
};

/* Paints the stack below the frame of the caller. */
__attribute__((noinline)) static void paint_stack(void)
{
    unsigned char area[PAINTED];
    memset(area, PAINT, sizeof area);
    __asm__ volatile("" : : "r"(area) : "memory");
}

__attribute__((noinline)) static struct use measure(int (*make)(void))
{
    struct use use;
    paint_stack();
    counted = 0;
    errno = 0;
    use.returned = make();
    use.error = errno;
    use.counted = counted;
    /* What was painted starts below this frame and so ends below where this looks. */
    const unsigned char *frame = __builtin_frame_address(0), *lowest = frame - PAINTED;
    while (*lowest == PAINT)
        lowest++;
    use.stack = (long)(frame - lowest);
    return use;
}

/* On a stack that is large enough for what is painted and where none else writes. */
static void run_on_own_stack(void *(*work)(void *), void *argument)
{
    static _Alignas(4096) unsigned char stack[STACK_SIZE];
    pthread_t thread;
    pthread_attr_t attributes;
    need(pthread_attr_init(&attributes) == 0);
    need(pthread_attr_setstack(&attributes, stack, sizeof stack) == 0);
    need(pthread_create(&thread, &attributes, work, argument) == 0);
    need(pthread_join(thread, NULL) == 0);
    need(pthread_attr_destroy(&attributes) == 0);
}

/* That the measurement would see it. strdup is in another shared object. */
static int allocate(void)
{
    char *volatile copy = strdup("text");
    free(copy);
    return 0;
}

static int lock(void)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    return pthread_mutex_lock(&mutex) + pthread_mutex_unlock(&mutex);
}

static int use_stack(void)
{
    unsigned char area[STACK_LIMIT];
    memset(area, 1, sizeof area);
    __asm__ volatile("" : : "r"(area) : "memory");
    return 0;
}

static int do_nothing(void)
{
    return 0;
}

static struct use of_allocate, of_lock, of_use_stack, of_nothing;

static void *measure_the_measurement(void *unused)
{
    (void)unused;
    of_allocate = measure(allocate);
    of_lock = measure(lock);
    of_use_stack = measure(use_stack);
    of_nothing = measure(do_nothing);
    return NULL;
}

static void set_up(const struct call *call, int type)
{
    for (int i = 0; i < MANY; i++)
        received[i] = -1;
    socket_pair(type, pair);
    if (call->prepare)
        call->prepare();
}

static void clean_up(void)
{
    need(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    for (int i = 0; i < MANY; i++)
        if (received[i] >= 0)
            close(received[i]);
    close_pair(pair);
}

/* Socket types have an end of file, or not. */
static bool is_made(const struct call *call, int type)
{
    return call->prepare != end_the_file || type != SOCK_DGRAM;
}

struct run {
    int type;
    struct use uses[CALLS];
};

static void *make_calls(void *argument)
{
    struct run *run = argument;
    for (size_t i = 0; i < CALLS; i++)
        if (is_made(&calls[i], run->type)) {
            set_up(&calls[i], run->type);
            run->uses[i] = measure(calls[i].make);
            clean_up();
        }
    return NULL;
}

static long most_stack;

static void check_calls(const struct socket_type *type)
{
    static struct run run;
    run.type = type->type;
    /* The first time the dynamic linker may have to find the functions. */
    run_on_own_stack(make_calls, &run);
    run_on_own_stack(make_calls, &run);
    for (size_t i = 0; i < CALLS; i++) {
        const struct call *call = &calls[i];
        const struct use *use = &run.uses[i];
        if (!is_made(call, type->type))
            continue;
        ok(use->returned == call->returns && (!call->error || use->error == call->error),
           "%s: %s: returns %d", type->name, call->name, call->returns);
        is(use->counted, 0, "%s: %s: allocates nothing and locks nothing", type->name,
           call->name);
        ok(use->stack < STACK_LIMIT, "%s: %s: uses %ld bytes of stack", type->name,
           call->name, use->stack);
        if (use->stack > most_stack)
            most_stack = use->stack;
    }
}

int main(void)
{
    if (REPLACES_ALLOCATOR) {
        run_on_own_stack(measure_the_measurement, NULL);
        run_on_own_stack(measure_the_measurement, NULL);
    }
    if (of_allocate.counted == 0) {
        tap_skip("something else has replaced the allocator");
        return tap_done();
    }
    is(of_allocate.counted, 2, "a call that allocates and frees is seen");
    is(of_lock.counted, 2, "a call that locks and unlocks is seen");
    ok(of_use_stack.stack > STACK_LIMIT, "a call that uses 4 KiB of stack is seen");
    ok(of_nothing.stack < 512, "a call that uses none has %ld bytes", of_nothing.stack);

    int before = count_fds();
    need(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    inet = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    need(inet >= 0);
    open_files(fds, MANY);
    for (int i = 0; i < SOCKET_TYPES; i++)
        check_calls(&socket_types[i]);
    tap_note("the most stack that a call uses is %ld bytes", most_stack);
    close_fds(fds, MANY);
    close(inet);
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}
