/* Included in one file of a program, this puts sendmsg, recvmsg, getsockopt, getsockname,
 * fcntl, close, nanosleep and syscall of its own before those of libc, which the library
 * then calls. They count, keep what they were passed, and fail, or put control messages
 * into a receive, as a test has asked. */
#ifndef SIMULATION_H
#define SIMULATION_H

#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PIDFD 4 /* SCM_PIDFD, Linux 6.5 */

/* The system calls that the library makes. */
enum call { SENDMSG, RECVMSG, GETSOCKNAME, GETSOCKOPT, FCNTL, CLOSE, NANOSLEEP, CALLS };

/* A control message that the simulated kernel delivers. */
struct simulated_message {
    int level, type;
    int slots[256], nslots;
    size_t claimed_len; /* where it is not 0: what cmsg_len says */
};

static struct {
    /* What is to happen. With an errno of 0 the real call is made. */
    int sendmsg_error, recvmsg_error, getsockopt_error, dup_error, close_error;
    int sleep_error, getsockname_error;
    int sendmsg_errors;   /* how many times; 0: each time */
    long send_timeout;    /* SO_SNDTIMEO in microseconds, where it is not 0 */
    int nonblocking_from; /* O_NONBLOCK is set on sleeping_socket in this sleep */
    int sleeping_socket;
    int (*fault)(enum call call); /* asked before each: the errno to fail with, or 0 */
    bool unclosed;                /* a close that fails does not close, as with strace */
    int more_flags;               /* in msg_flags of each receive */
    bool once;                    /* only the next receive */
    bool interferes;              /* the messages below replace those that came */
    struct simulated_message messages[8];
    int nmessages, flags;
    size_t extra_controllen;
    bool at_the_end; /* of the buffer: one that is ignored fills it up to the messages */

    /* What has happened. */
    int sendmsgs, recvmsgs, fcntls, closes, sleeps, others;
    int domain_calls; /* those that ask for the domain: getsockname or SO_DOMAIN */
    int getsockopts;  /* of any other option */
    long slept[16];   /* microseconds, of each sleep */
    long slept_in_all;
    int dup_command, closes_before_dup, negative_closes;
    int send_flags, receive_flags;
    size_t send_controllen, send_cmsg_len, receive_controllen;
    size_t send_bytes, receive_bytes;
} kernel;

static inline void reset_kernel(void)
{
    memset(&kernel, 0, sizeof kernel);
}

static inline int calls_made(void)
{
    return kernel.sendmsgs + kernel.recvmsgs + kernel.fcntls + kernel.closes +
           kernel.sleeps + kernel.others + kernel.domain_calls + kernel.getsockopts;
}

/* The names for the linker are given because a libc may redirect those in C, as
 * to variants with 64-bit time or offsets, which are not what the library calls.
 * Without them, WITHOUT_SHIM, the library calls libc. */
#ifdef WITHOUT_SHIM
#    define REPLACES(name)
#else
#    define REPLACES(name) __asm__(name)
#endif
ssize_t simulated_sendmsg(int, const struct msghdr *, int) REPLACES("sendmsg");
ssize_t simulated_recvmsg(int, struct msghdr *, int) REPLACES("recvmsg");
int simulated_getsockopt(int, int, int, void *, socklen_t *) REPLACES("getsockopt");
int simulated_getsockname(int, struct sockaddr *, socklen_t *) REPLACES("getsockname");
int simulated_fcntl(int, int, ...) REPLACES("fcntl");
int simulated_close(int) REPLACES("close");
int simulated_nanosleep(const long *, long *) REPLACES("nanosleep");
long simulated_syscall(long, ...) REPLACES("syscall");

/* The system call itself, which the one below would count. */
static long really(long number, long a, long b, long c, long d, long e)
{
    static long (*function)(long, ...);
    if (!function)
        *(void **)&function = dlsym(RTLD_NEXT, "syscall");
    return function(number, a, b, c, d, e);
}

static inline int failure(int error)
{
    errno = error;
    return -1;
}

static int fault_in(enum call call)
{
    return kernel.fault ? kernel.fault(call) : 0;
}

ssize_t simulated_sendmsg(int socket, const struct msghdr *message, int flags)
{
    const struct cmsghdr *header = CMSG_FIRSTHDR(message);
    kernel.sendmsgs++;
    kernel.send_flags = flags;
    kernel.send_bytes = message->msg_iovlen ? message->msg_iov[0].iov_len : 0;
    kernel.send_controllen = message->msg_controllen;
    kernel.send_cmsg_len = header ? header->cmsg_len : 0;
    int error = fault_in(SENDMSG);
    if (error)
        return failure(error);
    if (kernel.sendmsg_error &&
        (kernel.sendmsg_errors == 0 || kernel.sendmsgs <= kernel.sendmsg_errors))
        return failure(kernel.sendmsg_error);
    return really(SYS_sendmsg, socket, (long)message, flags, 0, 0);
}

static size_t append(char *control, size_t used,
                     const struct simulated_message *simulated)
{
    size_t size = sizeof(int) * (size_t)simulated->nslots;
    struct cmsghdr header = {
        .cmsg_level = simulated->level,
        .cmsg_type = simulated->type,
        .cmsg_len = simulated->claimed_len ? simulated->claimed_len : CMSG_LEN(size),
    };
    memcpy(control + used, &header, sizeof header);
    memcpy(control + used + CMSG_LEN(0), simulated->slots, size);
    if (header.cmsg_len > CMSG_LEN(size) &&
        header.cmsg_len < CMSG_LEN(size + sizeof(int)))
        size = header.cmsg_len - CMSG_LEN(0);
    return used + CMSG_SPACE(size);
}

/* Where the first message begins for the last to end with the buffer; one that is
 * nothing to the library fills it up to there. */
static size_t fill_up(char *control, size_t room)
{
    size_t used = room;
    for (int i = 0; i < kernel.nmessages; i++)
        used -= CMSG_SPACE(sizeof(int) * (size_t)kernel.messages[i].nslots);
    struct cmsghdr header = {
        .cmsg_level = SOL_SOCKET,
        .cmsg_type = SCM_CREDENTIALS,
        .cmsg_len = used,
    };
    memcpy(control, &header, sizeof header);
    return used;
}

static void interfere(struct msghdr *message, size_t room)
{
    size_t used = 0;
    memset(message->msg_control, 0, room);
    if (kernel.at_the_end)
        used = fill_up(message->msg_control, room);
    for (int i = 0; i < kernel.nmessages; i++) {
        size_t size = sizeof(int) * (size_t)kernel.messages[i].nslots;
        need(used + CMSG_SPACE(size) <= room);
        used = append(message->msg_control, used, &kernel.messages[i]);
    }
    message->msg_controllen = used + kernel.extra_controllen;
    message->msg_flags |= kernel.flags;
}

ssize_t simulated_recvmsg(int socket, struct msghdr *message, int flags)
{
    size_t room = message->msg_controllen;
    kernel.recvmsgs++;
    kernel.receive_flags = flags;
    kernel.receive_bytes = message->msg_iovlen ? message->msg_iov[0].iov_len : 0;
    kernel.receive_controllen = room;
    int error = fault_in(RECVMSG);
    if (error || kernel.recvmsg_error)
        return failure(error ? error : kernel.recvmsg_error);
    ssize_t received = really(SYS_recvmsg, socket, (long)message, flags, 0, 0);
    if (received >= 0)
        message->msg_flags |= kernel.more_flags;
    if (received >= 0 && kernel.interferes)
        interfere(message, room);
    kernel.interferes = kernel.interferes && !kernel.once;
    return received;
}

int simulated_getsockopt(int socket, int level, int option, void *value,
                         socklen_t *length)
{
    if (option == SO_DOMAIN)
        kernel.domain_calls++;
    else
        kernel.getsockopts++;
    int error = fault_in(GETSOCKOPT);
    if (error || kernel.getsockopt_error)
        return failure(error ? error : kernel.getsockopt_error);
    int returned =
        (int)really(SYS_getsockopt, socket, level, option, (long)value, (long)length);
    if (option == SO_SNDTIMEO && kernel.send_timeout != 0) {
        /* The kernel rounds to its ticks; the library's timeval is two longs. */
        long timeout[] = {kernel.send_timeout / 1000000, kernel.send_timeout % 1000000};
        need(*length == sizeof timeout);
        memcpy(value, timeout, sizeof timeout);
    }
    return returned;
}

int simulated_getsockname(int socket, struct sockaddr *address, socklen_t *length)
{
    kernel.domain_calls++;
    int error = fault_in(GETSOCKNAME);
    if (!error)
        error = kernel.getsockname_error;
    if (error || kernel.getsockopt_error)
        return failure(error ? error : kernel.getsockopt_error);
    return (int)really(SYS_getsockname, socket, (long)address, (long)length, 0, 0);
}

int simulated_fcntl(int fd, int command, ...)
{
    va_list arguments;
    va_start(arguments, command);
    long argument = va_arg(arguments, long);
    va_end(arguments);
    kernel.fcntls++;
    int error = fault_in(FCNTL);
    if (error)
        return failure(error);
    if (command == F_DUPFD_CLOEXEC || command == F_DUPFD) {
        kernel.dup_command = command;
        kernel.closes_before_dup = kernel.closes;
        argument = (int)argument; /* which is how the library passes it */
        if (kernel.dup_error)
            return failure(kernel.dup_error);
    }
    return (int)really(SYS_fcntl, fd, command, argument, 0, 0);
}

int simulated_close(int fd)
{
    kernel.closes++;
    if (fd < 0)
        kernel.negative_closes++;
    int error = fault_in(CLOSE);
    int returned = error && kernel.unclosed ? 0 : (int)really(SYS_close, fd, 0, 0, 0, 0);
    if (error || kernel.close_error)
        return failure(error ? error : kernel.close_error);
    return returned;
}

/* The library's timespec is two longs on every machine. Nobody really sleeps. */
int simulated_nanosleep(const long *time, long *remainder)
{
    long micros = time[0] * 1000000 + time[1] / 1000;
    need(kernel.sleeps < 1000 && remainder == NULL);
    if (kernel.sleeps < 16)
        kernel.slept[kernel.sleeps] = micros;
    kernel.sleeps++;
    kernel.slept_in_all += micros;
    if (kernel.sleeps == kernel.nonblocking_from)
        set_nonblocking(kernel.sleeping_socket);
    int error = fault_in(NANOSLEEP);
    if (error || kernel.sleep_error)
        return failure(error ? error : kernel.sleep_error);
    return 0;
}

/* The library closes so, because close(2) is a cancellation point. */
long simulated_syscall(long number, ...)
{
    long argument[5];
    va_list arguments;
    va_start(arguments, number);
    for (int i = 0; i < 5; i++)
        argument[i] = va_arg(arguments, long);
    va_end(arguments);
    if (number == SYS_close)
        return simulated_close((int)argument[0]);
    kernel.others++;
    return really(number, argument[0], argument[1], argument[2], argument[3],
                  argument[4]);
}

/* Makes the next receive bring these descriptors, or none, in a message of type. */
static inline void deliver(int type, const int *slots, int nslots)
{
    need(kernel.nmessages < 8 && nslots <= 256);
    struct simulated_message *message = &kernel.messages[kernel.nmessages++];
    kernel.interferes = true;
    message->level = SOL_SOCKET;
    message->type = type;
    message->nslots = nslots;
    memcpy(message->slots, slots, sizeof(int) * (size_t)nslots);
}

/* Starts a test: a pair with one byte waiting, and files that the simulated
 * kernel delivers as if it had opened them. What the library does not close or
 * hand over is seen in the count. */
struct scene {
    int pair[2], files[4], returned[5];
    int before;
};

static inline void set_scene(struct scene *scene, int nfiles)
{
    reset_kernel();
    for (int i = 0; i < 5; i++)
        scene->returned[i] = -7;
    socket_pair(SOCK_SEQPACKET, scene->pair);
    set_nonblocking(scene->pair[1]);
    need(send(scene->pair[0], "a", 1, 0) == 1);
    scene->before = count_fds();
    open_files(scene->files, nfiles);
    reset_kernel();
}

static inline void end_scene(struct scene *scene, const char *name)
{
    reset_kernel();
    is(count_fds(), scene->before, "%s: none is left open", name);
    close_pair(scene->pair);
}

#endif
