#!/bin/sh
# The man pages say what is so: each exported function has its page and its
# prototype there, each errno of the header stands in the page of its function,
# each program under EXAMPLES compiles without a warning, runs, and leaves no
# descriptor open; and a page or a link is installed for each name.
. tests/lib/tap.sh
scratch_directory
unset MAKEFLAGS MFLAGS MAKELEVEL

map=$(sed -n 's/^ *\([a-z][a-z0-9_]*\);$/\1/p' src/libsendfd.map | sort)
ok 'there are man pages' test -s man/libsendfd.7

# --- their form ----------------------------------------------------------------

if have mandoc; then
	for page in man/*.[37]; do
		ok "$page: mandoc has nothing to complain of" mandoc -Tlint -Wwarning "$page"
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

page_names=$(printf '%s.3\n' $map && echo libsendfd.7)

# --- functions -------------------------------------------------------------------

is "$(section NAME man/*.3 | awk '$1 == ".Nm" { print $2 }' | sort)" "$map" \
	'the names of the pages are the exported functions'
is "$(grep -E '^\.(It )?Fn ' man/libsendfd.7 | tr ' ' '\n' | grep -xF "$map" | sort -u)" "$map" \
	'man/libsendfd.7 tells of each'
is "$(awk '$1 == ".Xr" && $2 ~ /sendfd|recvfd/ { print $2 "." $3 }' man/*.[37] | sort -u |
	grep -vxF "$page_names")" '' 'and they refer to none that is not'

prototypes_in_header() {
	printf '#include "include/sendfd.h"\n' | $CC -E -P -x c - -I. | tr '\n' ' ' | tr ';' '\n' |
		grep -E "[ *]($(printf '%s' "$map" | tr '\n' '|'))\(" |
		sed 's/__attribute__((warn_unused_result))//; s/[ \t][ \t]*/ /g; s/^ //; s/ *$//' | sort
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

# --- errno -------------------------------------------------------------------------

# FUNCTION ERRNO for each that the documentation of a function in the header
# names, or that of the function whose errors it says are "those of" it.
awk '
	/^\/\*\*/ { comment = 1; errors = parent = omitted = " "; next }
	comment && /\*\// { comment = 0; next }
	comment {
		if (match($0, /those of [a-z_]+\(\)/))
			parent = substr($0, RSTART + 9, RLENGTH - 11)
		if (match($0, / but E[A-Z]+/)) {
			omitted = omitted substr($0, RSTART + 5, RLENGTH - 5) " "
			$0 = substr($0, 1, RSTART) substr($0, RSTART + RLENGTH)
		}
		count = split($0, words, /[^A-Za-z0-9_]+/)
		for (i = 1; i <= count; i++)
			if (words[i] ~ /^E[A-Z][A-Z][A-Z]+$/)
				errors = errors words[i] " "
		next
	}
	match($0, /[a-z][a-z0-9_]*\(/) {
		name = substr($0, RSTART, RLENGTH - 1)
		count = split(of[parent], words, " ")
		for (i = 1; i <= count; i++)
			if (!index(omitted, " " words[i] " "))
				errors = errors words[i] " "
		of[name] = errors
		count = split(errors, words, " ")
		for (i = 1; i <= count; i++)
			print name, words[i]
		errors = parent = omitted = " "
	}
' include/sendfd.h | sort -u >"$scratch/errors_in_header"

# FUNCTION ERRNO for each item of a list, and each function named before it.
for page in man/*.3; do
	section ERRORS "$page" | awk '
		$1 == ".Bl" { list = 1 }
		$1 == ".El" { list = 0; count = 0 }
		!list && $1 == ".Fn" { functions[++count] = $2 }
		list && /^\.It Bq Er / { for (i = 1; i <= count; i++) print functions[i], $4 }
	'
done | sort -u >"$scratch/errors_in_pages"

for name in $map; do
	is "$(grep "^$name " "$scratch/errors_in_pages")" "$(grep "^$name " "$scratch/errors_in_header")" \
		"$name: its errnos are those of the header"
done
ok 'the header names some' test "$(wc -l <"$scratch/errors_in_header")" -gt 100

# --- examples ------------------------------------------------------------------------

mkdir "$scratch/raw" "$scratch/programs"
for page in man/*.[37]; do
	section EXAMPLES "$page" | awk -v stem="$scratch/raw/$(basename "$page")" '
		/^\.Ed/ { literal = 0 }
		literal { print >file }
		/^\.Bd -literal/ { literal = 1; file = stem "-" ++programs ".c" }
	'
	ok "$page: has a program" test -s "$scratch/raw/$(basename "$page")-1.c"
done

# Linked to each: fails if the program leaves other descriptors open than it found.
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

# compiles PROGRAM: to a file of its name without .c.
compiles() {
	$CC -std=c11 -Wall -Wextra -Wpedantic -Werror -D_GNU_SOURCE -Iinclude -o "${1%.c}" \
		"$1" "$scratch/descriptors.c" "$O/libsendfd.a"
}

# shows PAGE PROGRAM: whether it does, but for the indentation.
shows() {
	case $(mandoc -Tutf8 "$1" | sed 's/^ *//') in
	*"$(sed 's/^ *//' "$2")"*) ;;
	*) return 1 ;;
	esac
}

for raw in "$scratch"/raw/*.c; do
	name=$(basename "$raw" .c)
	program=$scratch/programs/$name.c
	sed "s/\\\\-/-/g; s/\\\\(aq/'/g; s/\\\\e/\\\\/g" "$raw" >"$program"
	is "$(head -n 1 "$program" | cut -d ' ' -f 1)" '#include' "$name: begins with what it includes"
	is "$(grep -nE "(^|[^\\])[-'\`^~]|\\\\([^-e(]|\\([^a]|\\(a[^q])" "$raw")" '' \
		"$name: what troff would turn into typography is escaped"
	is "$(awk 'length > 68' "$program")" '' "$name: fits into 80 columns"
	if have mandoc; then
		ok "$name: what the reader sees is what is compiled" shows "man/${name%-*}" "$program"
	fi
	ok "$name: compiles" compiles "$program"
	ok "$name: runs, and closes what it opens" timeout 20 "${program%.c}"
done

# The receiver that loses nothing does so whatever the type of socket.
for type in SOCK_SEQPACKET SOCK_DGRAM; do
	program=$scratch/programs/$type.c
	sed "s/SOCK_STREAM/$type/" "$scratch/programs/libsendfd.7-1.c" >"$program"
	ok "libsendfd.7-1: with $type: compiles" compiles "$program"
	is "$(timeout 20 "${program%.c}" 2>&1 | tail -n 1)" 'all 4 messages came' \
		"libsendfd.7-1: with $type: loses nothing"
done

# --- installed ------------------------------------------------------------------------

is "$($MAKE -s -n uninstall O="$O" prefix=/usr DESTDIR= | tr -s " '" '\n' |
	sed -n 's,^/usr/share/man/man[37]/,,p' | sort)" "$(printf '%s\n' "$page_names" | sort)" \
	'a page or a link is installed for each name'
tap_done
