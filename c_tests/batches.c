/* Many messages with descriptors in one system call: sendmmsg(2) and recvmmsg(2), with
 * sendfds_cmsg and recvfds_cmsg for each message. If one message fails, the others are
 * not affected. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define BATCH 8
#define MOST_FDS BATCH

static int files[MOST_FDS];

/* A batch: message i is its number, and has i descriptors. */
struct batch {
    struct mmsghdr messages[BATCH];
    struct iovec iov[BATCH];
    char data[BATCH];
    _Alignas(struct cmsghdr) char control[BATCH][RECVFDS_CMSG_SPACE(MOST_FDS)];
};

static void prepare(struct batch *batch)
{
    memset(batch, 0, sizeof *batch);
    for (int i = 0; i < BATCH; i++) {
        struct msghdr *message = &batch->messages[i].msg_hdr;
        batch->data[i] = (char)i;
        batch->iov[i] = (struct iovec){.iov_base = &batch->data[i], .iov_len = 1};
        message->msg_iov = &batch->iov[i];
        message->msg_iovlen = 1;
        message->msg_control = batch->control[i];
        message->msg_controllen = sizeof batch->control[i];
    }
}

static void prepare_to_send(struct batch *batch)
{
    prepare(batch);
    batch->messages[0].msg_hdr.msg_control = NULL;
    batch->messages[0].msg_hdr.msg_controllen = 0;
    for (int i = 1; i < BATCH; i++) {
        ssize_t used =
            sendfds_cmsg(files, i, batch->control[i], sizeof batch->control[i]);
        need(used > 0);
        batch->messages[i].msg_hdr.msg_controllen = (size_t)used;
    }
}

static void whole_batch(const struct socket_type *type)
{
    static struct batch batch;
    int pair[2], wrong = 0;
    socket_pair(type->type, pair);
    prepare_to_send(&batch);
    is(sendmmsg(pair[0], batch.messages, BATCH, MSG_NOSIGNAL), BATCH,
       "%s: %d messages are sent", type->name, BATCH);
    int before = count_fds();
    prepare(&batch);
    /* The first one of a stream may bring more: none of these does, except the first. */
    is(recvmmsg(pair[1], batch.messages, BATCH, MSG_CMSG_CLOEXEC, NULL), BATCH,
       "%s: and received", type->name);
    for (int i = 0; i < BATCH; i++) {
        int fds[MOST_FDS], nfds = MOST_FDS;
        struct msghdr *message = &batch.messages[i].msg_hdr;
        bool right = recvfds_cmsg(pair[1], fds, &nfds, message, 0) == 0 && nfds == i &&
                     same_files(fds, files, i) && batch.data[i] == i &&
                     batch.messages[i].msg_len == 1 && message->msg_controllen == 0;
        if (!right)
            tap_note("message %d has %d descriptors", i, nfds);
        wrong += !right;
        close_fds(fds, nfds);
    }
    is(wrong, 0, "%s: each with its descriptors", type->name);
    is(count_fds(), before, "%s: which were all", type->name);
    close_pair(pair);
}

/* Room for three in each: four messages fail, and lose theirs, the others do not. */
static void one_by_one(const struct socket_type *type)
{
    static struct batch batch;
    int pair[2], right = 0, failed = 0;
    socket_pair(type->type, pair);
    prepare_to_send(&batch);
    need(sendmmsg(pair[0], batch.messages, BATCH, MSG_NOSIGNAL) == BATCH);
    int before = count_fds();
    prepare(&batch);
    need(recvmmsg(pair[1], batch.messages, BATCH, MSG_CMSG_CLOEXEC, NULL) == BATCH);
    for (int i = 0; i < BATCH; i++) {
        int fds[3], nfds = 3;
        if (recvfds_cmsg(pair[1], fds, &nfds, &batch.messages[i].msg_hdr, 0) < 0) {
            failed += errno == EMSGSIZE && nfds == 3 && i > 3;
            continue;
        }
        right += nfds == i && same_files(fds, files, i);
        close_fds(fds, nfds);
    }
    is(right, 4, "%s: with room for three, those with fewer come", type->name);
    is(failed, BATCH - 4, "%s: the others fail, each by itself", type->name);
    is(count_fds(), before, "%s: and theirs are closed", type->name);
    close_pair(pair);
}

/* A send that fails in the middle: it returns how many messages were sent before. */
static void bad_descriptor(const struct socket_type *type)
{
    static struct batch batch;
    struct raw_message message;
    int pair[2], came = 0, bad[MOST_FDS];
    socket_pair(type->type, pair);
    prepare_to_send(&batch);
    memcpy(bad, files, sizeof bad);
    bad[2] = -1;
    need(sendfds_cmsg(bad, 5, batch.control[5], sizeof batch.control[5]) > 0);
    is(sendmmsg(pair[0], batch.messages, BATCH, MSG_NOSIGNAL), 5,
       "%s: a descriptor that is not open in the sixth of %d", type->name, BATCH);
    fails(sendmmsg(pair[0], batch.messages + 5, BATCH - 5, MSG_NOSIGNAL), EBADF,
          "%s: which the next call reports", type->name);
    while (raw_receive(pair[1], 1, MSG_DONTWAIT, &message) == 1) {
        came += message.nfds;
        close_fds(message.fds, message.nfds);
    }
    is(came, 0 + 1 + 2 + 3 + 4, "%s: the descriptors of those before it came",
       type->name);
    close_pair(pair);
}

/* A full table in the middle of a batch: from there on descriptors are missing. */
static void full_table(const struct socket_type *type)
{
    static struct batch batch;
    int pair[2], complete = 0, failed = 0;
    socket_pair(type->type, pair);
    prepare_to_send(&batch);
    need(sendmmsg(pair[0], batch.messages, BATCH, MSG_NOSIGNAL) == BATCH);
    int before = count_fds(), fds[BATCH][MOST_FDS], nfds[BATCH];
    prepare(&batch);
    leave_room_for(1 + 2 + 3 + 1);
    need(recvmmsg(pair[1], batch.messages, BATCH, MSG_CMSG_CLOEXEC, NULL) == BATCH);
    for (int i = 0; i < BATCH; i++) {
        nfds[i] = MOST_FDS;
        if (recvfds_cmsg(pair[1], fds[i], &nfds[i], &batch.messages[i].msg_hdr, 0) == 0) {
            complete++;
        } else {
            /* Closing what came of the fourth made room, so that later ones see that. */
            failed += errno == (i == 4 ? EMFILE : EACCES);
            nfds[i] = 0;
        }
    }
    restore_limit();
    for (int i = 0; i < BATCH; i++)
        close_fds(fds[i], nfds[i]);
    is(complete, 4, "%s: four are complete when the table is full", type->name);
    is(failed, 4, "%s: the others fail", type->name);
    is(count_fds(), before, "%s: and what came of them is closed", type->name);
    close_pair(pair);
}

int main(void)
{
    int before = count_fds();
    open_files(files, MOST_FDS);
    for (int i = 0; i < SOCKET_TYPES; i++) {
        whole_batch(&socket_types[i]);
        one_by_one(&socket_types[i]);
        bad_descriptor(&socket_types[i]);
        full_table(&socket_types[i]);
    }
    close_fds(files, MOST_FDS);
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}
