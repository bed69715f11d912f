/* A program of a user of asio: sends an accepted socket to the other end of a pair,
 * which waits for it and answers through it. */
#include <asio.hpp>
#include <sendfd.hpp>

#include <cstdio>
#include <string>

using asio::local::stream_protocol;

int main()
{
    asio::io_context context;
    stream_protocol::socket sender(context), channel(context), client(context),
        accepted(context);
    asio::local::connect_pair(sender, channel);
    asio::local::connect_pair(client, accepted);

    int steps = 0;
    stream_protocol::socket received(context);
    channel.async_wait(stream_protocol::socket::wait_read, [&](std::error_code error) {
        std::optional<libsendfd::unique_fd> fd;
        if (!error)
            fd = libsendfd::receive(channel, error);
        if (error || !fd)
            return;
        steps++;
        received.assign(stream_protocol(), fd->get());
        static_cast<void>(fd->release()); /* last: assign() may throw */
        asio::async_write(received, asio::buffer("hello", 5),
                          [&](std::error_code, std::size_t) { received.close(); });
    });
    context.poll();

    std::error_code error;
    if (libsendfd::receive(channel, error) || error != std::errc::operation_would_block)
        return 1; /* asio has made it non-blocking */
    libsendfd::send(sender, accepted);
    accepted.close();
    std::string answer;
    asio::async_read(client, asio::dynamic_buffer(answer),
                     [&](std::error_code, std::size_t) { steps++; });
    context.run();

    std::string echo(8, '.');
    const auto text = asio::buffer(answer);
    libsendfd::send_message(sender, {}, text);
    auto came = libsendfd::receive_message(channel, {}, asio::buffer(echo));
    std::printf("%s %s %d\n", answer.c_str(), echo.c_str(), steps);
    return !came || came->bytes != 5;
}
