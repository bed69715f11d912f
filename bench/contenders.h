/* The contenders of libsendfd: what a C programmer writes instead, and the least that the
 * system calls themselves cost. Each returns what its counterpart in sendfd.h returns;
 * all ends at the first error. */
#ifndef CONTENDERS_H
#define CONTENDERS_H

#include <stdbool.h>

#define BATCH 253 /* SCM_MAX_FD of the kernel, unix(7) */

/* One descriptor in one message. */
int hand_written_send(int socket, int fd);
int hand_written_receive(int socket);

/* The same after a getsockname, which is what sendfd() does more. */
int domain_checked_send(int socket, int fd);

/* One byte, with no control message: what the system calls cost by themselves. The
 * receiving one returns 0, which is no descriptor. */
int byte_send(int socket, int fd);
int byte_receive(int socket);

/* One way to pass a descriptor; or none, and then receive returns 0 and nothing is to
 * be closed. */
struct way {
    int (*send)(int socket, int fd);
    int (*receive)(int socket);
    bool passes;
};
extern const struct way by_hand, with_check, with_library, no_descriptor;

/* Closes what was received so, if it is a descriptor. */
void close_received(const struct way *way, int fd);

/* 1 to BATCH descriptors in one message. */
int hand_written_send_batch(int socket, const int *fds, int nfds);
int hand_written_receive_batch(int socket, int *fds, int max_fds);

/* Any number, BATCH in a message, a system call for each message. */
int hand_written_send_all(int socket, const int *fds, int nfds);
int hand_written_receive_all(int socket, int *fds, int nfds);

/* Any number, BATCH in a message, as many messages in a system call as there are. */
int mmsg_send_all(int socket, const int *fds, int nfds);
int mmsg_receive_all(int socket, int *fds, int nfds);

/* Any number with libsendfd, one in a message. */
int one_by_one_send(int socket, const int *fds, int nfds);
int one_by_one_receive(int socket, int *fds, int nfds);

#endif
