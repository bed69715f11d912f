#!/bin/sh
# The package for Python: built and installed offline into a private prefix, its test
# suite with the core in C and without, its types, and the demos.
. tests/bindings/bindings.sh

# Debian's modules are for Debian's interpreter, which may not be the first in PATH.
python=${PYTHON:-/usr/bin/python3}
have "$python" || python=python3
if ! have "$python"; then
	skip 'the package for Python: no python3'
	tap_done
fi
export PYTHONDONTWRITEBYTECODE=1 PIP_ROOT_USER_ACTION=ignore

# has MODULE PACKAGE: whether there is the module; Debian's package is named if not.
has() {
	"$python" -c "import $1" 2>/dev/null && return
	skip "Python's $1 (Debian: $2)"
	return 1
}

# suite NAME OPTION...: the tests of the package by pytest, as TAP.
suite() {
	name=$1
	shift
	(cd "$scratch/source" && PYTHONPATH=$scratch/prefix COLUMNS=300 STORM_ROUNDS=200 \
		$limited "$python" -m pytest -p no:cacheprovider -v --tb=short "$@") >"$scratch/log" 2>&1
	suite_status=$?
	awk -v name="$name" -v all="${REQUIRE_ALL:-0}" '
		/^tests\/.*::.* (PASSED|FAILED|ERROR|SKIPPED)/ {
			result = $0
			sub(/ *\[ *[0-9]+%\]$/, "", result)
			test = result
			sub(/ (PASSED|FAILED|ERROR|SKIPPED).*/, "", test)
			sub(/^tests\//, "", test)
			sub(/^.* SKIPPED/, "SKIPPED", result)
			gsub(/#/, "", test)
			if (result ~ /^SKIPPED/)
				print (all == 1 ? "not ok" : "ok") " # SKIP " substr(result, 9)
			else
				print (result ~ / PASSED$/ ? "ok" : "not ok") " - " name ": " test
			tests++
			next
		}
		# What came between the tests, and explains failures.
		/^=.* (FAILURES|ERRORS) =/ { explains = 1 }
		explains { print "# " $0 }
		END { print "1.." tests }' "$scratch/log" >"$scratch/suite"
	tests cat "$scratch/suite"
	is "$suite_status" 0 "$name: the status of pytest" || sed 's/^/# /' "$scratch/log" | tail -n 30
}

# With names that no other test has: the source may be read-only, and is to stay clean.
cp -R bindings/python "$scratch/source"
has setuptools python3-setuptools || tap_done
has wheel python3-wheel || tap_done
has pip python3-pip || tap_done
ok 'pip builds a wheel with the library offline' env SENDFD_BUNDLE="$LIBSENDFD" $limited \
	"$python" -m pip wheel --quiet --no-build-isolation --no-index --wheel-dir "$scratch" \
	"$scratch/source"
ok 'pip installs it offline' $limited "$python" -m pip install --quiet --no-build-isolation \
	--no-index --target "$scratch/prefix" "$scratch/source"
ok 'py.typed is installed' test -f "$scratch/prefix/sendfd/py.typed"
ok 'the library is installed only if it is named' \
	test ! -e "$scratch/prefix/sendfd/libsendfd.so.1"
export PYTHONPATH="$scratch/prefix"

# example SECTION: the lines of the README are a program.
example() {
	awk -v section="## $1" '/^## / { here = $0 == section } here && sub(/^    /, "")' \
		bindings/python/README.md >"$scratch/readme.py"
	is "$($limited "$python" "$scratch/readme.py")" "$(cat /etc/hosts; echo)" \
		"the README's example: $1"
}
example 'Use'
example 'With asyncio'

# The wheel works without a library of the system, and is tagged for this platform.
wheel=$(echo "$scratch"/sendfd-*.whl)
platform=$("$python" -c 'import sysconfig; print(sysconfig.get_platform())' | tr .- __)
is "${wheel##*-}" "$platform.whl" 'the wheel with the library is for this platform'
ok 'pip installs the wheel offline' $limited "$python" -m pip install --quiet --no-index \
	--target "$scratch/bundled" "$wheel"
cat >"$scratch/bundled.py" <<'end'
import os, socket, sendfd

left, right = socket.socketpair()
sendfd.sendfd(left, left)
with sendfd.recv_socket(right) as received:
    assert os.path.sameopenfile(received.fileno(), left.fileno())
print(*{line.split()[-1] for line in open("/proc/self/maps") if "libsendfd" in line})
end
is "$(env -u LIBSENDFD PYTHONPATH="$scratch/bundled" $limited "$python" "$scratch/bundled.py" 2>&1)" \
	"$scratch/bundled/sendfd/libsendfd.so.1" 'it works, with the library in it'

header=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')/Python.h
if have "${CC%% *}" && [ -f "$header" ]; then
	ok 'the core in C is built' "$python" -c 'import sendfd._core'
	# shellcheck disable=SC2086 # CC may have options
	ok 'the core in C compiles without a warning' $CC -std=c11 -Wall -Wextra -Werror \
		-Wno-missing-field-initializers -fsyntax-only -isystem "${header%/*}" \
		bindings/python/src/sendfd/_core.c
else
	skip 'the core in C: no compiler, or no Python.h (Debian: python3-dev)'
fi

if has pytest python3-pytest; then
	rm -rf "$scratch/source/src"
	suite 'with the core'
	suite 'without the core' --without-core

	# A descriptor that is closed twice may have become another file in between.
	twice() {
		! grep -v -e 'close(-1)' -e ' +++ ' "$scratch/closes"
	}
	if have strace && strace -o "$scratch/closes" true 2>/dev/null; then
		for option in --verbose --without-core; do
			(cd "$scratch/source" && $limited strace -f -e trace=close -e status=failed \
				-o "$scratch/closes" "$python" -m pytest -p no:cacheprovider "$option" \
				tests/test_storm.py tests/test_objects.py \
				-k 'every_step or late or no_socket or directory or bad_timeout') >"$scratch/log" 2>&1
			is "$?" 0 "$option: the tests pass under strace"
			ok "$option: no descriptor is closed twice" twice
		done
	else
		skip 'whether a descriptor is closed twice: strace does not work here'
	fi
fi
if has mypy mypy; then
	cp -R bindings/python/src "$scratch/source/"
	ok 'mypy --strict' sh -c "cd '$scratch/source' && $limited '$python' -m mypy --cache-dir=/dev/null"
fi
demos Python bindings/python/examples .py
tap_done
