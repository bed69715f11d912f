# libsendfd: `make` builds, `make check` tests, `make help` tells the rest.
#
# rustc compiles src/ to a static library; the linker takes from it what the
# version map names, and both libsendfd.a and libsendfd.so are made of that one
# object: rustc keeps the version script of a shared object to itself.

.DELETE_ON_ERROR:
.SUFFIXES:

# Variables as the GNU Coding Standards have them; PREFIX is understood too.
PREFIX       ?= /usr/local
prefix       = $(PREFIX)
exec_prefix  = $(prefix)
libdir       = $(exec_prefix)/lib
includedir   = $(prefix)/include
datarootdir  = $(prefix)/share
mandir       = $(datarootdir)/man
pkgconfigdir = $(libdir)/pkgconfig
cmakedir     = $(libdir)/cmake/sendfd
DESTDIR      =

CFLAGS     ?= -O2 -g
CXXFLAGS   ?= -O2 -g
LD         ?= ld
OBJCOPY    ?= objcopy
STRIP      ?= strip
INSTALL    ?= install
PROVE      ?= prove
CARGO      ?= cargo
CARGOFLAGS ?= --locked
CLANG_FORMAT ?= clang-format
SHELLCHECK ?= shellcheck

# Everything that is built goes below O: the source tree may be read-only.
O         ?= build
TARGETDIR := $(O)/target
ifneq ($(words $(O) $(CURDIR)),2)
$(error make cannot build in a directory with a space in its name: $(CURDIR), O=$(O))
endif

version := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
soname  := libsendfd.so.$(firstword $(subst ., ,$(version)))
map     := src/libsendfd.map
# The exported names; the map is where they stand.
exports := $(shell sed -n 's/^ *\([a-z][a-z0-9_]*\);$$/\1/p' $(map))

V ?= 0
quiet := $(if $(filter 0,$(V)),@)
say    = $(if $(filter 0,$(V)),@printf '  %-8s %s\n' '$(1)' '$(2)')

.PHONY: all header install uninstall check installcheck demo bench bench-plot lint \
	format dist clean help

all: $(O)/libsendfd.so.$(version) $(O)/$(soname) $(O)/libsendfd.so $(O)/libsendfd.a $(O)/sendfd.pc
all: $(O)/sendfd-config.cmake $(O)/sendfd-config-version.cmake

help:
	@printf '%s\n' \
	'make                builds the library below build/ (or O=DIR)' \
	'make check          tests it; REQUIRE_ALL=1 makes a skip a failure' \
	'make check-fault, check-syscalls, check-signal-safety, check-abi,' \
	'     check-reproducible, check-model, check-valgrind, check-asan, check-arch,' \
	'     check-breakages, check-mutants, fuzz, soak' \
	'                    prove more: see CONTRIBUTING.md' \
	'make check-interop  tests it with other libraries and programs' \
	'make interop-table  measures docs/INTEROP.md anew' \
	'make demo           passes a real file between processes' \
	'make bench          measures libsendfd against what else there is; BENCH_QUICK=1' \
	'                    BENCH_PARTS="one_descriptor arrays load ...": some of it' \
	'make bench-plot     draws the last make bench, and writes docs/BENCHMARKS.md anew' \
	'make install        to prefix= libdir= includedir= mandir= DESTDIR=' \
	'make uninstall      removes what install put there' \
	'make installcheck   compiles and runs a program against the installed copy' \
	'make header         generates include/sendfd.h from src/ffi.rs' \
	'make lint           checks format and lints; make format mends the format' \
	'make dist           makes a source tarball below build/' \
	'make clean          removes build/ and target/' \
	'Variables: CC CFLAGS CPPFLAGS LDFLAGS AR LD OBJCOPY INSTALL PROVE CARGO' \
	'           CARGOFLAGS (--locked) V=1 O=build'

# --- the library -----------------------------------------------------------

# What rustc makes. Cargo decides what is out of date, as make does not know all
# that it reads; the copy is newer than what is made of it only if it differs.
rust_archive := $(O)/libsendfd-rust.a
oldest_rust  := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
cargo_output := $(TARGETDIR)/$(CARGO_BUILD_TARGET:%=%/)release/libsendfd.a

# Root may have no cargo, or an older one, and is to leave nothing of its own in $(O):
# make install takes what is built if no source is newer.
unchanged = [ -z "$$(find src Cargo.toml $(wildcard Cargo.lock) build.rs -newer $(rust_archive))" ]
may_take_what_is_built = ! command -v $(firstword $(CARGO)) >/dev/null$(if \
	$(filter install,$(MAKECMDGOALS)),$(if $(filter-out install installcheck,$(MAKECMDGOALS)),, \
	|| $(unchanged)))

tell_if_rust_is_old = found=$$($(CARGO) --version 2>/dev/null | cut -d ' ' -f 2); \
	[ "$$(printf '%s\n' '$(oldest_rust)' "$$found" | sort -V | head -n 1)" = '$(oldest_rust)' ] || \
	echo "libsendfd needs cargo and Rust $(oldest_rust) or later (Debian 12: cargo-web and" \
		"rustc-web); this is $${found:-no cargo}" >&2

# A cargo that finds make's jobs in MAKEFLAGS cannot have them, and says so each time.
.PHONY: cargo
$(rust_archive): cargo ;
cargo:
	$(call say,CARGO,$(rust_archive))
	$(quiet)if [ -f $(rust_archive) ] && { $(may_take_what_is_built); }; then \
		echo 'taking what is built'; exit; \
	fi; \
	MAKEFLAGS= $(CARGO) rustc $(CARGOFLAGS) $(if $(filter 0,$(V)),--quiet,--verbose) --release --lib \
		--crate-type staticlib --target-dir $(TARGETDIR) -- \
		-C force-unwind-tables=yes --remap-path-prefix=$(CURDIR)=libsendfd-$(version) || { \
		$(tell_if_rust_is_old); exit 1; }; \
	cmp -s $(cargo_output) $(rust_archive) || cp $(cargo_output) $(rust_archive) || { \
		echo "if cargo's configuration names a target, make has to know it, too:" \
			'CARGO_BUILD_TARGET=TRIPLE' >&2; exit 1; }

# One object with what the exported functions need, and no other global name.
$(O)/sendfd.o: $(rust_archive) $(map)
	$(call say,LD,$@)
	$(quiet)$(LD) -r --gc-sections $(exports:%=-u %) -o $@.all $(rust_archive) || { \
		echo 'LD=$(LD) has to be a GNU ld; LDFLAGS=-fuse-ld=NAME chooses the linker of the' \
			'shared object' >&2; exit 1; }
	$(quiet)$(OBJCOPY) $(exports:%=--keep-global-symbol=%) $@.all $@
	$(quiet)rm -f $@.all

$(O)/libsendfd.a: $(O)/sendfd.o
	$(call say,AR,$@)
	$(quiet)rm -f $@
	$(quiet)$(AR) rcsD $@ $<

$(O)/libsendfd.so.$(version): $(O)/sendfd.o $(map)
	$(call say,CC,$@)
	$(quiet)$(CC) -shared $(CFLAGS) $(LDFLAGS) -Wl,-soname,$(soname) \
		-Wl,--version-script=$(map) -Wl,-z,defs,-z,relro,-z,now,-z,noexecstack \
		-o $@ $<

$(O)/$(soname) $(O)/libsendfd.so: $(O)/libsendfd.so.$(version)
	$(quiet)ln -sf $(<F) $@

# Paths below another directory are written so, to move with it.
below = $(patsubst $(prefix)/%,$${prefix}/%,$(patsubst $(exec_prefix)/%,$${exec_prefix}/%,$(1)))
pc = sed -e 's|@prefix@|$(prefix)|' \
	-e 's|@exec_prefix@|$(patsubst $(prefix),$${prefix},$(call below,$(exec_prefix)))|' \
	-e 's|@libdir@|$(call below,$(libdir))|' \
	-e 's|@includedir@|$(patsubst $(prefix)/%,$${prefix}/%,$(includedir))|' \
	-e 's|@version@|$(version)|' pkgconfig/sendfd.pc.in

# Made anew each time: the directories may be others than in the last call.
.PHONY: pc
$(O)/sendfd.pc: pc ;
pc: | $(O)
	$(quiet)$(pc) >$(O)/sendfd.pc

# CMake's are found from one another, and move so.
cmake = sed -e 's|@cmakedir@|$(cmakedir)|' -e 's|@libdir@|$(libdir)|' \
	-e 's|@includedir@|$(includedir)|' -e 's|@version@|$(version)|' -e 's|@soname@|$(soname)|'

.PHONY: cmake-package
$(O)/sendfd-config.cmake $(O)/sendfd-config-version.cmake: cmake-package ;
cmake-package: | $(O)
	$(quiet)$(cmake) cmake/sendfd-config.cmake.in >$(O)/sendfd-config.cmake
	$(quiet)$(cmake) cmake/sendfd-config-version.cmake.in >$(O)/sendfd-config-version.cmake

$(O):
	$(quiet)mkdir -p $@

# --- the header ------------------------------------------------------------

header:
	$(call say,CBINDGEN,include/sendfd.h)
	$(quiet)header/generate include/sendfd.h

# --- tests -----------------------------------------------------------------

test_warnings  := -Wall -Wextra -Wpedantic -Werror
test_flags     := $(test_warnings) -D_GNU_SOURCE -pthread -Iinclude -Ic_tests
test_support   := tap peer classic_snippet
test_objects   := $(test_support:%=$(O)/c_tests/%.o)
c_test_names   := $(filter-out $(test_support),$(basename $(notdir $(wildcard c_tests/*.c))))
cxx_test_names := $(basename $(notdir $(wildcard c_tests/*.cc)))
# Without a C++ compiler the tests in C++ are skipped, and the run says so.
have_cxx       := $(shell command -v $(CXX))
built_tests    := $(c_test_names) $(if $(have_cxx),$(cxx_test_names))
# Each is linked with the shared object and once more with the archive.
test_programs  := $(foreach kind,shared static,$(built_tests:%=$(O)/c_tests/$(kind)/%))
checks         := $(wildcard checks/*.t)

$(O)/c_tests/%.o: c_tests/%.c $(wildcard c_tests/*.h) include/sendfd.h
	$(call say,CC,$@)
	$(quiet)mkdir -p $(@D)
	$(quiet)$(CC) -std=c11 $(CPPFLAGS) $(test_flags) $(CFLAGS) -c -o $@ $<

$(O)/c_tests/%.o: c_tests/%.cc $(wildcard c_tests/*.h) include/sendfd.h
	$(call say,CXX,$@)
	$(quiet)mkdir -p $(@D)
	$(quiet)$(CXX) -std=c++11 $(CPPFLAGS) $(test_flags) $(CXXFLAGS) -c -o $@ $<

test_linker = $(if $(filter $(cxx_test_names),$(notdir $@)),$(CXX),$(CC))

$(O)/c_tests/shared/%: $(O)/c_tests/%.o $(test_objects) $(O)/libsendfd.so $(O)/$(soname)
	$(quiet)mkdir -p $(@D)
	$(quiet)$(test_linker) -pthread $(CFLAGS) $(LDFLAGS) -o $@ $< $(test_objects) \
		-L$(O) -lsendfd -Wl,-rpath,'$(abspath $(O))'

$(O)/c_tests/static/%: $(O)/c_tests/%.o $(test_objects) $(O)/libsendfd.a
	$(quiet)mkdir -p $(@D)
	$(quiet)$(test_linker) -pthread $(CFLAGS) $(LDFLAGS) -o $@ $< $(test_objects) \
		$(O)/libsendfd.a

.SECONDARY: $(test_objects) $(built_tests:%=$(O)/c_tests/%.o)

# --- examples --------------------------------------------------------------

examples := $(patsubst examples/c/%.c,$(O)/examples/%,$(wildcard examples/c/*.c))

$(O)/examples/%: examples/c/%.c include/sendfd.h $(O)/libsendfd.so $(O)/$(soname)
	$(call say,CC,$@)
	$(quiet)mkdir -p $(@D)
	$(quiet)$(CC) -std=c11 $(CPPFLAGS) $(test_warnings) -D_GNU_SOURCE -Iinclude $(CFLAGS) \
		$(LDFLAGS) -o $@ $< -L$(O) -lsendfd -Wl,-rpath,'$(abspath $(O))'

demo: all $(examples)
	$(quiet)examples/c/demo.sh $(O)/examples
	$(quiet)examples/c/handover_demo.sh $(O)/examples

# --- interoperation --------------------------------------------------------

# libsendfd with every other thing that passes descriptors, and with programs that
# do: interop/matrix.t tells with which.
interop_tests := interop/matrix.t interop/real_programs.t
interop_built := $(addprefix $(O)/interop/,c classic talk)
interop_cc     = mkdir -p $(@D) && $(CC) -std=c11 $(CPPFLAGS) $(test_warnings) -D_GNU_SOURCE \
	-Iinclude -Ic_tests $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.c,$^)
interop_shared = -L$(O) -lsendfd -Wl,-rpath,'$(abspath $(O))'

$(O)/interop/c: interop/peers/c.c interop/peers/command.c interop/peers/command.h \
		include/sendfd.h $(O)/libsendfd.so $(O)/$(soname)
	$(call say,CC,$@)
	$(quiet)$(interop_cc) $(interop_shared)

$(O)/interop/classic: interop/peers/classic.c interop/peers/command.c interop/peers/command.h \
		c_tests/classic_snippet.c c_tests/peer.h
	$(call say,CC,$@)
	$(quiet)$(interop_cc)

$(O)/interop/talk: interop/talk.c include/sendfd.h $(O)/libsendfd.so $(O)/$(soname)
	$(call say,CC,$@)
	$(quiet)$(interop_cc) $(interop_shared)

# Cargo decides what is out of date here too.
.PHONY: interop_rust check-interop interop-table
interop_rust: | $(O)
	$(call say,CARGO,$(O)/interop/rust)
	$(quiet)interop/rust/build $(O)

check-interop: all $(interop_built) $(examples) interop_rust
	$(quiet)checks/run interop $(interop_tests)

interop-table: all $(interop_built) interop_rust
	$(quiet)interop/matrix.t --table

# --- all tests -------------------------------------------------------------

check: all $(test_programs) $(examples) $(if $(interop_tests),$(interop_built) interop_rust)
	$(quiet)checks/run check $(test_programs) $(checks) $(interop_tests)

# What the tests and checks are told of the build.
export O CC CXX CARGO CARGOFLAGS PROVE STRIP MAKE
export VERSION := $(version)
export REQUIRE_ALL ?= 0

# --- proofs ----------------------------------------------------------------

# Each tells in its first comment what it would catch. TEST_TIMEOUT: in seconds.
.PHONY: check-fault check-syscalls check-signal-safety check-abi abi-baseline \
	check-reproducible check-valgrind check-asan check-model check-arch check-breakages \
	check-mutants fuzz soak

$(O)/proof/%: proof/%.c proof/scenario.c $(wildcard proof/*.h) $(test_objects) \
		$(O)/libsendfd.so $(O)/$(soname)
	$(call say,CC,$@)
	$(quiet)mkdir -p $(@D)
	$(quiet)$(CC) -std=c11 $(CPPFLAGS) $(test_flags) $(CFLAGS) $(LDFLAGS) -o $@ $< \
		proof/scenario.c $(test_objects) -L$(O) -lsendfd -Wl,-rpath,'$(abspath $(O))'

check-fault: all
	$(quiet)TEST_TIMEOUT=600 checks/run fault proof/fault.t

check-syscalls: all
	$(quiet)TEST_TIMEOUT=300 checks/run syscalls proof/syscalls.t

check-signal-safety: $(O)/proof/signal_storm $(O)/proof/stack_use
	$(quiet)checks/run signal-safety $^

check-abi: all
	$(quiet)TEST_TIMEOUT=300 checks/run abi proof/abi.t

abi-baseline: all
	$(quiet)proof/abi-baseline

check-reproducible:
	$(quiet)TEST_TIMEOUT=300 checks/run reproducible proof/reproducible.t

check-valgrind: all $(test_programs)
	$(quiet)TEST_TIMEOUT=1200 checks/run valgrind proof/valgrind.t

check-asan: all
	$(quiet)TEST_TIMEOUT=1200 checks/run asan proof/asan.t

check-arch: all
	$(quiet)TEST_TIMEOUT=1800 checks/run arch proof/arch.t

check-breakages: all
	$(quiet)TEST_TIMEOUT=1800 checks/run breakages proof/breakages.t

# Half an hour, and so not in CI.
check-mutants: all
	$(quiet)TEST_TIMEOUT=7200 checks/run mutants proof/mutants.py

check-model: all
	$(quiet)TEST_TIMEOUT=300 checks/run model proof/model.t

FUZZ_SECONDS ?= 60
fuzz: all
	$(quiet)TEST_TIMEOUT=$$((2 * $(FUZZ_SECONDS) + 900)) FUZZ_SECONDS=$(FUZZ_SECONDS) \
		checks/run fuzz fuzz/run

SOAK_SECONDS ?= 60
soak: all
	$(quiet)SOAK_SECONDS=$(SOAK_SECONDS) TEST_TIMEOUT=$$(($(SOAK_SECONDS) + 120)) \
		checks/run soak proof/soak.t

# --- benchmarks ------------------------------------------------------------

bench_programs := $(addprefix $(O)/bench/,one_descriptor arrays load)
BENCH_QUICK    ?= 0

# What they are compared with is compiled as a release would be, whatever CFLAGS says.
$(O)/bench/%: bench/%.c bench/bench.c bench/contenders.c $(wildcard bench/*.h) \
		include/sendfd.h $(O)/libsendfd.so $(O)/$(soname)
	$(call say,CC,$@)
	$(quiet)mkdir -p $(@D)
	$(quiet)$(CC) -std=c11 $(CPPFLAGS) $(test_warnings) -D_GNU_SOURCE -Iinclude $(CFLAGS) -O2 \
		$(LDFLAGS) -o $@ $(filter %.c,$^) -L$(O) -lsendfd -Wl,-rpath,'$(abspath $(O))'

bench: all $(bench_programs)
	$(quiet)CFLAGS='$(CFLAGS) -O2' CPPFLAGS='$(CPPFLAGS)' LDFLAGS='$(LDFLAGS)' \
		BENCH_QUICK='$(BENCH_QUICK)' bench/run $(BENCH_PARTS)

bench-plot:
	$(quiet)bench/plot
	$(quiet)bench/report

# --- install ---------------------------------------------------------------

man_pages := $(wildcard man/*.[37])
man_place  = $(mandir)/man$(subst .,,$(suffix $(1)))/$(1)
# Every other name that a page gives itself, as PAGE:NAME.SECTION.
man_links  = $(shell awk '$$1 == ".Dt" { section = $$3 } $$1 == ".Sh" { names = $$2 == "NAME" } \
	names && $$1 == ".Nm" && FILENAME != "man/" $$2 "." section \
	{ print FILENAME ":" $$2 "." section }' $(man_pages) /dev/null)

# All that is installed, as MODE:SOURCE:DESTINATION, or link:TARGET:DESTINATION.
# install and uninstall both go by this list.
installed = \
	755:$(O)/libsendfd.so.$(version):$(libdir)/libsendfd.so.$(version) \
	link:libsendfd.so.$(version):$(libdir)/$(soname) \
	link:$(soname):$(libdir)/libsendfd.so \
	644:$(O)/libsendfd.a:$(libdir)/libsendfd.a \
	644:include/sendfd.h:$(includedir)/sendfd.h \
	644:$(O)/sendfd.pc:$(pkgconfigdir)/sendfd.pc \
	644:$(O)/sendfd-config.cmake:$(cmakedir)/sendfd-config.cmake \
	644:$(O)/sendfd-config-version.cmake:$(cmakedir)/sendfd-config-version.cmake \
	$(foreach page,$(man_pages),644:$(page):$(call man_place,$(notdir $(page)))) \
	$(foreach link,$(man_links),link:$(notdir $(call field,1,$(link))):$(call \
		man_place,$(call field,2,$(link))))

field = $(word $(1),$(subst :, ,$(2)))
install_one = $(INSTALL) -d '$(DESTDIR)$(dir $(call field,3,$(1)))' && \
	$(if $(filter link,$(call field,1,$(1))),\
	ln -sf $(call field,2,$(1)) '$(DESTDIR)$(call field,3,$(1))',\
	$(INSTALL) -m $(call field,1,$(1)) $(call field,2,$(1)) '$(DESTDIR)$(call field,3,$(1))')

define newline


endef

install: all
	$(foreach one,$(installed),$(call install_one,$(one))$(newline)	)

uninstall:
	rm -f $(foreach one,$(installed),'$(DESTDIR)$(call field,3,$(one))')
	rmdir '$(DESTDIR)$(cmakedir)' 2>/dev/null || :

installcheck:
	$(quiet)DESTDIR='$(DESTDIR)' pkgconfigdir='$(pkgconfigdir)' libdir='$(libdir)' \
		includedir='$(includedir)' cmakedir='$(cmakedir)' checks/run installcheck checks/installed

# --- and the rest ----------------------------------------------------------

dist: | $(O)
	$(call say,TAR,$(O)/libsendfd-$(version).tar.gz)
	$(quiet)checks/dist "$(version)" "$(O)/libsendfd-$(version).tar.gz"

# Each with a manifest of its own.
rust_projects := . header interop/rust bench/rust fuzz/model
c_sources   := $(wildcard c_tests/*.[ch] c_tests/*.cc examples/c/*.c checks/*.c \
	interop/*.c interop/peers/*.[ch] proof/*.[ch] bench/*.[ch])
sh_sources  := $(wildcard checks/*.t checks/*.sh examples/c/*.sh .ci/run) checks/run checks/run-one \
	header/generate interop/rust/build fuzz/run $(wildcard proof/*.t proof/*.sh) proof/abi-baseline \
	bench/run bench/machine bench/table bench/part bench/plot bench/report $(wildcard bench/*.sh)

lint:
	@$(foreach project,$(rust_projects),$(CARGO) fmt --check --manifest-path $(project)/Cargo.toml &&) :
	$(CARGO) clippy $(CARGOFLAGS) --quiet --all-targets --target-dir $(O)/header-target -- -D warnings
	$(CARGO) clippy $(CARGOFLAGS) --quiet --manifest-path header/Cargo.toml \
		--target-dir $(O)/header-target -- -D warnings
	@checks/lint "$(CLANG_FORMAT) --dry-run --Werror" $(c_sources)
	@checks/lint "$(SHELLCHECK)" $(sh_sources)

format:
	@$(foreach project,$(rust_projects),$(CARGO) fmt --manifest-path $(project)/Cargo.toml &&) :
	$(CLANG_FORMAT) -i $(c_sources)

clean:
	rm -rf $(O) target
