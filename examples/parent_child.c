/* A parent passes an open file to its child over a socketpair. The file is opened
 * after the fork, so that the child cannot have inherited it. The child gets a
 * descriptor for the same open file description: when it has read to the end, the
 * parent's offset is at the end too.
 *
 *     cc parent_child.c $(pkg-config --cflags --libs sendfd) -o parent_child
 *     ./parent_child /etc/hosts
 */
#include <sendfd.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Prints all that can be read from a file. */
static void print_content(int fd)
{
    char block[65536], last = '\n';
    ssize_t got;
    printf("----- content begins\n");
    while ((got = read(fd, block, sizeof block)) > 0) {
        fwrite(block, 1, (size_t)got, stdout);
        last = block[got - 1];
    }
    if (got < 0)
        err(1, "child: read");
    printf("%s----- content ends\n", last == '\n' ? "" : "\n");
}

static void child(int socket)
{
    char byte;
    ssize_t got = recv(socket, &byte, 1, 0);
    if (got != 1)
        errx(1, "child: no byte came: %s", got < 0 ? strerror(errno) : "end of file");
    printf("child %d: the byte '%c' came\n", (int)getpid(), byte);

    int fd = recvfd(socket);
    if (fd < 0)
        errx(1, "child: no descriptor came: %s",
             fd == RECVFD_EOF ? "end of file" : strerror(errno));
    printf("child %d: the file came, here it is descriptor %d\n", (int)getpid(), fd);

    print_content(fd);
    off_t offset = lseek(fd, 0, SEEK_CUR);
    close(fd);
    printf("child %d: read it to the end, final offset %jd\n", (int)getpid(),
           (intmax_t)offset);
    if (send(socket, &offset, sizeof offset, MSG_NOSIGNAL) != sizeof offset)
        err(1, "child: telling the offset");
}

static void parent(int socket, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        err(1, "parent: %s", path);
    printf("parent %d: opened %s as descriptor %d, offset 0; sending a byte, then it\n",
           (int)getpid(), path, fd);

    /* A byte of the program's own protocol: the receiver reads exactly such bytes before
     * it calls recvfd(). */
    if (send(socket, "!", 1, MSG_NOSIGNAL) != 1)
        err(1, "parent: sending a byte");
    if (sendfd(socket, fd) < 0)
        err(1, "parent: sendfd");

    off_t offset_of_child;
    if (recv(socket, &offset_of_child, sizeof offset_of_child, MSG_WAITALL) !=
        sizeof offset_of_child)
        errx(1, "parent: the child did not send its offset");
    off_t offset = lseek(fd, 0, SEEK_CUR);
    if (offset != offset_of_child)
        errx(1, "parent: the offset is %jd here, %jd there", (intmax_t)offset,
             (intmax_t)offset_of_child);
    printf("parent %d: read nothing, yet its offset is %jd too: it is shared\n",
           (int)getpid(), (intmax_t)offset);
    close(fd);
}

int main(int argc, char **argv)
{
    int pair[2], status;
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ); /* the lines of both processes, in order */
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        err(1, "socketpair");
    pid_t pid = fork();
    if (pid < 0)
        err(1, "fork");

    /* Each closes the other's end: else it would never see the end of file. */
    if (pid == 0) {
        close(pair[0]);
        child(pair[1]);
        return 0;
    }
    close(pair[1]);
    parent(pair[0], argc > 1 ? argv[1] : "/etc/hosts");
    close(pair[0]);
    if (waitpid(pid, &status, 0) < 0)
        err(1, "waitpid");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        errx(1, "the child failed");
    return 0;
}
