/* The command line that every peer has, for those in C:
 *
 *     NAME send FUNCTION FILE...      opens the files, sends their descriptors
 *     NAME receive FUNCTION COUNT     receives COUNT, prints what is in the files
 *
 * over the socket that is descriptor 3. */
#ifndef COMMAND_H
#define COMMAND_H

#include <stdbool.h>

enum { SOCKET = 3, MOST_FILES = 253 };

/* Both say on standard error why they fail. send: whether all went. receive: how
 * many came. One that passes one descriptor per message does so count times. */
struct peer {
    const char *name;
    bool (*send)(const char *function, const int *fds, int count);
    int (*receive)(const char *function, int *fds, int count);
};

/* The exit status: 0, or 1 if anything failed. */
int run_peer(const struct peer *peer, int argc, char **argv);

#endif
