# Machines under qemu-system's own emulation, each with a kernel of Debian and an initramfs of
# busybox, the C library and programs that it runs one after the other: source it after
# apt.sh. machine_init says what happens there.
# shellcheck shell=sh
# shellcheck disable=SC2154 # scratch_directory sets scratch.

: "${KERNEL_TIMEOUT:=800}"
vm=
scratch_directory
initramfs=$scratch/initramfs
trap '[ -z "$vm" ] || kill $vm 2>/dev/null; rm -rf "$scratch"' EXIT

# kernel_package SUITE IMAGE [RELEASE]: the package of the newest kernel in a suite, or of the
# newest that begins so: linux-image-*, and from 7.0 on linux-binary-*, which has the kernel
# alone.
kernel_package() {
	if [ "${3-}" ]; then
		image=$(apt_in "$1" apt-cache search --names-only "^linux-image-$3[.].*-${2#linux-image-}\$" |
			cut -d ' ' -f 1 | sort -V | tail -n 1)
	else
		image=$(apt_in "$1" apt-cache show "$2" |
			sed -n 's/^Depends:.*\(linux-image-[^ ,]*\).*/\1/p' | head -n 1)
	fi
	[ "${2#*:}" = "$2" ] || image=$image:${2#*:}
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

# new_initramfs BUSYBOX: in the directory $initramfs. The lines of USER PROGRAM ARGUMENT... in
# its file programs are what it runs.
new_initramfs() {
	rm -rf "$initramfs" && mkdir "$initramfs" || return
	(cd "$initramfs" && mkdir bin etc proc sys dev tmp lib lib64 &&
		printf 'root:x:0:0::/:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n' >etc/passwd &&
		printf 'root:x:0:\nuser:x:1000:\n' >etc/group) &&
		cp "$1" "$initramfs/bin/busybox" && chmod +x "$initramfs/bin/busybox" &&
		cp tests/machines/machine_init "$initramfs/init" && chmod +x "$initramfs/init"
}

# copy_programs DIRECTORY STRIP: from where they are built.
copy_programs() {
	while read -r _ program _; do
		mkdir -p "$initramfs/${program%/*}" && $2 -o "$initramfs/$program" "$1/$program" || return
	done <"$initramfs/programs"
}

# boot NAME KERNEL QEMU...: each program that it runs is a test here; sets whether it began
# and ended.
boot() {
	boot_name=$1 boot_kernel=$2 began='' ended=''
	shift 2
	rm -f "$scratch/console"
	mkfifo "$scratch/console"
	# In the background, where a kill reaches timeout(1).
	timeout -k 5 "$KERNEL_TIMEOUT" "$@" -m 512 -smp 2 -no-reboot -display none -kernel "$boot_kernel" \
		-initrd "$scratch/initramfs.gz" </dev/null >"$scratch/console" 2>"$scratch/log" &
	vm=$!
	while IFS= read -r line; do
		line=$(printf '%s' "$line" | tr -d '\r')
		case $line in
		'# begin '*) began=yes ;;
		'# end') ended=yes ;;
		esac
		case $line in
		'ok - '*) ok "$boot_name: ${line#ok - }" true ;;
		'not ok - '*) ok "$boot_name: ${line#not ok - }" false ;;
		*) printf '# %s\n' "${line#\# }" ;;
		esac
	done <"$scratch/console"
	wait $vm
	vm=
}

# run_machine NAME KERNEL QEMU...: the machine of the initramfs, with its time.
run_machine() {
	booted=$(date +%s)
	(cd "$initramfs" && find . | cpio -o -H newc -R 0:0 --quiet) | gzip -1 >"$scratch/initramfs.gz"
	# Emulation of two processors at once has made 6.12 stop while it boots.
	for _ in 1 2 3; do
		boot "$@"
		[ -z "$began" ] || break
	done
	is "${began:-no} ${ended:-no}" 'yes yes' "$1 boots, and runs everything"
	[ -n "$ended" ] || sed 's/^/# /' "$scratch/log"
	printf '# %s: %d s\n' "$1" $(($(date +%s) - booted))
}
