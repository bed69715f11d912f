/* Everything in SECURITY CONSIDERATIONS of libsendfd(7) that a test can show: what a peer
 * can do with a description that it shares, and what prevents it. The library does none
 * of it, but a page that is wrong about it is worse than none. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* A descriptor of the peer's, and what was received for it. */
static int peers, received;

static void pass(int fd)
{
    int pair[2];
    need(fd >= 0);
    socket_pair(SOCK_STREAM, pair);
    peers = fd;
    need(sendfd(pair[0], fd) == 1);
    received = recvfd(pair[1]);
    need(received >= 0);
    close_pair(pair);
}

static void close_both(void)
{
    close(peers);
    close(received);
}

/* The same file, opened through /proc/self/fd. */
static int open_anew(int fd, int flags)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, flags | O_CLOEXEC);
}

static int sealable_file(void)
{
    int fd = memfd_create("untrusted", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    need(fd >= 0 && write(fd, "0123456789", 10) == 10);
    return fd;
}

/* --- the open file description -------------------------------------------------- */

static void offset_and_flags(void)
{
    char byte;
    pass(sealable_file());
    need(lseek(received, 3, SEEK_SET) == 3 && lseek(peers, 7, SEEK_SET) == 7);
    ok(read(received, &byte, 1) == 1 && byte == '7', "the peer has moved the offset");
    ok(pread(received, &byte, 1, 3) == 1 && byte == '3', "pread(2) has its own");
    close_both();

    int ends[2];
    need(pipe2(ends, O_CLOEXEC) == 0);
    pass(ends[0]);
    set_nonblocking(received);
    ok(fcntl(peers, F_GETFL) & O_NONBLOCK, "O_NONBLOCK is set for the peer, too");
    need(fcntl(peers, F_SETFL, 0) == 0);
    ok(!(fcntl(received, F_GETFL) & O_NONBLOCK), "and the peer can clear it");
    close(ends[1]);
    close_both();
}

static void locks(void)
{
    pass(open_file());
    int another = open_anew(peers, O_RDWR);
    need(another >= 0 && flock(received, LOCK_EX | LOCK_NB) == 0);
    fails(flock(another, LOCK_EX | LOCK_NB), EWOULDBLOCK, "a lock keeps others out");
    need(flock(peers, LOCK_UN) == 0);
    is(flock(another, LOCK_EX | LOCK_NB), 0, "the peer has released it");
    close(another);
    close_both();
}

static void signals(void)
{
    int pair[2];
    socket_pair(SOCK_STREAM, pair);
    pass(pair[0]);
    need(fcntl(received, F_SETOWN, getpid()) == 0);
    need(fcntl(peers, F_SETSIG, SIGWINCH) == 0);
    is(fcntl(received, F_GETSIG), SIGWINCH, "the peer has chosen the signal");
    close(pair[1]);
    close_both();
}

static void leases(void)
{
    int file = sealable_file();
    pass(open_anew(file, O_RDONLY));
    close(file);
    need(fcntl(peers, F_SETLEASE, F_RDLCK) == 0);
    need(signal(SIGIO, SIG_IGN) != SIG_ERR);
    fails(open_anew(received, O_RDWR | O_NONBLOCK), EWOULDBLOCK,
          "to open it again waits for a lease of the peer");
    need(fcntl(peers, F_SETLEASE, F_UNLCK) == 0);
    int fd = open_anew(received, O_RDWR | O_NONBLOCK);
    ok(fd >= 0, "but not when that is given up");
    close(fd);
    close_both();
}

/* --- what can be opened and changed --------------------------------------------- */

static void sizes(void)
{
    struct stat status;
    pass(sealable_file());
    need(fstat(received, &status) == 0 && status.st_size == 10);
    need(ftruncate(peers, 1) == 0);
    ok(fstat(received, &status) == 0 && status.st_size == 1,
       "the peer has made the file shorter");
    need(fcntl(peers, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_WRITE) == 0);
    int sealed = F_SEAL_SHRINK | F_SEAL_WRITE;
    is(fcntl(received, F_GET_SEALS) & sealed, sealed, "its seals are seen");
    fails(ftruncate(peers, 0), EPERM, "F_SEAL_SHRINK prevents that");
    fails(write(peers, "x", 1), EPERM, "and F_SEAL_WRITE a write");
    close_both();
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    fails(fcntl(null, F_GET_SEALS), EINVAL, "a device has no seals");
    close(null);
}

/* The other way round: what one sends can be more than one meant to give. */
static void read_only(void)
{
    int file = sealable_file(), sealed = sealable_file(), fd;
    need(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE) == 0);
    pass(open_anew(file, O_RDONLY));
    fails(write(received, "x", 1), EBADF, "what is open for reading is not for writing");
    fd = open_anew(received, O_RDWR);
    is(write(fd, "x", 1), 1, "but a memfd is when it is opened again");
    close(fd);
    close_both();
    pass(open_anew(sealed, O_RDONLY));
    fd = open_anew(received, O_RDWR);
    fails(write(fd, "x", 1), EPERM, "which F_SEAL_WRITE prevents");
    close(fd);
    close_both();
    close(file);
    close(sealed);
}

static void path_only(void)
{
    char byte;
    pass(open("/proc", O_PATH | O_CLOEXEC));
    int flags = fcntl(received, F_GETFL);
    is(flags & O_ACCMODE, O_RDONLY, "O_PATH has the access mode O_RDONLY");
    ok(flags & O_PATH, "which F_GETFL shows");
    fails(read(received, &byte, 1), EBADF, "and cannot be read");
    int inside = openat(received, "self", O_PATH | O_DIRECTORY | O_CLOEXEC);
    ok(inside >= 0, "a directory gives what is below it");
    close(inside);
    close_both();
}

/* --- the connection --------------------------------------------------------------- */

static void its_own_end(void)
{
    int pair[2];
    socket_pair(SOCK_STREAM, pair);
    need(sendfd(pair[0], pair[0]) == 1);
    close(pair[0]);
    int end = recvfd(pair[1]);
    need(end >= 0);
    set_nonblocking(pair[1]);
    fails(recvfd(pair[1]), EAGAIN, "who has the peer's end meets no end of file");
    close(end);
    is(recvfd(pair[1]), RECVFD_EOF, "until it is closed");
    close(pair[1]);
}

/* A byte out of band, and with it a descriptor. */
static bool send_out_of_band(int socket, int fd)
{
    return raw_send_flags(socket, "", 1, &fd, 1, MSG_OOB) == 1;
}

/* A receive may wait although poll(2) has reported it. */
static void out_of_band(void)
{
    int pair[2], before = count_fds();
    socket_pair(SOCK_STREAM, pair);
    if (!send_out_of_band(pair[0], pair[0])) {
        need(errno == EOPNOTSUPP);
        tap_skip("bytes out of band: not in this kernel");
    } else {
        set_nonblocking(pair[1]);
        ok(!is_empty(pair[1]), "a byte out of band: poll(2) says that there is one");
        fails(recvfd(pair[1]), EAGAIN, "but a receive would wait");
        ok(is_empty(pair[1]), "and has taken it from the queue");
        ok(passes_a_file(pair), "it is in nobody's way");
        need(send_out_of_band(pair[0], pair[0]) && passes_a_file(pair));
        close(pair[0]);
        is(recvfd(pair[1]), RECVFD_EOF, "nor is what was sent with it");
        pair[0] = -1;
    }
    close_pair(pair);
    is(count_fds(), before, "and no descriptor of it stays open");
}

static int accept_one(void *listener)
{
    int fd = accept(*(int *)listener, NULL, NULL);
    return fd < 0 || send(fd, "", 1, MSG_NOSIGNAL) != 1;
}

static pid_t process_at_the_other_end(int socket)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    need(getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0);
    return peer.pid;
}

/* The one who connects sees who listens, and not who accepts. */
static void who_it_is(void)
{
    char byte;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t len = sizeof address;
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    need(listener >= 0 && client >= 0);
    need(bind(listener, (struct sockaddr *)&address, sizeof address.sun_family) == 0);
    need(listen(listener, 1) == 0);
    need(getsockname(listener, (struct sockaddr *)&address, &len) == 0);
    pid_t child = run_in_child(accept_one, &listener);
    need(connect(client, (struct sockaddr *)&address, len) == 0);
    need(read(client, &byte, 1) == 1);
    is(process_at_the_other_end(client), getpid(),
       "SO_PEERCRED reports who called listen(2), not the child that accepted");
    close(client);
    close(listener);
    is(wait_for_child(child), 0, "who did accept it");
}

/* --- the table -------------------------------------------------------------------- */

static int receive_as_standard_error(void *unused)
{
    int pair[2], file = open_file();
    (void)unused;
    socket_pair(SOCK_STREAM, pair);
    need(sendfd(pair[0], file) == 1);
    close(2);
    return recvfd(pair[1]) == 2 && dprintf(2, "text") == 4 &&
                   lseek(file, 0, SEEK_CUR) == 4
               ? 0
               : 1;
}

int main(void)
{
    int before = count_fds();
    offset_and_flags();
    locks();
    signals();
    leases();
    sizes();
    read_only();
    path_only();
    its_own_end();
    out_of_band();
    who_it_is();
    is(wait_for_child(run_in_child(receive_as_standard_error, NULL)), 0,
       "where 2 is closed, what is received is standard error");
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}
