/* The calls are cancellation points as sendmsg(2) and recvmsg(2) are: a thread
 * that is cancelled in one unwinds through it, runs the destructors of the C++
 * functions above, and has neither received nor sent anything. */
#include "peer.h"
#include "sendfd.hpp"

#include <atomic>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Its macros are short words, which the library of C++ has, too. */
#include "tap.h"

namespace
{

struct Call {
    const char *name;
    int (*make)(int socket, int fd);
    bool sends;
};

int receive_one(int socket, int)
{
    return recvfd(socket);
}

int receive_some(int socket, int)
{
    int fds[3];
    int received = recvfds(socket, fds, 3);
    return received == 1 ? fds[0] : -1;
}

int send_one(int socket, int fd)
{
    return sendfd(socket, fd);
}

int send_some(int socket, int fd)
{
    int fds[] = {fd, fd};
    return sendfds(socket, fds, 2);
}

int receive_all(int socket, int)
{
    int fds[1];
    int received = recvfds_all(socket, fds, 1);
    return received == 1 ? fds[0] : -1;
}

int receive_message(int socket, int)
{
    int fds[3], nfds = 3;
    char data[4];
    ssize_t bytes = recvfds_msg(socket, fds, &nfds, data, sizeof data, 0);
    return bytes == 1 && nfds == 1 ? fds[0] : -1;
}

int send_all(int socket, int fd)
{
    int fds[] = {fd, fd};
    return sendfds_all(socket, fds, 2);
}

int send_message(int socket, int fd)
{
    return static_cast<int>(sendfds_msg(socket, &fd, 1, "ab", 2, 0));
}

int receive_msghdr(int socket, int)
{
    int fds[3], nfds = 3;
    char data[4];
    iovec iov = {data, sizeof data};
    msghdr message = msghdr();
    message.msg_iov = &iov;
    message.msg_iovlen = 1;
    ssize_t bytes = recvfds_msghdr(socket, fds, &nfds, &message, 0);
    return bytes == 1 && nfds == 1 ? fds[0] : -1;
}

int send_msghdr(int socket, int fd)
{
    char data[2] = {'a', 'b'};
    iovec iov[2] = {{data, 1}, {data + 1, 1}};
    msghdr message = msghdr();
    message.msg_iov = iov;
    message.msg_iovlen = 2;
    return static_cast<int>(sendfds_msghdr(socket, &fd, 1, &message, 0));
}

int receive_in_cxx(int socket, int)
{
    std::error_code error;
    std::optional<libsendfd::unique_fd> fd = libsendfd::receive(socket, error);
    return fd ? fd->release() : -1;
}

int send_in_cxx(int socket, int fd)
{
    const int fds[] = {fd, fd};
    std::error_code error;
    return static_cast<int>(libsendfd::send_all(socket, fds, error));
}

const Call calls[] = {{"recvfd", receive_one, false},
                      {"recvfds", receive_some, false},
                      {"recvfds_all", receive_all, false},
                      {"recvfds_msg", receive_message, false},
                      {"sendfd", send_one, true},
                      {"sendfds", send_some, true},
                      {"sendfds_all", send_all, true},
                      {"sendfds_msg", send_message, true},
                      {"recvfds_msghdr", receive_msghdr, false},
                      {"sendfds_msghdr", send_msghdr, true},
                      {"libsendfd::receive", receive_in_cxx, false},
                      {"libsendfd::send_all", send_in_cxx, true}};

enum Cancellation { WHILE_BLOCKED, PENDING, DISABLED };

/* The task of a thread, and its result. */
struct Job {
    const Call &call;
    Cancellation cancellation;
    int socket, fd;
    std::atomic<pid_t> task;
    int result;
    int destroyed;
    bool returned;

    Job(const Call &call, Cancellation cancellation, const int *pair, int fd)
        : call(call), cancellation(cancellation), socket(pair[call.sends ? 0 : 1]),
          fd(fd), task(0), result(-1), destroyed(0), returned(false)
    {
    }
};

/* Counts when it goes out of scope, which is what an unwinding must bring about. */
class Scope
{
  public:
    explicit Scope(int &destroyed) : destroyed(destroyed)
    {
    }
    ~Scope()
    {
        destroyed++;
    }
    Scope(const Scope &) = delete;
    Scope &operator=(const Scope &) = delete;

  private:
    int &destroyed;
};

__attribute__((noinline)) void make_call(Job &job)
{
    Scope inner(job.destroyed);
    job.task = static_cast<pid_t>(syscall(SYS_gettid));
    job.result = job.call.make(job.socket, job.fd);
    job.returned = true;
}

} // namespace

extern "C" {
static void *work(void *argument)
{
    Job &job = *static_cast<Job *>(argument);
    Scope outer(job.destroyed);
    if (job.cancellation == DISABLED)
        need(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL) == 0);
    if (job.cancellation == PENDING)
        need(pthread_cancel(pthread_self()) == 0);
    make_call(job);
    return NULL;
}
}

namespace
{

/* Waits until the thread is blocked in its call. */
void wait_until_blocked(const Job &job)
{
    while (job.task == 0)
        sched_yield();
    wait_until_asleep(job.task);
}

/* A blocked receive waits on an empty queue, a blocked send on a full one. */
void cancel_blocked(const socket_type &type, const Call &call)
{
    int pair[2], fd = open_file(), nfds;
    socket_pair(type.type, pair);
    int queued = call.sends ? fill_queue(pair[0]) : 0;
    int before = count_fds();
    Job job(call, WHILE_BLOCKED, pair, fd);
    pthread_t thread;
    void *ended;
    need(pthread_create(&thread, NULL, work, &job) == 0);
    wait_until_blocked(job);
    need(pthread_cancel(thread) == 0);
    need(pthread_join(thread, &ended) == 0);

    ok(ended == PTHREAD_CANCELED && !job.returned, "%s: %s, blocked, is cancelled",
       type.name, call.name);
    is(job.destroyed, 2, "%s: %s: both destructors above it run", type.name, call.name);
    is(count_fds(), before, "%s: %s: no descriptor is left open", type.name, call.name);
    is(drain_queue(pair[1], &nfds), queued, "%s: %s: the queue is as it was", type.name,
       call.name);
    is(nfds, 0, "%s: %s: nothing was sent", type.name, call.name);
    need(sendfd(pair[0], fd) == 1);
    int received = recvfd(pair[1]);
    ok(same_file(received, fd), "%s: %s: the socket is usable afterwards", type.name,
       call.name);
    close(received);
    close(fd);
    close_pair(pair);
}

/* A call that would succeed at once does nothing when a cancellation is pending. */
void cancel_pending(const socket_type &type, const Call &call)
{
    int pair[2], fd = open_file(), nfds;
    socket_pair(type.type, pair);
    if (!call.sends)
        need(raw_send(pair[0], "", 1, &fd, 1) == 1);
    int before = count_fds();
    Job job(call, PENDING, pair, fd);
    pthread_t thread;
    void *ended;
    need(pthread_create(&thread, NULL, work, &job) == 0);
    need(pthread_join(thread, &ended) == 0);

    ok(ended == PTHREAD_CANCELED && !job.returned,
       "%s: %s acts upon a cancellation that is pending", type.name, call.name);
    is(job.destroyed, 2, "%s: %s: both destructors above it run", type.name, call.name);
    is(count_fds(), before, "%s: %s: no descriptor is left open", type.name, call.name);
    is(drain_queue(pair[1], &nfds), call.sends ? 0 : 1, "%s: %s: nothing was %s",
       type.name, call.name, call.sends ? "sent" : "received");
    is(nfds, call.sends ? 0 : 1, "%s: %s: no descriptor either", type.name, call.name);
    close(fd);
    close_pair(pair);
}

/* Where cancellation is disabled a request changes nothing. */
void cancel_disabled(const socket_type &type, const Call &call)
{
    int pair[2], fd = open_file(), nfds;
    socket_pair(type.type, pair);
    if (call.sends)
        need(fill_queue(pair[0]) > 0);
    Job job(call, DISABLED, pair, fd);
    pthread_t thread;
    void *ended;
    need(pthread_create(&thread, NULL, work, &job) == 0);
    wait_until_blocked(job);
    need(pthread_cancel(thread) == 0);
    if (call.sends)
        need(drain_queue(pair[1], &nfds) > 0);
    else
        need(raw_send(pair[0], "", 1, &fd, 1) == 1);
    need(pthread_join(thread, &ended) == 0);

    ok(ended == NULL && job.returned, "%s: %s with cancellation disabled returns",
       type.name, call.name);
    if (call.sends) {
        is(job.result, call.make == send_one ? 1 : 2, "%s: %s: it has sent", type.name,
           call.name);
    } else {
        ok(same_file(job.result, fd), "%s: %s: it has received", type.name, call.name);
        close(job.result);
    }
    close(fd);
    close_pair(pair);
}

/* More than may be in flight: the second message waits. */
int send_two_messages(int socket, int fd)
{
    int fds[2 * SENDFD_MAX_FDS];
    for (int &place : fds)
        place = fd;
    return sendfds_all(socket, fds, 2 * SENDFD_MAX_FDS);
}

const Call waiting_call = {"sendfds_all of 506", send_two_messages, true};

enum Outcome {
    AS_EXPECTED,
    STILL_PRIVILEGED = 10,
    NOT_CANCELLED,
    NOT_UNWOUND,
    OTHER_NUMBER
};

/* As a user without privileges, in a process of its own. */
int cancel_while_waiting(void *argument)
{
    const socket_type &type = *static_cast<const socket_type *>(argument);
    int pair[2], fd = open_file(), nfds;
    if (geteuid() == 0 && !become_a_user_of_its_own())
        return STILL_PRIVILEGED;
    set_limit(80);
    socket_pair(type.type, pair);
    Job job(waiting_call, WHILE_BLOCKED, pair, fd);
    pthread_t thread;
    void *ended;
    need(pthread_create(&thread, NULL, work, &job) == 0);
    wait_until_blocked(job);
    need(pthread_cancel(thread) == 0);
    need(pthread_join(thread, &ended) == 0);
    restore_limit();
    if (ended != PTHREAD_CANCELED || job.returned)
        return NOT_CANCELLED;
    if (job.destroyed != 2)
        return NOT_UNWOUND;
    int messages = drain_queue(pair[1], &nfds);
    return messages <= 1 && nfds == messages * SENDFD_MAX_FDS ? AS_EXPECTED
                                                              : OTHER_NUMBER;
}

void cancel_waiting(socket_type type)
{
    int outcome = wait_for_child(run_in_child(cancel_while_waiting, &type));
    if (outcome == STILL_PRIVILEGED)
        tap_skip("cannot become another user here, and root is exempt");
    else
        is(outcome, AS_EXPECTED,
           "%s: sendfds_all, waiting for descriptors in flight, is cancelled", type.name);
}

/* Its one descriptor has an owner when the second is waited for. */
int receive_two_in_cxx(int socket, int)
{
    std::array<libsendfd::unique_fd, 2> fds;
    std::error_code error;
    static_cast<void>(libsendfd::receive_all(socket, fds, error));
    return -1;
}

void cancel_part_way(const socket_type &type)
{
    const Call call = {"libsendfd::receive_all", receive_two_in_cxx, false};
    int pair[2], fd = open_file();
    socket_pair(type.type, pair);
    int before = count_fds();
    need(sendfd(pair[0], fd) == 1);
    Job job(call, WHILE_BLOCKED, pair, fd);
    pthread_t thread;
    void *ended;
    need(pthread_create(&thread, NULL, work, &job) == 0);
    wait_until_blocked(job);
    while (!is_empty(pair[1]))
        sched_yield();
    wait_until_asleep(job.task);
    need(pthread_cancel(thread) == 0);
    need(pthread_join(thread, &ended) == 0);
    ok(ended == PTHREAD_CANCELED && !job.returned, "%s: %s is cancelled part-way",
       type.name, call.name);
    is(count_fds(), before, "%s: %s: what had come is closed", type.name, call.name);
    close(fd);
    close_pair(pair);
}

int close_in_cxx(int, int fd)
{
    libsendfd::unique_fd owner(fd);
    return 0;
}

/* A destructor that acts upon a cancellation would end the program. */
void cancel_closing()
{
    const Call call = {"libsendfd::unique_fd", close_in_cxx, false};
    int before = count_fds();
    int pair[2] = {-1, -1};
    Job job(call, PENDING, pair, open_file());
    pthread_t thread;
    need(pthread_create(&thread, NULL, work, &job) == 0);
    need(pthread_join(thread, NULL) == 0);
    ok(job.returned, "a unique_fd that closes is no cancellation point");
    is(count_fds(), before, "and it closes");
}

} // namespace

int main()
{
    int before = count_fds();
    for (const socket_type &type : socket_types)
        for (const Call &call : calls) {
            cancel_blocked(type, call);
            cancel_pending(type, call);
            cancel_disabled(type, call);
        }
    for (const socket_type &type : socket_types)
        cancel_waiting(type);
    for (const socket_type &type : socket_types)
        cancel_part_way(type);
    cancel_closing();
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}
