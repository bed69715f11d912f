#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

const struct socket_type socket_types[SOCKET_TYPES] = {
    {SOCK_STREAM, "SOCK_STREAM"},
    {SOCK_SEQPACKET, "SOCK_SEQPACKET"},
    {SOCK_DGRAM, "SOCK_DGRAM"},
};

/* The kernel compares the descriptors that all processes of a user have in flight with
 * the limit of the one that sends (ETOOMANYREFS), and tests run in parallel: so the limit
 * is raised as far as possible. */
__attribute__((constructor)) static void raise_limit(void)
{
    restore_limit();
}

void socket_pair(int type, int pair[2])
{
    need(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) == 0);
}

void close_pair(int pair[2])
{
    close_fds(pair, 2);
}

int *volatile null_fds;
void *volatile null_data;

bool has_loopback(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(9),
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool has = fd >= 0 && connect(fd, (void *)&address, sizeof address) == 0;
    if (fd >= 0)
        close(fd);
    return has;
}

int count_fds(void)
{
    DIR *directory = opendir("/proc/self/fd");
    need(directory != NULL);
    int entries = 0;
    while (readdir(directory))
        entries++;
    closedir(directory);
    return entries - 3; /* ".", ".." and the directory itself */
}

int open_file(void)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    need(fd >= 0);
    return fd;
}

void open_files(int *fds, int nfds)
{
    for (int i = 0; i < nfds; i++)
        fds[i] = open_file();
}

void close_fds(const int *fds, int nfds)
{
    for (int i = 0; i < nfds; i++)
        close(fds[i]);
}

bool same_file(int a, int b)
{
    struct stat sa, sb;
    return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_dev == sb.st_dev &&
           sa.st_ino == sb.st_ino;
}

bool same_files(const int *a, const int *b, int nfds)
{
    for (int i = 0; i < nfds; i++)
        if (!same_file(a[i], b[i]))
            return false;
    return true;
}

bool is_close_on_exec(int fd)
{
    int flags = fcntl(fd, F_GETFD);
    need(flags >= 0);
    return flags & FD_CLOEXEC;
}

int open_numbered_file(int number)
{
    int fd = open_file();
    need(write(fd, &number, sizeof number) == sizeof number);
    return fd;
}

int number_in(int fd)
{
    int number;
    return pread(fd, &number, sizeof number, 0) == sizeof number ? number : -1;
}

bool set_option(int socket, int option, int value)
{
    int returned = setsockopt(socket, SOL_SOCKET, option, &value, sizeof value);
    if (returned < 0 && errno == ENOPROTOOPT)
        return false;
    need(returned == 0);
    return true;
}

void set_nonblocking(int socket)
{
    need(fcntl(socket, F_SETFL, fcntl(socket, F_GETFL) | O_NONBLOCK) == 0);
}

void set_timeout(int socket, int option, int milliseconds)
{
    struct timeval timeout = {
        .tv_sec = milliseconds / 1000,
        .tv_usec = milliseconds % 1000 * 1000,
    };
    need(setsockopt(socket, SOL_SOCKET, option, &timeout, sizeof timeout) == 0);
}

void set_limit(unsigned long descriptors)
{
    struct rlimit limit;
    need(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = (rlim_t)descriptors;
    need(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

void leave_room_for(int nfds)
{
    int opened[512];
    need(nfds < 512);
    for (int i = 0; i <= nfds; i++) {
        opened[i] = dup(0);
        need(opened[i] >= 0);
    }
    close_fds(opened, nfds + 1);
    set_limit((unsigned long)opened[nfds]);
}

void restore_limit(void)
{
    struct rlimit limit;
    need(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    need(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

int can_hold(int wanted)
{
    struct rlimit limit,
        higher = {.rlim_cur = (rlim_t)wanted, .rlim_max = (rlim_t)wanted};
    need(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    if (limit.rlim_cur >= (rlim_t)wanted || setrlimit(RLIMIT_NOFILE, &higher) == 0)
        return wanted;
    return (int)limit.rlim_cur;
}

bool become_a_user_of_its_own(void)
{
    uid_t uid = 0x50000000 + (uid_t)getpid();
    if (setgroups(0, NULL) < 0 && errno != EPERM)
        return false;
    if (setresuid(uid, uid, uid) == 0)
        return true;
    uid = 10000 + (uid_t)getpid() % 50000; /* a user namespace has fewer */
    return setresuid(uid, uid, uid) == 0;
}

bool is_empty(int socket)
{
    struct pollfd poll_for = {.fd = socket, .events = POLLIN};
    need(poll(&poll_for, 1, 0) >= 0);
    return !(poll_for.revents & POLLIN);
}

ssize_t raw_send(int socket, const void *data, size_t len, const int *fds, int nfds)
{
    return raw_send_flags(socket, data, len, fds, nfds, 0);
}

ssize_t raw_send_flags(int socket, const void *data, size_t len, const int *fds, int nfds,
                       int flags)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * 256)];
    struct iovec iov = {.iov_base = (void *)data, .iov_len = len};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    if (nfds > 0) {
        size_t size = sizeof(int) * (size_t)nfds;
        memset(control, 0, sizeof control);
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(size);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(size);
        memcpy(CMSG_DATA(header), fds, size);
    }
    return sendmsg(socket, &message, flags | MSG_NOSIGNAL);
}

ssize_t raw_receive(int socket, size_t len, int flags, struct raw_message *result)
{
    _Alignas(struct cmsghdr) char control[4096];
    struct iovec iov = {.iov_base = result->data, .iov_len = len};
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control,
        .msg_controllen = sizeof control,
    };
    need(len <= sizeof result->data);
    result->control_messages = result->nfds = 0;
    result->cmsg_len = 0;
    result->bytes = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
    result->flags = message.msg_flags;
    if (result->bytes < 0)
        return result->bytes;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header;
         header = CMSG_NXTHDR(&message, header)) {
        result->control_messages++;
        result->cmsg_len = header->cmsg_len;
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        size_t size = header->cmsg_len - CMSG_LEN(0);
        memcpy(result->fds, CMSG_DATA(header), size);
        result->nfds = (int)(size / sizeof(int));
    }
    return result->bytes;
}

size_t put_control(void *control, size_t used, int level, int type, const void *data,
                   size_t size)
{
    struct cmsghdr header = {
        .cmsg_level = level,
        .cmsg_type = type,
        .cmsg_len = CMSG_LEN(size),
    };
    char *place = (char *)control + used;
    memset(place, 0, CMSG_SPACE(size));
    memcpy(place, &header, sizeof header);
    memcpy(place + CMSG_LEN(0), data, size);
    return used + CMSG_SPACE(size);
}

struct cmsghdr *find_control(struct msghdr *message, int level, int type)
{
    struct cmsghdr *header = CMSG_FIRSTHDR(message);
    while (header && (header->cmsg_level != level || header->cmsg_type != type))
        header = CMSG_NXTHDR(message, header);
    return header;
}

int count_control(struct msghdr *message)
{
    int count = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
         header = CMSG_NXTHDR(message, header))
        count++;
    return count;
}

bool passes_a_file(const int pair[2])
{
    int fd = open_file();
    need(raw_send(pair[0], "", 1, &fd, 1) == 1);
    int received = recvfd(pair[1]);
    bool same = same_file(fd, received);
    if (received >= 0)
        close(received);
    close(fd);
    return same;
}

int fill_queue(int socket)
{
    int sent = 0;
    need(set_option(socket, SO_SNDBUF, 1));
    while (send(socket, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1)
        sent++;
    need(errno == EAGAIN);
    return sent;
}

int drain_queue(int socket, int *nfds)
{
    struct raw_message message;
    int taken = 0;
    *nfds = 0;
    while (raw_receive(socket, 1, MSG_DONTWAIT, &message) == 1) {
        close_fds(message.fds, message.nfds);
        *nfds += message.nfds;
        taken++;
    }
    return taken;
}

pid_t run_in_child(int (*body)(void *), void *argument)
{
    fflush(stdout);
    pid_t parent = getpid();
    pid_t child = fork();
    need(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(TAP_TIMEOUT);
        _exit(getppid() == parent ? body(argument) : 1);
    }
    return child;
}

int execute_itself(void *arguments)
{
    char program[4096];
    /* Emulators answer the link, but some do not execute it. */
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length > 0) {
        program[length] = '\0';
        execv(program, arguments);
    }
    return 127;
}

int wait_for_child(pid_t child)
{
    int status;
    pid_t waited;
    do
        waited = waitpid(child, &status, 0);
    while (waited < 0 && errno == EINTR);
    need(waited == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void wait_until_asleep(pid_t task)
{
    char path[32], status[256], *state;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)task);
    do {
        sched_yield();
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        need(fd >= 0);
        ssize_t bytes = read(fd, status, sizeof status - 1);
        need(bytes > 0);
        close(fd);
        status[bytes] = '\0';
        state = strrchr(status, ')');
        need(state != NULL);
    } while (state[2] != 'S');
}

int random_below(uint32_t *state, int end)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return (int)(*state % (uint32_t)end);
}

char *make_directory(void)
{
    const char *parent = getenv("TMPDIR");
    char *directory;
    if (!parent || strlen(parent) > 60) /* the path of a socket has 107 bytes at most */
        parent = "/tmp";
    need(asprintf(&directory, "%s/sendfd.XXXXXX", parent) > 0);
    need(mkdtemp(directory) != NULL);
    return directory;
}

static int remove_entry(const char *path, const struct stat *status, int type,
                        struct FTW *place)
{
    (void)status, (void)type, (void)place;
    return remove(path);
}

void remove_directory(char *directory)
{
    need(nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS) == 0);
    free(directory);
}

static timer_t ticks;

void start_ticks(void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec every = {
        .it_value = {.tv_nsec = 5000000},
        .it_interval = {.tv_nsec = 5000000},
    };
    need(sigaction(SIGUSR1, &action, NULL) == 0);
    need(timer_create(CLOCK_MONOTONIC, &event, &ticks) == 0);
    need(timer_settime(ticks, 0, &every, NULL) == 0);
}

void stop_ticks(void)
{
    need(timer_delete(ticks) == 0);
    signal(SIGUSR1, SIG_IGN);
}
