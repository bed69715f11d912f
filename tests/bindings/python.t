#!/bin/sh
# The examples in Python: all functions through ctypes and cffi, what is an exception
# and what is not, signals, threads, timeouts, and the demos.
. tests/bindings/bindings.sh

# Debian's modules are for Debian's interpreter, which may not be the first in PATH.
python=${PYTHON:-/usr/bin/python3}
have "$python" || python=python3
if ! have "$python"; then
	skip 'the examples in Python: no python3'
	tap_done
fi
export PYTHONDONTWRITEBYTECODE=1

for binding in ctypes cffi; do
	if ! "$python" -c "import $binding" 2>"$scratch/why"; then
		skip "Python's $binding (Debian: python3-$binding): $(tail -n 1 "$scratch/why")"
		continue
	fi
	export SENDFD_BINDING=$binding
	tests "$python" tests/bindings/python_binding.py "$binding"
	demos "$binding" examples/python .py
done
tap_done
