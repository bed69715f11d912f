#!/bin/sh
# Catches what only a machine without the maintainers' programs shows: a package that
# README.md does not name, a file that a minimal system does not have, a HOME that cannot
# be written. In a fresh root of each Debian suite, the project is copied in, the package
# line of README.md is installed to the letter, and make demo and make check are run: as
# root, and in the first suite once more as a plain user whose HOME is not writable.
#
# Not in make check-all: it takes some minutes for each suite (time limit: 3600 s).
# It needs root, debootstrap and a mirror. FRESH="bookworm trixie:i386" chooses the suites,
# with an architecture that is not this machine's. Roots and packages are kept in CACHE
# ($XDG_CACHE_HOME/libsendfd).
. tests/lib/tap.sh
. tests/lib/roots.sh
: "${FRESH:=bookworm trixie}"

# The line of README.md, a command of root.
package_line() {
	sed -n '/^    sudo apt-get install/{s/^ *sudo //;:a;p;/\\$/{n;ba};}' README.md |
		sed 's/apt-get install/apt-get install -q -y/'
}

# The project as a checkout has it, without what is built.
copy_project() {
	mkdir "$root/srv/project"
	tar -cf - --exclude=./build --exclude=./target . | tar -C "$root/srv/project" -xf -
}

# made GOAL: as root.
made() {
	logged sh -c "cd /srv/project && make $1"
}

# The same as a user whose HOME cannot be written, in a copy of the project that is its own.
made_by_a_user() {
	enter sh -c "{ id someone || useradd -d /nonexistent someone; } && rm -rf /srv/copy &&
		cp -R /srv/project /srv/copy && rm -rf /srv/copy/build &&
		chown -R someone /srv/copy" >/dev/null 2>&1
	logged su someone -s /bin/sh -c "cd /srv/copy && HOME=/nonexistent make $1"
}

first=yes
for one in $FRESH; do
	choose_root "$one"
	! suite_is_missing || continue
	tried "$suite $arch: a minimal root" minimal_root
	tried "$suite $arch: the package lists" logged apt-get -q update
	tried "$suite $arch: README's package line" \
		logged sh -c "export DEBIAN_FRONTEND=noninteractive && $(package_line)"
	ok "$suite $arch: the project is copied" copy_project
	tried "$suite $arch: make demo" made demo
	tried "$suite $arch: make check" made check
	if [ "$first" = yes ]; then
		tried "$suite $arch: make demo, as a user without a HOME" made_by_a_user demo
		tried "$suite $arch: make check, as a user without a HOME" made_by_a_user check
	fi
	first=no
	rm -rf "$root"
done
tap_done
