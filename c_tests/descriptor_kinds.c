/* Each kind of descriptor can be used after it was received and the sender has closed its
 * own. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <termios.h>
#include <unistd.h>

/* The type of socket that all is passed over, and a directory to work in. */
static const struct socket_type *type;
static char *directory;

static const char *path_of(const char *name)
{
    static char path[256];
    need(snprintf(path, sizeof path, "%s/%s", directory, name) < (int)sizeof path);
    return path;
}

/* Passes descriptors and closes them: what is left is what was received. */
static void pass(int *fds, int nfds)
{
    int pair[2], received[SENDFD_MAX_FDS];
    socket_pair(type->type, pair);
    need(sendfds(pair[0], fds, nfds) == nfds);
    close_fds(fds, nfds);
    need(recvfds(pair[1], received, nfds) == nfds);
    memcpy(fds, received, sizeof(int) * (size_t)nfds);
    close_pair(pair);
}

static int passed(int fd)
{
    int pair[2];
    need(fd >= 0);
    socket_pair(type->type, pair);
    need(sendfd(pair[0], fd) == 1);
    close(fd);
    int received = recvfd(pair[1]);
    need(received >= 0);
    close_pair(pair);
    return received;
}

/* Returns what it reads from a descriptor, as a string. */
static const char *text_from(int fd)
{
    static char text[32];
    ssize_t bytes = read(fd, text, sizeof text - 1);
    text[bytes > 0 ? bytes : 0] = '\0';
    return text;
}

static bool reads(int fd, const char *text)
{
    return strcmp(text_from(fd), text) == 0;
}

static void write_text(int fd, const char *text)
{
    need(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

static void regular_file(void)
{
    int fd = open(path_of("file"), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    need(fd >= 0);
    write_text(fd, "content");
    fd = passed(fd);
    is(lseek(fd, 0, SEEK_CUR), 7, "%s: a regular file: its offset", type->name);
    is(fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND), O_RDWR | O_APPEND,
       "%s: a regular file: its status flags", type->name);
    lseek(fd, 0, SEEK_SET);
    ok(reads(fd, "content"), "%s: a regular file: its content", type->name);
    close(fd);
}

static void a_directory(void)
{
    int fd = passed(open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    int inside = openat(fd, "file", O_RDONLY | O_CLOEXEC);
    ok(reads(inside, "content"), "%s: a directory: a file is opened in it", type->name);
    close(inside);
    close(fd);
}

static void path_only(void)
{
    char link[32];
    int fd = passed(open(path_of("file"), O_PATH | O_CLOEXEC));
    ok(fcntl(fd, F_GETFL) & O_PATH, "%s: O_PATH: it is that", type->name);
    fails(read(fd, link, 1), EBADF, "%s: O_PATH: it cannot be read", type->name);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int opened = open(link, O_RDONLY | O_CLOEXEC);
    ok(reads(opened, "content"), "%s: O_PATH: it can be opened", type->name);
    close(opened);
    close(fd);
}

static void a_pipe(void)
{
    int ends[2];
    need(pipe2(ends, O_CLOEXEC) == 0);
    pass(ends, 2);
    write_text(ends[1], "through");
    ok(reads(ends[0], "through"), "%s: a pipe: from end to end", type->name);
    close(ends[1]);
    is(read(ends[0], &(char){0}, 1), 0,
       "%s: a pipe: it ends with the received writing end", type->name);
    close(ends[0]);
}

static void a_fifo(void)
{
    need(mkfifo(path_of("fifo"), 0600) == 0);
    int reading = passed(open(path_of("fifo"), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    int writing = passed(open(path_of("fifo"), O_WRONLY | O_CLOEXEC));
    write_text(writing, "through");
    ok(reads(reading, "through"), "%s: a FIFO: from end to end", type->name);
    ok(fcntl(reading, F_GETFL) & O_NONBLOCK, "%s: a FIFO: still non-blocking",
       type->name);
    close(writing);
    close(reading);
    need(unlink(path_of("fifo")) == 0);
}

static void an_eventfd(void)
{
    uint64_t count = 5;
    int fd = eventfd(0, EFD_CLOEXEC);
    need(fd >= 0 && write(fd, &count, sizeof count) == sizeof count);
    fd = passed(fd);
    count = 0;
    need(read(fd, &count, sizeof count) == sizeof count);
    is((long)count, 5, "%s: an eventfd: its count", type->name);
    close(fd);
}

static void an_epoll(void)
{
    int ends[2], fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data = {.u32 = 77}};
    need(fd >= 0 && pipe2(ends, O_CLOEXEC) == 0);
    need(epoll_ctl(fd, EPOLL_CTL_ADD, ends[0], &event) == 0);
    fd = passed(fd);
    event.data.u32 = 0;
    is(epoll_wait(fd, &event, 1, 0), 0, "%s: an epoll: no event yet", type->name);
    write_text(ends[1], "x");
    is(epoll_wait(fd, &event, 1, 1000), 1, "%s: an epoll: the event arrives", type->name);
    is((long)event.data.u32, 77, "%s: an epoll: with its data", type->name);
    close_fds(ends, 2);
    close(fd);
}

static void a_timerfd(void)
{
    uint64_t expirations = 0;
    struct itimerspec soon = {.it_value = {.tv_nsec = 1000000}}, left;
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    need(fd >= 0 && timerfd_settime(fd, 0, &soon, NULL) == 0);
    fd = passed(fd);
    need(read(fd, &expirations, sizeof expirations) == sizeof expirations);
    is((long)expirations, 1, "%s: a timerfd: it expires", type->name);
    is(timerfd_gettime(fd, &left), 0, "%s: a timerfd: it is one", type->name);
    close(fd);
}

static void a_signalfd(void)
{
    struct signalfd_siginfo info = {0};
    sigset_t set, before;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    need(sigprocmask(SIG_BLOCK, &set, &before) == 0);
    int fd = passed(signalfd(-1, &set, SFD_CLOEXEC));
    need(raise(SIGUSR2) == 0);
    need(read(fd, &info, sizeof info) == sizeof info);
    is((long)info.ssi_signo, SIGUSR2, "%s: a signalfd: the signal", type->name);
    need(sigprocmask(SIG_SETMASK, &before, NULL) == 0);
    close(fd);
}

static void a_memfd(void)
{
    int fd = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    need(fd >= 0);
    write_text(fd, "sealed");
    need(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == 0);
    /* F_SEAL_EXEC is among them where vm.memfd_noexec is set. */
    int seals = fcntl(fd, F_GET_SEALS);
    fd = passed(fd);
    ok(fcntl(fd, F_GET_SEALS) == seals && seals & F_SEAL_WRITE, "%s: a memfd: its seals",
       type->name);
    fails(write(fd, "x", 1), EPERM, "%s: a memfd: which hold", type->name);
    close(fd);
}

static int wait_for_signal(void *unused)
{
    (void)unused;
    pause();
    return 0;
}

#ifndef SYS_pidfd_open
#    define SYS_pidfd_open 434
#    define SYS_pidfd_send_signal 424
#endif

static void a_pidfd(void)
{
    pid_t child = run_in_child(wait_for_signal, NULL);
    int fd = (int)syscall(SYS_pidfd_open, child, 0);
    if (fd >= 0) {
        fd = passed(fd);
        is(syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0), 0,
           "%s: a pidfd: a signal is sent through it", type->name);
        is(wait_for_child(child), 128 + SIGKILL, "%s: a pidfd: to its process",
           type->name);
        close(fd);
    } else {
        kill(child, SIGKILL);
        wait_for_child(child);
        tap_skip("%s: this kernel has no pidfd_open", type->name);
    }
}

static void a_listening_socket(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || !has_loopback() || bind(fd, (struct sockaddr *)&address, length) < 0) {
        close(fd);
        tap_skip("%s: there is no TCP on the loopback interface", type->name);
        return;
    }
    need(listen(fd, 1) == 0);
    need(getsockname(fd, (struct sockaddr *)&address, &length) == 0);
    fd = passed(fd);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    is(connect(client, (struct sockaddr *)&address, length), 0,
       "%s: a TCP listening socket: it still listens", type->name);
    int accepted = accept(fd, NULL, NULL);
    ok(accepted >= 0, "%s: a TCP listening socket: it accepts", type->name);
    write_text(client, "hello");
    ok(reads(accepted, "hello"), "%s: a TCP listening socket: data come", type->name);

    /* Connected ones are passed the same way, this one on its way to its user. */
    accepted = passed(accepted);
    write_text(accepted, "hello too");
    ok(reads(client, "hello too"), "%s: a TCP connection: data go", type->name);
    close(accepted);
    close(client);
    close(fd);
}

static void a_socket(void)
{
    int ends[2];
    socket_pair(SOCK_STREAM, ends);
    ends[0] = passed(ends[0]);
    write_text(ends[1], "across");
    ok(reads(ends[0], "across"), "%s: one end of a socket pair", type->name);
    close(ends[0]);
    is(read(ends[1], &(char){0}, 1), 0,
       "%s: one end of a socket pair: none of it is left when closed", type->name);
    close(ends[1]);
}

/* Each end passed over the socket that it is an end of. */
static void the_socket_itself(void)
{
    int pair[2], fd = open_file();
    socket_pair(type->type, pair);
    is(sendfd(pair[0], pair[0]), 1, "%s: the very socket is sent", type->name);
    is(sendfd(pair[0], pair[1]), 1, "%s: and the receiver's own end", type->name);
    int sender = recvfd(pair[1]), receiver = recvfd(pair[1]);
    ok(same_file(sender, pair[0]) && same_file(receiver, pair[1]),
       "%s: they are what they were", type->name);
    is(sendfd(sender, fd), 1, "%s: the received one sends", type->name);
    int received = recvfd(receiver);
    ok(same_file(received, fd), "%s: the other received one receives", type->name);
    close(received);
    close(receiver);
    close(sender);
    close(fd);
    close_pair(pair);
}

static void the_same_many_times(void)
{
    int pair[2], fd = open_file(), fds[SENDFD_MAX_FDS], received[SENDFD_MAX_FDS];
    socket_pair(type->type, pair);
    for (int i = 0; i < SENDFD_MAX_FDS; i++)
        fds[i] = fd;
    is(sendfds(pair[0], fds, SENDFD_MAX_FDS), SENDFD_MAX_FDS,
       "%s: the same descriptor %d times", type->name, SENDFD_MAX_FDS);
    need(recvfds(pair[1], received, SENDFD_MAX_FDS) == SENDFD_MAX_FDS);
    ok(same_files(fds, received, SENDFD_MAX_FDS), "%s: each is of the file", type->name);
    bool distinct = true;
    for (int i = 0; i < SENDFD_MAX_FDS; i++)
        distinct = close(received[i]) == 0 && distinct;
    ok(distinct, "%s: each is a descriptor of its own, to be closed once", type->name);
    close(fd);
    close_pair(pair);
}

static void a_terminal(void)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0) {
        tap_skip("%s: a pseudo-terminal: there are none here", type->name);
        return;
    }
    need(grantpt(master) == 0 && unlockpt(master) == 0);
    int fds[2] = {master, open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC)};
    struct winsize size = {.ws_row = 12, .ws_col = 34}, found = {0};
    need(fds[1] >= 0 && ioctl(master, TIOCSWINSZ, &size) == 0);
    pass(fds, 2);
    ok(isatty(fds[1]), "%s: a pseudo-terminal: it is a terminal", type->name);
    is(ioctl(fds[1], TIOCGWINSZ, &found) == 0 ? found.ws_col : -1, 34,
       "%s: a pseudo-terminal: of the size that was set", type->name);
    write_text(fds[0], "typed\n");
    ok(reads(fds[1], "typed\n"), "%s: a pseudo-terminal: a line is typed", type->name);
    close_fds(fds, 2);
}

static void (*const kinds[])(void) = {
    regular_file,
    a_directory,
    path_only,
    a_pipe,
    a_fifo,
    an_eventfd,
    an_epoll,
    a_timerfd,
    a_signalfd,
    a_memfd,
    a_pidfd,
    a_listening_socket,
    a_socket,
    the_socket_itself,
    the_same_many_times,
    a_terminal,
};

int main(void)
{
    int before = count_fds();
    for (int i = 0; i < SOCKET_TYPES; i++) {
        type = &socket_types[i];
        directory = make_directory();
        for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++)
            kinds[kind]();
        remove_directory(directory);
    }
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}
