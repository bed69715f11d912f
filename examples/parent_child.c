/* A parent passes an open file to its child over a socketpair. The file is
 * opened after the fork, so that the child cannot have inherited it. What the
 * child gets is a descriptor for the same open file description: when it has
 * read to the end, the parent's offset is at the end too.
 *
 *     cc -D_GNU_SOURCE parent_child.c $(pkg-config --cflags --libs sendfd) -o
 * parent_child
 *     ./parent_child /etc/hosts
 */
#include <sendfd.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Prints all that can be read from a file; returns the offset after that, or -1. */
static off_t print_content(int fd)
{
    struct stat status;
    if (fstat(fd, &status) < 0) {
        warn("child: fstat");
        return -1;
    }

    printf("----- content begins\n");
    char block[65536], last = '\n';
    off_t length = 0;
    ssize_t got;
    while ((got = read(fd, block, sizeof block)) > 0) {
        fwrite(block, 1, (size_t)got, stdout);
        last = block[got - 1];
        length += got;
    }
    if (got < 0) {
        warn("child: read");
        return -1;
    }
    printf("%s----- content ends\n", last == '\n' ? "" : "\n");

    if (length != status.st_size) {
        warnx("child: read %jd bytes, but the size is %jd", (intmax_t)length,
              (intmax_t)status.st_size);
        return -1;
    }
    off_t offset = lseek(fd, 0, SEEK_CUR);
    if (offset < 0)
        warn("child: lseek");
    return offset;
}

static bool child(int socket)
{
    char byte;
    ssize_t got = recv(socket, &byte, 1, 0);
    if (got != 1) {
        warnx("child: no byte came: %s", got < 0 ? strerror(errno) : "end of file");
        return false;
    }
    printf("child %d: the byte '%c' came\n", (int)getpid(), byte);

    int fd = recvfd(socket);
    if (fd < 0) {
        warnx("child: no descriptor came: %s",
              fd == RECVFD_EOF ? "end of file" : strerror(errno));
        return false;
    }
    printf("child %d: the file came, here it is descriptor %d\n", (int)getpid(), fd);

    off_t offset = print_content(fd);
    close(fd);
    if (offset < 0)
        return false;
    printf("child %d: read it to the end, final offset %jd\n", (int)getpid(),
           (intmax_t)offset);

    if (send(socket, &offset, sizeof offset, MSG_NOSIGNAL) != sizeof offset) {
        warn("child: telling the offset");
        return false;
    }
    return true;
}

static bool pass_file(int socket, int fd)
{
    /* A byte of the program's own protocol: recvfd() leaves such bytes alone,
     * as long as the receiver reads them, and no more, before it calls it. */
    if (send(socket, "!", 1, MSG_NOSIGNAL) != 1) {
        warn("parent: sending a byte");
        return false;
    }
    if (sendfd(socket, fd) < 0) {
        warn("parent: sendfd");
        return false;
    }

    off_t of_child;
    ssize_t got = recv(socket, &of_child, sizeof of_child, MSG_WAITALL);
    if (got != sizeof of_child) {
        warnx("parent: the child told no offset: %s",
              got < 0 ? strerror(errno) : "end of file");
        return false;
    }
    off_t offset = lseek(fd, 0, SEEK_CUR);
    if (offset != of_child) {
        warnx("parent: the offset is %jd here, %jd there", (intmax_t)offset,
              (intmax_t)of_child);
        return false;
    }
    printf("parent %d: read nothing, yet its offset is %jd too: it is shared\n",
           (int)getpid(), (intmax_t)offset);
    return true;
}

static bool parent(int socket, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        warn("parent: %s", path);
        return false;
    }
    printf("parent %d: opened %s as descriptor %d, offset 0; sending a byte, then it\n",
           (int)getpid(), path, fd);
    bool passed = pass_file(socket, fd);
    close(fd);
    return passed;
}

/* Whether all that was printed has been written: a full disk shows only here. */
static bool output_is_written(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return true;
    warnx("standard output could not be written");
    return false;
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "/etc/hosts";
    int pair[2], status;

    /* Whole lines, so that those of the two processes come in their order. */
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        err(1, "socketpair");
    fflush(stdout); /* or what is buffered would be printed twice */
    pid_t pid = fork();
    if (pid < 0)
        err(1, "fork");

    /* Each closes the other's end: else it would never see the end of file. */
    if (pid == 0) {
        close(pair[0]);
        bool received = child(pair[1]);
        close(pair[1]);
        return output_is_written() && received ? 0 : 1;
    }
    close(pair[1]);
    bool passed = parent(pair[0], path);
    close(pair[0]);

    if (waitpid(pid, &status, 0) < 0)
        err(1, "waitpid");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        errx(1, "the child failed");
    return output_is_written() && passed ? 0 : 1;
}
