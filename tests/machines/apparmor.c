/* The errors of the library where AppArmor refuses something; kernels.t runs it with the
 * policy in apparmor.profiles. A descriptor that is refused: EACCES, the message
 * consumed, nothing left open. The receive or the send itself: EACCES, and nothing has
 * happened.
 *
 * A refused descriptor needs two confined processes: one that has opened the file, and
 * one that may not have it. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#define RIGHTS_NOTRUNC 85 /* SO_RIGHTS_NOTRUNC, Linux 7.3 */

/* The result in a confined process. */
struct outcome {
    ssize_t returned;
    int error, nfds, places[3], flags, left_open;
    bool has_option;
};

struct act {
    const char *profile;
    void (*body)(int socket);
    int socket;
};

static struct outcome *seen; /* shared with the children */

static void confine(const char *profile)
{
    int fd = open("/proc/self/attr/current", O_WRONLY | O_CLOEXEC);
    char command[80];
    int len = snprintf(command, sizeof command, "changeprofile %s", profile);
    need(fd >= 0 && write(fd, command, (size_t)len) == len);
    close(fd);
}

static int play(void *argument)
{
    const struct act *act = argument;
    confine(act->profile);
    int before = count_fds();
    errno = 0;
    act->body(act->socket);
    seen->left_open = count_fds() - before;
    return 0;
}

static void in_profile(const char *profile, void (*body)(int), int socket)
{
    struct act act = {.profile = profile, .body = body, .socket = socket};
    memset(seen, 0, sizeof *seen);
    need(wait_for_child(run_in_child(play, &act)) == 0);
}

static void returned(ssize_t value)
{
    seen->error = errno;
    seen->returned = value;
}

/* --- a descriptor is refused ------------------------------------------------- */

static void open_three(int fds[3])
{
    static const char *const names[] = {"plain", "secret", "plain"};
    for (int i = 0; i < 3; i++)
        need((fds[i] = open(names[i], O_RDONLY | O_CLOEXEC)) >= 0);
}

static void send_three(int socket)
{
    int fds[3];
    open_three(fds);
    returned(sendfds(socket, fds, 3));
    close_fds(fds, 3);
}

static void send_the_secret(int socket)
{
    int fds[3];
    open_three(fds);
    returned(sendfd(socket, fds[1]));
    close_fds(fds, 3);
}

static void receive_one(int socket)
{
    returned(recvfd(socket));
}

static void receive_three(int socket)
{
    int fds[3];
    returned(recvfds(socket, fds, 3));
}

static void receive_all(int socket)
{
    int fds[3];
    returned(recvfds_all(socket, fds, 3));
}

static void receive_data(int socket)
{
    int fds[3], nfds = 3;
    char data[8];
    returned(recvfds_msg(socket, fds, &nfds, data, sizeof data, 0));
    seen->nfds = nfds;
}

static void receive_with(int socket, int flags)
{
    int fds[3] = {-7, -7, -7}, nfds = 3;
    char data[8];
    struct iovec part = {data, sizeof data};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    returned(recvfds_msghdr(socket, fds, &nfds, &message, flags));
    seen->nfds = nfds;
    seen->flags = message.msg_flags;
    for (int i = 0; i < 3; i++) {
        seen->places[i] = fds[i];
        if (seen->returned >= 0 && fds[i] >= 0)
            close(fds[i]);
    }
}

static void receive_message(int socket)
{
    receive_with(socket, 0);
}

static void receive_partial(int socket)
{
    receive_with(socket, RECVFD_PARTIAL);
}

static void receive_by_hand(int socket)
{
    int fds[3], nfds = 3;
    char data[8];
    _Alignas(struct cmsghdr) char control[RECVFDS_CMSG_SPACE(3)];
    struct iovec part = {data, sizeof data};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
    need(recvmsg(socket, &message, MSG_CMSG_CLOEXEC) == 1);
    returned(recvfds_cmsg(socket, fds, &nfds, &message, 0));
    seen->nfds = nfds;
}

static void with_option(int socket, void (*body)(int))
{
    seen->has_option = set_option(socket, RIGHTS_NOTRUNC, 1);
    if (seen->has_option)
        body(socket);
}

static void receive_message_with_errors(int socket)
{
    with_option(socket, receive_message);
}

static void receive_partial_with_errors(int socket)
{
    with_option(socket, receive_partial);
}

static void is_refused(void (*send)(int), void (*receive)(int), const char *name)
{
    int pair[2];
    socket_pair(SOCK_STREAM, pair);
    in_profile("libsendfd_everything", send, pair[0]);
    need(seen->returned > 0);
    in_profile("libsendfd_no_secret", receive, pair[1]);
    if (receive != receive_message_with_errors || seen->has_option) {
        is(seen->returned, -1, "a refused descriptor: %s fails", name);
        is(seen->error, EACCES, "with EACCES");
        is(seen->left_open, 0, "nothing is left open");
        ok(is_empty(pair[1]), "the message is consumed");
        ok(passes_a_file(pair), "the next one comes");
    } else {
        tap_note("no SO_RIGHTS_NOTRUNC");
    }
    close_pair(pair);
}

static void is_partial(void)
{
    int pair[2];
    socket_pair(SOCK_STREAM, pair);
    in_profile("libsendfd_everything", send_three, pair[0]);
    in_profile("libsendfd_no_secret", receive_partial, pair[1]);
    is(seen->returned, 1, "RECVFD_PARTIAL: the data comes");
    is(seen->nfds, 1, "and what came before the refused descriptor");
    ok(seen->places[0] >= 0 && seen->places[1] == -7, "in its place");
    ok(seen->flags & MSG_CTRUNC, "MSG_CTRUNC reports that some are missing");
    is(seen->left_open, 0, "the rest is closed");
    close_pair(pair);
}

static void is_partial_with_errors(void)
{
    int pair[2];
    socket_pair(SOCK_STREAM, pair);
    in_profile("libsendfd_everything", send_three, pair[0]);
    in_profile("libsendfd_no_secret", receive_partial_with_errors, pair[1]);
    if (seen->has_option) {
        is(seen->returned, 1, "RECVFD_PARTIAL with SO_RIGHTS_NOTRUNC: the data comes");
        is(seen->nfds, 3, "and all that were sent");
        ok(seen->places[0] >= 0 && seen->places[1] == -1 && seen->places[2] >= 0,
           "each in its place, the refused one -1");
        ok(seen->flags & MSG_CTRUNC, "MSG_CTRUNC reports it");
        is(seen->left_open, 0, "nothing else is open");
    }
    close_pair(pair);
}

/* --- the call is refused ----------------------------------------------------- */

static void send_data(int socket)
{
    returned(sendfds_msg(socket, NULL, 0, "a", 1, 0));
}

static void send_data_and_a_file(int socket)
{
    returned(sendfds_msg(socket, (int[]){0}, 1, "a", 1, 0));
}

static void send_one(int socket)
{
    returned(sendfd(socket, 0));
}

static void send_all(int socket)
{
    returned(sendfds_all(socket, (int[]){0, 0}, 2));
}

static void receive_is_refused(void (*receive)(int), const char *name)
{
    int pair[2];
    socket_pair(SOCK_STREAM, pair);
    need(sendfds(pair[0], (int[]){0, 0, 0}, 3) == 3);
    in_profile("libsendfd_no_sockets", receive, pair[1]);
    is(seen->returned, -1, "a refused receive: %s fails", name);
    is(seen->error, EACCES, "with EACCES");
    is(seen->left_open, 0, "nothing is left open");
    ok(!is_empty(pair[1]), "nothing is consumed");
    close_pair(pair);
}

static void send_is_refused(const char *profile, void (*send)(int), const char *name)
{
    int pair[2];
    socket_pair(SOCK_STREAM, pair);
    in_profile(profile, send, pair[0]);
    is(seen->returned, -1, "%s: %s fails", profile, name);
    is(seen->error, EACCES, "with EACCES");
    ok(is_empty(pair[1]), "nothing is sent");
    close_pair(pair);
}

static void ask_for_the_domain(int socket)
{
    int domain;
    socklen_t len = sizeof domain;
    returned(getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &len));
}

static void look_into_the_queue(int socket)
{
    char byte;
    returned(recv(socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT));
}

/* Linux 7.0 asks AppArmor about no message on a connected Unix-domain socket. */
static void messages_are_refused(void)
{
    struct utsname kernel;
    int pair[2];
    need(uname(&kernel) == 0);
    socket_pair(SOCK_STREAM, pair);
    in_profile("libsendfd_no_sockets", look_into_the_queue, pair[1]);
    bool refused = seen->error == EACCES;
    is(refused, atoi(kernel.release) < 7,
       "AppArmor refuses messages before Linux 7.0 only");
    if (refused) {
        receive_is_refused(receive_one, "recvfd");
        receive_is_refused(receive_three, "recvfds");
        receive_is_refused(receive_all, "recvfds_all");
        receive_is_refused(receive_data, "recvfds_msg");
        receive_is_refused(receive_message, "recvfds_msghdr");
        receive_is_refused(receive_partial, "recvfds_msghdr with RECVFD_PARTIAL");
        send_is_refused("libsendfd_no_sockets", send_data, "sendfds_msg of data alone");
    }
    close_pair(pair);
}

static void domain_is_refused(const char *profile)
{
    send_is_refused(profile, send_one, "sendfd");
    send_is_refused(profile, send_all, "sendfds_all");
    send_is_refused(profile, send_data_and_a_file, "sendfds_msg");
}

/* From Linux 7.0 on, and with the policy of a parser that knows it, 5.0, the name and
 * the options of a socket are two permissions. */
static void one_question_is_refused(void)
{
    int pair[2], nfds;
    socket_pair(SOCK_STREAM, pair);
    in_profile("libsendfd_no_getopt", ask_for_the_domain, pair[0]);
    if (seen->returned == 0) {
        tap_note("AppArmor does not distinguish getsockopt and getsockname here");
    } else {
        is(seen->error, EACCES, "libsendfd_no_getopt: SO_DOMAIN is refused");
        in_profile("libsendfd_no_getopt", send_one, pair[0]);
        is(seen->returned, 1, "sendfd does not need it");
        is(drain_queue(pair[1], &nfds), 1, "it sends its byte");
        is(nfds, 1, "and its descriptor");
        domain_is_refused("libsendfd_no_attributes");
    }
    close_pair(pair);
}

static void make_file(const char *name)
{
    int fd = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    need(fd >= 0);
    close(fd);
}

int main(void)
{
    seen = mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                -1, 0);
    need(seen != MAP_FAILED);
    make_file("plain");
    make_file("secret");
    int before = count_fds();

    is_refused(send_the_secret, receive_one, "recvfd");
    is_refused(send_three, receive_three, "recvfds");
    is_refused(send_three, receive_all, "recvfds_all");
    is_refused(send_three, receive_data, "recvfds_msg");
    is_refused(send_three, receive_message, "recvfds_msghdr");
    is_refused(send_three, receive_by_hand, "recvfds_cmsg");
    is_refused(send_three, receive_message_with_errors,
               "recvfds_msghdr with SO_RIGHTS_NOTRUNC");
    is_partial();
    is_partial_with_errors();

    messages_are_refused();
    domain_is_refused("libsendfd_no_sockets");
    one_question_is_refused();

    is(count_fds(), before, "as many descriptors are open as before");
    unlink("plain");
    unlink("secret");
    return tap_done();
}
