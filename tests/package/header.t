#!/bin/sh
# include/sendfd.h is what src/ffi.rs says, and compiles without a warning as
# every C and C++ from C89 and C++11 on, alone and included twice.
. tests/lib/tap.sh
scratch_directory

if $CARGO fetch $CARGOFLAGS --quiet --manifest-path tools/header/Cargo.toml 2>"$scratch/fetch"; then
	ok 'cbindgen generates a header' tools/header/generate "$scratch/sendfd.h"
	ok 'the committed header is the generated one; if not: make header' \
		diff -u include/sendfd.h "$scratch/sendfd.h"
else
	skip "header drift: cbindgen is not to be had: $(head -n 1 "$scratch/fetch")"
fi

cat >"$scratch/program.c" <<'END'
#include <sendfd.h>
#include <sendfd.h>
int main(void)
{
    int fds[SENDFD_MAX_FDS] = {0};
    if (sendfds(-1, fds, 1) != -1 || recvfd(-1) == RECVFD_EOF)
        return 1;
    return sendfd_version() == 0;
}
END
cp "$scratch/program.c" "$scratch/program.cc"

warnings="-Wall -Wextra -Wpedantic -pedantic-errors -Werror -Wno-maybe-uninitialized -Iinclude -c -o $scratch/object"
for standard in c89 c99 c11 c17; do
	ok "clean as $standard" $CC -std=$standard $warnings "$scratch/program.c"
done
if have "$CXX"; then
	for standard in c++11 c++14 c++17 c++20; do
		ok "clean as $standard" $CXX -std=$standard $warnings "$scratch/program.cc"
	done
else
	skip "the header as C++: no $CXX (Debian: g++)"
fi

printf '#include <sendfd.h>\nvoid f(int s) { recvfd(s); }\n' >"$scratch/ignores.c"
ok 'an ignored result is warned of' \
	sh -c "! $CC -std=c99 $warnings '$scratch/ignores.c'"
ok 'no Rust documentation links, no Safety headings' \
	sh -c "! grep -nE '\[\`|\`\]|# Safety|::' include/sendfd.h"
tap_done
