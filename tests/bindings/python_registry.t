#!/bin/sh
# Installs the package for Python into a virtual environment, as users do, with what pip
# downloads: its suite by the newest pytest, its types by the newest mypy.
# Not in make check: it needs the registry (time limit: 600 s).
. tests/bindings/bindings.sh

python=${PYTHON:-python3}
cp -R bindings/python "$scratch/source"
if ! "$python" -m venv "$scratch/venv" >"$scratch/log" 2>&1; then
	skip "a virtual environment (Debian: python3-venv): $(tail -n 1 "$scratch/log")"
	tap_done
fi
if ! $limited "$scratch/venv/bin/pip" download --quiet --no-deps --dest "$scratch" setuptools \
	>"$scratch/log" 2>&1; then
	skip "the registry: $(tail -n 1 "$scratch/log")"
	tap_done
fi
cd "$scratch/source" || exit 1
ok 'pip installs it, and what its tests need' $limited ../venv/bin/pip install --quiet '.[test]'
ok 'pip builds a wheel with the library' env SENDFD_BUNDLE="$LIBSENDFD" $limited ../venv/bin/pip \
	wheel --quiet --wheel-dir .. .
ok 'which has it' sh -c '../venv/bin/python -m zipfile -l ../sendfd-*.whl | grep /libsendfd.so.1'
ok 'mypy --strict' $limited ../venv/bin/mypy --cache-dir=/dev/null
rm -r src # it is the installed package that is tested
ok 'its suite' env STORM_ROUNDS=200 $limited ../venv/bin/python -m pytest -q -p no:cacheprovider
ok 'its suite without the core' env STORM_ROUNDS=200 $limited ../venv/bin/python -m pytest -q \
	-p no:cacheprovider --without-core
tap_done
