#!/bin/sh
# HARDENING=full adds what hardening-check(1) looks for and stable Rust does not do: a stack
# protector, and on x86-64 IBT and SHSTK (CET), on aarch64 BTI and PAC. Without it, linking
# the archive takes IBT and SHSTK off a whole program.
. tests/lib/tap.sh
scratch_directory
case $($CC -dumpmachine) in
x86_64*) properties='IBT SHSTK' ;;
aarch64*) properties='BTI PAC' ;;
*)
	skip 'hardening: neither x86-64 nor aarch64'
	tap_done
	;;
esac

hardened() {
	env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL "$MAKE" -s O="$scratch/build" HARDENING="$1" all
}

# properties_of FILE: those of all that is linked into it.
properties_of() {
	readelf -nW "$1" 2>/dev/null | sed -n 's/.* feature: //p' | tr -d ,
}

ok 'it builds' hardened full
for property in $properties; do
	ok "the shared object has $property" grep -qw "$property" <<-end
		$(properties_of "$scratch/build/libsendfd.so")
	end
	ok "the archive has $property" grep -qw "$property" <<-end
		$(properties_of "$scratch/build/libsendfd.a")
	end
done
ok 'the archive has a stack protector' sh -c "nm -u '$scratch/build/libsendfd.a' | grep -q __stack_chk_fail"
printf '#include <sendfd.h>\nint main(void)\n{\n    return sendfd(-1, -1) != -1;\n}\n' >"$scratch/program.c"
case $properties in
IBT*)
	# Debian's start-up files have no properties: they are left out.
	ok 'what insists on CET links with the archive' $CC -fcf-protection=full -shared -fPIC \
		-nostartfiles -Wl,-z,cet-report=error -Iinclude -o "$scratch/plugin" \
		"$scratch/program.c" "$scratch/build/libsendfd.a"
	;;
esac
tap_done
