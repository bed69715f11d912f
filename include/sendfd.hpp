/* sendfd.hpp - pass open file descriptors over a Unix-domain socket, from C++17 on
 *
 * SPDX-License-Identifier: MIT
 *
 * The functions of sendfd.h with owners, containers, exceptions and error codes:
 * sendfd.hpp(3). The page of the C function that a comment names describes what it
 * does with a message, and its errors.
 *
 * Each function has two forms. The one that takes a std::error_code last sets or
 * clears it; the one without throws std::system_error with the name of the C
 * function. Both use the generic category: compare with std::errc. A result that is
 * a std::optional is empty at the end of file, and in the first form also after an
 * error. Descriptors that came are never lost, whatever throws.
 */

#ifndef SENDFD_HPP
#define SENDFD_HPP

#if __cplusplus < 201703L
#    error "sendfd.hpp needs C++17 or later; sendfd.h is for every C and C++"
#endif

#include <sendfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <iterator>
#include <optional>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <system_error>
#include <type_traits>
#include <unistd.h>
#include <utility>
#include <vector>
#if __has_include(<version>)
#    include <version>
#endif
#ifdef __cpp_lib_span
#    include <span>
#endif

namespace libsendfd
{

/* Owns a descriptor and closes it. -1 is none. */
class unique_fd
{
  public:
    constexpr unique_fd() noexcept = default;

    constexpr explicit unique_fd(int fd) noexcept : fd_(fd)
    {
    }

    constexpr unique_fd(unique_fd &&other) noexcept : fd_(other.release())
    {
    }

    unique_fd &operator=(unique_fd &&other) noexcept
    {
        reset(other.release());
        return *this;
    }

    unique_fd(const unique_fd &) = delete;
    unique_fd &operator=(const unique_fd &) = delete;

    ~unique_fd()
    {
        reset();
    }

    [[nodiscard]] constexpr int get() const noexcept
    {
        return fd_;
    }

    constexpr explicit operator bool() const noexcept
    {
        return fd_ >= 0;
    }

    /* Gives up the descriptor: the caller closes it. */
    [[nodiscard]] constexpr int release() noexcept
    {
        const int fd = fd_;
        fd_ = -1;
        return fd;
    }

    /* Closes the descriptor and owns another. errno is unchanged. This makes the system
     * call itself, because close(2) is a cancellation point, and a thread that is
     * cancelled in a noexcept function ends the program. */
    void reset(int fd = -1) noexcept
    {
        if (fd_ >= 0 && fd_ != fd) {
            const int error = errno;
            static_cast<void>(syscall(SYS_close, fd_));
            errno = error;
        }
        fd_ = fd;
    }

    constexpr void swap(unique_fd &other) noexcept
    {
        const int fd = fd_;
        fd_ = other.fd_;
        other.fd_ = fd;
    }

    friend constexpr void swap(unique_fd &one, unique_fd &other) noexcept
    {
        one.swap(other);
    }

  private:
    int fd_ = -1;
};

/* std::span if there is one; before C++20 the part of it that the functions below need.
 * It is made of a pointer and a size, an array or a container. */
#ifdef __cpp_lib_span
using std::span;
#else
template <class T> class span
{
  public:
    constexpr span() noexcept = default;

    constexpr span(T *data, std::size_t size) noexcept : data_(data), size_(size)
    {
    }

    template <
        class Container,
        class = std::enable_if_t<std::is_convertible_v<
            std::remove_pointer_t<decltype(std::data(std::declval<Container &>()))> (*)[],
            T (*)[]>>>
    constexpr span(Container &&container)
        : data_(std::data(container)), size_(std::size(container))
    {
    }

    constexpr T *data() const noexcept
    {
        return data_;
    }

    constexpr std::size_t size() const noexcept
    {
        return size_;
    }

    constexpr span subspan(std::size_t offset) const
    {
        return {std::next(data_, static_cast<std::ptrdiff_t>(offset)), size_ - offset};
    }

  private:
    T *data_ = nullptr;
    std::size_t size_ = 0;
};
#endif

namespace detail
{

template <class T> using bare = std::remove_cv_t<std::remove_reference_t<T>>;
template <class T> using if_int = std::enable_if_t<std::is_same_v<bare<T>, int>>;

/* The members of a T that can return its descriptor. */
template <class T, class = void> inline constexpr bool has_native_handle = false;
template <class T, class = void> inline constexpr bool has_get = false;
template <class T, class = void> inline constexpr bool has_fd = false;
template <class T>
inline constexpr bool
    has_native_handle<T, if_int<decltype(std::declval<T &>().native_handle())>> = true;
template <class T>
inline constexpr bool has_get<T, if_int<decltype(std::declval<const T &>().get())>> =
    true;
template <class T>
inline constexpr bool has_fd<T, if_int<decltype(std::declval<const T &>().fd())>> = true;

template <class T>
inline constexpr bool is_descriptor =
    std::is_same_v<bare<T>, int> || has_native_handle<T> || has_get<T> != has_fd<T>;

template <class T> int number_of(T &object)
{
    if constexpr (std::is_same_v<bare<T>, int>)
        return object;
    else if constexpr (has_native_handle<T>)
        return object.native_handle();
    else if constexpr (has_get<T>)
        return object.get();
    else
        return object.fd();
}

/* The type of the elements of an array or a contiguous container. */
template <class Container, class Data = decltype(std::data(std::declval<Container &>()))>
using element = std::remove_pointer_t<std::enable_if_t<std::is_pointer_v<Data>, Data>>;

/* Elements without pointers and padding, for a buffer that has a Pointer. */
template <class T, class Pointer>
inline constexpr bool is_data = (std::is_arithmetic_v<T> || std::is_enum_v<T> ||
                                 std::is_void_v<T>)&&std::is_convertible_v<T *, Pointer>;

/* Nobody knows whether the null byte at the end of these is to be sent. */
template <class Container>
inline constexpr bool is_literal =
    std::is_same_v<std::remove_extent_t<std::remove_reference_t<Container>>, const char>;

template <class Container> std::size_t bytes_in(Container &container)
{
    if constexpr (std::is_void_v<element<Container>>)
        return std::size(container);
    else
        return std::size(container) * sizeof *std::data(container);
}

} // namespace detail

/* A descriptor that is not owned: made of an int, or of an object whose native_handle(),
 * as in the sockets of asio, or else get() or fd(), but not both, returns an int. */
class descriptor
{
  public:
    template <class T,
              class = std::enable_if_t<detail::is_descriptor<std::remove_reference_t<T>>>>
    descriptor(T &&object) : fd_(detail::number_of(object))
    {
    }

    [[nodiscard]] int get() const noexcept
    {
        return fd_;
    }

  private:
    int fd_;
};

/* Descriptors that are not owned: made of an array or a contiguous container of int
 * or unique_fd, or a pointer and a size. */
class descriptors
{
  public:
    constexpr descriptors() noexcept = default;

    constexpr descriptors(const int *fds, std::size_t size) noexcept
        : fds_(fds), size_(size)
    {
    }

    /* An array of unique_fd has the layout of one of int. */
    descriptors(const unique_fd *fds, std::size_t size) noexcept
        : fds_(reinterpret_cast<const int *>(fds)), size_(size)
    {
    }

    template <
        class Container,
        class = std::enable_if_t<
            std::is_same_v<detail::bare<detail::element<const Container>>, int> ||
            std::is_same_v<detail::bare<detail::element<const Container>>, unique_fd>>>
    descriptors(const Container &container)
        : descriptors(std::data(container), std::size(container))
    {
    }

    constexpr const int *data() const noexcept
    {
        return fds_;
    }

    constexpr std::size_t size() const noexcept
    {
        return size_;
    }

  private:
    const int *fds_ = nullptr;
    std::size_t size_ = 0;
};

static_assert(std::is_standard_layout_v<unique_fd> && sizeof(unique_fd) == sizeof(int) &&
              alignof(unique_fd) == alignof(int));

/* Bytes to send, or room for bytes: made of a pointer and the number of bytes, or an
 * array or a contiguous container of numbers or std::byte; a buffer of asio, too. Not
 * of a string literal, which has a null byte: take a std::string_view. */
template <class Void> class basic_buffer
{
  public:
    constexpr basic_buffer() noexcept = default;

    template <class T, class = std::enable_if_t<std::is_convertible_v<T *, Void *> &&
                                                !std::is_same_v<detail::bare<T>, iovec>>>
    constexpr basic_buffer(T *data, std::size_t size) noexcept : data_(data), size_(size)
    {
    }

    template <class Container, class = std::enable_if_t<
                                   detail::is_data<detail::element<Container>, Void *> &&
                                   !detail::is_literal<Container>>>
    basic_buffer(Container &&container)
        : data_(std::data(container)), size_(detail::bytes_in(container))
    {
    }

    constexpr Void *data() const noexcept
    {
        return data_;
    }

    constexpr std::size_t size() const noexcept
    {
        return size_;
    }

    /* For an array of several; a send does not write to it. */
    operator iovec() const noexcept
    {
        return {const_cast<void *>(data_), size_};
    }

  private:
    Void *data_ = nullptr;
    std::size_t size_ = 0;
};

using const_buffer = basic_buffer<const void>;
using mutable_buffer = basic_buffer<void>;

/* The result of receiving a message: flags is msg_flags of recvmsg(2), or 0 if there was
 * one buffer. */
struct received {
    std::size_t bytes;
    std::size_t nfds;
    int flags;
};

namespace detail
{

/* Room for the descriptors of one message, until they have owners. */
using message_fds = std::array<int, SENDFD_MAX_FDS>;

/* The count for a send. All counts above the limit of a message are the same error. */
inline int count(std::size_t nfds) noexcept
{
    return static_cast<int>(std::min<std::size_t>(nfds, SENDFD_MAX_FDS + 1));
}

inline int room(std::size_t nfds) noexcept
{
    return static_cast<int>(std::min<std::size_t>(nfds, SENDFD_MAX_FDS));
}

/* Sets or clears error. Returns whether there was none. */
template <class Returned> bool succeeded(Returned returned, std::error_code &error)
{
    if (returned == -1)
        error.assign(errno, std::generic_category());
    else
        error.clear();
    return returned >= 0;
}

/* Makes the first elements of fds the owners of the descriptors that came. */
inline received hand_over(const message_fds &came, int nfds, span<unique_fd> fds,
                          ssize_t bytes, int flags) noexcept
{
    std::transform(came.begin(), std::next(came.begin(), nfds), fds.data(),
                   [](int fd) { return unique_fd(fd); });
    return {static_cast<std::size_t>(bytes), static_cast<std::size_t>(nfds), flags};
}

/* A message of these buffers, for a call that does not write to it. */
inline msghdr message_of(span<const iovec> buffers) noexcept
{
    msghdr message = {};
    message.msg_iov = const_cast<iovec *>(buffers.data());
    message.msg_iovlen = static_cast<decltype(message.msg_iovlen)>(buffers.size());
    return message;
}

} // namespace detail

/* Sends one descriptor: sendfd(3). */
inline void send(descriptor socket, descriptor fd, std::error_code &error)
{
    detail::succeeded(::sendfd(socket.get(), fd.get()), error);
}

/* Sends 1 to 253 descriptors as one message: sendfds(3). */
inline void send(descriptor socket, descriptors fds, std::error_code &error)
{
    detail::succeeded(::sendfds(socket.get(), fds.data(), detail::count(fds.size())),
                      error);
}

/* Sends any number of descriptors: sendfds_all(3). Returns how many were
 * sent; if not all were, error has the reason. */
inline std::size_t send_all(descriptor socket, descriptors fds, std::error_code &error)
{
    if (fds.size() > INT_MAX) {
        error = std::make_error_code(std::errc::invalid_argument);
        return 0;
    }
    const int sent =
        ::sendfds_all(socket.get(), fds.data(), static_cast<int>(fds.size()));
    if (!detail::succeeded(sent, error))
        return 0;
    if (static_cast<std::size_t>(sent) < fds.size())
        error.assign(errno, std::generic_category());
    return static_cast<std::size_t>(sent);
}

/* Sends bytes with 0 to 253 descriptors: sendfds_msg(3). Returns how many bytes
 * were sent; all descriptors were sent with the first of them. */
inline std::size_t send_message(descriptor socket, descriptors fds, const_buffer data,
                                int flags, std::error_code &error)
{
    const ssize_t sent =
        ::sendfds_msg(socket.get(), fds.data(), detail::count(fds.size()), data.data(),
                      data.size(), flags);
    return detail::succeeded(sent, error) ? static_cast<std::size_t>(sent) : 0;
}

/* The same with an address, control messages and any number of buffers:
 * sendfds_msghdr(3). */
inline std::size_t send_msghdr(descriptor socket, descriptors fds, const msghdr &message,
                               int flags, std::error_code &error)
{
    const ssize_t sent = ::sendfds_msghdr(socket.get(), fds.data(),
                                          detail::count(fds.size()), &message, flags);
    return detail::succeeded(sent, error) ? static_cast<std::size_t>(sent) : 0;
}

/* The same with any number of buffers. */
inline std::size_t send_message(descriptor socket, descriptors fds,
                                span<const iovec> buffers, int flags,
                                std::error_code &error)
{
    return send_msghdr(socket, fds, detail::message_of(buffers), flags, error);
}

/* Writes the control message for 1 to 253 descriptors: sendfds_cmsg(3). Returns how
 * many bytes it has, SENDFDS_CMSG_SPACE(fds.size()). */
[[nodiscard]] inline std::size_t write_cmsg(descriptors fds, mutable_buffer control,
                                            std::error_code &error)
{
    const ssize_t written = ::sendfds_cmsg(fds.data(), detail::count(fds.size()),
                                           control.data(), control.size());
    return detail::succeeded(written, error) ? static_cast<std::size_t>(written) : 0;
}

/* Receives one descriptor: recvfd(3). */
[[nodiscard]] inline std::optional<unique_fd> receive(descriptor socket,
                                                      std::error_code &error)
{
    unique_fd fd(::recvfd(socket.get()));
    if (!detail::succeeded(fd.get(), error))
        return std::nullopt;
    return fd;
}

/* Receives the descriptors of one message: recvfds(3). Returns how many came; the
 * first elements of fds own them, and close what they owned before. */
[[nodiscard]] inline std::optional<std::size_t>
receive(descriptor socket, span<unique_fd> fds, std::error_code &error)
{
    detail::message_fds came;
    const int nfds = ::recvfds(socket.get(), came.data(), detail::room(fds.size()));
    if (!detail::succeeded(nfds, error))
        return std::nullopt;
    return detail::hand_over(came, nfds, fds, 1, 0).nfds;
}

/* The same into a vector, which holds as many as came. Room for max, at most 253, is
 * allocated before anything is received: std::bad_alloc loses nothing. */
[[nodiscard]] inline std::optional<std::vector<unique_fd>>
receive_vector(descriptor socket, std::size_t max, std::error_code &error)
{
    std::vector<unique_fd> fds(std::min<std::size_t>(max, SENDFD_MAX_FDS));
    const std::optional<std::size_t> nfds = receive(socket, fds, error);
    if (!nfds)
        return std::nullopt;
    fds.resize(*nfds);
    return fds;
}

/* Receives as many descriptors as fds has elements: recvfds_all(3). Returns how many
 * came. If fewer came, error has the reason, or the end of file was reached. */
[[nodiscard]] inline std::optional<std::size_t>
receive_all(descriptor socket, span<unique_fd> fds, std::error_code &error)
{
    std::size_t nfds = 0;
    do {
        const std::optional<std::size_t> came = receive(socket, fds.subspan(nfds), error);
        if (!came && nfds == 0)
            return std::nullopt;
        if (!came)
            break;
        nfds += *came;
    } while (nfds < fds.size());
    return nfds;
}

/* Receives bytes, and the descriptors that came with them, if any: recvfds_msg(3). The
 * first elements of fds own them, and close what they owned before. */
[[nodiscard]] inline std::optional<received>
receive_message(descriptor socket, span<unique_fd> fds, mutable_buffer data, int flags,
                std::error_code &error)
{
    detail::message_fds came;
    int nfds = detail::room(fds.size());
    const ssize_t bytes =
        ::recvfds_msg(socket.get(), came.data(), &nfds, data.data(), data.size(), flags);
    if (!detail::succeeded(bytes, error))
        return std::nullopt;
    return detail::hand_over(came, nfds, fds, bytes, 0);
}

/* The same with the sender's address, control messages, any number of buffers and
 * RECVFD_PARTIAL, with which the element of a refused descriptor is empty:
 * recvfds_msghdr(3). */
[[nodiscard]] inline std::optional<received> receive_msghdr(descriptor socket,
                                                            span<unique_fd> fds,
                                                            msghdr &message, int flags,
                                                            std::error_code &error)
{
    detail::message_fds came;
    int nfds = detail::room(fds.size());
    const ssize_t bytes =
        ::recvfds_msghdr(socket.get(), came.data(), &nfds, &message, flags);
    if (!detail::succeeded(bytes, error))
        return std::nullopt;
    return detail::hand_over(came, nfds, fds, bytes, message.msg_flags);
}

/* The same with any number of buffers. */
[[nodiscard]] inline std::optional<received>
receive_message(descriptor socket, span<unique_fd> fds, span<const iovec> buffers,
                int flags, std::error_code &error)
{
    msghdr message = detail::message_of(buffers);
    return receive_msghdr(socket, fds, message, flags, error);
}

/* Takes the descriptors out of a message that recvmsg(2) received: recvfds_cmsg(3).
 * Returns how many came; at the end of file that is 0. */
[[nodiscard]] inline std::size_t take_cmsg(descriptor socket, span<unique_fd> fds,
                                           msghdr &message, int flags,
                                           std::error_code &error)
{
    detail::message_fds came;
    int nfds = detail::room(fds.size());
    const int taken = ::recvfds_cmsg(socket.get(), came.data(), &nfds, &message, flags);
    if (!detail::succeeded(taken, error))
        return 0;
    return detail::hand_over(came, nfds, fds, taken, message.msg_flags).nfds;
}

/* --- the same, throwing ----------------------------------------------------------- */

#ifdef __cpp_exceptions

/* The exception of send_all() and receive_all(), visible so that it can be thrown from
 * one shared object to another. A header has no place for its vtable. */
#    ifdef __clang__
#        pragma clang diagnostic push
#        pragma clang diagnostic ignored "-Wweak-vtables"
#    endif
class __attribute__((visibility("default"))) partial_error : public std::system_error
{
  public:
    partial_error(std::error_code error, const char *function, std::size_t nfds)
        : std::system_error(error, function), nfds_(nfds)
    {
    }

    /* How many descriptors were sent, or received into the first elements. */
    [[nodiscard]] std::size_t nfds() const noexcept
    {
        return nfds_;
    }

  private:
    std::size_t nfds_;
};
#    ifdef __clang__
#        pragma clang diagnostic pop
#    endif

namespace detail
{

inline void check(const std::error_code &error, const char *function)
{
    if (error)
        throw std::system_error(error, function);
}

inline void check_all(const std::error_code &error, const char *function,
                      std::size_t nfds)
{
    if (error)
        throw partial_error(error, function, nfds);
}

} // namespace detail

inline void send(descriptor socket, descriptor fd)
{
    std::error_code error;
    send(socket, fd, error);
    detail::check(error, "sendfd");
}

inline void send(descriptor socket, descriptors fds)
{
    std::error_code error;
    send(socket, fds, error);
    detail::check(error, "sendfds");
}

/* Sends all of them, or throws a partial_error, which says how many were sent. */
inline void send_all(descriptor socket, descriptors fds)
{
    std::error_code error;
    const std::size_t sent = send_all(socket, fds, error);
    detail::check_all(error, "sendfds_all", sent);
}

inline std::size_t send_message(descriptor socket, descriptors fds, const_buffer data,
                                int flags = 0)
{
    std::error_code error;
    const std::size_t sent = send_message(socket, fds, data, flags, error);
    detail::check(error, "sendfds_msg");
    return sent;
}

inline std::size_t send_message(descriptor socket, descriptors fds,
                                span<const iovec> buffers, int flags = 0)
{
    std::error_code error;
    const std::size_t sent = send_message(socket, fds, buffers, flags, error);
    detail::check(error, "sendfds_msghdr");
    return sent;
}

inline std::size_t send_msghdr(descriptor socket, descriptors fds, const msghdr &message,
                               int flags = 0)
{
    std::error_code error;
    const std::size_t sent = send_msghdr(socket, fds, message, flags, error);
    detail::check(error, "sendfds_msghdr");
    return sent;
}

[[nodiscard]] inline std::size_t write_cmsg(descriptors fds, mutable_buffer control)
{
    std::error_code error;
    const std::size_t written = write_cmsg(fds, control, error);
    detail::check(error, "sendfds_cmsg");
    return written;
}

[[nodiscard]] inline std::optional<unique_fd> receive(descriptor socket)
{
    std::error_code error;
    std::optional<unique_fd> fd = receive(socket, error);
    detail::check(error, "recvfd");
    return fd;
}

[[nodiscard]] inline std::optional<std::size_t> receive(descriptor socket,
                                                        span<unique_fd> fds)
{
    std::error_code error;
    const std::optional<std::size_t> nfds = receive(socket, fds, error);
    detail::check(error, "recvfds");
    return nfds;
}

[[nodiscard]] inline std::optional<std::vector<unique_fd>>
receive_vector(descriptor socket, std::size_t max = SENDFD_MAX_FDS)
{
    std::error_code error;
    std::optional<std::vector<unique_fd>> fds = receive_vector(socket, max, error);
    detail::check(error, "recvfds");
    return fds;
}

/* Fills all elements, or fewer if the end of file comes after some, or throws a
 * partial_error, which says how many are filled. */
[[nodiscard]] inline std::optional<std::size_t> receive_all(descriptor socket,
                                                            span<unique_fd> fds)
{
    std::error_code error;
    const std::optional<std::size_t> nfds = receive_all(socket, fds, error);
    detail::check_all(error, "recvfds_all", nfds.value_or(0));
    return nfds;
}

[[nodiscard]] inline std::optional<received> receive_message(descriptor socket,
                                                             span<unique_fd> fds,
                                                             mutable_buffer data,
                                                             int flags = 0)
{
    std::error_code error;
    const std::optional<received> came = receive_message(socket, fds, data, flags, error);
    detail::check(error, "recvfds_msg");
    return came;
}

[[nodiscard]] inline std::optional<received> receive_message(descriptor socket,
                                                             span<unique_fd> fds,
                                                             span<const iovec> buffers,
                                                             int flags = 0)
{
    std::error_code error;
    const std::optional<received> came =
        receive_message(socket, fds, buffers, flags, error);
    detail::check(error, "recvfds_msghdr");
    return came;
}

[[nodiscard]] inline std::optional<received>
receive_msghdr(descriptor socket, span<unique_fd> fds, msghdr &message, int flags = 0)
{
    std::error_code error;
    const std::optional<received> came =
        receive_msghdr(socket, fds, message, flags, error);
    detail::check(error, "recvfds_msghdr");
    return came;
}

[[nodiscard]] inline std::size_t take_cmsg(descriptor socket, span<unique_fd> fds,
                                           msghdr &message, int flags = 0)
{
    std::error_code error;
    const std::size_t nfds = take_cmsg(socket, fds, message, flags, error);
    detail::check(error, "recvfds_cmsg");
    return nfds;
}

#endif

} // namespace libsendfd

#endif
