/* Calls each function of sendfd.hpp, in each of its forms, with the kinds of argument
 * that make templates of it: for the compilers' warnings. */
#include <sendfd.hpp>

#include <string>
#include <string_view>

#include <sendfd.hpp> /* again */

namespace
{

class Socket
{
  public:
    explicit Socket(int fd) : fd_(fd)
    {
    }
    int native_handle()
    {
        return fd_;
    }

  private:
    int fd_;
};

class File
{
  public:
    int fd() const
    {
        return 0;
    }
};

std::size_t with_error_codes(Socket &socket, msghdr &message)
{
    std::error_code error;
    std::size_t total = 0;
    libsendfd::unique_fd fd;
    std::array<int, 2> numbers = {0, 1};
    std::array<libsendfd::unique_fd, 2> fds;
    std::vector<libsendfd::unique_fd> many(9);
    std::string text(8, 'x');
    std::array<iovec, 1> parts = {{{text.data(), text.size()}}};
    alignas(cmsghdr) std::array<std::byte, RECVFDS_CMSG_SPACE(2)> control;

    libsendfd::send(socket, 0, error);
    libsendfd::send(socket, fd, error);
    libsendfd::send(socket, File(), error);
    libsendfd::send(socket, numbers, error);
    libsendfd::send(socket, many, error);
    total += libsendfd::send_all(socket, many, error);
    total += libsendfd::send_message(socket, fds, text, 0, error);
    total += libsendfd::send_message(socket, {}, std::string_view("x"), 0, error);
    total += libsendfd::send_message(socket, {&fd, 1}, {text.data(), 1}, 0, error);
    total += libsendfd::send_message(socket, numbers, parts, 0, error);
    total += libsendfd::send_msghdr(socket, numbers, message, 0, error);
    total += libsendfd::write_cmsg(fds, control, error);

    if (auto one = libsendfd::receive(socket, error))
        fd = std::move(*one);
    total += libsendfd::receive(socket, fds, error).value_or(0);
    if (auto vector = libsendfd::receive_vector(socket, 9, error))
        swap(many, *vector);
    total += libsendfd::receive_all(socket, many, error).value_or(0);
    if (auto came = libsendfd::receive_message(socket, fds, text, 0, error))
        total += came->bytes + came->nfds;
    if (auto came = libsendfd::receive_message(socket, {}, parts, 0, error))
        total += came->bytes;
    if (auto came = libsendfd::receive_msghdr(socket, fds, message, 0, error))
        total += came->bytes;
    return total + libsendfd::take_cmsg(socket, fds, message, 0, error);
}

#ifdef __cpp_exceptions
std::size_t throwing(Socket &socket, msghdr &message)
{
    std::size_t total = 0;
    std::array<libsendfd::unique_fd, 2> fds;
    std::array<char, 8> text = {};
    std::array<iovec, 1> parts = {{{text.data(), text.size()}}};
    alignas(cmsghdr) std::array<std::byte, RECVFDS_CMSG_SPACE(2)> control;

    libsendfd::send(socket, 0);
    libsendfd::send(socket, fds);
    libsendfd::send_all(socket, fds);
    libsendfd::send_message(socket, fds, text);
    libsendfd::send_message(socket, fds, parts);
    libsendfd::send_msghdr(socket, fds, message);
    total += libsendfd::write_cmsg(fds, control);

    if (auto one = libsendfd::receive(socket))
        fds[0] = std::move(*one);
    total += libsendfd::receive(socket, fds).value_or(0);
    if (auto vector = libsendfd::receive_vector(socket))
        total += vector->size();
    try {
        total += libsendfd::receive_all(socket, fds).value_or(0);
    } catch (const libsendfd::partial_error &error) {
        total += error.nfds();
    }
    if (auto came = libsendfd::receive_message(socket, fds, text))
        total += came->bytes;
    if (auto came = libsendfd::receive_message(socket, fds, parts))
        total += came->bytes;
    if (auto came = libsendfd::receive_msghdr(socket, fds, message))
        total += came->bytes;
    return total + libsendfd::take_cmsg(socket, fds, message);
}
#endif

} // namespace

/* One for each standard of the two that are linked with one another. */
std::size_t CALLER(int fd, msghdr &message);

std::size_t CALLER(int fd, msghdr &message)
{
    Socket socket(fd);
    std::size_t total = with_error_codes(socket, message);
#ifdef __cpp_exceptions
    total += throwing(socket, message);
#endif
    return total;
}
