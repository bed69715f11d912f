/* sendfd.hpp: each function in its two forms, throwing and with an error code; what
 * is taken for a socket, descriptors and bytes, and what is refused; who closes what,
 * also where memory runs out; and where nothing is allocated. What the functions do
 * with a message, the tests of sendfd.h test. */
#include "peer.h"
#include "sendfd.hpp"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <functional>
#include <future>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <sys/un.h>

/* Its macros are short words, which the library of C++ has, too. */
#include "tap.h"

using libsendfd::const_buffer;
using libsendfd::descriptor;
using libsendfd::descriptors;
using libsendfd::mutable_buffer;
using libsendfd::span;
using libsendfd::unique_fd;

/* --- memory ------------------------------------------------------------------- */

namespace
{
/* More than one message takes, and than the arrays have: the compiler is not to know. */
volatile std::size_t too_many = SENDFD_MAX_FDS + 1, far_too_many = SIZE_MAX / 2 + 2;

/* How many allocations there were, and how many more succeed. */
int allocations, allocations_left = -1;
} // namespace

/* Not inlined, or gcc 12 takes malloc and delete for a mismatch. */
__attribute__((noinline)) void *operator new(std::size_t size)
{
    allocations++;
    if (allocations_left == 0)
        throw std::bad_alloc();
    allocations_left -= allocations_left > 0;
    if (void *memory = std::malloc(size ? size : 1))
        return memory;
    throw std::bad_alloc();
}

__attribute__((noinline)) void operator delete(void *memory) noexcept
{
    std::free(memory);
}

__attribute__((noinline)) void operator delete(void *memory, std::size_t) noexcept
{
    std::free(memory);
}

namespace
{

/* --- what is taken and what is refused ------------------------------------------ */

struct WithNativeHandle { /* not const, as asio has it */
    int fd;
    int native_handle()
    {
        return fd;
    }
};

struct WithFd {
    int number;
    int fd() const
    {
        return number;
    }
};

struct WithReference { /* as in Chromium */
    int number;
    const int &get() const
    {
        return number;
    }
};

struct WithFdAndGet : WithFd { /* which of the two is the descriptor? */
    int get() const
    {
        return 1;
    }
};

struct WithAll : WithFdAndGet {
    int native_handle() const
    {
        return number;
    }
};

template <class From, class To> constexpr bool makes = std::is_convertible_v<From, To>;

static_assert(makes<int, descriptor> && makes<int &, descriptor> &&
              makes<const int &, descriptor>);
static_assert(makes<WithNativeHandle &, descriptor> &&
              makes<const WithFd &, descriptor> && makes<WithAll &, descriptor> &&
              makes<const unique_fd &, descriptor>);
static_assert(!makes<bool, descriptor> && !makes<long, descriptor> &&
              !makes<double, descriptor> && !makes<std::nullptr_t, descriptor>);
static_assert(!makes<WithFdAndGet &, descriptor> &&
              !makes<std::unique_ptr<int> &, descriptor> &&
              !makes<std::future<int> &, descriptor> &&
              !makes<std::vector<int> &, descriptor>);

static_assert(makes<int (&)[2], descriptors> && makes<std::vector<int>, descriptors> &&
              makes<const std::array<unique_fd, 2> &, descriptors> &&
              makes<span<unique_fd>, descriptors> && makes<span<const int>, descriptors>);
static_assert(!makes<int, descriptors> && !makes<std::vector<long>, descriptors> &&
              !makes<std::vector<bool>, descriptors>);

static_assert(makes<std::string, const_buffer> && makes<std::string_view, const_buffer> &&
              makes<std::vector<std::byte> &, const_buffer> &&
              makes<char (&)[3], const_buffer> && makes<span<const char>, const_buffer> &&
              makes<mutable_buffer &, const_buffer>);
static_assert(!makes<decltype(("ab")), const_buffer> &&
              !makes<std::vector<unique_fd> &, const_buffer> &&
              !makes<std::vector<char *> &, const_buffer> &&
              !makes<std::vector<iovec> &, const_buffer> &&
              !makes<std::vector<const_buffer> &, const_buffer> &&
              !makes<std::vector<bool> &, const_buffer> &&
              !makes<volatile char (&)[2], const_buffer>);
static_assert(makes<std::string &, mutable_buffer> &&
              makes<span<std::byte>, mutable_buffer> &&
              !makes<const std::string &, mutable_buffer> &&
              !makes<std::string_view, mutable_buffer> &&
              !std::is_constructible_v<mutable_buffer, const char *, std::size_t> &&
              std::is_constructible_v<const_buffer, const char *, std::size_t>);
static_assert(makes<std::vector<unique_fd> &, span<unique_fd>> &&
              !makes<const std::vector<unique_fd> &, span<unique_fd>> &&
              !makes<std::vector<int> &, span<unique_fd>>);

static_assert(!std::is_copy_constructible_v<unique_fd> &&
              !std::is_copy_assignable_v<unique_fd> &&
              std::is_nothrow_move_constructible_v<unique_fd> &&
              std::is_nothrow_move_assignable_v<unique_fd> &&
              std::is_nothrow_swappable_v<unique_fd> && !makes<int, unique_fd> &&
              !makes<unique_fd, bool>);

/* --- set-up --------------------------------------------------------------------- */

struct Pair {
    int ends[2];

    explicit Pair(int type = SOCK_STREAM)
    {
        socket_pair(type, ends);
    }
    ~Pair()
    {
        close_fds(ends, 2);
    }
    Pair(const Pair &) = delete;
    Pair &operator=(const Pair &) = delete;

    void hang_up()
    {
        need(shutdown(ends[0], SHUT_WR) == 0);
    }
};

bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* Whether call throws Error with this errno, and names the function first. */
template <class Error = std::system_error, class Call>
bool throws(Call call, int error, const char *function, std::size_t nfds = 0)
{
    try {
        call();
    } catch (const Error &thrown) {
        if constexpr (std::is_same_v<Error, libsendfd::partial_error>)
            if (thrown.nfds() != nfds)
                return false;
        return thrown.code() == std::error_code(error, std::generic_category()) &&
               std::string_view(thrown.what()).rfind(std::string(function) + ":", 0) == 0;
    }
    return false;
}

/* Whether an error was reported, and this one. */
bool is_error(const std::error_code &error, int number)
{
    return error.value() == number && error.category() == std::generic_category();
}

/* --- unique_fd -------------------------------------------------------------------- */

void owners()
{
    int before = count_fds(), number = open_file(), other = open_file();
    {
        unique_fd fd(number);
        ok(fd && fd.get() == number, "a unique_fd has the number");
        unique_fd moved(std::move(fd));
        ok(!fd && fd.get() == -1 && moved.get() == number, "it moves");
        fd = std::move(moved);
        ok(fd.get() == number && !moved && is_open(number), "it moves by assignment");
        unique_fd &same = fd;
        fd = std::move(same);
        ok(fd.get() == number && is_open(number), "to itself");
        fd.reset(number);
        ok(fd.get() == number && is_open(number),
           "reset to the same number closes nothing");
        fd.reset(other);
        ok(fd.get() == other && !is_open(number), "reset to another closes the first");
        unique_fd empty;
        swap(fd, empty);
        ok(!fd && empty.get() == other, "it swaps");
        fd = unique_fd(empty.release());
        ok(!empty && fd.get() == other && is_open(other), "release closes nothing");
        const int saved = fcntl(0, F_DUPFD_CLOEXEC, 3);
        need(dup2(fd.get(), 0) == 0);
        unique_fd zero(0);
        ok(static_cast<bool>(zero), "0 is a descriptor");
        zero.reset();
        ok(!zero && !is_open(0), "and is closed");
        need(saved < 0 || (dup2(saved, 0) == 0 && close(saved) == 0));
        fd.reset();
        ok(!fd && !is_open(other), "reset closes");
        ok(!unique_fd(RECVFD_EOF), "a negative number is none");
        unique_fd stale(other); /* closed above */
        errno = 4242;
        stale.reset();
        is(errno, 4242, "errno is kept even where close(2) fails");
        fd.reset(open_file());
    }
    is(count_fds(), before, "unique_fd: all are closed at the end");
}

/* --- one descriptor ----------------------------------------------------------------- */

void one_descriptor(const socket_type &type)
{
    int before = count_fds();
    {
        Pair pair(type.type);
        unique_fd file(open_file());
        std::error_code error = std::make_error_code(std::errc::interrupted);
        libsendfd::send(pair.ends[0], file, error);
        ok(!error, "%s: send clears the error", type.name);
        raw_message message;
        ok(raw_receive(pair.ends[1], 4096, 0, &message) == 1 && message.data[0] == 0 &&
               message.nfds == 1 && same_file(message.fds[0], file.get()),
           "%s: send: on the wire it is sendfd's message", type.name);
        close(message.fds[0]);

        WithNativeHandle sender = {pair.ends[0]};
        const WithFd receiver = {pair.ends[1]};
        libsendfd::send(sender, file);
        error = std::make_error_code(std::errc::interrupted);
        std::optional<unique_fd> came = libsendfd::receive(receiver, error);
        ok(came && !error && same_file(came->get(), file.get()),
           "%s: receive: the file comes", type.name);
        libsendfd::send(WithAll{{{pair.ends[0]}}}, came->get());
        came = libsendfd::receive(pair.ends[1]);
        ok(came && same_file(came->get(), file.get()), "%s: receive, throwing",
           type.name);

        need(send(pair.ends[0], "x", 1, 0) == 1);
        came = libsendfd::receive(pair.ends[1], error);
        ok(!came && is_error(error, ENOMSG) && error == std::errc::no_message,
           "%s: receive: an error is reported", type.name);
        need(send(pair.ends[0], "x", 1, 0) == 1);
        ok(throws([&] { came = libsendfd::receive(pair.ends[1]); }, ENOMSG, "recvfd"),
           "%s: receive throws", type.name);
        libsendfd::send(pair.ends[0], -1, error);
        ok(is_error(error, EBADF), "%s: send: an error is reported", type.name);
        ok(throws([&] { libsendfd::send(pair.ends[0], -1); }, EBADF, "sendfd"),
           "%s: send throws", type.name);

        if (type.type != SOCK_DGRAM) {
            pair.hang_up();
            came = libsendfd::receive(pair.ends[1], error);
            ok(!came && !error, "%s: receive: the end of file is empty, and no error",
               type.name);
            came.emplace();
            came = libsendfd::receive(pair.ends[1]);
            ok(!came, "%s: and does not throw", type.name);
        }
    }
    is(count_fds(), before, "%s: one descriptor: none is left open", type.name);
}

/* --- arrays ---------------------------------------------------------------------------
 */

bool are_files(const std::vector<unique_fd> &fds, const int *files, int nfds)
{
    bool same = fds.size() == static_cast<std::size_t>(nfds);
    for (int i = 0; same && i < nfds; i++)
        same = same_file(fds[static_cast<std::size_t>(i)].get(), files[i]);
    return same;
}

void arrays()
{
    int before = count_fds();
    {
        Pair pair;
        int numbers[3];
        open_files(numbers, 3);
        std::vector<unique_fd> files;
        for (int number : numbers)
            files.emplace_back(number);

        libsendfd::send(pair.ends[0], files);
        std::array<unique_fd, 5> places;
        int owned[2] = {open_file(), open_file()};
        places[0].reset(owned[0]);
        places[4].reset(owned[1]);
        std::optional<std::size_t> nfds = libsendfd::receive(pair.ends[1], places);
        ok(nfds == 3U && same_file(places[0].get(), numbers[0]) &&
               same_file(places[2].get(), numbers[2]) && !places[3],
           "receive: as many places as came are filled");
        ok(!is_open(owned[0]) && places[4].get() == owned[1] && is_open(owned[1]),
           "receive: what they owned is closed, and no other");

        std::error_code error = std::make_error_code(std::errc::interrupted);
        libsendfd::send(pair.ends[0], numbers, error);
        ok(!error, "send clears the error");
        int first = places[0].get();
        nfds = libsendfd::receive(pair.ends[1], {places.data(), 2}, error);
        ok(!nfds && is_error(error, EMSGSIZE) && places[0].get() == first &&
               is_open(first),
           "receive: after an error the places are as they were");
        libsendfd::send(pair.ends[0], {numbers, 2});
        ok(throws(
               [&] {
                   nfds = libsendfd::receive(pair.ends[1], {places.data(), 1});
               },
               EMSGSIZE, "recvfds"),
           "receive throws");
        ok(throws(
               [&] {
                   libsendfd::send(pair.ends[0], {numbers, too_many});
               },
               EINVAL, "sendfds"),
           "send throws");
        libsendfd::send(pair.ends[0], descriptors(), error);
        ok(is_error(error, EINVAL), "send: no descriptors are an error");
        libsendfd::send(pair.ends[0], {numbers, far_too_many}, error);
        ok(is_error(error, EINVAL), "send: more than an int can hold is an error");

        libsendfd::send(pair.ends[0], files);
        std::optional<std::vector<unique_fd>> came =
            libsendfd::receive_vector(pair.ends[1]);
        ok(came && are_files(*came, numbers, 3), "receive_vector has as many as came");
        libsendfd::send(pair.ends[0], *came);
        came = libsendfd::receive_vector(pair.ends[1], 3, error);
        ok(came && !error && are_files(*came, numbers, 3),
           "receive_vector: max is enough");
        libsendfd::send(pair.ends[0], *came);
        came = libsendfd::receive_vector(pair.ends[1], 2, error);
        ok(!came && is_error(error, EMSGSIZE), "receive_vector: max is the limit");
        ok(throws([&] { came = libsendfd::receive_vector(pair.ends[1], 0); }, EINVAL,
                  "recvfds"),
           "receive_vector throws");

        pair.hang_up();
        came.emplace();
        came = libsendfd::receive_vector(pair.ends[1], 9, error);
        nfds = libsendfd::receive(pair.ends[1], places, error);
        ok(!nfds && !came && !error, "the end of file is empty, and no error");
        ok(!libsendfd::receive(pair.ends[1], places) &&
               !libsendfd::receive_vector(pair.ends[1]),
           "and does not throw");
    }
    is(count_fds(), before, "arrays: none is left open");
}

/* --- any number
 * -------------------------------------------------------------------------- */

constexpr std::size_t MANY = 2 * SENDFD_MAX_FDS + 10;

std::size_t owned_by(const std::vector<unique_fd> &fds)
{
    std::size_t owned = 0;
    while (owned < fds.size() && fds[owned])
        owned++;
    return owned;
}

void any_number()
{
    int before = count_fds();
    if (can_hold(2000) < 2000) {
        tap_skip("any number: fewer than 2000 descriptors can be open here");
        return;
    }
    {
        Pair pair;
        unique_fd file(open_file());
        const std::vector<int> numbers(MANY, file.get());
        std::error_code error = std::make_error_code(std::errc::interrupted);
        is(static_cast<long>(libsendfd::send_all(pair.ends[0], numbers, error)), MANY,
           "send_all returns how many went");
        ok(!error, "and clears the error");
        std::vector<unique_fd> places(MANY);
        error = std::make_error_code(std::errc::interrupted);
        ok(libsendfd::receive_all(pair.ends[1], places, error) == MANY && !error &&
               owned_by(places) == MANY && same_file(places[MANY - 1].get(), file.get()),
           "receive_all fills all places");
        libsendfd::send_all(pair.ends[0], places);
        places.clear();
        places.resize(MANY);
        ok(libsendfd::receive_all(pair.ends[1], places) == MANY, "and so when throwing");

        /* The second message has a descriptor that is not open. */
        std::vector<int> bad(numbers);
        bad[300] = -1;
        is(static_cast<long>(libsendfd::send_all(pair.ends[0], bad, error)),
           SENDFD_MAX_FDS, "send_all: stopped part-way, it says how many were sent");
        ok(is_error(error, EBADF), "and why");
        ok(throws<libsendfd::partial_error>(
               [&] { libsendfd::send_all(pair.ends[0], bad); }, EBADF, "sendfds_all",
               SENDFD_MAX_FDS),
           "and so does what it throws");
        is(static_cast<long>(libsendfd::send_all(
               pair.ends[0], {numbers.data(), SIZE_MAX / 2 + 2}, error)),
           0, "send_all: of more than an int can hold, none is sent");
        ok(is_error(error, EINVAL), "and why");
        bad[0] = -1;
        is(static_cast<long>(libsendfd::send_all(pair.ends[0], bad, error)), 0,
           "send_all: stopped at once, none went");
        ok(throws<libsendfd::partial_error>(
               [&] { libsendfd::send_all(pair.ends[0], bad); }, EBADF, "sendfds_all", 0),
           "and so says what it throws");
        ok(throws<libsendfd::partial_error>(
               [&] { libsendfd::send_all(pair.ends[0], descriptors()); }, EINVAL,
               "sendfds_all", 0),
           "send_all of none throws");

        /* 506 are queued, in two messages. */
        set_nonblocking(pair.ends[1]);
        places.clear();
        places.resize(MANY);
        ok(throws<libsendfd::partial_error>(
               [&] { static_cast<void>(libsendfd::receive_all(pair.ends[1], places)); },
               EAGAIN, "recvfds_all", 2 * SENDFD_MAX_FDS),
           "receive_all, stopped part-way, throws and says how many came");
        ok(owned_by(places) == 2 * SENDFD_MAX_FDS, "and they are in their places");
        libsendfd::send(pair.ends[0], {numbers.data(), 4});
        libsendfd::send(pair.ends[0], {numbers.data(), 10});
        places.resize(2 * SENDFD_MAX_FDS);
        places.resize(MANY);
        span<unique_fd> rest = span<unique_fd>(places).subspan(2 * SENDFD_MAX_FDS);
        ok(libsendfd::receive_all(pair.ends[1], rest, error) == 4U &&
               is_error(error, EMSGSIZE) && owned_by(places) == 2 * SENDFD_MAX_FDS + 4,
           "receive_all goes on from there, and ends with a message that is too long");
        ok(!libsendfd::receive_all(pair.ends[1], rest, error) && is_error(error, EAGAIN),
           "receive_all: an error at once is empty, and reported");
        ok(throws<libsendfd::partial_error>(
               [&] { static_cast<void>(libsendfd::receive_all(pair.ends[1], {})); },
               EINVAL, "recvfds_all", 0),
           "receive_all of none throws");

        libsendfd::send(pair.ends[0], {numbers.data(), 4});
        libsendfd::send(pair.ends[0], {numbers.data(), 2});
        pair.hang_up();
        ok(libsendfd::receive_all(pair.ends[1], rest) == 6U,
           "receive_all: the end of file part-way is a short count");
        ok(!libsendfd::receive_all(pair.ends[1], rest, error) && !error,
           "receive_all: the end of file at once is empty, and no error");
        ok(!libsendfd::receive_all(pair.ends[1], rest), "and does not throw");
    }
    is(count_fds(), before, "any number: none is left open");
}

/* --- messages
 * ------------------------------------------------------------------------------ */

void messages()
{
    int before = count_fds();
    {
        Pair pair;
        unique_fd file(open_file());
        const int numbers[2] = {file.get(), file.get()};
        std::array<unique_fd, 3> places;
        std::string room(16, '.');
        std::error_code error = std::make_error_code(std::errc::interrupted);

        is(static_cast<long>(libsendfd::send_message(
               pair.ends[0], numbers, std::string_view("hello"), 0, error)),
           5, "send_message returns how many bytes went");
        ok(!error, "and clears the error");
        error = std::make_error_code(std::errc::interrupted);
        std::optional<libsendfd::received> came =
            libsendfd::receive_message(pair.ends[1], places, room, 0, error);
        ok(came && !error && came->bytes == 5 && came->nfds == 2 && came->flags == 0 &&
               room.substr(0, 6) == "hello.",
           "receive_message: the bytes and how many descriptors");
        ok(same_file(places[1].get(), file.get()) && !places[2], "in their places");

        const std::vector<std::uint16_t> wide = {1, 2, 3};
        std::array<std::uint16_t, 4> wide_room = {};
        is(static_cast<long>(libsendfd::send_message(pair.ends[0], {}, wide)), 6,
           "send_message: without descriptors, of wider numbers");
        came = libsendfd::receive_message(pair.ends[1], {}, wide_room, MSG_DONTWAIT);
        ok(came && came->bytes == 6 && came->nfds == 0 && wide_room[2] == 3,
           "receive_message: without room for descriptors");
        came =
            libsendfd::receive_message(pair.ends[1], places, room, MSG_DONTWAIT, error);
        ok(!came && is_error(error, EAGAIN), "receive_message: an error is reported");
        const int received = places[0].get();
        need(raw_send(pair.ends[0], "x", 1, numbers, 2) == 1);
        ok(throws(
               [&] {
                   came = libsendfd::receive_message(pair.ends[1], {&places[0], 1}, room);
               },
               EMSGSIZE, "recvfds_msg"),
           "receive_message throws");
        ok(places[0].get() == received && is_open(received), "the place is as it was");
        ok(libsendfd::send_message(pair.ends[0], {&file, 1}, const_buffer(), 0, error) ==
                   0 &&
               is_error(error, EINVAL),
           "send_message: an error is reported");
        ok(throws(
               [&] {
                   static_cast<void>(
                       libsendfd::send_message(pair.ends[0], {&file, 1}, room, MSG_OOB));
               },
               EINVAL, "sendfds_msg"),
           "send_message throws");

        /* Several buffers. */
        const std::array<iovec, 2> parts = {const_buffer(std::string_view("to")),
                                            const_buffer(std::string_view("gethr"))};
        is(static_cast<long>(libsendfd::send_message(pair.ends[0], {&file, 1}, parts)), 7,
           "send_message of two buffers");
        is(static_cast<long>(libsendfd::send_message(pair.ends[0], numbers,
                                                     {parts.data(), 1}, 0, error)),
           2, "and of one of them");
        char first[4] = "", second[8] = "";
        const iovec places_for_bytes[2] = {mutable_buffer(first, 3), {second, 7}};
        came = libsendfd::receive_message(pair.ends[1], places, places_for_bytes);
        ok(came && came->bytes == 7 && came->nfds == 1 &&
               std::string_view(first) == "tog" && std::string_view(second) == "ethr",
           "receive_message into two buffers");
        came = libsendfd::receive_message(pair.ends[1], {places.data(), 1},
                                          places_for_bytes, RECVFD_PARTIAL, error);
        ok(came && came->bytes == 2 && came->nfds == 1 && (came->flags & MSG_CTRUNC),
           "receive_message: RECVFD_PARTIAL keeps what there is room for, and says so");
        ok(throws(
               [&] {
                   static_cast<void>(libsendfd::send_message(
                       pair.ends[0], {numbers, too_many}, {parts.data(), 1}));
               },
               EINVAL, "sendfds_msghdr"),
           "send_message of buffers throws");
        ok(throws(
               [&] {
                   came = libsendfd::receive_message(pair.ends[1], places,
                                                     places_for_bytes, MSG_DONTWAIT);
               },
               EAGAIN, "recvfds_msghdr"),
           "receive_message into buffers throws");

        pair.hang_up();
        ok(!libsendfd::receive_message(pair.ends[1], places, room, 0, error) && !error,
           "receive_message: the end of file is empty, and no error");
        ok(!libsendfd::receive_message(pair.ends[1], places, places_for_bytes, 0,
                                       error) &&
               !error && !libsendfd::receive_message(pair.ends[1], places, room) &&
               !libsendfd::receive_message(pair.ends[1], places, places_for_bytes),
           "of each kind");
    }
    is(count_fds(), before, "messages: none is left open");
}

/* With an address, and the sender's credentials. */
void message_headers()
{
    int before = count_fds();
    {
        unique_fd file(open_file());
        unique_fd sender(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        unique_fd receiver(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        sockaddr_un address = {}, from = {};
        socklen_t length = sizeof address;
        address.sun_family = AF_UNIX;
        need(bind(receiver.get(), reinterpret_cast<sockaddr *>(&address),
                  sizeof address.sun_family) == 0);
        need(getsockname(receiver.get(), reinterpret_cast<sockaddr *>(&address),
                         &length) == 0);
        need(set_option(receiver.get(), SO_PASSCRED, 1));

        char text[8] = "hello";
        iovec part = {text, 5};
        msghdr message = {};
        message.msg_name = &address;
        message.msg_namelen = length;
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        std::error_code error;
        is(static_cast<long>(libsendfd::send_msghdr(sender, {&file, 1}, message)), 5,
           "send_msghdr: to an address");
        is(static_cast<long>(
               libsendfd::send_msghdr(sender, {&file, 1}, message, 0, error)),
           5, "send_msghdr: with an error code");
        message.msg_name = nullptr;
        message.msg_namelen = 0;
        ok(throws(
               [&] {
                   static_cast<void>(libsendfd::send_msghdr(sender, {&file, 1}, message));
               },
               ENOTCONN, "sendfds_msghdr"),
           "send_msghdr throws");

        alignas(cmsghdr) char control[256];
        unique_fd place;
        message.msg_name = &from;
        message.msg_namelen = sizeof from;
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        std::optional<libsendfd::received> came =
            libsendfd::receive_msghdr(receiver, {&place, 1}, message);
        const cmsghdr *credentials = CMSG_FIRSTHDR(&message);
        ok(came && came->bytes == 5 && came->nfds == 1 &&
               came->flags == message.msg_flags && same_file(place.get(), file.get()),
           "receive_msghdr: the file comes");
        ok(credentials && credentials->cmsg_type == SCM_CREDENTIALS,
           "receive_msghdr: and the credentials");
        came = libsendfd::receive_msghdr(receiver, {}, message, 0, error);
        ok(!came && is_error(error, EMSGSIZE), "receive_msghdr: an error is reported");
        ok(throws(
               [&] {
                   came = libsendfd::receive_msghdr(receiver, {&place, 1}, message,
                                                    MSG_DONTWAIT);
               },
               EAGAIN, "recvfds_msghdr"),
           "receive_msghdr throws");
    }
    is(count_fds(), before, "message headers: none is left open");
}

/* For who calls sendmsg(2) and recvmsg(2). */
void control_messages()
{
    int before = count_fds();
    {
        Pair pair;
        unique_fd file(open_file());
        std::error_code error = std::make_error_code(std::errc::interrupted);
        alignas(cmsghdr) std::array<char, RECVFDS_CMSG_SPACE(2)> control;
        char byte = 'x';
        iovec part = {&byte, 1};
        msghdr message = {};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = control.data();
        message.msg_controllen = libsendfd::write_cmsg({&file, 1}, control);
        is(static_cast<long>(message.msg_controllen), SENDFDS_CMSG_SPACE(1),
           "write_cmsg returns its length");
        need(sendmsg(pair.ends[0], &message, 0) == 1);
        ok(libsendfd::write_cmsg({&file, 1}, control, error) == SENDFDS_CMSG_SPACE(1) &&
               !error,
           "write_cmsg clears the error");
        need(sendmsg(pair.ends[0], &message, 0) == 1);
        ok(libsendfd::write_cmsg({&file, 1}, {control.data(), 3}, error) == 0 &&
               is_error(error, EINVAL),
           "write_cmsg: an error is reported");
        ok(throws([&] { static_cast<void>(libsendfd::write_cmsg({}, control)); }, EINVAL,
                  "sendfds_cmsg"),
           "write_cmsg throws");

        std::array<unique_fd, 2> places;
        message.msg_controllen = control.size();
        need(recvmsg(pair.ends[1], &message, MSG_CMSG_CLOEXEC) == 1);
        is(static_cast<long>(libsendfd::take_cmsg(pair.ends[1], places, message)), 1,
           "take_cmsg returns how many came");
        ok(same_file(places[0].get(), file.get()) && !places[1], "in their places");
        message.msg_controllen = control.size();
        need(recvmsg(pair.ends[1], &message, MSG_CMSG_CLOEXEC) == 1);
        ok(libsendfd::take_cmsg(pair.ends[1], {}, message, 0, error) == 0 &&
               is_error(error, EMSGSIZE),
           "take_cmsg: an error is reported");
        ok(libsendfd::take_cmsg(pair.ends[1], places, message, 0, error) == 0 && !error,
           "take_cmsg: none is 0, and clears the error");
        ok(throws(
               [&] {
                   static_cast<void>(
                       libsendfd::take_cmsg(pair.ends[1], places, message, MSG_PEEK));
               },
               EINVAL, "recvfds_cmsg"),
           "take_cmsg throws");
    }
    is(count_fds(), before, "control messages: none is left open");
}

/* --- memory, again
 * ----------------------------------------------------------------------------- */

/* Whether call throws std::bad_alloc where the allocation after so many fails. */
bool runs_out_of_memory(int left, const std::function<void()> &call)
{
    bool ran_out = false;
    allocations_left = left;
    try {
        call();
    } catch (const std::bad_alloc &) {
        ran_out = true;
    } catch (const std::system_error &) {
    }
    allocations_left = -1;
    return ran_out;
}

void out_of_memory()
{
    int before = count_fds();
    {
        Pair pair;
        unique_fd file(open_file());
        std::vector<int> numbers(SENDFD_MAX_FDS, file.get());
        std::optional<std::vector<unique_fd>> came;
        libsendfd::send(pair.ends[0], numbers);
        int open = count_fds(), failures = 0;
        while (runs_out_of_memory(
            failures, [&] { came = libsendfd::receive_vector(pair.ends[1]); }))
            failures++;
        ok(failures > 0 && came && came->size() == SENDFD_MAX_FDS,
           "receive_vector: after std::bad_alloc the message is still there");
        is(count_fds(), open + SENDFD_MAX_FDS, "and nothing of it was left open");

        /* The exception does not fit into memory either. */
        std::vector<unique_fd> places(SENDFD_MAX_FDS + 1);
        set_nonblocking(pair.ends[1]);
        libsendfd::send(pair.ends[0], numbers);
        ok(runs_out_of_memory(
               0,
               [&] { static_cast<void>(libsendfd::receive_all(pair.ends[1], places)); }),
           "receive_all: std::bad_alloc in place of the exception");
        is(static_cast<long>(owned_by(places)), SENDFD_MAX_FDS,
           "loses nothing that came");
    }
    is(count_fds(), before, "out of memory: none is left open");
}

/* Where the caller has the storage nothing is allocated. */
void without_allocation()
{
    int before = count_fds();
    {
        Pair pair;
        unique_fd file(open_file());
        std::array<unique_fd, 2> places;
        std::vector<int> numbers(MANY, file.get());
        std::vector<unique_fd> many(MANY);
        char byte = 'x';
        iovec part = {&byte, 1};
        std::error_code error;
        const int so_far = allocations;
        libsendfd::send(pair.ends[0], file);
        places[0] = *libsendfd::receive(pair.ends[1]);
        libsendfd::send(pair.ends[0], {&file, 1});
        need(libsendfd::receive(pair.ends[1], places) == 1U);
        need(libsendfd::send_message(pair.ends[0], {&file, 1}, {&byte, 1}) == 1);
        need(libsendfd::receive_message(pair.ends[1], places, {&byte, 1}).has_value());
        need(libsendfd::send_message(pair.ends[0], {&file, 1}, {&part, 1}) == 1);
        need(libsendfd::receive_message(pair.ends[1], places, {&part, 1}).has_value());
        libsendfd::send_all(pair.ends[0], numbers);
        need(libsendfd::receive_all(pair.ends[1], many) == MANY);
        need(!libsendfd::receive_message(pair.ends[1], places, {&byte, 1}, MSG_DONTWAIT,
                                         error) &&
             error);
        is(allocations, so_far, "nothing is allocated, also with an error");
    }
    is(count_fds(), before, "without allocation: none is left open");
}

} // namespace

int main()
{
    owners();
    for (const socket_type &type : socket_types)
        one_descriptor(type);
    arrays();
    any_number();
    messages();
    message_headers();
    control_messages();
    out_of_memory();
    without_allocation();
    return tap_done();
}
