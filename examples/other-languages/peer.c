/* The other end for the programs here: peer COMMAND... runs the command with a
 * Unix-domain socket as its descriptor 3, and sends back each descriptor that comes. */
#include <sendfd.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int send_back(int socket_fd)
{
    int fd;
    while ((fd = recvfd(socket_fd)) >= 0) {
        if (sendfd(socket_fd, fd) < 0)
            perror("sendfd");
        close(fd);
    }
    if (fd != RECVFD_EOF)
        perror("recvfd");
    return fd == RECVFD_EOF ? 0 : 1;
}

int main(int argc, char *argv[])
{
    int pair[2], status;
    if (argc < 2 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
        return 2;
    pid_t pid = fork();
    if (pid < 0)
        return 2;
    if (pid == 0) {
        close(pair[0]);
        if (pair[1] != 3) {
            dup2(pair[1], 3);
            close(pair[1]);
        }
        execvp(argv[1], argv + 1);
        perror(argv[1]);
        _exit(127);
    }
    close(pair[1]);
    int failed = send_back(pair[0]);
    return waitpid(pid, &status, 0) < 0 || status != 0 || failed;
}
