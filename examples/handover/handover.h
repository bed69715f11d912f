/* The declarations that the files of this example share. main.c explains the program. */
#ifndef HANDOVER_H
#define HANDOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    request_limit = 512, /* bytes of a request, with its newline */
    answer_limit = request_limit + 16,
    descriptors_spare = 16, /* not for connections: a handover needs some */
};

/* The unfinished part of a connection. The successor continues from there. */
struct unfinished {
    uint32_t unread, unsent;
    char request[request_limit]; /* read, but not yet a whole line */
    char answer[answer_limit];   /* not yet written */
};

/* A descriptor that epoll watches. */
struct source {
    enum { SIGNALS, CONTROL, SUCCESSOR, LISTENERS, CONNECTION } kind;
    int fd;
};

struct connection {
    struct source source; /* first: epoll knows the connection by it */
    int index;
    uint32_t events;
    struct unfinished unfinished;
};

struct server {
    const char *path;
    int epoll;
    struct source signals, control, successor;
    struct source accepting; /* an epoll instance of its own for the listeners */
    bool is_accepting;
    int *listeners;
    int nlisteners;
    struct connection **connections;
    int nconnections, connections_most;
    uintmax_t served;
    enum { RUNNING, STOPPED, HANDED_OVER } state;
};

/* main.c */
bool watch(int epoll, struct source *source, uint32_t events);
void unwatch(int epoll, const struct source *source);

/* listen.c */
bool listen_afresh(struct server *server, int count);
bool watch_listeners(struct server *server);

/* clients.c */
bool make_room(struct server *server);
void set_accepting(struct server *server, bool accepting);
void accept_connections(struct server *server);
struct connection *add_connection(struct server *server, int fd);
void forget_connection(struct server *server, struct connection *connection);
bool watch_connection(struct server *server, struct connection *connection);
void serve_connection(struct server *server, struct connection *connection);

/* messages.c */
#define MAGIC "handover"
struct header {
    char magic[sizeof MAGIC - 1];
    uint32_t version, count; /* of the sockets that follow */
};
enum { protocol_version = 1 };
enum step { READY = 'R', TAKEN = 'T' };

bool check_peer(int socket, const char *what);
bool set_patience(int socket, int seconds);
bool send_message(int socket, const int *fds, int nfds, const void *data, size_t length);
bool receive_message(int socket, int *fds, int nfds, void *data, size_t length);
bool send_descriptors(int socket, const int *fds, int nfds);
bool receive_descriptors(int socket, int *fds, int nfds);
bool send_step(int socket, enum step step);
bool receive_step(int socket, enum step step);

/* hand_over.c */
void greet_successor(struct server *server);
void hand_over(struct server *server);
void drop_successor(struct server *server, const char *why);

/* take_over.c */
bool take_over(struct server *server);

#endif
