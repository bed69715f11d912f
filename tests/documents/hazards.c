/* Prints the table of README.md, "What goes wrong": the results of the classic snippet
 * and of the library in each case, as measured here. A cell is "something else" if the
 * result is not one of the known ones. */
#include "peer.h"
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sendfd.h>
#include <signal.h>
#include <stdalign.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAINT 0x41414141
#define PAINTED "a number from uninitialised memory"
#define ELSE "something else"

static void row(const char *what, const char *snippet, const char *library)
{
    printf("| %s | %s | %s |\n", what, snippet, library);
}

/* The snippet, with a buffer of so many bytes that holds PAINT where others hold what was
 * on the stack before. */
static int snippet_recvfd(int socket, size_t room)
{
    alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    char byte;
    int fd;
    struct iovec data = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = room};
    memset(control, PAINT & 0xff, sizeof control);
    if (recvmsg(socket, &message, 0) <= 0)
        return -1;
    memcpy(&fd, CMSG_DATA((struct cmsghdr *)control), sizeof fd);
    return fd;
}

static int painted_recvfd(int socket)
{
    return snippet_recvfd(socket, CMSG_LEN(sizeof(int)));
}

/* As it is copied most often. */
static int spacious_recvfd(int socket)
{
    return snippet_recvfd(socket, CMSG_SPACE(sizeof(int)));
}

/* text if the call failed with error and left nothing open. */
static const char *failed(int result, int error, int open_before, const char *text)
{
    return result == -1 && errno == error && count_fds() == open_before ? text : ELSE;
}

static void two_descriptors(void)
{
    int pair[2], fds[2] = {0, 0};
    socket_pair(SOCK_STREAM, pair);
    for (int i = 0; i < 3; i++)
        raw_send(pair[0], "", 1, fds, 2);
    int before = count_fds();
    int narrow = classic_recvfd(pair[1]);
    bool lost = narrow >= 0 && count_fds() == before + 1;
    int wide = spacious_recvfd(pair[1]);
    /* CMSG_SPACE pads, so that there is room for two, on 64-bit machines only. */
    int more = CMSG_SPACE(sizeof(int)) > CMSG_LEN(sizeof(int)) ? 2 : 1;
    bool leaked = wide >= 0 && count_fds() == before + 1 + more;
    before = count_fds();
    row("A message brings two descriptors",
        lost && leaked ? "the second is lost, or leaks with `CMSG_SPACE`" : ELSE,
        failed(recvfd(pair[1]), EMSGSIZE, before, "`EMSGSIZE`, both are closed"));
    close_pair(pair);
}

static void another_thread_executes(void)
{
    int pair[2];
    socket_pair(SOCK_STREAM, pair);
    classic_sendfd(pair[0], 0);
    classic_sendfd(pair[0], 0);
    bool inherited = !is_close_on_exec(classic_recvfd(pair[1]));
    row("Another thread starts a program",
        inherited ? "it inherits the descriptor" : ELSE,
        is_close_on_exec(recvfd(pair[1])) ? "the descriptor is close-on-exec" : ELSE);
    close_pair(pair);
}

static void closed_peer(void)
{
    int pair[2], status = 0;
    socket_pair(SOCK_STREAM, pair);
    close(pair[1]);
    pid_t pid = fork();
    if (pid == 0) {
        classic_sendfd(pair[0], 0);
        _exit(0);
    }
    waitpid(pid, &status, 0);
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE;
    row("The peer has closed the socket", killed ? "`SIGPIPE` ends the process" : ELSE,
        failed(sendfd(pair[0], 0), EPIPE, count_fds(), "`EPIPE`"));
    close(pair[0]);
}

static void no_descriptor(void)
{
    int pair[2];
    socket_pair(SOCK_STREAM, pair);
    raw_send(pair[0], "ab", 2, NULL, 0);
    bool painted = painted_recvfd(pair[1]) == PAINT;
    row("A message brings no descriptor", painted ? PAINTED : ELSE,
        failed(recvfd(pair[1]), ENOMSG, count_fds(), "`ENOMSG`"));
    close_pair(pair);
}

static void credentials(void)
{
    int pair[2];
    socket_pair(SOCK_STREAM, pair);
    set_option(pair[1], SO_PASSCRED, 1);
    classic_sendfd(pair[0], pair[0]);
    classic_sendfd(pair[0], pair[0]);
    bool pid = classic_recvfd(pair[1]) == getpid();
    row("Credentials come too (`SO_PASSCRED`)",
        pid ? "the sender's process ID as a descriptor" : ELSE,
        same_file(recvfd(pair[1]), pair[0]) ? "the descriptor" : ELSE);
    close_pair(pair);
}

static void tcp(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    int sender = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, len) < 0 || listen(listener, 1) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &len) < 0 ||
        connect(sender, (struct sockaddr *)&address, len) < 0) {
        close_fds((int[]){listener, sender}, 2);
        return; /* no loopback device: readme.t skips this row */
    }
    int receiver = accept(listener, NULL, NULL);
    int reported = classic_sendfd(sender, 0);
    bool lost = reported == 1 && painted_recvfd(receiver) == PAINT;
    row("The socket is a TCP socket", lost ? "success, and the descriptor is lost" : ELSE,
        failed(sendfd(sender, 0), EAFNOSUPPORT, count_fds(), "`EAFNOSUPPORT`"));
    close_fds((int[]){listener, sender, receiver}, 3);
}

static void full_table(void)
{
    int pair[2];
    socket_pair(SOCK_STREAM, pair);
    classic_sendfd(pair[0], 0);
    classic_sendfd(pair[0], 0);
    leave_room_for(0);
    bool painted = painted_recvfd(pair[1]) == PAINT;
    int received = recvfd(pair[1]), error = errno;
    restore_limit();
    row("The descriptor table is full", painted ? PAINTED : ELSE,
        received == -1 && error == EMFILE ? "`EMFILE`" : ELSE);
    close_pair(pair);
}

static void end_of_file(void)
{
    int pair[2];
    socket_pair(SOCK_STREAM, pair);
    close(pair[0]);
    bool same = classic_recvfd(pair[1]) == -2 && spacious_recvfd(pair[1]) == -1;
    row("The end of file", same ? "-2 in some copies, -1 in others" : ELSE,
        recvfd(pair[1]) == RECVFD_EOF ? "-2" : ELSE);
    close(pair[1]);
}

int main(void)
{
    two_descriptors();
    another_thread_executes();
    closed_peer();
    no_descriptor();
    credentials();
    tcp();
    full_table();
    end_of_file();
    return 0;
}
