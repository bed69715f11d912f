# The ABI that a program linked with version 1.0 relies on, as abi.t compares it
# and as abi-baseline writes it down: source it.
# shellcheck shell=sh
# shellcheck disable=SC2034 # The names of the baselines are for those who source it.

abi_baseline=tests/package/libsendfd-1.0.abi
c_baseline=tests/package/libsendfd-1.0.c-interface

# The library once more, linked as ever but with the types in its debug information,
# which that of a release has not.
abi_build() {
	unset MAKEFLAGS MFLAGS MAKELEVEL
	CARGO_PROFILE_RELEASE_DEBUG=full $MAKE O="$O/tests/abi" CARGO="$CARGO" \
		CARGOFLAGS="$CARGOFLAGS" "$O/tests/abi/libsendfd.so.$VERSION"
}

# Symbols, their versions, and the functions behind them with their types. Neither
# the compiler's names for its units, which hold paths, nor units that export nothing.
abi_of_the_library() {
	abidw --no-corpus-path --no-comp-dir-path --no-show-locs \
		"$O/tests/abi/libsendfd.so.$VERSION" >"$O/tests/abi/description" || return
	awk '
		/^  <abi-instr / { sub(/ path=.[^\047"]*[\047"]/, " path=\047libsendfd\047"); held = $0; next }
		held != "" && /^  <\/abi-instr>/ { held = ""; next }
		held != "" { print held; held = "" }
		{ print }' "$O/tests/abi/description"
}

# The declarations and constants that a C compiler sees, one per line, sorted by name.
# The version is to change, and attributes are not a part of the interface.
c_interface_of() {
	{
		sed -n 's/^#define \([A-Z][A-Z0-9_]* [^_].*\)$/#define \1/p' "$1" |
			grep -v '^#define SENDFD_VERSION'
		grep -v '^#include' "$1" | $CC -U__GNUC__ -E -P -x c - | tr -s ' \n\t' ' ' |
			sed 's/ *; */;\n/g; s/( /(/g; s/ \([,)]\)/\1/g' |
			sed 's/^ *//; /^$/d'
	} | LC_ALL=C sort
}
