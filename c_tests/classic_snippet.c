/* The snippet that programs paste, in our own words and with its faults: room
 * for one descriptor and no look at what came, no MSG_NOSIGNAL, no close-on-exec. */
#include "peer.h"

#include <string.h>

int classic_sendfd(int unix_domain_socket_fd, int fd)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_LEN(sizeof(int))];
    } control;
    struct iovec one_byte = {.iov_base = "", .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &one_byte,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = CMSG_LEN(sizeof(int)),
    };
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    return (int)sendmsg(unix_domain_socket_fd, &message, 0);
}

int classic_recvfd(int unix_domain_socket_fd)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_LEN(sizeof(int))];
    } control;
    char byte;
    struct iovec one_byte = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &one_byte,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = CMSG_LEN(sizeof(int)),
    };
    ssize_t received = recvmsg(unix_domain_socket_fd, &message, 0);
    if (received < 0)
        return -1;
    if (received == 0)
        return -2;
    int fd;
    memcpy(&fd, CMSG_DATA(&control.header), sizeof fd);
    return fd;
}
