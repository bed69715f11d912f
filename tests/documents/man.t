#!/bin/sh
# Compares the man pages with the header and compiles their programs: each exported function
# has a page with its prototype, and each program under EXAMPLES compiles without a warning,
# runs, and leaves no descriptor open. A page or a link is installed for each name.
. tests/lib/tap.sh
scratch_directory
unset MAKEFLAGS MFLAGS MAKELEVEL

# The names that users call: those with the prefix are for the header.
map=$(sed -n 's/^ *\([a-z][a-z0-9_]*\);$/\1/p' src/libsendfd.map | grep -v ^libsendfd_ | sort)
ok 'there are man pages' test -s man/libsendfd.7

# --- their form ----------------------------------------------------------------

if have mandoc; then
	for page in man/*.[37]; do
		ok "$page: mandoc finds no fault" mandoc -Tlint -Wwarning "$page"
	done
else
	skip 'the form of the man pages: no mandoc'
fi

functions_have='NAME
LIBRARY
SYNOPSIS
DESCRIPTION
RETURN VALUES
EXAMPLES
ERRORS
SEE ALSO
STANDARDS
HISTORY
CAVEATS'
library_has='NAME
SYNOPSIS
DESCRIPTION
EXAMPLES
SEE ALSO
STANDARDS
HISTORY
CAVEATS
SECURITY CONSIDERATIONS'
for page in man/*.3; do
	is "$(sed -n 's/^\.Sh //p' "$page")" "$functions_have" "$page: its sections, in order"
done
is "$(sed -n 's/^\.Sh //p' man/libsendfd.7)" "$library_has" 'man/libsendfd.7: its sections, in order'

# section NAME PAGE...: the lines of a section.
section() {
	section=$1
	shift
	awk -v section=".Sh $section" '/^\.Sh / { inside = $0 == section; next } inside' "$@"
}

page_names=$(printf '%s.3\n' $map sendfd.hpp && echo libsendfd.7)

# --- functions -------------------------------------------------------------------

is "$(section NAME man/*.3 | awk '$1 == ".Nm" { print $2 }' | sort)" \
	"$(printf '%s\n' $map sendfd.hpp | sort)" \
	'the names of the pages are the exported functions and the header for C++'
is "$(grep -E '^\.(It )?Fn ' man/libsendfd.7 | tr ' ' '\n' | grep -xF "$map" | sort -u)" "$map" \
	'man/libsendfd.7 names each function'
is "$(awk '$1 == ".Xr" && $2 ~ /sendfd|recvfd/ { print $2 "." $3 }' man/*.[37] | sort -u |
	grep -vxF "$page_names")" '' 'and they refer to none that is not'

prototypes_in_header() {
	printf '#include "include/sendfd.h"\n' |
		$CC -E -P -D'__attribute__(x)=' -D'__asm__(x)=' -x c - -I. | tr '\n' ' ' | tr ';' '\n' |
		grep -E "[ *]($(printf '%s' "$map" | tr '\n' '|'))\(" |
		sed 's/[ \t][ \t]*/ /g; s/^ //; s/ *$//' | sort
}

prototypes_in_pages() {
	section SYNOPSIS man/*.3 | sort_out_prototypes | sed 's/\* /*/g' | sort
}

sort_out_prototypes() {
	awk '
		function rest() { line = $0; sub(/^[^ ]* /, "", line); return line }
		$1 == ".Ft" { type = rest() }
		$1 == ".Fn" {
			arguments = rest()
			sub(/^[^ ]* /, "", arguments)
			gsub(/" "/, ", ", arguments)
			gsub(/"/, "", arguments)
			print type " " $2 "(" arguments ")"
		}
		$1 == ".Fo" { name = $2; arguments = "" }
		$1 == ".Fa" {
			argument = rest()
			gsub(/"/, "", argument)
			arguments = arguments (arguments == "" ? "" : ", ") argument
		}
		$1 == ".Fc" { print type " " name "(" arguments ")" }
	'
}

is "$(prototypes_in_pages)" "$(prototypes_in_header)" 'their prototypes are those of the header'

# --- examples ------------------------------------------------------------------------

mkdir "$scratch/raw" "$scratch/programs"
for page in man/*.[37]; do
	language=c
	case $page in *.hpp.*) language=cc ;; esac
	section EXAMPLES "$page" | awk -v stem="$scratch/raw/$(basename "$page")" -v language=$language '
		/^\.Ed/ { literal = 0 }
		literal { print >file }
		/^\.Bd -literal/ { literal = 1; file = stem "-" ++programs "." language }
	'
	ok "$page: has a program" test -s "$scratch/raw/$(basename "$page")-1.$language"
done

# Linked with each program: fails if it leaves other descriptors open than it found.
cat >"$scratch/descriptors.c" <<'END'
#include <dirent.h>
#include <unistd.h>
static int before;
static int count(void)
{
    int entries = 0;
    DIR *directory = opendir("/proc/self/fd");
    while (directory && readdir(directory))
        entries++;
    if (directory)
        closedir(directory);
    return entries;
}
__attribute__((constructor)) static void start(void)
{
    before = count();
}
__attribute__((destructor)) static void end(void)
{
    if (before == 0 || count() != before)
        _exit(99);
}
END

# compiles PROGRAM: to a file of its name without .c or .cc.
compiles() {
	case $1 in *.cc) compiler="$CXX -std=c++17" ;; *) compiler="$CC -std=c11" ;; esac
	# shellcheck disable=SC2046 # no word where the program needs no other library
	$compiler -Wall -Wextra -Wpedantic -Werror -D_GNU_SOURCE -Iinclude -o "${1%.c*}" \
		"$1" "$scratch/descriptors.c" "$O/libsendfd.a" $(sed -n 's/^#include <lib\(uring\).*/-l\1/p' "$1")
}

# shows PAGE PROGRAM: whether the page contains the program, apart from indentation.
shows() {
	case $(mandoc -Tutf8 "$1" | sed 's/^ *//') in
	*"$(sed 's/^ *//' "$2")"*) ;;
	*) return 1 ;;
	esac
}

for raw in "$scratch"/raw/*.c "$scratch"/raw/*.cc; do
	name=$(basename "$raw")
	program=$scratch/programs/$name
	name=${name%.*}
	sed "s/\\\\-/-/g; s/\\\\(aq/'/g; s/\\\\e/\\\\/g" "$raw" >"$program"
	is "$(head -n 1 "$program" | cut -d ' ' -f 1)" '#include' "$name: begins with what it includes"
	is "$(grep -nE "(^|[^\\])[-'\`^~]|\\\\([^-e(]|\\([^a]|\\(a[^q])" "$raw")" '' \
		"$name: escapes the characters that troff changes"
	is "$(awk 'length > 68' "$program")" '' "$name: fits into 80 columns"
	if have mandoc; then
		ok "$name: the page shows the program that is compiled" shows "man/${name%-*}" "$program"
	fi
	if grep -q liburing.h "$program" && [ ! -f /usr/include/liburing.h ]; then
		skip "$name: no liburing.h (Debian: liburing-dev)"
		continue
	fi
	if [ "$program" != "${program%.cc}" ] && ! have "$CXX"; then
		skip "$name: no $CXX (Debian: g++)"
		continue
	fi
	ok "$name: compiles" compiles "$program"
	if grep -q overflowuid "$program" && [ "$(id -u)" = "$(cat /proc/sys/kernel/overflowuid)" ]; then
		skip "$name: this user is the overflow user, which the program refuses"
		continue
	fi
	ok "$name: runs, and closes what it opens" timeout 20 "${program%.c*}"
done

# The receiver that loses nothing does so on each type of socket.
for type in SOCK_SEQPACKET SOCK_DGRAM; do
	program=$scratch/programs/$type.c
	sed "s/SOCK_STREAM/$type/" "$scratch/programs/libsendfd.7-1.c" >"$program"
	ok "libsendfd.7-1: with $type: compiles" compiles "$program"
	is "$(timeout 20 "${program%.c}" 2>&1 | tail -n 1)" 'all 4 messages came' \
		"libsendfd.7-1: with $type: loses nothing"
done

# --- as HTML ---------------------------------------------------------------------------

if have mandoc; then
	ok 'they become HTML' tools/html "$scratch/html"
	links=$(grep -ho 'href="[^"#]*' "$scratch"/html/*.html | cut -d '"' -f 2 | sort -u)
	for link in $links; do
		ok "the link to $link leads somewhere" test -s "$scratch/html/$link"
	done
	is "$(printf '%s.html\n' $page_names | sort)" "$(cd "$scratch/html" && printf '%s\n' *[37].html | sort)" \
		'each name has its page'
else
	skip 'the pages as HTML: no mandoc'
fi

# --- installed ------------------------------------------------------------------------

is "$($MAKE -s -n uninstall O="$O" prefix=/usr DESTDIR= | tr -s " '" '\n' |
	sed -n 's,^/usr/share/man/man[37]/,,p' | sort)" "$(printf '%s\n' "$page_names" | sort)" \
	'a page or a link is installed for each name'
tap_done
