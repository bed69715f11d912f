/* A load for the server of handover.c: many clients at once, each with a
 * connection to one of its ports, chosen at random. Some are for one request,
 * some for many, some for as long as the load lasts; some requests are written
 * in two halves with a pause. Every answer is checked.
 *
 *     cc -D_GNU_SOURCE load.c -o load
 *     ./load SECONDS REQUESTS PORT...    until one or the other, or SIGTERM
 *
 * It exits with 0 only if every request was answered.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    clients_most = 48,
    servers_most = 16,
    answer_time = 10,  /* seconds until a request without an answer has failed */
    progress = 1000,   /* requests from one line of output to the next */
    requests_few = 50, /* on a connection that is not for one, nor forever */
};

struct client {
    int fd; /* -1: no connection */
    bool connected, forever;
    long requests_left;
    int port;
    char request[32], answer[64];
    size_t length, half, sent, received;
    double second_half, deadline;
    int server;  /* that answered last on this connection, or 0 */
    bool passed; /* answered by more than one server */
};

struct load {
    const int *ports;
    int nports;
    double end;
    long limit;
    bool stopping;
    long asked, answered, refused, failed, connections, passed;
    int nservers;
    struct {
        int pid;
        long answers;
    } servers[servers_most];
    struct client clients[clients_most];
};

static volatile sig_atomic_t told_to_stop;

static void stop(int signal)
{
    (void)signal;
    told_to_stop = 1;
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void disconnect(struct load *load, struct client *client)
{
    load->passed += client->passed;
    close(client->fd);
    client->fd = -1;
}

static void fail(struct load *load, struct client *client, const char *why)
{
    printf(
        "load: port %d, request %zu of %zu bytes sent, %zu of an answer received: %s\n",
        client->port, client->sent, client->length, client->received, why);
    if (!client->connected && errno == ECONNREFUSED)
        load->refused++;
    else
        load->failed++;
    disconnect(load, client);
}

/* Half of the requests have a pause of up to 5 ms in the middle, or before it. */
static void next_request(struct load *load, struct client *client)
{
    double now = seconds();
    client->length = (size_t)snprintf(client->request, sizeof client->request,
                                      "request %ld\n", load->asked++);
    client->half = (size_t)random() % (client->length * 2);
    client->second_half = now + (double)(random() % 5000) / 1e6;
    client->sent = client->received = 0;
    client->deadline = now + answer_time;
    client->requests_left--;
}

static void start_client(struct load *load, struct client *client)
{
    long kind = random() % 4;
    *client = (struct client){
        .port = load->ports[random() % load->nports],
        .forever = client->forever,
        .requests_left = kind == 0 ? random() % requests_few + 1 : 1,
    };
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (client->fd < 0)
        err(1, "socket");
    load->connections++;
    next_request(load, client);

    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)client->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (connect(client->fd, (struct sockaddr *)&address, sizeof address) < 0 &&
        errno != EINPROGRESS)
        fail(load, client, strerror(errno));
}

/* How much of the request may have been sent at this time. */
static size_t due(const struct client *client, double now)
{
    if (client->half >= client->length || now >= client->second_half)
        return client->length;
    return client->half;
}

static void count_answer(struct load *load, struct client *client, int pid)
{
    int i = 0;
    while (i < load->nservers && load->servers[i].pid != pid)
        i++;
    if (i == servers_most)
        errx(1, "answers of more than %d servers", servers_most);
    if (i == load->nservers) {
        load->nservers++;
        load->servers[i].pid = pid;
        printf("load: first answer from server %d\n", pid);
    }
    load->servers[i].answers++;
    client->passed |= client->server != 0 && client->server != pid;
    client->server = pid;
    if (++load->answered % progress == 0)
        printf("load: %ld requests answered\n", load->answered);
}

/* An answer is the process id of the server and the request. */
static bool check_answer(struct load *load, struct client *client)
{
    char *end;
    client->answer[client->received] = '\0';
    long pid = strtol(client->answer, &end, 10);
    if (pid < 1 || *end != ' ' || strcmp(end + 1, client->request) != 0)
        return false;
    count_answer(load, client, (int)pid);
    return true;
}

static void read_answer(struct load *load, struct client *client)
{
    ssize_t got = recv(client->fd, client->answer + client->received,
                       sizeof client->answer - 1 - client->received, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        fail(load, client, got < 0 ? strerror(errno) : "the server closed it");
        return;
    }
    client->received += (size_t)got;
    if (client->answer[client->received - 1] != '\n')
        return;
    if (!check_answer(load, client))
        fail(load, client, "a wrong answer");
    else if (load->stopping || load->asked >= load->limit ||
             (client->requests_left <= 0 && !client->forever))
        disconnect(load, client);
    else
        next_request(load, client);
}

static void write_request(struct load *load, struct client *client, size_t length)
{
    ssize_t sent = send(client->fd, client->request + client->sent, length - client->sent,
                        MSG_NOSIGNAL);
    if (sent > 0)
        client->sent += (size_t)sent;
    else if (errno != EAGAIN)
        fail(load, client, strerror(errno));
}

static void handle_client(struct load *load, struct client *client, short events)
{
    double now = seconds();
    if (events != 0 && !client->connected) {
        socklen_t size = sizeof errno;
        getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &errno, &size);
        if (errno != 0) {
            fail(load, client, strerror(errno));
            return;
        }
        client->connected = true;
    }
    if (events & (POLLIN | POLLHUP | POLLERR))
        read_answer(load, client);
    else if (client->connected && client->sent < due(client, now))
        write_request(load, client, due(client, now));
    else if (now > client->deadline)
        fail(load, client, "no answer in time");
}

/* Starts who may start; returns how many are at work. */
static int start_clients(struct load *load)
{
    int working = 0;
    load->stopping = told_to_stop || seconds() > load->end || load->asked >= load->limit;
    for (int i = 0; i < clients_most; i++) {
        struct client *client = &load->clients[i];
        if (client->fd < 0 && !load->stopping && load->asked < load->limit)
            start_client(load, client);
        working += client->fd >= 0;
    }
    return working;
}

static void run(struct load *load)
{
    while (start_clients(load) > 0) {
        struct pollfd fds[clients_most];
        double now = seconds();
        for (int i = 0; i < clients_most; i++) {
            const struct client *client = &load->clients[i];
            bool writes = !client->connected || client->sent < due(client, now);
            fds[i] = (struct pollfd){.fd = client->fd,
                                     .events = writes ? POLLIN | POLLOUT : POLLIN};
        }
        /* 1 ms, as some may then be due. */
        if (poll(fds, clients_most, 1) < 0 && errno != EINTR)
            err(1, "poll");
        for (int i = 0; i < clients_most; i++) {
            if (fds[i].fd >= 0)
                handle_client(load, &load->clients[i], fds[i].revents);
        }
    }
}

static int report(const struct load *load)
{
    for (int i = 0; i < load->nservers; i++)
        printf("load: %ld answers from server %d\n", load->servers[i].answers,
               load->servers[i].pid);
    printf("load: %ld connections, %ld of them answered by more than one server\n",
           load->connections, load->passed);
    printf("load: %ld requests: %ld answered, %ld refused, %ld failed\n", load->asked,
           load->answered, load->refused, load->failed);
    if (fflush(stdout) != 0 || ferror(stdout))
        errx(1, "standard output could not be written");
    return load->asked > 0 && load->answered == load->asked ? 0 : 1;
}

static long number(const char *argument, long most)
{
    char *end;
    long value = strtol(argument, &end, 10);
    if (value < 1 || value > most || *end != '\0')
        errx(2, "%s is no number from 1 to %ld", argument, most);
    return value;
}

int main(int argc, char **argv)
{
    static struct load load;
    if (argc < 4) {
        fprintf(stderr, "usage: load SECONDS REQUESTS PORT...\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = stop}, NULL);
    sigaction(SIGINT, &(struct sigaction){.sa_handler = stop}, NULL);
    srandom((unsigned)getpid());

    int *ports = calloc((size_t)argc, sizeof *ports);
    if (ports == NULL)
        err(1, "calloc");
    for (int i = 3; i < argc; i++)
        ports[load.nports++] = (int)number(argv[i], 65535);
    load.ports = ports;
    load.end = seconds() + (double)number(argv[1], 3600);
    load.limit = number(argv[2], 1000000000);
    for (int i = 0; i < clients_most; i++) {
        load.clients[i].fd = -1;
        load.clients[i].forever = i < clients_most / 4;
    }
    run(&load);
    int status = report(&load);
    free(ports);
    return status;
}
