/* The smallest program that uses the library, of which the size is taken, and the time
 * that it takes to start; with NO_LIBRARY the same without one. */
#include <sendfd.h>

int main(int argc, char **argv)
{
    (void)argv;
#ifndef NO_LIBRARY
    if (argc > 1)
        return sendfd(0, recvfd(1)) != 1;
#endif
    return argc > 1;
}
