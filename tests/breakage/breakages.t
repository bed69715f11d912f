#!/bin/sh
# Breaks the library on purpose, one line at a time, and asserts that the tests for it fail.
# Catches a test that no longer runs what it says, or that passes whatever happens.
#
# Each breakage is tried in a copy of the tree in which all of these tests pass first.
# docs/TESTING.md has them as a table.
#
# Not in make check: it takes some minutes (time limit: 1800 s).
. tests/lib/tap.sh
scratch_directory
unset MAKEFLAGS MFLAGS MAKELEVEL

# Short: what each is to see, it sees at once.
export REQUIRE_ALL=0 SOAK_SECONDS=5 ONLY='surplus simulated_kernel' O=build
tree=$scratch/tree
log=$scratch/log
skipped=''

copy_tree() {
	mkdir "$tree"
	for entry in *; do
		case $entry in
		build | target) ;;
		*) cp -R "$entry" "$tree" || return ;;
		esac
	done
}

build() {
	(cd "$tree" && $MAKE CARGO="$CARGO" CARGOFLAGS="$CARGOFLAGS" CC="$CC" CXX="$CXX" "$@")
}

# run CHECK: a test, by its name alone.
run() {
	build "check-$1"
}

# Whether it fails, and as a test does that has found something.
finds() {
	run "$1" >"$log" 2>&1 </dev/null
	status=$?
	cat "$log"
	[ "$status" -ne 0 ] && grep -q '^not ok\|^Result: FAIL' "$log"
}

# edit FILE SCRIPT: false if that changes nothing.
edit() {
	cp "$tree/$1" "$scratch/whole"
	sed "$2" "$scratch/whole" >"$tree/$1"
	! cmp "$tree/$1" "$scratch/whole"
}

# broken WHAT FILES SCRIPT CHECK...: what sed's SCRIPT makes of FILES is seen by each CHECK.
broken() {
	what=$1 files=$2 script=$3
	shift 3
	for file in $files; do
		edit "$file" "$script" >/dev/null || ok "$what: there is something to break in $file" false
	done
	if build >"$log" 2>&1; then
		for check; do
			case $skipped in *" $check "*) continue ;; esac
			ok "$what: seen by $check" finds "$check"
		done
	else
		ok "$what: it builds" sh -c "cat '$log'; false"
	fi
	for file in $files; do
		cp "$file" "$tree/$file"
	done
}

ok 'a copy of the tree' copy_tree
ok 'the copy builds' build
for check in $(sed -n '/^broken /,/[^\\]$/p' "$0" | sed -n 's/^	\([a-z].*\)/\1/p' | tr ' ' '\n' | sort -u); do
	ok "nothing broken: $check passes" run "$check"
	case $tap_output in
	*'0 passed, 0 failed, '*)
		printf '# not tried, as it is skipped here: %s\n' "$check"
		skipped="$skipped $check "
		;;
	esac
done

# --- what a peer sends, and what is left open ---------------------------------------

broken 'surplus not closed' src/recv.rs '/fn drop/,/}/s/self.close_all_but(&mut \[\]);//' \
	surplus full_table fault syscalls signal_storm model soak
broken 'pidfd not closed' src/recv.rs 's/Kind::Pidfd => descriptors.has_pidfd = true/Kind::Pidfd => ()/' \
	socket_options simulated_kernel fault syscalls signal_storm model
broken 'MSG_CTRUNC ignored' src/recv.rs 's/if incoming.control_truncated {/if false {/' \
	full_table simulated_kernel fault syscalls model soak
broken 'MSG_TRUNC ignored' src/recv.rs 's/(incoming.data_truncated && /(false \&\& /' \
	message_errors model
broken 'cmsg_len trusted' src/cmsg.rs 's/?\.min(control.len());/?;/' \
	simulated_kernel unit_tests model
broken 'cmsg_len trusted, and memory read beyond the buffer' src/cmsg.rs \
	's/let bytes = control.get(header.len()..len)?;/let claimed = read_word::<WORD>(header)?; let bytes = unsafe { core::slice::from_raw_parts(header.as_ptr().add(header.len()), claimed.clamp(16, 8192) - 16) };/' \
	simulated_kernel asan
broken 'cmsg_type unchecked' src/cmsg.rs 's/(libc::SOL_SOCKET, libc::SCM_RIGHTS) =>/(libc::SOL_SOCKET, _) =>/' \
	socket_options simulated_kernel unit_tests fault syscalls model
broken 'a descriptor that was refused handed over' src/recv.rs 's/if descriptors.any_refused {/if false {/' \
	simulated_kernel
broken 'control bytes read that nobody wrote' src/sys.rs \
	's/control.len().min(message.msg_controllen as usize);/control.len();/' \
	valgrind
broken 'padding sent that nobody wrote' src/cmsg.rs \
	'/fn write_rights_as/,/^}/s/buffer.get_mut(..len)?;/buffer.get_mut(..align::<WORD>(len))?;/' \
	valgrind

# --- flags, system calls, errno -----------------------------------------------------

broken 'MSG_CMSG_CLOEXEC dropped' src/sys.rs 's/flags | libc::MSG_CMSG_CLOEXEC;/flags;/' \
	close_on_exec simulated_kernel fault syscalls signal_storm
broken 'MSG_NOSIGNAL dropped' src/sys.rs 's/flags | libc::MSG_NOSIGNAL;/flags;/' \
	closed_peer send_errors simulated_kernel fault syscalls model
broken 'SO_DOMAIN check dropped' src/send.rs 's/sys::require_unix_domain(socket)?;//' \
	not_unix simulated_kernel fault syscalls model
broken 'errno clobbered by cleanup' src/sys.rs '/fn close/,/^}/s/errno.set();//' \
	fault
broken 'EINTR retried' src/sys.rs \
	's/let received = unsafe { libc::recvmsg(socket, &raw mut message, flags) };/let received = loop { let received = unsafe { libc::recvmsg(socket, \&raw mut message, flags) }; if received >= 0 || Errno::last().0 != libc::EINTR { break received; } };/' \
	interrupted fault signal_storm
broken 'count byte wrong' src/send.rs 's/&\[count\]/\&[count - 1]/' \
	wire_bytes model
broken 'a system call more' src/sys.rs '/fn recvmsg/,/^}/s/let flags = flags/unsafe { libc::fcntl(socket, libc::F_GETFD) }; let flags = flags/' \
	simulated_kernel fault syscalls
broken 'a descriptor that dup made not closed' src/recv.rs '/fn why_fewer/,/^}/s/sys::close(copy);/_ = copy;/' \
	simulated_kernel fault

# --- memory, state, names -----------------------------------------------------------

broken 'a heap allocation' src/sys.rs \
	'/fn recvmsg/,/^}/s/let flags = flags/unsafe { libc::free(core::hint::black_box(libc::malloc(8))) }; let flags = flags/' \
	shared_object signal_storm
broken 'state between calls' src/send.rs \
	's/let mut buffer = cmsg::SEND_BUFFER;/static mut SHARED: [core::mem::MaybeUninit<u8>; 1032] = cmsg::SEND_BUFFER; let mut buffer = unsafe { core::slice::from_raw_parts_mut((\&raw mut SHARED).cast(), 1032) };/; s/write_rights(&mut buffer/write_rights(buffer/' \
	shared_object concurrent_calls
broken 'a buffer that is too large for the stack' src/cmsg.rs 's/BESIDE_RIGHTS: usize = 512/BESIDE_RIGHTS: usize = 4096/' \
	simulated_kernel stack_use
broken 'a new exported symbol' 'src/ffi.rs src/libsendfd.map' \
	's/^pub extern "C" fn sendfd_version/pub extern "C" fn sendfd_new() -> c_int { 0 }\n\n\/\/\/ Returns the version.\n#[unsafe(no_mangle)]\n&/; s/^\( *\)sendfd_version;/&\n\1sendfd_new;/' \
	exports header man
broken 'a changed prototype' include/sendfd.h 's/int nfds);/long nfds);/' \
	header man abi
broken 'a changed constant' include/sendfd.h 's/define SENDFD_MAX_FDS 253/define SENDFD_MAX_FDS 252/' \
	header abi
broken 'a path of the builder in the library' tools/rust-archive 's/--remap-path-prefix=[^ ]*//' \
	reproducible
tap_done
