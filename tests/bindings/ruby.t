#!/bin/sh
# The examples in Ruby: all functions through ruby-ffi and Fiddle, what is nil and
# what an exception, descriptors kept or closed, Timeout, Thread#kill and Ctrl-C,
# and the demos.
. tests/bindings/bindings.sh

ruby=${RUBY:-ruby}
if ! have "$ruby"; then
	skip 'the examples in Ruby: no ruby'
	tap_done
fi
if ! "$ruby" -e 'exit RUBY_VERSION.to_f >= 3'; then
	skip "the examples in Ruby: they need Ruby 3, this is $("$ruby" --version)"
	tap_done
fi
for source in examples/ruby/*.rb tests/bindings/ruby_binding.rb; do
	is "$("$ruby" -wc "$source" 2>&1)" 'Syntax OK' "$source: ruby -wc has nothing to say"
done

# Where the loader looks there is a library without its development link.
mkdir "$scratch/lib" && cp "$LIBSENDFD" "$scratch/lib"

# binding NAME PACKAGE: its tests wait more than they work, and do so beside the demos.
binding() {
	if ! "$ruby" -e "require '$1'" 2>"$scratch/why"; then
		skip "Ruby's $1 (Debian: $2): $(head -n 1 "$scratch/why")"
		return
	fi
	$limited "$ruby" -w tests/bindings/ruby_binding.rb "$1" >"$scratch/$1" &
	beside=$!
	processes="$processes$beside "
	is "$(env -u LIBSENDFD LD_LIBRARY_PATH="$scratch/lib" "$ruby" \
		-r "./examples/ruby/sendfd_$1" -e 'print SendFD.version')" \
		"$VERSION" "$1: it finds the library by its soname"
	export SENDFD_BINDING="$1"
	demos "$1" examples/ruby .rb
	finish "$beside"
	export tested="$scratch/$1" status
	# shellcheck disable=SC2016 # the inner shell expands them
	tests sh -c 'cat "$tested"; exit "$status"'
}
binding fiddle ruby
binding ffi ruby-ffi
tap_done
