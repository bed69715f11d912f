#!/bin/sh
# Builds the Debian packages as a distribution would, in a root with nothing else: from the
# tarball of make dist, with Debian's crate and no network; lintian has nothing to say. They
# are installed, used by the tests that autopkgtest would run, and purged. Catches a file
# that no package has, a dependency that is not named, a symbol that the list does not have.
#
# Not in make check-all: it takes some minutes (time limit: 2400 s).
# It needs root, debootstrap and a mirror. PACKAGING="bookworm" is the suite. Their build
# would run make check, as check-fresh does: PACKAGING_CHECK=1 lets it. PACKAGING_CROSS=arm64
# builds them for that architecture, too.
. tests/lib/tap.sh
. tests/lib/roots.sh
choose_root "${PACKAGING:=bookworm}"
! suite_is_missing || tap_done

# The source package: what make dist packs, with debian/ from packaging.
unpack_source() {
	env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL $MAKE -s dist O="$scratch/dist" || return
	cp "$scratch/dist/libsendfd-$VERSION.tar.gz" "$root/srv/libsendfd_$VERSION.orig.tar.gz"
	tar -C "$root/srv" -xzf "$scratch/dist/libsendfd-$VERSION.tar.gz"
	cp -R packaging/debian "$root/srv/libsendfd-$VERSION"
}

in_source() {
	logged sh -c "export DEBIAN_FRONTEND=noninteractive && cd /srv/libsendfd-$VERSION && $1"
}

# Lists the installed files with these names, after the packages were removed.
left_behind() {
	enter sh -c "find / -xdev -name '*sendfd*' ! -path '/srv/*' ! -path '/proc/*'"
}

tried 'a minimal root' minimal_root
ok 'the source package' unpack_source
tried 'the build dependencies' \
	in_source 'apt-get -q update && apt-get install -q -y --no-install-recommends \
	build-essential fakeroot lintian blhc && apt-get build-dep -q -y .'
options=nocheck
[ "${PACKAGING_CHECK:-0}" = 0 ] || options=
tried 'they build without a network' \
	in_source "DEB_BUILD_OPTIONS=$options unshare --net dpkg-buildpackage -us -uc \
	>/srv/build.log 2>&1 || { tail -n 60 /srv/build.log; exit 1; }"
enter sh -c 'cd /srv && ls *.deb' >"$scratch/packages"
for package in libsendfd1 libsendfd-dev python3-sendfd libsendfd-perl ruby-sendfd; do
	ok "$package" grep -q "^${package}_$VERSION" "$scratch/packages"
done
# Not to be had here: a bug to close, an address that answers, a home page, and the lintian
# of the day. It takes the name of a Perl module from that of its package.
suppressed=initial-upload-closes-no-bugs,bogus-mail-host,mail-address-loops-or-bounces
suppressed=$suppressed,no-homepage-field,debian-watch-file-is-missing,upstream-metadata-file-is-missing
suppressed=$suppressed,newer-standards-version,perl-module-name-not-mentioned-in-description
says=$(enter sh -c "cd /srv/libsendfd-$VERSION && lintian --version &&
	lintian -EvIL +pedantic --suppress-tags $suppressed ../libsendfd_*.changes 2>&1")
ok 'lintian runs' sh -c "printf '%s' \"\$1\" | grep -q '^Lintian v'" - "$says"
is "$(printf '%s\n' "$says" | grep '^[EWIPX]: ')" '' 'and has nothing to say'
# Cargo names each crate before it shows the command.
ok 'blhc finds no flag that is missing' \
	in_source "blhc --ignore-line '^ *Compiling .*' /srv/build.log"
tried 'they are installed' in_source 'apt-get install -q -y --no-install-recommends ../*.deb gcc libc6-dev pkg-config'
for test in c python perl ruby; do
	ok "used: $test" in_source "debian/tests/$test"
done
tried 'and purged' in_source 'apt-get purge -q -y "*sendfd*"'
is "$(left_behind)" '' 'and leave nothing'
if [ "${PACKAGING_CROSS:-}" ]; then
	cross=$PACKAGING_CROSS
	tried "the build dependencies for $cross" in_source "dpkg --add-architecture $cross &&
		apt-get -q update && apt-get install -q -y --no-install-recommends crossbuild-essential-$cross &&
		apt-get build-dep -q -y --no-install-recommends --arch-only -a$cross -Pcross,nocheck ."
	tried "they build for $cross" in_source "DEB_BUILD_OPTIONS=nocheck unshare --net \
		dpkg-buildpackage -us -uc -B -a$cross -Pcross,nocheck"
	ok "the library is that of $cross" in_source "dpkg-deb -x ../libsendfd1_*_$cross.deb ../$cross &&
		readelf -h ../$cross/usr/lib/\$(dpkg-architecture -a$cross -qDEB_HOST_MULTIARCH)/libsendfd.so.1"
fi
tap_done
