/* Two processes that share nothing but a path pass files to each other, in both
 * directions, and the receiver has them when the sender is long gone. Each is
 * this program, executed again. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define FILES 5

static const char *directory;

static char *path_of(const char *name)
{
    static char path[256];
    need(snprintf(path, sizeof path, "%s/%s", directory, name) < (int)sizeof path);
    return path;
}

/* Two processes that open a FIFO, one to read and one to write, wait for each
 * other: "ready" means that the server is bound, "go" that the sender is gone. */
static void meet(const char *fifo, int flags)
{
    int fd = open(path_of(fifo), flags | O_CLOEXEC);
    need(fd >= 0);
    close(fd);
}

/* How many mistakes the other two processes find; the test sees their exit status. */
static int unexpected;

static void expect(bool condition, const char *what)
{
    if (condition)
        return;
    tap_note("not so: %s", what);
    unexpected++;
}

static struct sockaddr_un address_of(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = path_of(name);
    need(strlen(path) < sizeof address.sun_path);
    strcpy(address.sun_path, path);
    return address;
}

static int socket_at(int type, const char *name)
{
    struct sockaddr_un address = address_of(name);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    need(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
    return fd;
}

/* A file that no path leads to any more, with its number in it. */
static int unlinked_file(int number)
{
    int fd = open(path_of("file"), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    need(fd >= 0 && dprintf(fd, "file %d", number) == 6 && unlink(path_of("file")) == 0);
    return fd;
}

static void send_files(int socket)
{
    int fds[FILES];
    for (int i = 0; i < FILES; i++)
        fds[i] = unlinked_file(i);
    expect(sendfd(socket, fds[0]) == 1, "sendfd returns 1");
    expect(sendfds(socket, &fds[1], FILES - 1) == FILES - 1,
           "sendfds returns the number");
    close_fds(fds, FILES);
}

static void expect_file(int fd, int number)
{
    char content[32] = "", expected[32];
    snprintf(expected, sizeof expected, "file %d", number);
    expect(fd >= 0, "a descriptor is received");
    expect(lseek(fd, 0, SEEK_CUR) == 6, "its offset is where the sender left it");
    expect(pread(fd, content, sizeof content - 1, 0) == 6, "it can be read");
    expect(strcmp(content, expected) == 0, "it holds what the sender wrote");
}

static void receive_files(int socket, int type)
{
    int before = count_fds(), fds[FILES] = {-1, -1, -1, -1, -1};
    fds[0] = recvfd(socket);
    expect(recvfds(socket, &fds[1], FILES - 1) == FILES - 1,
           "recvfds returns the number");
    for (int i = 0; i < FILES; i++)
        expect_file(fds[i], i);
    close_fds(fds, FILES);
    if (type != SOCK_DGRAM)
        expect(recvfd(socket) == RECVFD_EOF, "then the end of file");
    expect(count_fds() == before, "no descriptor is left open");
}

static int server(int type, bool receives)
{
    struct sockaddr_un client = {.sun_family = AF_UNIX};
    socklen_t length = sizeof client;
    char greeting;
    int fd = socket_at(type, "server");
    need(type == SOCK_DGRAM || listen(fd, 1) == 0);
    meet("ready", O_WRONLY);
    if (receives)
        meet("go", O_RDONLY);
    if (type != SOCK_DGRAM) {
        fd = accept(fd, NULL, NULL);
        need(fd >= 0);
    } else if (!receives) {
        need(recvfrom(fd, &greeting, 1, 0, (struct sockaddr *)&client, &length) == 1);
        need(connect(fd, (struct sockaddr *)&client, length) == 0);
    }
    receives ? receive_files(fd, type) : send_files(fd);
    return unexpected;
}

static int client(int type, bool receives)
{
    struct sockaddr_un address = address_of("server");
    bool greets = receives && type == SOCK_DGRAM;
    int fd = greets ? socket_at(type, "client") : socket(AF_UNIX, type, 0);
    need(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    if (greets)
        need(send(fd, "", 1, 0) == 1);
    if (receives)
        meet("go", O_RDONLY);
    receives ? receive_files(fd, type) : send_files(fd);
    return unexpected;
}

static pid_t start(const char *role, const struct socket_type *type, bool receives)
{
    char number[16];
    snprintf(number, sizeof number, "%d", type->type);
    const char *arguments[] = {"unrelated", role, number, receives ? "receives" : "sends",
                               directory,   NULL};
    return run_in_child(execute_itself, arguments);
}

static void pass_files(const struct socket_type *type, bool server_receives)
{
    char *made = make_directory();
    directory = made;
    need(mkfifo(path_of("ready"), 0600) == 0 && mkfifo(path_of("go"), 0600) == 0);

    pid_t of_server = start("server", type, server_receives);
    meet("ready", O_RDONLY);
    pid_t of_client = start("client", type, !server_receives);
    pid_t sender = server_receives ? of_client : of_server;
    pid_t receiver = server_receives ? of_server : of_client;
    is(wait_for_child(sender), 0, "%s: a %s sends %d files and exits", type->name,
       server_receives ? "client" : "server", FILES);
    meet("go", O_WRONLY);
    is(wait_for_child(receiver), 0, "%s: then the %s receives and reads them", type->name,
       server_receives ? "server" : "client");
    remove_directory(made);
}

int main(int argc, char **argv)
{
    if (argc == 5) {
        bool receives = strcmp(argv[3], "receives") == 0;
        directory = argv[4];
        return strcmp(argv[1], "server") == 0 ? server(atoi(argv[2]), receives)
                                              : client(atoi(argv[2]), receives);
    }
    int before = count_fds();
    for (int i = 0; i < SOCKET_TYPES; i++) {
        pass_files(&socket_types[i], true);
        pass_files(&socket_types[i], false);
    }
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}
