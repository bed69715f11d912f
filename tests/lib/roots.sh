# Minimal roots of Debian for the tests of machines, kept in CACHE: source it after tap.sh.
# It skips the whole test where no root can be made.
# shellcheck shell=sh
# shellcheck disable=SC2154 # scratch_directory sets scratch.

. tests/lib/apt.sh
case $(id -u):$(command -v debootstrap):$(command -v unshare) in
0:?*:?*) ;;
*)
	skip 'roots of Debian: not root, or no debootstrap and unshare (Debian: debootstrap)'
	tap_done
	;;
esac
scratch_directory
mkdir -p "$CACHE/roots"
: >"$scratch/notes"

# choose_root SUITE[:ARCHITECTURE]: what the functions below are about.
choose_root() {
	suite=${1%:*} arch=$(dpkg --print-architecture)
	case $1 in *:*) arch=${1#*:} ;; esac
	root=$scratch/$suite-$arch
	mkdir -p "$CACHE/packages/$arch/partial"
}

# suite_is_missing: reports it as a skip, and as a failure if that could not be found out.
suite_is_missing() {
	has_suite "$suite"
	case $? in
	0) return 1 ;;
	1) REQUIRE_ALL=0 skip "the mirror has no $suite" ;;
	*) ok "the package lists of $suite come from the mirror" false ;;
	esac
}

# minimal_root: as debootstrap makes it, from the cache.
minimal_root() {
	tarball=$CACHE/roots/$suite-$arch.tar
	if [ ! -s "$tarball" ]; then
		made=$scratch/made-$suite-$arch
		debootstrap --variant=minbase --arch="$arch" "$suite" "$made" "$(mirror)debian" >"$scratch/log" 2>&1 || {
			tail -n 20 "$scratch/log"
			return 1
		}
		tar -C "$made" --one-file-system --exclude='./var/cache/apt/archives/*.deb' \
			-cf "$tarball.new" . && mv "$tarball.new" "$tarball" && rm -rf "$made" || return
	fi
	mkdir "$root" && tar -C "$root" -xf "$tarball" && as_this_machine_reaches_others
}

# The settings with which this machine reaches a mirror and a registry are no part of
# Debian.
as_this_machine_reaches_others() {
	cp /etc/resolv.conf "$root/etc/resolv.conf"
	echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/unsafe-io" # it is gone soon
	apt-config dump | grep '^Acquire::' | grep -v '^Acquire::\(IndexTargets\|Languages\|cdrom\)' \
		>"$root/etc/apt/apt.conf.d/90mirror"
	if [ -d /usr/local/share/ca-certificates ]; then
		mkdir -p "$root/usr/local/share/ca-certificates"
		cp -R /usr/local/share/ca-certificates/. "$root/usr/local/share/ca-certificates"
	fi
}

# enter COMMAND...: in the root, with mounts and processes of its own, which end with it.
enter() {
	# shellcheck disable=SC2016 # for the inner shell
	timeout -k 10 "${FRESH_TIMEOUT:-1500}" env -i PATH="$PATH" TERM=dumb \
		unshare --mount --pid --fork --kill-child sh -c '
			root=$1
			shift
			mount --rbind /dev "$root/dev" && mount --rbind /sys "$root/sys" &&
				mount -t proc proc "$root/proc" && mount -t tmpfs tmpfs "$root/tmp" &&
				mount --bind "$0" "$root/var/cache/apt/archives" &&
				exec chroot "$root" /usr/bin/env -i HOME=/root LC_ALL=C.UTF-8 \
				PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
		' "$CACHE/packages/$arch" "$root" "$@" </dev/null
}

# logged COMMAND...: in the root; what it skips is passed on, and its end if it fails.
logged() {
	enter "$@" >"$scratch/log" 2>&1
	status=$?
	grep '^skipped:\|[0-9] passed, ' "$scratch/log" >"$scratch/notes"
	[ "$status" -eq 0 ] && return
	grep '^not ok' "$scratch/log" | head -n 40
	tail -n 80 "$scratch/log"
	return 1
}

# tried NAME COMMAND...: and how long it took.
tried() {
	started=$(date +%s)
	ok "$@"
	[ ! -s "$scratch/notes" ] || sed 's/^/# /' "$scratch/notes"
	: >"$scratch/notes"
	printf '# %d s\n' $(($(date +%s) - started))
}
