/* The cost of having the library at all: the time to load and unload the shared object,
 * and to start and end a program that is linked with it and calls nothing.
 *
 *     load_time DIRECTORY    which holds what bench/user_space.sh has built */
#include "bench.h"

#include <dlfcn.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOADS 8
#define STARTS 2

static void load(const void *path, double *figures)
{
    uint64_t start = now_ns();
    for (int i = 0; i < LOADS; i++) {
        void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        need(library != NULL && dlclose(library) == 0);
    }
    figures[0] = (double)(now_ns() - start) / LOADS;
}

static void start(const void *path, double *figures)
{
    char *arguments[] = {(char *)path, NULL}, *environment[] = {NULL};
    uint64_t begin = now_ns();
    for (int i = 0; i < STARTS; i++) {
        pid_t pid;
        int status;
        need(posix_spawn(&pid, path, NULL, NULL, arguments, environment) == 0);
        need(waitpid(pid, &status, 0) == pid && status == 0);
    }
    figures[0] = (double)(now_ns() - begin) / STARTS;
}

int main(int argc, char **argv)
{
    start_bench("user_space");
    need(argc == 2 && chdir(argv[1]) == 0);
    pin_to(0);
    run_case(&(struct bench_case){
        .figures = {{"load and unload the shared object", "ns"}},
        .seconds = full_or_quick(10, 0.3),
        .ncontenders = 2,
        .contenders = {{"hand-written C", load, "./libhand.so.1"},
                       {"libsendfd", load, "./libsendfd.so.1"}},
    });
    run_case(&(struct bench_case){
        .figures = {{"start and end of a program", "ns"}},
        .seconds = full_or_quick(20, 0.5),
        .ncontenders = 4,
        .contenders = {{"hand-written C; shared object", start, "./shared_hand"},
                       {"libsendfd; shared object", start, "./shared_libsendfd"},
                       {"libsendfd; archive", start, "./archive_libsendfd"},
                       {"no library", start, "./no_library"}},
    });
    return 0;
}
