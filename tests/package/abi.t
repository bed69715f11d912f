#!/bin/sh
# Compares the ABI with that of version 1.0: programs that were linked with it run, and
# programs that were compiled with its header compile. Catches a function that is gone, has
# another symbol version, or takes or returns another type, in the shared object and in the
# header, which could disagree, and a constant with another value. A new function is
# allowed and only reported. `make abi-baseline` writes the baseline.
. tests/lib/tap.sh
. tests/package/abi.sh
scratch_directory

# --- the shared object -------------------------------------------------------

# Whether the shared object has all that the baseline has, and as it has it.
keeps() {
	abidiff --no-added-syms "$1" "$O/tests/abi/libsendfd.so.$VERSION"
}

breaks() {
	! keeps "$1"
}

# altered SED-ARGUMENT...: makes a baseline from which the library differs.
altered() {
	sed "$@" "$abi_baseline" >"$scratch/altered.abi"
	! cmp -s "$abi_baseline" "$scratch/altered.abi" || ok 'the baseline can be altered' false
}

# That the comparison sees what it is there to see, on altered baselines.
compare_with_altered_baselines() {
	altered 's/sendfd_version/sendfd_of_old/g'
	ok 'a function that is gone would be seen' breaks "$scratch/altered.abi"
	altered -e "/elf-symbol name='sendfd_version'/d" \
		-e "/function-decl name='sendfd_version'/,/<\/function-decl>/d"
	ok 'a function that is new would be allowed' keeps "$scratch/altered.abi"
	altered 's/LIBSENDFD_1\.0/LIBSENDFD_0.9/g'
	ok 'another symbol version would be seen' breaks "$scratch/altered.abi"
	altered "s/soname='libsendfd.so.1'/soname='libsendfd.so.0'/"
	ok 'another SONAME would be seen' breaks "$scratch/altered.abi"
	long=$(sed -n "s/.*type-decl name='usize'.* id='\([^']*\)'.*/\1/p" "$abi_baseline")
	altered "/name='sendfds'/,/function-decl>/s/type-id='[^']*' name='nfds'/type-id='$long' name='nfds'/"
	ok 'a parameter of another type would be seen' breaks "$scratch/altered.abi"
	altered "/name='recvfd' /,/function-decl>/s/<return type-id='[^']*'/<return type-id='$long'/"
	ok 'a return of another type would be seen' breaks "$scratch/altered.abi"
	altered "/name='sendfd' /,/function-decl>/{/name='fd'/d}"
	ok 'one more parameter would be seen' breaks "$scratch/altered.abi"
}

machine=$($CC -dumpmachine)
case $machine in
x86_64-*linux-gnu) same_machine=true ;;
*) same_machine=false ;;
esac
if ! have abidiff; then
	skip 'the ABI: no abidiff (Debian: abigail-tools)'
elif ! $same_machine; then
	skip "the ABI of the shared object: the baseline is for x86_64-linux-gnu, this is $machine"
else
	ok 'the library builds with its types' abi_build
	ok "the shared object keeps the ABI of $abi_baseline" keeps "$abi_baseline"
	abidiff "$abi_baseline" "$O/tests/abi/libsendfd.so.$VERSION" | sed -n "s/^ *\[A\]/# new:/p"
	compare_with_altered_baselines
fi

# --- the header --------------------------------------------------------------

# The lines of the first list that are not in the second.
missing() {
	LC_ALL=C comm -23 "$1" "$2"
}

c_interface_of include/sendfd.h >"$scratch/c-interface"
is "$(missing "$c_baseline" "$scratch/c-interface")" '' \
	"the header keeps the declarations and constants of $c_baseline"
missing "$scratch/c-interface" "$c_baseline" | sed 's/^/# new: /'
# The header binds two of them to a second name.
is "$(grep -c '^[a-z].*(.*);$' "$c_baseline")" \
	"$(grep "<elf-symbol .*type='func-type'" "$abi_baseline" | grep -vc "name='libsendfd_")" \
	'both baselines have as many functions'

# To the compiler, too: the old declaration next to the new one, and its address.
sed -n '/^[a-z]/p' "$c_baseline" >"$scratch/old-declarations.h"
{
	printf '#include <sendfd.h>\n#include "old-declarations.h"\n'
	printf 'void *functions[] = {\n'
	sed -n 's/.*[ *]\([a-z][a-z_0-9]*\)(.*/    (void *)\1,/p' "$scratch/old-declarations.h"
	printf '};\nint main(void)\n{\n    return functions[0] == 0;\n}\n'
} >"$scratch/old.c"
ok 'C that repeats the declarations compiles, and links with this library' \
	$CC -std=c11 -D_GNU_SOURCE -Wall -Werror -Iinclude -I"$scratch" -o "$scratch/old" \
	"$scratch/old.c" -L"$O" -lsendfd -Wl,-rpath,"$(realpath "$O")"
ok 'and runs with it' "$scratch/old"

altered_header() {
	sed "$1" include/sendfd.h >"$scratch/altered.h"
	c_interface_of "$scratch/altered.h" >"$scratch/altered"
	missing "$c_baseline" "$scratch/altered" | wc -l
}
is "$(altered_header 's/^int sendfd(int unix_domain_socket_fd,/int sendfd(long unix_domain_socket_fd,/')" \
	1 'a parameter of another type would be seen in the header'
is "$(altered_header 's/const int \*fds/int *fds/')" 5 'a const that is gone, too'
is "$(altered_header 's/RECVFD_EOF (-2)/RECVFD_EOF (-3)/')" 1 'and another value of a constant'
is "$(altered_header 's/^int sendfds(/int sendfds_2(int fd); int sendfds(/')" 0 \
	'a function that is new would be allowed'
tap_done
