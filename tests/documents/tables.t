#!/bin/sh
# Compares the tables of libsendfd(7) with reality: the return values and the bytes on the
# wire with what tables.c measures, the system calls with those that tests/faults/scenario.c
# lists for each step (check-syscalls compares these with strace), and 253, -2 and 512 in
# all pages with the header.
. tests/lib/tap.sh
scratch_directory
. tests/faults/scenario.sh
page=man/libsendfd.7

# table SECTION: the rows of the table of a section, cells separated by a bar.
table() {
	awk -v section=".Ss $1" '
		/^\.S[hs] / { inside = $0 == section; next }
		inside && /^\.It / && !/ Sy / {
			sub(/^\.It /, "")
			gsub(/ ?Ta ?/, "|")
			gsub(/Fn |"/, "")
			gsub(/\\-/, "-")
			print
		}' $page
}

c_program tables tests/documents/tables.c c_tests/peer.c c_tests/tap.c "$O/libsendfd.a"
timeout 20 "$O/tests/tables" >"$scratch/measured"
grep -v '^[A-Z]' "$scratch/measured" | sed -n '/^recvfds_cmsg/q; p' >"$scratch/returns"
grep '^recvfds_cmsg' "$scratch/measured" >>"$scratch/returns"
sed '1,/^recvfds_cmsg/d' "$scratch/measured" | grep -v '^[A-Z]' >"$scratch/wire"
is "$(table 'Return values')" "$(cat "$scratch/returns")" 'the return values'
is "$(table 'Wire format')" "$(cat "$scratch/wire")" 'the wire format'

# --- numbers ---------------------------------------------------------------------

# constant NAME: its value in the header, as a program sees it.
constant() {
	sed -n "s/^$1|//p" "$scratch/measured"
}
is "$(sed 's/\\-/-/g' man/* | tr '\n' ' ' | grep -o 'Dv SENDFD_MAX_FDS ([0-9]*' | grep -o '[0-9]*$' | sort -u)" \
	"$(constant SENDFD_MAX_FDS)" 'SENDFD_MAX_FDS in the pages'
is "$(sed 's/\\-/-/g' man/* | tr '\n' ' ' | grep -oE '[^ ]* \.Pq Dv RECVFD_EOF' | cut -d ' ' -f 1 | sort -u)" \
	"$(constant RECVFD_EOF)" 'RECVFD_EOF in the pages'
is "$(sed -n 's/^This includes \([0-9]*\) bytes for other control messages.*/\1/p' man/sendfds_cmsg.3)" \
	"$(constant RECVFDS_CMSG_SPACE)" 'the bytes for other control messages'

# --- system calls ----------------------------------------------------------------

# shellcheck disable=SC2046 # one argument for each word
scenario_program plain tests/faults/fault_scenario.c -DWITHOUT_SHIM $(shared_library)
"$O/tests/plain" list >"$scratch/listed"

# of STEP: its system calls, one name for each run of the same call.
of() {
	sed -n "s/^SOCK_STREAM: $1: //p" "$scratch/listed" | tr ' ' '\n' | uniq | paste -sd ' '
}
table 'System calls' >"$scratch/calls"
while IFS='|' read -r what calls; do
	case $what in
	'a send with descriptors') steps='sendfd,sendfds of 3,sendfds_msg of 3 and data' ;;
	'a send without descriptors') steps='sendfds_msg of data' ;;
	sendfds_all) steps='sendfds_all of 507' ;;
	'a receive') steps='recvfd,recvfds of 3,recvfds_msg of 3 and data,recvfds_msg of data' ;;
	*) steps=unknown ;;
	esac
	calls=$(printf '%s\n' "$calls" | sed 's/,//g; s/ one / /; s/ for each message//')
	while read -r step; do
		is "$(of "$step")" "$calls" "$what: $step"
	done <<-end
		$(printf '%s\n' "$steps" | tr , '\n')
	end
done <"$scratch/calls"
is "$(wc -l <"$scratch/calls")" 4 'the table of system calls has four rows'

# Those that the section names, except the filter itself and glibc's other name.
named=$(sed -n '/^\.Ss System calls/,/^\.Ss/p' $page | awk '
	$1 == ".Xr" && $3 == 2 { print $2 }
	/ Ta / && !/ Sy / { gsub(/.* Ta |,/, ""); print }' | tr ' ' '\n' |
	grep -E '^[a-z_]+$' | grep -vxE 'seccomp|clock_nanosleep|one|for|each|message' | sort -u)
made=$({
	sed -n 's/^SOCK_[A-Z]*: .*: \([a-z +]*\)$/\1/p' "$scratch/listed"
	sed -n 's/^#define WAIT "\(.*\)"$/\1/p' tests/faults/scenario.c
} | tr ' ' '\n' | tr -d + | grep . | sort -u)
is "$named" "$made" 'the section names each system call that is made, and no other'
tap_done
