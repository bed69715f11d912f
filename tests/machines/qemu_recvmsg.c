/* What qemu-user 7.2 spoils in recvmsg(2), put right; preloaded into the C tests
 * that arch.t runs under it. qemu receives into a buffer of its own, twice as long
 * as the program's, and says nothing of the descriptors that it has no place for:
 * they stay open and MSG_CTRUNC is not set. So it is given room for all that can
 * come, and what is beyond the program's buffer is treated as the kernel treats it
 * (put_cmsg and scm_detach_fds in net/core/scm.c). */
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static ssize_t (*real_recvmsg)(int, struct msghdr *, int);

__attribute__((constructor)) static void find_the_real_one(void)
{
    void *found = dlsym(RTLD_NEXT, "recvmsg");
    if (!found)
        abort();
    memcpy(&real_recvmsg, &found, sizeof found);
}

static void close_all(const unsigned char *slots, size_t size)
{
    for (int fd; size >= sizeof fd; slots += sizeof fd, size -= sizeof fd) {
        memcpy(&fd, slots, sizeof fd);
        close(fd);
    }
}

/* How many bytes of the data of a control message fit: whole descriptors only. */
static size_t that_fits(const struct cmsghdr *header, size_t size, size_t room)
{
    if (room < CMSG_LEN(0))
        return 0;
    room -= CMSG_LEN(0);
    if (size <= room)
        return size;
    return header->cmsg_type == SCM_RIGHTS ? room / sizeof(int) * sizeof(int) : room;
}

/* Appends one control message to a buffer; false if not all of it fits. */
static int append(struct cmsghdr *header, unsigned char *control, size_t *len,
                  size_t room)
{
    size_t size = header->cmsg_len - CMSG_LEN(0), left = room - *len;
    size_t fits = that_fits(header, size, left);
    int rights = header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS;
    if (rights)
        close_all(CMSG_DATA(header) + fits, size - fits);
    if (left < CMSG_LEN(0) || (rights && fits == 0))
        return 0;
    header->cmsg_len = CMSG_LEN(fits);
    memcpy(control + *len, header, CMSG_LEN(fits));
    *len += CMSG_SPACE(fits) < left ? CMSG_SPACE(fits) : left;
    return fits == size;
}

__attribute__((visibility("default"))) ssize_t recvmsg(int socket, struct msghdr *message,
                                                       int flags)
{
    /* Credentials, timestamps and 253 descriptors; and little of the stack. */
    _Alignas(struct cmsghdr) unsigned char control[1152];
    struct msghdr whole = *message;
    size_t len = 0;
    whole.msg_control = control;
    whole.msg_controllen = sizeof control;
    ssize_t received = real_recvmsg(socket, &whole, flags);
    if (received < 0)
        return received;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&whole), *next; header; header = next) {
        next = CMSG_NXTHDR(&whole, header);
        if (!append(header, message->msg_control, &len, message->msg_controllen))
            whole.msg_flags |= MSG_CTRUNC;
    }
    message->msg_namelen = whole.msg_namelen;
    message->msg_controllen = len;
    message->msg_flags = whole.msg_flags;
    return received;
}
