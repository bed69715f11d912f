#!/bin/sh
# Measures libsendfd's own cost next to hand_written.c: instructions outside the kernel,
# stack, relocations, size, and the time to load it and to start a program with it. All
# except the last are the same in each run, so they have no spread.
# shellcheck source=bench/part
. bench/part
start_part user_space
so=libsendfd.so.1
functions='sendfd recvfd sendfds recvfds sendfds_msg recvfds_msg'
calls=20

# fact CASE CONTENDER UNIT VALUE [BASELINE]: the line of a figure that does not vary.
fact() {
	awk -v value="$4" -v baseline="${5:-$4}" -v start="$1,$2,$3" 'BEGIN {
		ratio = baseline == 0 ? "" : sprintf("%.4f", value / baseline)
		print start "," value "," ratio ",,"
	}'
}

build() {
	compile hand.o -c bench/hand_written.c
	compile checked.o -DCHECK_DOMAIN -c bench/hand_written.c
	for contender in hand checked; do
		compile "user_space_$contender" bench/user_space.c "$work/$contender.o"
	done
	compile user_space_libsendfd bench/user_space.c "$O/libsendfd.a"
	# The shared objects in one directory, built with the same options.
	compile libhand.so.1 -fPIC -shared -Wl,-soname,libhand.so.1 -Wl,--version-script=src/libsendfd.map \
		-Wl,-z,defs,-z,relro,-z,now,-z,noexecstack bench/hand_written.c
	cp "$O/$so" "$work/$so"
	build_programs
	compile load_time bench/load_time.c bench/bench.c
}

# The small program with either library in each way to link it.
build_programs() {
	compile no_library -DNO_LIBRARY bench/small_program.c
	compile shared_hand bench/small_program.c "$work/libhand.so.1" "-Wl,-rpath,$work"
	compile shared_libsendfd bench/small_program.c "$work/$so" "-Wl,-rpath,$work"
	for kind in archive static; do
		if [ "$kind" = static ]; then
			set -- -static
			compile "${kind}_no_library" "$@" -DNO_LIBRARY bench/small_program.c
		fi
		compile "${kind}_hand" "$@" bench/small_program.c "$work/hand.o"
		compile "${kind}_libsendfd" "$@" bench/small_program.c "$O/libsendfd.a"
	done
}

# Instructions by callgrind, in each function and the functions that it calls. Everything
# is bound before, and the wrappers of the C library are counted for all contenders.
count_instructions() {
	toggles=
	for function in $functions; do
		# The header binds two of them to a second name.
		toggles="$toggles --toggle-collect=$function --toggle-collect=libsendfd_$function"
	done
	for contender in hand checked libsendfd; do
		# shellcheck disable=SC2086 # many words
		limited env LD_BIND_NOW=1 valgrind --tool=callgrind --callgrind-out-file="$work/$contender.out" \
			--collect-atstart=no $toggles "$work/user_space_$contender" calls "$calls" \
			2>"$work/$contender.log" || fail "valgrind: $(cat "$work/$contender.log")"
		# In user_space.c each has one caller, and nothing else of that is counted.
		limited callgrind_annotate --inclusive=yes --threshold=100 --show-percs=no \
			"$work/$contender.out" 2>/dev/null | tr -d , |
			sed -n 's/^ *\([0-9][0-9]*\) .*:do_\([a-z_]*\) \[.*/\2 \1/p' |
			awk -v calls="$calls" '{ print $1, $2 / calls }' >"$work/$contender.instructions"
	done
	tell_of_functions instructions instructions
}

measure_stack() {
	for contender in hand checked libsendfd; do
		limited env LD_BIND_NOW=1 "$work/user_space_$contender" stack >"$work/$contender.stack"
	done
	tell_of_functions stack bytes
}

# tell_of_functions WHAT UNIT: a case for each function, of the files CONTENDER.WHAT.
tell_of_functions() {
	for function in $functions; do
		baseline=$(value_of "$function" "hand.$1")
		case=$1:\ $function
		[ "$function" != "${function%fds}" ] && case="$case of 253"
		fact "$case" 'hand-written C' "$2" "$baseline"
		case $function in
		send*)
			fact "$case" 'hand-written C with the check' "$2" \
				"$(value_of "$function" "checked.$1")" "$baseline"
			;;
		esac
		fact "$case" libsendfd "$2" "$(value_of "$function" "libsendfd.$1")" "$baseline"
	done
}

value_of() {
	awk -v name="$1" '$1 == name { print $2; found = 1 } END { exit !found }' "$work/$2" ||
		fail "no figure for $1 in $2"
}

# Relocations of the shared objects, all of them and of each kind.
count_relocations() {
	for library in libhand.so.1 "$so"; do
		readelf -rW "$work/$library" | awk '$3 ~ /^R_/ { print $3 }' >"$work/$library.relocations"
	done
	for kind in R_ $(sort -u "$work/libhand.so.1.relocations" "$work/$so.relocations"); do
		hand=$(grep -c "^$kind" "$work/libhand.so.1.relocations" || :)
		libsendfd=$(grep -c "^$kind" "$work/$so.relocations" || :)
		case="relocations of the shared object"
		[ "$kind" = R_ ] || case="$case: $kind"
		fact "$case" 'hand-written C' relocations "$hand"
		fact "$case" libsendfd relocations "$libsendfd" "$hand"
	done
}

measure_sizes() {
	sizes_of 'shared object' libhand.so.1 "$so"
	sizes_of 'program with the archive' archive_hand archive_libsendfd no_library
	sizes_of 'static program' static_hand static_libsendfd static_no_library
}

# sizes_of WHAT HAND LIBSENDFD [NEITHER]: of the stripped file, and of its text.
sizes_of() {
	what=$1
	shift
	for of in stripped text; do
		baseline=$("size_$of" "$1")
		fact "size of a $what: $of" 'hand-written C' bytes "$baseline"
		fact "size of a $what: $of" libsendfd bytes "$("size_$of" "$2")" "$baseline"
		[ $# = 2 ] || fact "size of a $what: $of" 'no library' bytes "$("size_$of" "$3")" "$baseline"
	done
}

size_stripped() {
	$STRIP -o "$work/stripped" "$work/$1"
	wc -c <"$work/stripped" | tr -d ' '
}

size_text() {
	size "$work/$1" | awk 'NR == 2 { print $1 }'
}

build
if have valgrind && have callgrind_annotate; then
	count_instructions >"$work/instructions"
else
	skip instructions 'no valgrind'
	: >"$work/instructions"
fi
measure_stack >"$work/stack"
limited "$work/load_time" "$work" >"$work/times"
count_relocations >"$work/relocations"
measure_sizes >"$work/sizes"
results "$work/instructions" "$work/stack" "$work/times" "$work/relocations" "$work/sizes"
