#!/bin/sh
# The demos of C and of the packages talk to each other: the server of each language
# serves the client of each, and keeps the server of each away.
. tests/bindings/bindings.sh

# A language that has no demo here, or not what that needs, is skipped.
languages=
# language NAME DEMO [INTERPRETER]
language() {
	if [ -n "${3-}" ] && ! have "$3"; then
		skip "the demos in $1: no $3"
		return
	fi
	mkdir "$scratch/$1"
	printf '#!/bin/sh\nexec %s "%s" "$@"\n' "${3-}" "$(realpath "$2")" >"$scratch/$1/unrelated"
	chmod +x "$scratch/$1/unrelated"
	# It tells its usage if it has what it needs.
	$limited "$scratch/$1/unrelated" >"$scratch/why" 2>&1
	if [ $? -eq 2 ] && grep -qi '^usage' "$scratch/why"; then
		languages="$languages $1"
	else
		skip "the demos in $1: $(tail -n 1 "$scratch/why")"
	fi
}

language C "$library/examples/unrelated"
language Perl bindings/perl/examples/unrelated.pl "${PERL:-perl}"
PYTHONPATH=$(realpath bindings/python/src)
export PYTHONPATH PYTHONDONTWRITEBYTECODE=1
language Python bindings/python/examples/unrelated.py "${PYTHON:-/usr/bin/python3}"
language Ruby bindings/ruby/examples/unrelated.rb "${RUBY:-ruby}"

cd "$scratch" || exit 1
mkdir place
printf 'the content of a file\n' >file
for of_server in $languages; do
	start_server "$of_server/unrelated" server place/socket "$(echo "$languages" | wc -w)"
	for other in $languages; do
		$limited "$other/unrelated" server place/socket >second.log 2>&1
		is "$? $(sed 's/program is listening/server is running/' second.log)" \
			'1 unrelated: another server is running on place/socket' \
			"server in $of_server: a second one in $other is refused"
		client_is_served "server in $of_server, client in $other" "$other/unrelated"
	done
	finish "$server"
	is "$status $(ls -A place)" '0 ' "server in $of_server: it ends, and nothing is left"
	is "$(grep -c '^the content of a file$' server.log)" "$(echo "$languages" | wc -w)" \
		"server in $of_server: it printed the file for each client"
done
tap_done
