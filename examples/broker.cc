/* A process that opens files for another, which has no right to them or sees another
 * file system: broker FILE... The child asks for each by its name, and the parent
 * answers with the open file, or with the errno. */
#include <sendfd.hpp>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <exception>
#include <fcntl.h>
#include <stdexcept>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

namespace
{

using libsendfd::unique_fd;

/* Answers until the other end is closed. A broker to rely on looks at the name first. */
void answer_requests(const unique_fd &channel)
{
    std::array<char, PATH_MAX> name;
    while (auto request = libsendfd::receive_message(channel, {}, name)) {
        const std::string path(name.data(), request->bytes);
        const unique_fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
        const int error = file ? 0 : errno;
        libsendfd::send_message(channel, {&file, file ? 1U : 0U}, {&error, sizeof error});
    }
}

unique_fd ask_for(const unique_fd &channel, std::string_view path)
{
    libsendfd::send_message(channel, {}, path);
    unique_fd file;
    int error = 0;
    if (!libsendfd::receive_message(channel, {&file, 1}, {&error, sizeof error}))
        throw std::runtime_error("the broker is gone");
    if (!file)
        throw std::system_error(error, std::generic_category(), std::string(path));
    return file;
}

void print(const unique_fd &file)
{
    std::array<char, 4096> bytes;
    ssize_t length;
    while ((length = read(file.get(), bytes.data(), bytes.size())) > 0)
        std::fwrite(bytes.data(), 1, static_cast<std::size_t>(length), stdout);
}

} // namespace

int main(int argc, char *argv[])
try {
    int ends[2], status;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        throw std::system_error(errno, std::generic_category(), "socketpair");
    unique_fd broker(ends[0]), client(ends[1]);
    const pid_t child = fork();
    if (child < 0)
        throw std::system_error(errno, std::generic_category(), "fork");
    if (child == 0) {
        broker.reset();
        for (int i = 1; i < argc; i++)
            print(ask_for(client, argv[i]));
        return 0;
    }
    client.reset();
    answer_requests(broker);
    return waitpid(child, &status, 0) < 0 || status != 0;
} catch (const std::exception &error) {
    std::fprintf(stderr, "broker %d: %s\n", getpid(), error.what());
    return 1;
}
