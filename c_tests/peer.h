/* Shared by the tests: sockets, files that can be distinguished, a count of open
 * descriptors, child processes, and a peer that speaks bare sendmsg(2) and
 * recvmsg(2) and so can send and see what the library never would. */
#ifndef PEER_H
#define PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The three types of Unix-domain socket. */
struct socket_type {
    int type;
    const char *name;
};
#define SOCKET_TYPES 3
extern const struct socket_type socket_types[SOCKET_TYPES];

/* A connected pair; ends the test if there is none. */
void socket_pair(int type, int pair[2]);
void close_pair(int pair[2]);

/* How many descriptors are open in this process, counted in /proc/self/fd. */
int count_fds(void);

/* Whether there is a loopback interface that is up: a network namespace may have none. */
bool has_loopback(void);

/* NULL, from where the compiler does not see it: it warns of what some tests do. */
extern int *volatile null_fds;
extern void *volatile null_data;

/* A file of its own; same_file() distinguishes several. */
int open_file(void);
void open_files(int *fds, int nfds);
void close_fds(const int *fds, int nfds);

/* Whether two descriptors are of the same file (device and inode). */
bool same_file(int a, int b);
bool same_files(const int *a, const int *b, int nfds);
bool is_close_on_exec(int fd);

/* A file that holds a number, and the number in such a file, or -1. */
int open_numbered_file(int number);
int number_in(int fd);

/* Sets an integer option of level SOL_SOCKET; false if this kernel has no such
 * option. Any other error ends the test. */
bool set_option(int socket, int option, int value);
void set_nonblocking(int socket);

/* Sets SO_RCVTIMEO or SO_SNDTIMEO. */
void set_timeout(int socket, int option, int milliseconds);

/* RLIMIT_NOFILE, which starts as high as it may be: any value; what leaves room
 * for exactly so many more descriptors; and as it was. */
void set_limit(unsigned long descriptors);
void leave_room_for(int nfds);
void restore_limit(void);

/* How many descriptors can be open, wanted at most: root may raise the limit. */
int can_hold(int wanted);

/* Makes root, who is exempt from ETOOMANYREFS, a user without privileges that no
 * other process is: what is in flight counts per user. False if that cannot be. */
bool become_a_user_of_its_own(void);

/* Whether the queue of the socket is empty. */
bool is_empty(int socket);

/* Makes the queue that the socket sends to a small one and fills it with messages
 * of one byte and no descriptor, until another would block; returns how many. */
int fill_queue(int socket);

/* Takes one byte or one message after the other until there is none, and closes
 * the descriptors; returns how many it took, and in *nfds how many descriptors. */
int drain_queue(int socket, int *nfds);

/* Sends bytes, and with them nfds descriptors if that is above 0. Checks
 * nothing, retries nothing; returns what sendmsg returns. */
ssize_t raw_send(int socket, const void *data, size_t len, const int *fds, int nfds);
ssize_t raw_send_flags(int socket, const void *data, size_t len, const int *fds, int nfds,
                       int flags);

/* One message as recvmsg(2) brings it; the descriptors are the test's to close. */
struct raw_message {
    ssize_t bytes; /* what recvmsg returned */
    unsigned char data[4096];
    int control_messages; /* of any kind */
    size_t cmsg_len;      /* of the last one */
    int nfds;             /* of SCM_RIGHTS */
    int fds[256];
    int flags; /* msg_flags */
};
ssize_t raw_receive(int socket, size_t len, int flags, struct raw_message *message);

/* Puts a control message behind those that take up used bytes of a buffer, and returns
 * how many they take then, padding included. */
size_t put_control(void *control, size_t used, int level, int type, const void *data,
                   size_t size);

/* The control message of a type among those of a message, by CMSG_NXTHDR; or NULL. And
 * how many there are of any type. */
struct cmsghdr *find_control(struct msghdr *message, int level, int type);
int count_control(struct msghdr *message);

/* Whether a file sent now at one end is what recvfd() brings next at the other. */
bool passes_a_file(const int pair[2]);

/* The snippet that programs paste, with all its faults (classic_snippet.c). */
int classic_sendfd(int unix_domain_socket_fd, int fd);
int classic_recvfd(int unix_domain_socket_fd);

/* Runs body in a child process, which exits with what body returns and is
 * killed when its parent dies or after TAP_TIMEOUT. */
pid_t run_in_child(int (*body)(void *), void *argument);

/* A body that executes the test program itself again with arguments, a NULL at
 * their end: what is to share nothing with the test by fork(2). */
int execute_itself(void *arguments);

/* Waits for a child: its exit status, or 128 and the signal that killed it. */
int wait_for_child(pid_t child);

/* Waits until a thread or a process sleeps, as it does in a call that blocks. */
void wait_until_asleep(pid_t task);

/* A random number from 0 to end - 1 (xorshift32), also in a signal handler. The state is
 * any number but 0, the same numbers follow from the same one everywhere. */
int random_below(uint32_t *state, int end);

/* A new directory, which remove_directory() takes away again with what is in it. */
char *make_directory(void);
void remove_directory(char *directory);

/* Runs handler every few milliseconds from now on, from SIGUSR1, until
 * stop_ticks(): so that one comes while the test is blocked, however late it
 * blocks. flags are those of sigaction(2), such as SA_RESTART. */
void start_ticks(void (*handler)(int), int flags);
void stop_ticks(void);

#ifdef __cplusplus
}
#endif

#endif
