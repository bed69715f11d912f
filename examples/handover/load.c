/* A load for the server of this directory: many clients at once, each with a
 * connection to one of its ports, chosen at random. Some are for one request, some
 * for many, some for as long as the load lasts; half of the requests are written in
 * two parts with a pause. Every answer is checked.
 *
 *     cc -D_GNU_SOURCE -o load load.c
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
    clients_forever = 12,
    servers_most = 16,
    answer_time = 10, /* seconds until a request without an answer has failed */
    progress = 1000,  /* requests from one line of output to the next */
};

struct client {
    int fd; /* -1: no connection */
    int port;
    bool forever;
    long requests_left;
    char request[32], answer[64];
    size_t length, first_part, sent, received;
    double second_part_due, deadline;
    int server;  /* that answered last on this connection, or 0 */
    bool passed; /* answered by more than one server */
};

struct load {
    char **ports;
    int nports;
    double end;
    long limit;
    bool stopping;
    long asked, answered, refused, failed, connections, passed;
    int nservers, servers[servers_most];
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

static void fail(struct load *load, struct client *client, long *count, const char *why)
{
    printf(
        "load: port %d, request %zu of %zu bytes sent, %zu of an answer received: %s\n",
        client->port, client->sent, client->length, client->received, why);
    ++*count;
    disconnect(load, client);
}

static void next_request(struct load *load, struct client *client)
{
    double now = seconds();
    client->length = (size_t)snprintf(client->request, sizeof client->request,
                                      "request %ld\n", load->asked++);
    client->first_part = (size_t)random() % (client->length * 2);
    if (client->first_part > client->length)
        client->first_part = client->length;
    client->second_part_due = now + (double)(random() % 5000) / 1e6;
    client->sent = client->received = 0;
    client->deadline = now + answer_time;
    client->requests_left--;
}

static void start_client(struct load *load, struct client *client)
{
    *client = (struct client){
        .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
        .port = atoi(load->ports[random() % load->nports]),
        .forever = client->forever,
        .requests_left = random() % 4 == 0 ? random() % 50 + 1 : 1,
    };
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)client->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (client->fd < 0)
        err(1, "socket");
    load->connections++;
    next_request(load, client);
    if (connect(client->fd, (struct sockaddr *)&address, sizeof address) == 0)
        return;
    fail(load, client, errno == ECONNREFUSED ? &load->refused : &load->failed,
         strerror(errno));
}

static void count_answer(struct load *load, struct client *client, int pid)
{
    int i = 0;
    while (i < load->nservers && load->servers[i] != pid)
        i++;
    if (i == servers_most)
        errx(1, "answers of more than %d servers", servers_most);
    if (i == load->nservers) {
        load->servers[load->nservers++] = pid;
        printf("load: first answer from server %d\n", pid);
    }
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
    if (got <= 0) {
        fail(load, client, &load->failed,
             got < 0 ? strerror(errno) : "the server closed it");
        return;
    }
    client->received += (size_t)got;
    if (client->answer[client->received - 1] != '\n')
        return;
    if (!check_answer(load, client))
        fail(load, client, &load->failed, "a wrong answer");
    else if (load->stopping || load->asked >= load->limit ||
             (client->requests_left <= 0 && !client->forever))
        disconnect(load, client);
    else
        next_request(load, client);
}

static void handle_client(struct load *load, struct client *client, short events)
{
    double now = seconds();
    size_t due = now < client->second_part_due ? client->first_part : client->length;
    if (events != 0) {
        read_answer(load, client);
    } else if (client->sent < due) {
        if (send(client->fd, client->request + client->sent, due - client->sent,
                 MSG_NOSIGNAL) != (ssize_t)(due - client->sent))
            fail(load, client, &load->failed, strerror(errno));
        else
            client->sent = due;
    } else if (now > client->deadline) {
        fail(load, client, &load->failed, "no answer in time");
    }
}

/* Starts the clients that may start; returns how many are at work. */
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
        for (int i = 0; i < clients_most; i++)
            fds[i] = (struct pollfd){.fd = load->clients[i].fd, .events = POLLIN};
        /* 1 ms, as some may then have something to send. */
        if (poll(fds, clients_most, 1) < 0 && errno != EINTR)
            err(1, "poll");
        for (int i = 0; i < clients_most; i++) {
            if (fds[i].fd >= 0)
                handle_client(load, &load->clients[i], fds[i].revents);
        }
    }
}

int main(int argc, char **argv)
{
    static struct load load;
    if (argc < 4) {
        fprintf(stderr, "usage: load SECONDS REQUESTS PORT...\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    const struct sigaction action = {.sa_handler = stop, .sa_flags = SA_RESTART};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    srandom((unsigned)getpid());
    load.end = seconds() + atof(argv[1]);
    load.limit = atol(argv[2]);
    load.ports = argv + 3;
    load.nports = argc - 3;
    for (int i = 0; i < clients_most; i++) {
        load.clients[i].fd = -1;
        load.clients[i].forever = i < clients_forever;
    }
    run(&load);
    printf("load: %ld connections, %ld of them answered by more than one server\n",
           load.connections, load.passed);
    printf("load: %ld requests: %ld answered, %ld refused, %ld failed\n", load.asked,
           load.answered, load.refused, load.failed);
    if (fflush(stdout) != 0 || ferror(stdout))
        errx(1, "standard output could not be written");
    return load.asked > 0 && load.answered == load.asked ? 0 : 1;
}
