#!/bin/sh
# Runs the tests on other kernels than this machine's: Debian's, under qemu's own emulation.
# Catches a call, an errno or a control message that an older or a newer kernel has
# otherwise, and an answer of AppArmor that the library misreads (apparmor.c).
#
# KERNELS="bullseye-security trixie-backports" names the suites whose newest
# linux-image-cloud-amd64 is booted. Its initramfs has busybox, the C library of this
# machine, and programs that need no compiler: the C tests, as root and as a plain user, the
# scenario with failing calls and under seccomp, the measurement of the stack, the model,
# the signal storm and a short soak. What is downloaded is kept in CACHE.
#
# Not in make check: it takes some minutes for each kernel (time limit: 3600 s).
. tests/lib/tap.sh
. tests/lib/apt.sh
scratch_directory
. tests/faults/scenario.sh
: "${KERNELS:=bullseye-security bookworm-security}" "${KERNEL_TIMEOUT:=800}"
: "${APPARMOR_PARSER:=apparmor_parser}" # 5.0 distinguishes the calls on a socket, as Linux 7.0 does
vm=
trap '[ -z "$vm" ] || kill $vm 2>/dev/null; rm -rf "$scratch"' EXIT
root=$scratch/root

# --- what is booted ------------------------------------------------------------

# The package of the newest kernel in a suite: linux-image-*, and from 7.0 on
# linux-binary-*, which has the kernel alone.
kernel_package() {
	image=$(apt_in "$1" apt-cache show linux-image-cloud-amd64 |
		sed -n 's/^Depends:.*\(linux-image-[^ ,]*\).*/\1/p' | head -n 1)
	binary=linux-binary-${image#linux-image-}
	if apt_in "$1" apt-cache show "$binary" >/dev/null 2>&1; then
		echo "$binary"
	else
		echo "$image"
	fi
}

# cached SUITE PACKAGE PATTERN: the path of a file of that pattern in a package.
cached() {
	[ -n "$2" ] || return
	version=$(apt_in "$1" apt-cache show "$2" | sed -n 's/^Version: //p' | head -n 1)
	file=$CACHE/kernels/$2_$version
	if [ ! -s "$file" ]; then
		rm -rf "$scratch/unpacked" && mkdir -p "$scratch/unpacked" "$CACHE/kernels" || return
		(cd "$scratch/unpacked" && apt_in "$1" apt-get -q download "$2" &&
			dpkg-deb --fsys-tarfile ./*.deb | tar -x --wildcards "$3") >"$scratch/log" 2>&1 || return
		cp "$(find "$scratch/unpacked" -type f -path "$3" | head -n 1)" "$file.new" &&
			mv "$file.new" "$file" || return
	fi
	echo "$file"
}

# --- what runs there -----------------------------------------------------------

build_programs() {
	mkdir -p "$O/tests/kernels"
	# shellcheck disable=SC2046 # One argument a word.
	{
		set -- $(shared_library)
		scenario_program kernels/fault_scenario tests/faults/fault_scenario.c "$@"
		scenario_program kernels/seccomp_scenario tests/faults/seccomp_scenario.c "$@" -lseccomp
		scenario_program kernels/stack_use tests/faults/stack_use.c "$@"
		c_program kernels/signal_storm tests/stress/signal_storm.c c_tests/tap.c c_tests/peer.c "$@"
		c_program kernels/soak tests/stress/soak.c tests/stress/soak_worker.c \
			tests/stress/soak_shared.c c_tests/tap.c c_tests/peer.c "$@"
		c_program kernels/apparmor tests/machines/apparmor.c c_tests/tap.c c_tests/peer.c "$@"
	}
	! rust_is 1.85 || ok 'the model is built' $CARGO build $CARGOFLAGS --quiet \
		--manifest-path tests/model/Cargo.toml --target-dir "$O/tests/model"
}

# Lines of USER PROGRAM ARGUMENT..., in the order in which they are run.
programs() {
	c_tests=$(grep -l '^int main' c_tests/*.c c_tests/*.cc | sed 's|.*/||; s|\.cc*$||')
	for place in 'root c_tests/shared' 'root c_tests/static' 'user c_tests/shared' 'user c_tests/static'; do
		printf "$place/%s\n" $c_tests
	done
	cat <<-end
		root tests/kernels/apparmor
		root tests/kernels/fault_scenario
		user tests/kernels/seccomp_scenario
		user tests/kernels/stack_use
		$(! rust_is 1.85 || echo root tests/model/debug/libsendfd-model)
		user tests/kernels/signal_storm 30
		user tests/kernels/soak 15
	end
}

# Every library that they need, where the loader looks for it.
copy_libraries() {
	while read -r _ program _; do
		ldd "$O/$program"
	done <"$root/programs" | sed -n 's|.*=> \(/[^ ]*\) .*|\1|p; s|^[[:space:]]*\(/[^ ]*\) .*|\1|p' |
		sort -u >"$scratch/libraries"
	while read -r library; do
		case $library in
		*/ld-*) cp -L "$library" "$root/lib64" ;;
		*) cp -L "$library" "$root/lib" ;;
		esac || return
	done <"$scratch/libraries"
}

copy_programs() {
	programs >"$root/programs"
	while read -r _ program _; do
		mkdir -p "$root/${program%/*}" && ${STRIP:-strip} -o "$root/$program" "$O/$program" || return
	done <"$root/programs"
}

# AppArmor's policy as the kernel loads it.
compile_policy() {
	$APPARMOR_PARSER --skip-kernel-load --skip-cache --features-file tests/machines/apparmor.features \
		--ofile "$root/policy" tests/machines/apparmor.profiles
}

initramfs() {
	mkdir -p "$root" && cd "$root" && mkdir bin etc proc sys dev tmp lib lib64 && cd "$OLDPWD" || return
	cp "$busybox" "$root/bin/busybox" && chmod +x "$root/bin/busybox" || return
	for applet in $("$root/bin/busybox" --list); do
		[ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
	done
	printf 'root:x:0:0::/:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n' >"$root/etc/passwd"
	printf 'root:x:0:\nuser:x:1000:\n' >"$root/etc/group"
	copy_programs && copy_libraries && compile_policy || return
	cp tests/machines/kernels-init "$root/init" && chmod +x "$root/init" || return
	(cd "$root" && find . | bin/busybox cpio -o -H newc -R 0:0) | gzip -1 >"$scratch/initramfs"
}

# --- running it ----------------------------------------------------------------

# In the background, where a kill reaches timeout(1).
machine() {
	exec timeout -k 5 "$KERNEL_TIMEOUT" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -M q35 \
		-m 512 -smp 2 -nodefaults -no-reboot -display none -serial stdio \
		-kernel "$1" -initrd "$scratch/initramfs" \
		-append 'console=ttyS0 quiet loglevel=0 panic=-1 security=apparmor' </dev/null 2>"$scratch/log"
}

# boot KERNEL NAME: each program that it runs is a test here; sets whether it began and ended.
boot() {
	began='' ended=''
	rm -f "$scratch/console"
	mkfifo "$scratch/console"
	machine "$1" >"$scratch/console" &
	vm=$!
	while IFS= read -r line; do
		line=$(printf '%s' "$line" | tr -d '\r')
		case $line in
		'# begin '*) began=yes ;;
		'# end') ended=yes ;;
		esac
		case $line in
		'ok - '*) ok "$2: ${line#ok - }" true ;;
		'not ok - '*) ok "$2: ${line#not ok - }" false ;;
		*) printf '# %s\n' "${line#\# }" ;;
		esac
	done <"$scratch/console"
	wait $vm
}

test_kernel() {
	started=$(date +%s)
	# Emulation of two processors at once has made 6.12 stop while it boots.
	for _ in 1 2 3; do
		boot "$1" "$2"
		[ -z "$began" ] || break
	done
	is "${began:-no} ${ended:-no}" 'yes yes' "$2 boots, and runs everything"
	[ -n "$ended" ] || sed 's/^/# /' "$scratch/log"
	printf '# %s: %d s\n' "$2" $(($(date +%s) - started))
}

for command in qemu-system-x86_64 $APPARMOR_PARSER; do
	have "$command" || missing="${missing-} $command"
done
if [ "$(uname -m)" != x86_64 ] || [ -n "${missing-}" ] || ! can_ask_for_packages; then
	skip "other kernels: they need x86-64, a mirror of Debian, qemu-system-x86, apparmor${missing+; not found:$missing}"
	tap_done
fi
has_suite bookworm
busybox=$(cached bookworm busybox-static '*/bin/busybox')
[ "$busybox" ] || {
	ok 'busybox comes from the mirror' cat "$scratch/log"
	tap_done
}
build_programs
ok 'the initramfs is made' initramfs
[ "$tap_failures" -eq 0 ] || tap_done
for suite in $KERNELS; do
	has_suite "$suite"
	case $? in
	0) ;;
	1)
		REQUIRE_ALL=0 skip "the mirror has no $suite"
		continue
		;;
	*)
		ok "the package lists of $suite come from the mirror" false
		continue
		;;
	esac
	package=$(kernel_package "$suite")
	kernel=$(cached "$suite" "$package" '*vmlinuz*')
	ok "$suite: a kernel comes from the mirror: ${package#linux-*-}" test -s "$kernel"
	[ -z "$kernel" ] || test_kernel "$kernel" "$(printf '%s' "${package#linux-*-}" | sed 's/-cloud.*//')"
done
tap_done
