/* Who sent me this descriptor? A bound datagram socket, such as that of a service
 * manager, receives the sender's address, credentials and descriptors in one call. A
 * sender that is not connected passes all of them in one call, as
 * sd_pid_notify_with_fds(3) does. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define MOST_FDS 4
#define STORE "FDSTORE=1\nFDNAME=listener"

static struct sockaddr_un manager = {.sun_family = AF_UNIX};
static struct sockaddr_un service = {.sun_family = AF_UNIX};

static int datagram_socket(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    need(fd >= 0);
    if (address) {
        unlink(address->sun_path);
        need(bind(fd, (const void *)address, sizeof *address) == 0);
    }
    return fd;
}

/* --- a service ------------------------------------------------------------------ */

/* The message of a child: some text, and descriptors of files with numbers in them. */
struct notification {
    const char *text;
    int nfds;
    bool with_credentials, bound, as_another;
};

static ssize_t notify(int socket, const char *text, const int *fds, int nfds,
                      const struct ucred *ids)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof *ids)];
    struct iovec iov = {.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};
    struct msghdr message = {
        .msg_name = &manager,
        .msg_namelen = sizeof manager,
        .msg_iov = &iov,
        .msg_iovlen = 1,
    };
    if (ids) {
        message.msg_control = control;
        message.msg_controllen =
            put_control(control, 0, SOL_SOCKET, SCM_CREDENTIALS, ids, sizeof *ids);
    }
    return sendfds_msghdr(socket, fds, nfds, &message, 0);
}

static int run_service(void *argument)
{
    const struct notification *notification = argument;
    int fds[MOST_FDS + 1];
    int socket = datagram_socket(notification->bound ? &service : NULL);
    if (notification->as_another && !become_a_user_of_its_own())
        return 77;
    struct ucred ids = {.pid = getpid(), .uid = getuid(), .gid = getgid()};
    for (int i = 0; i < notification->nfds; i++)
        fds[i] = open_numbered_file(100 + i);
    ssize_t bytes = notify(socket, notification->text, fds, notification->nfds,
                           notification->with_credentials ? &ids : NULL);
    return bytes == (ssize_t)strlen(notification->text) ? 0 : 1;
}

/* --- the manager ------------------------------------------------------------------ */

/* One datagram, and all that is known of its sender. */
struct received {
    char text[64];
    struct sockaddr_un from;
    socklen_t from_length;
    struct ucred ids;
    bool has_ids;
    int fds[MOST_FDS], nfds;
};

static ssize_t receive(int socket, struct received *received)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof received->ids)];
    struct iovec iov = {.iov_base = received->text, .iov_len = sizeof received->text - 1};
    struct msghdr message = {
        .msg_name = &received->from,
        .msg_namelen = sizeof received->from,
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control,
        .msg_controllen = sizeof control,
    };
    memset(received, 0, sizeof *received);
    received->nfds = MOST_FDS;
    ssize_t bytes = recvfds_msghdr(socket, received->fds, &received->nfds, &message, 0);
    if (bytes < 0)
        return bytes;
    received->from_length = message.msg_namelen;
    struct cmsghdr *header = find_control(&message, SOL_SOCKET, SCM_CREDENTIALS);
    if (header) {
        memcpy(&received->ids, CMSG_DATA(header), sizeof received->ids);
        received->has_ids = true;
    }
    return bytes;
}

/* Keeps what a process of this user wants kept, and closes what others send. */
static int store(const struct received *received, uid_t user, int *kept)
{
    if (received->has_ids && received->ids.uid == user &&
        strncmp(received->text, "FDSTORE=1", 9) == 0) {
        memcpy(kept, received->fds, sizeof(int) * (size_t)received->nfds);
        return received->nfds;
    }
    close_fds(received->fds, received->nfds);
    return 0;
}

static void one_datagram(int socket, struct notification notification)
{
    struct received received;
    int kept[MOST_FDS], before = count_fds();
    pid_t child = run_in_child(run_service, &notification);
    int status = wait_for_child(child);
    if (status == 77) {
        tap_skip("cannot become another user here");
        return;
    }
    is(status, 0, "%d descriptors%s%s%s are sent", notification.nfds,
       notification.with_credentials ? ", credentials" : "",
       notification.bound ? ", from an address" : "",
       notification.as_another ? ", by another user" : "");
    is(receive(socket, &received), (long)strlen(notification.text), "and received");
    ok(strcmp(received.text, notification.text) == 0, "with the text");
    ok(received.has_ids && received.ids.pid == child, "of the process that sent them");
    ok((received.ids.uid == getuid()) == !notification.as_another, "and its user");
    if (notification.bound)
        ok(received.from_length > sizeof(sa_family_t) &&
               strcmp(received.from.sun_path, service.sun_path) == 0,
           "from its address");
    else
        is((long)received.from_length, 0, "from no address");
    is(received.nfds, notification.nfds, "with its descriptors");
    for (int i = 0; i < received.nfds; i++)
        if (number_in(received.fds[i]) != 100 + i || !is_close_on_exec(received.fds[i]))
            ok(false, "descriptor %d is not right", i);
    bool wanted = !notification.as_another && notification.text[0] == 'F';
    int nfds = store(&received, getuid(), kept);
    is(nfds, wanted ? notification.nfds : 0, "what is kept");
    close_fds(kept, nfds);
    is(count_fds(), before, "everything else is closed");
}

/* A careless or hostile sender does not stop the manager. */
static void odd_datagrams(int socket)
{
    struct received received;
    int sender = datagram_socket(NULL), fds[MOST_FDS + 1];
    char long_text[100];
    open_files(fds, MOST_FDS + 1);
    int before = count_fds();
    need(notify(sender, STORE, fds, MOST_FDS + 1, NULL) > 0);
    fails(receive(socket, &received), EMSGSIZE,
          "more descriptors than there is room for");
    is(count_fds(), before, "all are closed");
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    need(notify(sender, long_text, fds, 1, NULL) > 0);
    is(receive(socket, &received), (long)sizeof received.text - 1, "a text that is cut");
    is(received.nfds, 1, "comes with its descriptor");
    close_fds(received.fds, received.nfds);
    need(notify(sender, "", fds, 1, NULL) == 0);
    is(receive(socket, &received), 0, "a descriptor without text");
    is(received.nfds, 1, "comes, too");
    ok(received.has_ids && received.ids.pid == getpid(), "with credentials");
    close_fds(received.fds, received.nfds);
    need(notify(sender, "", NULL, 0, NULL) == 0);
    is(receive(socket, &received), 0, "nothing at all");
    is(received.nfds, 0, "is no end of file");
    close_fds(fds, MOST_FDS + 1);
    close(sender);
}

int main(void)
{
    static const struct notification notifications[] = {
        {STORE, 1, true, false, false},      {STORE, MOST_FDS, true, true, false},
        {STORE, 1, false, true, false},      {STORE, 2, true, false, true},
        {STORE, 2, false, false, true},      {"READY=1", 0, true, false, false},
        {"READY=1", 0, false, false, false}, {"READY=1", 3, true, false, false},
    };
    int before = count_fds();
    char *directory = make_directory();
    need(chmod(directory, 0711) == 0);
    snprintf(manager.sun_path, sizeof manager.sun_path, "%s/manager", directory);
    snprintf(service.sun_path, sizeof service.sun_path, "%s/service", directory);
    int socket = datagram_socket(&manager);
    need(chmod(manager.sun_path, 0666) == 0);
    need(set_option(socket, SO_PASSCRED, 1));
    for (size_t i = 0; i < sizeof notifications / sizeof notifications[0]; i++)
        one_datagram(socket, notifications[i]);
    odd_datagrams(socket);
    close(socket);
    remove_directory(directory);
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}
