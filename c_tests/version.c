/* The version that the library reports is that of the header, as a string and as
 * three numbers, and the constants have the values that programs rely on. */
#include "sendfd.h"
#include "tap.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#if SENDFD_VERSION_MAJOR < 1 || SENDFD_MAX_FDS < 1 || RECVFD_EOF >= 0
#    error "the constants are of no use to the preprocessor"
#endif

/* Where the section of the shared object, or of the program, that this address lies in
 * ends. A string without its NUL is read beyond that, where there often is a zero. */
static const char *end_of_section(const char *address)
{
    const char *end = NULL;
    Dl_info object;
    struct stat status;
    need(dladdr(address, &object) != 0);
    int fd = open(object.dli_fname, O_RDONLY | O_CLOEXEC);
    need(fd >= 0 && fstat(fd, &status) == 0);
    const char *file = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    need(file != MAP_FAILED);
    const ElfW(Ehdr) *header = (const void *)file;
    const ElfW(Shdr) *section = (const void *)(file + header->e_shoff);
    uintptr_t base = header->e_type == ET_EXEC ? 0 : (uintptr_t)object.dli_fbase;
    for (int i = 0; i < header->e_shnum; i++, section++) {
        uintptr_t start = base + section->sh_addr;
        if (section->sh_flags & SHF_ALLOC && start <= (uintptr_t)address &&
            (uintptr_t)address - start < section->sh_size)
            end = address + (section->sh_size - ((uintptr_t)address - start));
    }
    munmap((void *)(uintptr_t)file, (size_t)status.st_size);
    close(fd);
    return end;
}

int main(void)
{
    char joined[64];
    snprintf(joined, sizeof joined, "%d.%d.%d", SENDFD_VERSION_MAJOR,
             SENDFD_VERSION_MINOR, SENDFD_VERSION_PATCH);
    const char *version = sendfd_version();

    ok(strcmp(version, SENDFD_VERSION) == 0, "sendfd_version() is SENDFD_VERSION, %s",
       SENDFD_VERSION);
    const char *end = end_of_section(version);
    ok(end && version + sizeof SENDFD_VERSION <= end, "its NUL is part of it");
    ok(strcmp(joined, SENDFD_VERSION) == 0, "and so are the three numbers, %s", joined);
    ok(sendfd_version() == version, "it is one and the same string at every call");
    is(SENDFD_MAX_FDS, 253, "SENDFD_MAX_FDS is the kernel's SCM_MAX_FD");
    is(RECVFD_EOF, -2, "RECVFD_EOF is -2");
    is(4 * SENDFD_MAX_FDS, 1012, "SENDFD_MAX_FDS multiplies as a number");
    is(1 - RECVFD_EOF, 3, "RECVFD_EOF subtracts as a number");
    return tap_done();
}
