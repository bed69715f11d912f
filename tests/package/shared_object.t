#!/bin/sh
# Looks at the shared object as a packager does: its name, its needs, its hardening, its
# size, and that it names no path of the builder.
. tests/lib/tap.sh
scratch_directory
library=$O/libsendfd.so
dynamic=$(readelf -dW "$library")

dynamic_entry() {
	printf '%s\n' "$dynamic" | sed -n "s/.*($1).*\[\(.*\)\]/\1/p" | tr '\n' ' '
}

# Where the stack protector has its value: a variable of the loader, or thread-local.
guard_in='' guard=''
case ${HARDENING:-}:$($CC -dumpmachine) in
full:aarch64*) guard_in='ld-linux-aarch64.so.1 ' guard='__stack_chk_fail __stack_chk_guard' ;;
full:*) guard=__stack_chk_fail ;;
esac

is "$(dynamic_entry SONAME)" 'libsendfd.so.1 ' 'SONAME'
is "$(readlink "$library")" "libsendfd.so.$VERSION" 'libsendfd.so is a link to the versioned file'
is "$(readlink "$O/libsendfd.so.1")" "libsendfd.so.$VERSION" 'libsendfd.so.1 is one too'
is "$(dynamic_entry NEEDED)" "libc.so.6 $guard_in" 'needs the C library only'
is "$(dynamic_entry RPATH)$(dynamic_entry RUNPATH)" '' 'no RPATH'
ok 'all symbols are bound at load' sh -c "printf '%s' \"\$1\" | grep -q BIND_NOW" - "$dynamic"
ok 'no text relocations' sh -c "! printf '%s' \"\$1\" | grep -q TEXTREL" - "$dynamic"
ok 'read-only relocations' sh -c "readelf -lW '$library' | grep -q GNU_RELRO"
is "$(readelf -lW "$library" | awk '$1 == "GNU_STACK" { print $(NF - 1) }')" RW \
	'the stack is not executable'

# The last one is the C compiler's, and not weak with some linkers.
allowed='sendmsg recvmsg getsockname getsockopt fcntl syscall nanosleep __errno_location memcpy memmove memset abort __cxa_finalize'
# The start-up files of the C compiler add the weak ones.
imports=$(nm -D --undefined-only "$library" | awk '$1 == "U" { sub(/@.*/, "", $2); print $2 }')
for import in $imports; do
	case " $allowed $guard " in
	*" $import "*) ok "may import $import" true ;;
	*) ok "may import $import" false ;;
	esac
done
is "$(nm "$library" | grep -ciE 'panic|unwrap_failed|bounds|personality')" 0 \
	'nothing of the panic machinery is left'
is "$(readelf -SW "$O/sendfd.o" | sed 's/^ *\[ *[0-9]*\] *//' |
	awk '$1 ~ /^\.(data|bss|tdata|tbss)/ && $1 !~ /rel\.ro/ && $5 !~ /^0+$/ { print $1, $5 }')" '' \
	'no state: nothing writable in the object'
ok 'it can be unwound through: each function has a frame description' \
	sh -c "readelf --debug-dump=frames '$library' 2>/dev/null | grep -c ' FDE ' | xargs test 5 -le"

# Of the library's own units: a builder may leave out debug information, and the compiler's
# libraries may have some.
unit=$(readelf --debug-dump=info "$O/sendfd.o" 2>/dev/null | sed -n 's/.*DW_AT_comp_dir.*: //p' |
	grep -v '^/usr/src/rustc-\|^/rustc/' | sort -u)
is "${unit:-libsendfd-$VERSION}" "libsendfd-$VERSION" \
	'the debug information names no directory of the builder'

$STRIP -o "$scratch/stripped.so" "$library"
size=$(wc -c <"$scratch/stripped.so")
machine=$($CC -dumpmachine)
printf '# %d bytes stripped on %s\n' "$size" "$machine"
# Flags of a builder's own can make it larger.
case $machine:${RUSTFLAGS:-}${LDFLAGS:-} in
x86_64*:)
	ok "at most 24 KiB stripped ($size bytes)" test "$size" -le 24576
	text=$(size -A "$library" | awk '$1 == ".text" { print $2 }')
	ok "at most 8 KiB of code ($text bytes)" test "$text" -le 8192
	;;
*) printf '# the limits of size are for x86-64, without RUSTFLAGS and LDFLAGS\n' ;;
esac
cp "$O/libsendfd.a" "$scratch/libsendfd.a"
if readelf --debug-dump=info "$O/libsendfd.a" | grep -q DW_TAG_base_type; then
	printf "# the compiler's libraries came with types in their debug information: not counted\n"
	$STRIP --strip-debug "$scratch/libsendfd.a"
fi
size=$(wc -c <"$scratch/libsendfd.a")
ok "the archive is at most 192 KiB with debug information ($size bytes)" test "$size" -le 196608
tap_done
