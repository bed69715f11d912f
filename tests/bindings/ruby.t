#!/bin/sh
# The package for Ruby: the gem is built and installed, its tests pass with what was
# installed, and its demos talk to those in C.
. tests/bindings/bindings.sh

ruby=${RUBY:-ruby}
if ! have "$ruby"; then
	skip 'the package for Ruby: no ruby'
	tap_done
fi
if ! "$ruby" -e 'exit RUBY_VERSION.to_f >= 3'; then
	skip "the package for Ruby: it needs Ruby 3, this is $("$ruby" --version)"
	tap_done
fi
for needed in ffi minitest rake; do
	if ! "$ruby" -e "require '$needed'" 2>"$scratch/why"; then
		skip "the package for Ruby (Debian: ruby, ruby-ffi): $(head -n 1 "$scratch/why")"
		tap_done
	fi
done

# in_build COMMAND...: where the gem is built, without what make passes on.
in_build() {
	(cd "$scratch/build" && unset MAKEFLAGS MAKELEVEL && $limited "$@")
}

# Its own copy: a gem is built in place.
cp -rL bindings/ruby "$scratch/build"
for source in $(cd "$scratch/build" && find . -name '*.rb' -o -name Rakefile -o -name '*.gemspec'); do
	is "$("$ruby" -wc "$scratch/build/$source" 2>&1)" 'Syntax OK' "$source: ruby -wc has nothing to say"
done
ok 'gem build' in_build "$ruby" -S gem build sendfd.gemspec
export GEM_HOME="$scratch/gems"
ok 'gem install --local' in_build \
	"$ruby" -S gem install --local --no-document "sendfd-$VERSION.gem"
# shellcheck disable=SC2016 # it is for ruby
is "$("$ruby" -e 'require "sendfd"; print SendFD::VERSION, " ", $LOADED_FEATURES.grep(/sendfd\.rb/)[0]')" \
	"$VERSION $GEM_HOME/gems/sendfd-$VERSION/lib/sendfd.rb" 'what is installed has the version of the library'

# Without the sources of the package beside them, the tests take what is installed.
mkdir "$scratch/suite"
chmod 755 "$scratch" # a test runs a set-user-ID program in it
cp -r "$scratch/build/Rakefile" "$scratch/build/test" "$scratch/suite"
RUBYOPT=-r$(realpath tests/bindings/minitest_tap.rb)
export RUBYOPT
tests env -C "$scratch/suite" -u MAKEFLAGS -u MAKELEVEL STORM_ROUNDS="${STORM_ROUNDS:-200}" \
	"$ruby" -S rake test
unset RUBYOPT

# Its types: they are valid, and what the tests pass and get is of these.
if rbs=$("$ruby" -e 'print Gem.bin_path("rbs", "rbs")' 2>"$scratch/why"); then
	ok 'rbs validate' $limited "$ruby" "$rbs" -r socket -I bindings/ruby/sig validate --silent
	for types in functions messages; do
		ok "the types of what test_$types.rb passes and gets" env RBS_TEST_TARGET='SendFD*' \
			RBS_TEST_OPT='-r socket -I bindings/ruby/sig' RBS_TEST_RAISE=true \
			$limited "$ruby" -r rbs/test/setup "bindings/ruby/test/test_$types.rb"
	done
else
	skip "the types of the package for Ruby (Debian: ruby): $(head -n 1 "$scratch/why")"
fi

# shellcheck disable=SC2016 # of Markdown
sed -n '/^```ruby/,/^```$/ { /^```/d; p }' bindings/ruby/README.md >"$scratch/readme.rb"
is "$($limited "$ruby" "$scratch/readme.rb")" "$(cat /etc/hosts)" 'the program of its README'

# The library may be in the gem.
ok 'rake bundle' in_build "$ruby" -S rake "bundle[$LIBSENDFD]"
ok 'gem build with the library' in_build "$ruby" -S gem build sendfd.gemspec
bundled=$(cd "$scratch/build" && echo sendfd-"$VERSION"-*.gem)
export GEM_HOME="$scratch/bundled"
ok 'gem install --local of that' in_build "$ruby" -S gem install --local --no-document "$bundled"
is "$(env -u LIBSENDFD LD_LIBRARY_PATH=/nonexistent "$ruby" -e 'require "sendfd"; print SendFD.version')" \
	"$VERSION" 'it uses the library that is in the gem'
unset GEM_HOME

demos ruby bindings/ruby/examples .rb
tap_done
