/* A server is replaced by its successor, which asks for the listening sockets: the
 * time from the request to the last of them. First by itself, then as a whole in
 * examples/handover.
 *
 *     restart HANDOVER    run in a directory of its own, for the sockets' names */
#include "bench.h"
#include "contenders.h"
#include "sendfd.h"

#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ACKNOWLEDGED 252 /* in a message: HAProxy's MAX_SEND_FD */
#define MOST_SOCKETS 10000
#define SPARE 64 /* descriptors that a server needs for other things */

static int sockets[MOST_SOCKETS];
static int nsockets;
static const struct sockaddr_un place = {.sun_family = AF_UNIX, .sun_path = "server"};

/* --- passings to pass them all
 * -----------------------------------------------------------
 */

static int at_most(int limit, int n)
{
    return n < limit ? n : limit;
}

/* As HAProxy does it, without the names that it sends with them: the successor says
 * of each message that it has come, so that never more than one is in flight. */
static int acknowledged_send(int socket, const int *fds, int nfds)
{
    for (int sent = 0; sent < nfds;) {
        int batch = at_most(ACKNOWLEDGED, nfds - sent);
        char acknowledgement;
        if (hand_written_send_batch(socket, fds + sent, batch) == batch) {
            if (recv(socket, &acknowledgement, 1, 0) != 1)
                return -1;
            sent += batch;
        } else if (errno == ETOOMANYREFS) { /* by other processes of this user */
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        } else {
            return -1;
        }
    }
    return nfds;
}

static int acknowledged_receive(int socket, int *fds, int nfds)
{
    for (int received = 0; received < nfds;) {
        int came = hand_written_receive_batch(socket, fds + received, nfds - received);
        if (came < 0 || send(socket, "", 1, MSG_NOSIGNAL) != 1)
            return -1;
        received += came;
    }
    return nfds;
}

static const struct passing {
    int (*send)(int socket, const int *fds, int nfds);
    int (*receive)(int socket, int *fds, int nfds);
} passings[] = {
    {acknowledged_send, acknowledged_receive},
    {hand_written_send_all, hand_written_receive_all},
    {sendfds_all, recvfds_all},
    {one_by_one_send, one_by_one_receive},
};

/* --- both processes ------------------------------------------------------------------
 */

static void listen_on_all(void)
{
    for (int i = 0; i < nsockets; i++) {
        const struct sockaddr_in address = {.sin_family = AF_INET,
                                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        sockets[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        need(bind(sockets[i], (const struct sockaddr *)&address, sizeof address) == 0);
        need(listen(sockets[i], 16) == 0);
    }
}

/* Gives its sockets to each successor that connects, in the way that it asks for. */
static void serve(const void *unused, int orders)
{
    (void)unused;
    if (count_cpus() > 1)
        pin_to(1);
    listen_on_all();
    int control = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    need(bind(control, (const struct sockaddr *)&place, sizeof place) == 0);
    need(listen(control, 1) == 0);
    answer(orders);
    for (;;) {
        unsigned char request;
        int successor = accept4(control, NULL, NULL, SOCK_CLOEXEC);
        need(successor >= 0 && recv(successor, &request, 1, 0) == 1);
        need(passings[request].send(successor, sockets, nsockets) == nsockets);
        close(successor);
    }
}

static void need_listening(int socket)
{
    int listens = 0;
    socklen_t size = sizeof listens;
    need(getsockopt(socket, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens);
}

static void succeed(const void *argument, double *figures)
{
    const struct passing *passing = argument;
    unsigned char request = (unsigned char)(passing - passings);
    int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    need(connect(server, (const struct sockaddr *)&place, sizeof place) == 0);
    uint64_t start = now_ns();
    need(send(server, &request, 1, MSG_NOSIGNAL) == 1);
    need(passing->receive(server, sockets, nsockets) == nsockets);
    figures[0] = (double)(now_ns() - start);
    need_listening(sockets[0]);
    need_listening(sockets[nsockets - 1]);
    close_fds(sockets, nsockets);
    close(server);
}

static void measure_passing(void)
{
    char name[80];
    snprintf(name, sizeof name, "from the request to the last of %d sockets", nsockets);
    await_answer(start_process(serve, NULL));
    pin_to(0);
    run_case(&(struct bench_case){
        .figures = {{name, "ns"}},
        .seconds = full_or_quick(30, 0.7),
        .ncontenders = 4,
        .contenders = {{"hand-written; 252 a message; acknowledged", succeed,
                        &passings[0]},
                       {"hand-written; 253 a message", succeed, &passings[1]},
                       {"sendfds_all and recvfds_all", succeed, &passings[2]},
                       {"sendfd and recvfd; one at a time", succeed, &passings[3]}},
    });
    stop_processes();
}

/* --- the demo ------------------------------------------------------------------------
 */

struct server {
    pid_t pid;
    FILE *output;
};
static struct server running;

/* Starts a server, and waits until it has said that; it stops with this process. */
static struct server start_server(const char *const arguments[], const char *says)
{
    int output[2];
    pid_t parent = getpid();
    need(pipe(output) == 0);
    pid_t pid = fork();
    need(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        need(getppid() == parent); /* it may have died before the line above */
        need(dup2(output[1], STDOUT_FILENO) >= 0);
        close(output[0]);
        close(output[1]);
        execv(arguments[0], (char *const *)arguments);
        need(!"exec");
    }
    close(output[1]);
    struct server server = {.pid = pid, .output = fdopen(output[0], "r")};
    need(server.output != NULL);
    char *line = NULL;
    size_t room = 0;
    do
        need(getline(&line, &room, server.output) > 0);
    while (strstr(line, says) == NULL);
    free(line);
    return server;
}

/* The rest of its output has room in the pipe. */
static void need_end(struct server server)
{
    int status;
    need(waitpid(server.pid, &status, 0) == server.pid && status == 0);
    fclose(server.output);
}

static void take_over(const void *program, double *figures)
{
    char says[80];
    snprintf(says, sizeof says, "took over %d listening sockets", nsockets);
    const char *const arguments[] = {program, "--takeover", "demo", NULL};
    struct server before = running;
    uint64_t start = now_ns();
    running = start_server(arguments, says);
    figures[0] = (double)(now_ns() - start);
    need_end(before);
}

static void measure_demo(const char *program)
{
    char name[80], count[16];
    snprintf(count, sizeof count, "%d", nsockets);
    snprintf(name, sizeof name, "restart of the demo with %d sockets", nsockets);
    const char *const arguments[] = {program, "--listen", count, "demo", NULL};
    running = start_server(arguments, "listening on ports");
    run_case(&(struct bench_case){
        .figures = {{name, "ns"}},
        .seconds = full_or_quick(10, 0.3),
        .ncontenders = 1,
        .contenders = {{"examples/handover", take_over, program}},
    });
    kill(running.pid, SIGTERM);
    need_end(running);
}

int main(int argc, char **argv)
{
    start_bench("restart");
    need(argc == 2);
    struct rlimit limit;
    need(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    int wanted = (int)full_or_quick(MOST_SOCKETS, 1000);
    nsockets =
        at_most(wanted, at_most(MOST_SOCKETS + SPARE, (int)limit.rlim_cur) - SPARE);
    need(nsockets > 0);
    if (nsockets < wanted)
        skip("RLIMIT_NOFILE is too low for all of the sockets");
    measure_passing();
    measure_demo(argv[1]);
    return 0;
}
