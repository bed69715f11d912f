#!/bin/sh
# Breaks the library on purpose, and asserts that the tests for it fail. Catches a test that
# no longer runs what it says, or that passes whatever happens.
#
# Each tests/breakage/NAME.patch is tried by itself, in a copy of the tree in which all of
# these tests pass first. Its first line says what it breaks, its second which tests see
# that. There is none for what cargo-mutants does by itself: mutants.t. docs/TESTING.md has
# them as a table.
#
# BREAKAGES="NAME..." in the environment restricts it to these.
# Not in make check: it takes some minutes (time limit: 1800 s).
. tests/lib/tap.sh
scratch_directory
unset MAKEFLAGS MFLAGS MAKELEVEL

# Short: ONLY is for the tests that run the C tests under a checker.
export REQUIRE_ALL=0 ONLY='round_trip simulated_kernel' O=build
tree=$scratch/tree
log=$scratch/log
skipped=''

patches=''
for patch in tests/breakage/*.patch; do
	name=${patch##*/}
	case " ${BREAKAGES:-${name%.patch}} " in *" ${name%.patch} "*) patches="$patches $patch" ;; esac
done

seen_by() {
	sed -n '2s/^Seen by: //p' "$@"
}

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

# finds CHECK: whether it fails, and as a test does that has found something.
finds() {
	build "check-$1" >"$log" 2>&1 </dev/null
	status=$?
	cat "$log"
	[ "$status" -ne 0 ] && grep -q '^not ok\|^Result: FAIL' "$log"
}

# change PATCH OPTION...: makes the change to the copy.
change() {
	change_patch=$1
	shift
	patch --quiet --strip=1 --no-backup-if-mismatch --directory="$tree" "$@" <"$change_patch"
}

# seen PATCH: what it breaks is seen by each check that it names.
seen() {
	what=$(head -n 1 "$1")
	ok "$what: there is something to break" change "$1"
	if build >"$log" 2>&1; then
		for check in $(seen_by "$1"); do
			case $skipped in *" $check "*) continue ;; esac
			ok "$what: seen by $check" finds "$check"
		done
	else
		ok "$what: it builds" sh -c "cat '$log'; false"
	fi
	ok "$what: it is undone" change "$1" --reverse
}

ok 'a copy of the tree' copy_tree
ok 'the copy builds' build
# shellcheck disable=SC2086 # a list of files
for check in $(for patch in $patches; do seen_by "$patch"; done | tr ' ' '\n' | sort -u); do
	ok "nothing broken: $check passes" build "check-$check"
	if printf '%s\n' "$tap_output" | grep -q '^0 passed, 0 failed, '; then
		printf '# not tried, as it is skipped here: %s\n' "$check"
		skipped="$skipped $check "
	fi
done
for patch in $patches; do
	seen "$patch"
done
tap_done
