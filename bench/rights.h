/* How a careful programmer writes descriptors into a control message, and takes them
 * out of one: for hand_written.c and contenders.c. */
#ifndef RIGHTS_H
#define RIGHTS_H

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

union control_of_one {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};

/* Fills in a control message, and returns how long it is. */
static size_t write_rights(void *control, const int *fds, int nfds)
{
    struct cmsghdr *header = control;
    size_t size = (size_t)nfds * sizeof *fds;
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(header), fds, size);
    return CMSG_SPACE(size);
}

/* Takes the descriptors out of a message that came: how many, or -1. They are not
 * closed on errors. */
static int read_rights(struct msghdr *message, int *fds, int max_fds)
{
    struct cmsghdr *header = CMSG_FIRSTHDR(message);
    if (message->msg_flags & MSG_CTRUNC) {
        errno = EMSGSIZE;
        return -1;
    }
    if (header == NULL || header->cmsg_level != SOL_SOCKET ||
        header->cmsg_type != SCM_RIGHTS) {
        errno = ENOMSG;
        return -1;
    }
    size_t size = header->cmsg_len - CMSG_LEN(0);
    if (size > (size_t)max_fds * sizeof *fds) {
        errno = EMSGSIZE;
        return -1;
    }
    memcpy(fds, CMSG_DATA(header), size);
    return (int)(size / sizeof *fds);
}

#endif
