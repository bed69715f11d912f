#!/bin/sh
# A real systemd-journald stores an entry that comes as an empty datagram with one
# memory file, as it wants large ones. Would catch descriptors without data that are
# refused, or that go with a byte: journald ignores those. It runs in a mount namespace
# of its own, with a /run of its own, and touches nothing else.
. tests/lib/tap.sh
scratch_directory

journald=/lib/systemd/systemd-journald
if ! [ -x "$journald" ] || ! have journalctl || ! have unshare; then
	skip 'an entry of the journal: no systemd-journald (Debian: systemd)'
	tap_done
fi

# Who is not root is root in a namespace of its own.
namespace="unshare --mount --pid --fork --mount-proc"
[ "$(id -u)" = 0 ] || namespace="$namespace --map-root-user"
if ! $namespace mount -t tmpfs none /run 2>"$scratch/why" || ! [ -s /etc/machine-id ]; then
	# A container may forbid it, and no package helps.
	REQUIRE_ALL=0
	skip "an entry of the journal: no mount namespace, or no /etc/machine-id: $(cat "$scratch/why")"
	tap_done
fi

ok 'the program that sends is compiled' $CC -std=c11 -Wall -Wextra -Wpedantic -Werror -D_GNU_SOURCE \
	-Iinclude -o "$scratch/journal_entry" tests/interop/journal_entry.c -L"$O" -lsendfd \
	-Wl,-rpath,"$(cd "$O" && pwd)"

# Prints the fields of what has been stored, and what journald says if it does not start.
cat >"$scratch/inside" <<'end'
mount -t tmpfs none /run && mkdir -p /run/systemd/journal /run/systemd/journald.conf.d /run/log/journal || exit
printf '[Journal]\nStorage=volatile\nAudit=no\nReadKMsg=no\nForwardToSyslog=no\n' \
	>/run/systemd/journald.conf.d/test.conf
"$journald" >/run/journald.log 2>&1 &
tries=0
until [ -S /run/systemd/journal/socket ] && [ -S /run/systemd/journal/io.systemd.journal ]; do
	tries=$((tries + 1))
	[ "$tries" -lt 200 ] && kill -0 $! || { echo 'journald does not start:'; cat /run/journald.log; exit 1; }
	sleep 0.1
done
"$scratch/journal_entry" with-a-byte x && "$scratch/journal_entry" empty '' || exit
# The second is the last, whatever becomes of the first. Of senders that have ended the
# journal may know no more than what they sent.
entries() {
	journalctl --directory /run/log/journal --output export --all _TRANSPORT=journal
}
tries=0
until journalctl --sync && entries | grep -q '^SENDFD_ID=empty' || [ "$tries" -ge 100 ]; do
	tries=$((tries + 1))
	sleep 0.1
done
entries | sed -n 's/^\(MESSAGE\|SENDFD_ID\)=/&/p; s/^FILLER=\(.*\)/\1/p' |
	awk 'length > 1000 { print "FILLER of", length, "bytes"; next } { print }' | sort
end
export journald scratch
stored=$(timeout -k 5 50 $namespace sh "$scratch/inside" 2>&1)
is "$stored" 'FILLER of 500000 bytes
MESSAGE=passed by libsendfd
SENDFD_ID=empty' 'journald stores the entry of the empty datagram, whole, and no other'
tap_done
