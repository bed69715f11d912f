/* The other control messages that recvfds_msghdr returns: each one for which the caller
 * has room, whole and in order, and at least 512 bytes of them besides as many
 * descriptors as can come. MSG_CTRUNC reports that one is left out. Simulated, and with
 * what IP brings. */
#include "simulation.h"

#include <netinet/in.h>
#include <stdint.h>

#define LENGTH(array) (sizeof(array) / sizeof(array)[0])
#define UNTOUCHED 0xa5
#define LARGE 2048
#define LABEL 3 /* SCM_SECURITY */

/* Where messages are received. */
static struct {
    char data[16];
    struct iovec iov;
    _Alignas(struct cmsghdr) unsigned char control[LARGE];
    struct msghdr message;
    int fds[SENDFD_MAX_FDS], nfds;
} place;

static ssize_t receive_with(int socket, size_t room, int nfds, int flags)
{
    memset(&place, UNTOUCHED, sizeof place);
    place.iov = (struct iovec){.iov_base = place.data, .iov_len = sizeof place.data};
    place.message = (struct msghdr){
        .msg_iov = &place.iov,
        .msg_iovlen = 1,
        .msg_control = place.control,
        .msg_controllen = room,
    };
    place.nfds = nfds;
    return recvfds_msghdr(socket, place.fds, &place.nfds, &place.message, flags);
}

static ssize_t receive(int socket, size_t room, int nfds)
{
    return receive_with(socket, room, nfds, 0);
}

static bool untouched_from(size_t used)
{
    for (size_t i = used; i < LARGE; i++)
        if (place.control[i] != UNTOUCHED)
            return false;
    return true;
}

/* The types of the messages that came, one digit each. */
static long types_that_came(void)
{
    long types = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&place.message); header;
         header = CMSG_NXTHDR(&place.message, header))
        types = 10 * types + header->cmsg_type;
    return types;
}

/* Messages of these sizes, of types from 5 on, which mean nothing to the library, with a
 * descriptor before one of them; and those that the caller then has. */
struct choice {
    size_t sizes[3], room;
    long types;
    bool truncated;
};

#define SPACES(a, b, c) (CMSG_SPACE(a) + CMSG_SPACE(b) + CMSG_SPACE(c))

static const struct choice choices[] = {
    {{12, 255, 4}, LARGE, 567, false},
    {{12, 255, 4}, SPACES(12, 255, 4), 567, false},
    {{12, 255, 4}, SPACES(12, 255, 4) - 1, 56, true},
    {{12, 255, 4}, CMSG_SPACE(12) + CMSG_SPACE(255) - 1, 57, true},
    {{12, 255, 4}, CMSG_SPACE(12) + CMSG_SPACE(4), 57, true},
    {{12, 255, 4}, CMSG_SPACE(12) + CMSG_SPACE(4) - 1, 5, true},
    {{100, 255, 4}, CMSG_SPACE(4), 7, true},
    {{100, 255, 4}, CMSG_SPACE(4) - 1, 0, true},
    {{100, 8, 200}, CMSG_SPACE(100), 5, true},
    {{100, 8, 200}, CMSG_SPACE(200), 56, true},
    {{200, 8, 100}, CMSG_SPACE(8) + CMSG_SPACE(100), 67, true},
    {{12, 255, 4}, 1, 0, true},
    {{12, 255, 4}, 0, 0, false},
};

static void chosen(const struct choice *choice, int rights_at)
{
    static const int values[66] = {11, 22, 33, 44, 55, 66};
    struct scene scene;
    size_t used = 0;
    int at = 0;
    set_scene(&scene, 1);
    for (int i = 0; i < 3; i++) {
        if (i == rights_at)
            deliver(SCM_RIGHTS, scene.files, 1);
        deliver(5 + i, values + i, (int)(choice->sizes[i] + 3) / 4);
        kernel.messages[kernel.nmessages - 1].claimed_len = CMSG_LEN(choice->sizes[i]);
    }
    if (rights_at == 3)
        deliver(SCM_RIGHTS, scene.files, 1);
    is(receive(scene.pair[1], choice->room, 1), 1,
       "%zu, %zu and %zu bytes, descriptor %d, room for %zu", choice->sizes[0],
       choice->sizes[1], choice->sizes[2], rights_at, choice->room);
    ok(place.nfds == 1 && place.fds[0] == scene.files[0], "the descriptor comes");
    is(types_that_came(), choice->types, "the messages that fit, in their order");
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&place.message); header;
         header = CMSG_NXTHDR(&place.message, header), at++) {
        size_t size = choice->sizes[header->cmsg_type - 5];
        used += CMSG_SPACE(size);
        if (header->cmsg_len != CMSG_LEN(size) || header->cmsg_level != SOL_SOCKET ||
            memcmp(CMSG_DATA(header), values + header->cmsg_type - 5, size) != 0)
            ok(false, "message %d is not what came", at);
    }
    is((long)place.message.msg_controllen, (long)used, "with their padding");
    is((place.message.msg_flags & MSG_CTRUNC) != 0, choice->truncated, "MSG_CTRUNC");
    ok(untouched_from(choice->room), "nothing behind the buffer is written");
    is(kernel.closes + kernel.fcntls, 0, "nothing is closed or looked for");
    close(scene.files[0]);
    end_scene(&scene, "what fits");
}

/* As many descriptors as can come, and 512 bytes besides them: all are kept. */
static void most_of_both(int nfds)
{
    int numbers[SENDFD_MAX_FDS], label[128];
    struct scene scene;
    set_scene(&scene, 0);
    for (int i = 0; i < SENDFD_MAX_FDS; i++)
        numbers[i] = 100000 + i;
    for (int i = 0; i < 128; i++)
        label[i] = i;
    int nlabel = (int)((512 - CMSG_LEN(0)) / sizeof(int));
    deliver(LABEL, label, nlabel);
    if (nfds > 0)
        deliver(SCM_RIGHTS, numbers, nfds);
    is(receive(scene.pair[1], LARGE, nfds), 1, "512 bytes besides %d descriptors", nfds);
    ok(place.nfds == nfds && memcmp(place.fds, numbers, sizeof(int) * (size_t)nfds) == 0,
       "the descriptors come");
    struct cmsghdr *header = find_control(&place.message, SOL_SOCKET, LABEL);
    ok(header && header->cmsg_len == 512 &&
           memcmp(CMSG_DATA(header), label, 512 - CMSG_LEN(0)) == 0,
       "and so does the message");
    ok(!(place.message.msg_flags & MSG_CTRUNC), "no MSG_CTRUNC");
    is(kernel.closes, 0, "nothing is closed");
    end_scene(&scene, "512 bytes");
}

/* The last message claims more than has come, which no kernel does: the caller has what
 * is there, and a length that says so. One shorter than its header ends the walk. */
static void wrong_lengths(void)
{
    static const size_t claims[] = {CMSG_LEN(12), CMSG_LEN(400), SIZE_MAX};
    for (size_t i = 0; i < LENGTH(claims); i++) {
        struct scene scene;
        set_scene(&scene, 1);
        deliver(SCM_CREDENTIALS, (int[]){1, 2, 3}, 3);
        deliver(SCM_RIGHTS, scene.files, 1);
        deliver(LABEL, (int[]){4, 5}, 2);
        kernel.messages[2].claimed_len = claims[i];
        is(receive(scene.pair[1], LARGE, 1), 1, "a last message of %zu bytes", claims[i]);
        ok(place.nfds == 1 && place.fds[0] == scene.files[0], "the descriptor comes");
        struct cmsghdr *header = find_control(&place.message, SOL_SOCKET, LABEL);
        ok(find_control(&place.message, SOL_SOCKET, SCM_CREDENTIALS) && header &&
               header->cmsg_len == CMSG_LEN(2 * sizeof(int)),
           "and the others, cut to what there is");
        is((long)place.message.msg_controllen,
           (long)(CMSG_SPACE(3 * sizeof(int)) + CMSG_SPACE(2 * sizeof(int))),
           "msg_controllen");
        close(scene.files[0]);
        end_scene(&scene, "the last message");
    }

    struct scene scene;
    set_scene(&scene, 0);
    deliver(LABEL, (int[]){4, 5}, 2);
    deliver(LABEL, (int[]){6, 7}, 2);
    kernel.messages[1].claimed_len = CMSG_LEN(0) - 1;
    is(receive(scene.pair[1], LARGE, 1), 1, "one that is shorter than its header");
    is(types_that_came(), LABEL, "ends them");
    end_scene(&scene, "a short header");
}

/* MSG_CTRUNC says that something is missing, but not that the last message is: where the
 * buffer is not full it is whole. */
static void missing_something(void)
{
    struct scene scene;
    set_scene(&scene, 1);
    deliver(SCM_RIGHTS, scene.files, 1);
    deliver(LABEL, (int[]){4, 5}, 2);
    kernel.flags = MSG_CTRUNC;
    is(receive_with(scene.pair[1], LARGE, 1, RECVFD_PARTIAL), 1,
       "MSG_CTRUNC and RECVFD_PARTIAL");
    ok(place.nfds == 1 && place.fds[0] == scene.files[0], "the descriptor comes");
    is(types_that_came(), LABEL, "and so does the message behind it");
    close(scene.files[0]);
    end_scene(&scene, "MSG_CTRUNC");
}

/* Two pidfds, as no kernel sends them: each is the caller's or closed. */
static void pidfds(void)
{
    static const size_t rooms[] = {0, CMSG_SPACE(4) - 1, CMSG_SPACE(4),
                                   2 * CMSG_SPACE(4)};
    static const int fit[] = {0, 0, 1, 2};
    for (size_t i = 0; i < LENGTH(rooms); i++) {
        struct scene scene;
        set_scene(&scene, 3);
        deliver(PIDFD, scene.files, 1);
        deliver(SCM_RIGHTS, scene.files + 1, 1);
        deliver(PIDFD, scene.files + 2, 1);
        is(receive(scene.pair[1], rooms[i], 1), 1, "two pidfds, room for %d", fit[i]);
        ok(place.nfds == 1 && place.fds[0] == scene.files[1], "the descriptor comes");
        is(count_control(&place.message), fit[i], "so many are the caller's");
        is(kernel.closes, 2 - fit[i], "the others are closed");
        is((place.message.msg_flags & MSG_CTRUNC) != 0, rooms[i] > 0 && fit[i] < 2,
           "MSG_CTRUNC");
        close(scene.files[1]);
        if (fit[i] > 0)
            close(scene.files[0]);
        if (fit[i] > 1)
            close(scene.files[2]);
        end_scene(&scene, "two pidfds");
    }

    struct scene scene;
    set_scene(&scene, 0);
    deliver(PIDFD, (int[]){-EMFILE}, 1);
    is(receive(scene.pair[1], LARGE, 1), 1, "a pidfd that could not be made");
    struct cmsghdr *header = find_control(&place.message, SOL_SOCKET, PIDFD);
    int error = 0;
    if (ok(header != NULL, "the caller has the message"))
        memcpy(&error, CMSG_DATA(header), sizeof error);
    is(error, -EMFILE, "with the errno");
    is(receive(scene.pair[1], LARGE, 1), -1, "(nothing else has come)");
    is(kernel.closes, 0, "no errno is closed");
    end_scene(&scene, "no pidfd");
}

/* --- another domain -------------------------------------------------------------- */

/* A UDP socket that is connected to itself; -1 where there is no such protocol. */
static int udp_socket(int family)
{
    union {
        struct sockaddr any;
        struct sockaddr_in inet;
        struct sockaddr_in6 inet6;
    } address;
    socklen_t length = sizeof address;
    int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    memset(&address, 0, sizeof address);
    address.any.sa_family = (sa_family_t)family;
    if (family == AF_INET)
        address.inet.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else
        address.inet6.sin6_addr = in6addr_loopback;
    if (fd < 0 || !has_loopback() || bind(fd, &address.any, length) < 0) {
        close(fd);
        return -1;
    }
    need(getsockname(fd, &address.any, &length) == 0);
    need(connect(fd, &address.any, length) == 0);
    return fd;
}

static void packet_information(void)
{
    int udp = udp_socket(AF_INET), on = 1;
    if (udp < 0) {
        tap_skip("there is no UDP on the loopback interface");
        return;
    }
    need(setsockopt(udp, IPPROTO_IP, IP_PKTINFO, &on, sizeof on) == 0);
    for (int i = 0; i < 3; i++)
        need(send(udp, "hello", 5, 0) == 5);
    reset_kernel();
    is(receive(udp, LARGE, 2), 5, "UDP with IP_PKTINFO");
    is(calls_made(), 1, "one recvmsg, no other call");
    struct cmsghdr *header = find_control(&place.message, IPPROTO_IP, IP_PKTINFO);
    struct in_pktinfo information = {0};
    if (ok(header != NULL, "the caller has it"))
        memcpy(&information, CMSG_DATA(header), sizeof information);
    is((long)ntohl(information.ipi_addr.s_addr), INADDR_LOOPBACK, "and it is right");
    is(place.nfds, 0, "there is no descriptor");
    is(receive(udp, CMSG_SPACE(sizeof information) - 1, 2), 5, "with too little room");
    ok(place.message.msg_controllen == 0 && place.message.msg_flags & MSG_CTRUNC,
       "it is left out and reported");
    is(receive(udp, 0, 2), 5, "without a buffer");
    ok(place.message.msg_controllen == 0 && !(place.message.msg_flags & MSG_CTRUNC),
       "nobody asked for it");
    close(udp);
}

/* Options that are more than the library's own buffer holds, which cuts them where no
 * length says, come whole or not at all. */
static void destination_options(void)
{
    unsigned char options[1024] = {0, sizeof options / 8 - 1};
    int udp = udp_socket(AF_INET6), on = 1;
    for (size_t i = 2, size; i < sizeof options; i += size) {
        size = sizeof options - i < 257 ? sizeof options - i : 257;
        if (sizeof options - i - size == 1)
            size--;
        options[i] = 0x1e; /* an option for experiments (RFC 4727), to be skipped */
        options[i + 1] = (unsigned char)(size - 2);
    }
    if (udp < 0 || setsockopt(udp, IPPROTO_IPV6, IPV6_RECVDSTOPTS, &on, sizeof on) < 0 ||
        setsockopt(udp, IPPROTO_IPV6, IPV6_DSTOPTS, options, sizeof options) < 0) {
        tap_skip("no destination options over IPv6 here");
        close(udp);
        return;
    }
    for (int i = 0; i < 2; i++)
        need(send(udp, "hello", 5, 0) == 5);
    is(receive(udp, LARGE, 0), 5, "1024 bytes of destination options");
    is((long)place.message.msg_controllen, 0, "are left out");
    ok(place.message.msg_flags & MSG_CTRUNC, "and reported");
    is(receive(udp, LARGE, SENDFD_MAX_FDS), 5, "with a larger buffer inside the library");
    struct cmsghdr *header = find_control(&place.message, IPPROTO_IPV6, IPV6_DSTOPTS);
    options[0] = IPPROTO_UDP; /* the next header, which the kernel has filled in */
    ok(header ? header->cmsg_len == CMSG_LEN(sizeof options) &&
                    memcmp(CMSG_DATA(header), options, sizeof options) == 0
              : (place.message.msg_flags & MSG_CTRUNC) != 0,
       "they come whole, or are left out and reported");

    need(setsockopt(udp, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on) == 0);
    need(send(udp, "hello", 5, 0) == 5);
    is(receive(udp, LARGE, 0), 5, "and the packet's information");
    header = find_control(&place.message, IPPROTO_IPV6, IPV6_PKTINFO);
    ok(header && header->cmsg_len == CMSG_LEN(sizeof(struct in6_pktinfo)),
       "which comes first, and whole");
    is(count_control(&place.message), 1, "no piece of the options");
    ok(place.message.msg_flags & MSG_CTRUNC, "MSG_CTRUNC");
    close(udp);
}

int main(void)
{
    int before = count_fds();
    for (size_t i = 0; i < LENGTH(choices); i++)
        for (int rights_at = 0; rights_at <= 3; rights_at++)
            chosen(&choices[i], rights_at);
    most_of_both(0);
    most_of_both(1);
    most_of_both(SENDFD_MAX_FDS);
    wrong_lengths();
    missing_something();
    pidfds();
    packet_information();
    destination_options();
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}
