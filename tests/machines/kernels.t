#!/bin/sh
# Runs the tests on other kernels than this machine's: Debian's, under qemu's own emulation.
# Catches a call, an errno or a control message that an older or a newer kernel has
# otherwise, and an answer of AppArmor that the library misreads (apparmor.c).
#
# KERNELS="bullseye-security trixie-backports/7.0" names the suites whose newest
# linux-image-cloud-amd64, or newest of a release, is booted. Its initramfs has busybox, the
# C library of this machine, and programs that need no compiler: the C tests, as root and as
# a plain user, the scenario with failing calls and under seccomp, the measurement of the
# stack, the model, the signal storm and a short soak. What is downloaded is kept in CACHE.
#
# Not in make check: it takes some minutes for each kernel (time limit: 3600 s).
. tests/lib/tap.sh
. tests/lib/apt.sh
. tests/lib/machine.sh
. tests/faults/scenario.sh
: "${KERNELS:=bullseye-security bookworm-security}"
: "${APPARMOR_PARSER:=apparmor_parser}"
# From 5.0 on the parser distinguishes the calls on a socket, as Linux 7.0 does; older kernels
# enforce only the policy of an older one.

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
	done <"$initramfs/programs" | sed -n 's|.*=> \(/[^ ]*\) .*|\1|p; s|^[[:space:]]*\(/[^ ]*\) .*|\1|p' |
		sort -u >"$scratch/libraries"
	while read -r library; do
		case $library in
		*/ld-*) cp -L "$library" "$initramfs/lib64" ;;
		*) cp -L "$library" "$initramfs/lib" ;;
		esac || return
	done <"$scratch/libraries"
}

# AppArmor's policy as the kernel loads it.
compile_policy() {
	$APPARMOR_PARSER --skip-kernel-load --skip-cache --features-file tests/machines/apparmor.features \
		--ofile "$initramfs/policy" tests/machines/apparmor.profiles
}

fill_initramfs() {
	new_initramfs "$busybox" && programs >"$initramfs/programs" &&
		copy_programs "$O" "${STRIP:-strip}" && copy_libraries && compile_policy
}

for command in qemu-system-x86_64 cpio $APPARMOR_PARSER; do
	have "$command" || missing="${missing-} $command"
done
if [ "$(uname -m)" != x86_64 ] || [ -n "${missing-}" ] || ! can_ask_for_packages; then
	skip "other kernels: they need x86-64, a mirror of Debian, qemu-system-x86, cpio, apparmor${missing+; not found:$missing}"
	tap_done
fi
has_suite bookworm
busybox=$(cached bookworm busybox-static '*/bin/busybox')
[ "$busybox" ] || {
	ok 'busybox comes from the mirror' cat "$scratch/log"
	tap_done
}
build_programs
ok 'the initramfs is made' fill_initramfs
[ "$tap_failures" -eq 0 ] || tap_done
for wanted in $KERNELS; do
	suite=${wanted%/*} release=
	case $wanted in */*) release=${wanted#*/} ;; esac
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
	package=$(kernel_package "$suite" linux-image-cloud-amd64 $release)
	kernel=$(cached "$suite" "$package" '*vmlinuz*')
	ok "$suite: a kernel comes from the mirror: ${package#linux-*-}" test -s "$kernel"
	[ -z "$kernel" ] || run_machine "$(printf '%s' "${package#linux-*-}" | sed 's/-cloud.*//')" "$kernel" \
		qemu-system-x86_64 -accel tcg,thread=multi -cpu max -M q35 -nodefaults -serial stdio \
		-append 'console=ttyS0 quiet loglevel=0 panic=-1 security=apparmor'
done
tap_done
