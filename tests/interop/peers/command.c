/* Opens what is to be sent, prints what has come; knows nothing of how it passes. */
#include "command.h"

#include <err.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool copy_to_output(int fd)
{
    char part[4096];
    ssize_t got;
    while ((got = read(fd, part, sizeof part)) > 0) {
        if (write(STDOUT_FILENO, part, (size_t)got) != got) {
            warn("standard output");
            return false;
        }
    }
    if (got < 0)
        warn("reading what has come");
    return got == 0;
}

static bool send_files(const struct peer *peer, const char *function, char **files,
                       int count)
{
    int fds[MOST_FILES];
    for (int i = 0; i < count; i++) {
        fds[i] = open(files[i], O_RDONLY | O_CLOEXEC);
        if (fds[i] < 0) {
            warn("%s", files[i]);
            return false;
        }
    }
    return peer->send(function, fds, count);
}

static bool receive_files(const struct peer *peer, const char *function, int count)
{
    int fds[MOST_FILES];
    int came = peer->receive(function, fds, count);
    for (int i = 0; i < came; i++) {
        if (!copy_to_output(fds[i]))
            return false;
    }
    if (came < count)
        warnx("%d of %d descriptors came", came, count);
    return came == count;
}

int run_peer(const struct peer *peer, int argc, char **argv)
{
    bool done;
    if (argc > 3 && argc <= 3 + MOST_FILES && strcmp(argv[1], "send") == 0) {
        done = send_files(peer, argv[2], argv + 3, argc - 3);
    } else if (argc == 4 && strcmp(argv[1], "receive") == 0 && atoi(argv[3]) >= 1 &&
               atoi(argv[3]) <= MOST_FILES) {
        done = receive_files(peer, argv[2], atoi(argv[3]));
    } else {
        warnx("usage: %s send FUNCTION FILE...\n"
              "       %s receive FUNCTION COUNT",
              peer->name, peer->name);
        done = false;
    }
    return done ? 0 : 1;
}
