# libsendfd: `make` builds, `make check` tests, `make help` lists the rest.
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
# A directory of crates to build from instead of a registry: that of the tarball, or of a
# distribution, if it has libc.
CARGO_VENDOR ?= $(patsubst %/,%,$(dir $(firstword $(wildcard vendor/libc /usr/share/cargo/registry/libc-0.2.*))))
CLANG_FORMAT ?= clang-format
SHELLCHECK ?= shellcheck

# Everything that is built goes below O: the source tree may be read-only.
O ?= build
# Neither make nor the paths that loaders search have a way to write these in a name.
ifneq ($(filter-out 2,$(words $(O) $(CURDIR)))$(findstring :,$(O)$(CURDIR))$(findstring ',$(O)),)
$(error the name of a directory has a space or a colon, or O a quote: $(CURDIR), O=$(O))
endif
# make clean removes directories below O, which must not be those of the sources.
ifneq ($(filter $(abspath $(O))/%,$(CURDIR)/),)
$(error O has to be a directory of its own, not $(O))
endif

version := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
soname  := libsendfd.so.$(firstword $(subst ., ,$(version)))
map     := src/libsendfd.map
# The exported names; the map is where they stand.
exports := $(shell sed -n 's/^ *\([a-z][a-z0-9_]*\);$$/\1/p' $(map))

V ?= 0
# The variables of the build that the scripts use.
export O V CC CXX LD AR OBJCOPY CARGO CARGOFLAGS CARGO_VENDOR HARDENING CLANG_FORMAT SHELLCHECK PROVE STRIP MAKE
export VERSION := $(version)
export REQUIRE_ALL ?= 0
# Cargo keeps what it downloads below HOME, which may be none that can be written.
ifeq ($(CARGO_HOME)$(shell [ -w "$$HOME" ] && echo yes),)
export CARGO_HOME := $(abspath $(O))/cargo
endif

quiet := $(if $(filter 0,$(V)),@)
# A word for the shell, whatever is in it.
quoted = '$(subst ','\'',$(1))'
say    = $(if $(filter 0,$(V)),@printf '  %-8s %s\n' '$(1)' '$(2)')

.PHONY: all header html install uninstall installcheck lint format dist clean help

built := $(addprefix $(O)/,libsendfd.so.$(version) $(soname) libsendfd.so libsendfd.a sendfd.pc \
	sendfd-config.cmake sendfd-config-version.cmake)
all: $(built)

help:
	@printf '%s\n' \
	'make                builds the library below build/ (or O=DIR)' \
	'make check          tests it; REQUIRE_ALL=1 makes a skip a failure' \
	'make check-all      also runs the long tests' \
	'make check-NAME     runs one test, or all of one kind: see below' \
	'make demo           passes a real file between processes' \
	'make bench          measures libsendfd and the alternatives; BENCH_QUICK=1 for a' \
	'                    short run, BENCH_PARTS="one_descriptor arrays ..." for some' \
	'make bench-plot     draws the last make bench, and updates docs/BENCHMARKS.md' \
	'make install        installs it; prefix= libdir= includedir= mandir= DESTDIR=' \
	'make uninstall      removes the installed files' \
	'make installcheck   compiles and runs a program against the installed copy' \
	'make header         generates include/sendfd.h from src/ffi.rs' \
	'make html           writes the man pages as HTML below build/html' \
	'make lint           checks format and lints; make format reformats' \
	'make dist           makes source tarballs below build/, one with the crate libc' \
	'make clean          removes what make has built below build/ (or O=DIR)' \
	'Variables: CC CFLAGS CPPFLAGS LDFLAGS AR LD OBJCOPY INSTALL PROVE CARGO' \
	'           CARGOFLAGS (--locked) CARGO_VENDOR=DIR HARDENING=full V=1 O=build' '' \
	'The tests by kind; each c_tests/NAME.c is check-NAME too:'
	@$(if $(scripts),tests/list $(scripts))

# --- the library -----------------------------------------------------------

# Files that were built with other flags are built again. But root may have no cargo, or
# an older one, and no CFLAGS: a make install without flags takes what is built.
flags := HARDENING CC CXX CPPFLAGS CFLAGS CXXFLAGS LDFLAGS LD AR OBJCOPY RUSTFLAGS CARGO_BUILD_TARGET
only_installs := $(if $(filter install,$(MAKECMDGOALS)),$(if $(filter-out install installcheck \
	uninstall,$(MAKECMDGOALS))$(filter command,$(foreach flag,$(flags),$(origin $(flag)))),,yes))

.PHONY: write-flags
$(O)/flags: write-flags ;
write-flags: | $(O)
	$(quiet)$(if $(only_installs),[ ! -f $(O)/flags ] || exit 0;) \
	now=$$(printf '%s\n' $(foreach flag,$(flags),$(call quoted,$(flag)=$($(flag))))); \
	[ "$$now" = "$$(cat $(O)/flags 2>/dev/null)" ] || printf '%s\n' "$$now" >$(O)/flags

# What rustc makes: the script asks cargo whether it is out of date.
rust_archive := $(O)/libsendfd-rust.a

.PHONY: cargo
$(rust_archive): cargo ;
cargo: | $(O)
	$(call say,CARGO,$(rust_archive))
	$(quiet)tools/rust-archive $(rust_archive) $(only_installs)

# Of the objects linked together each has to have what HARDENING=full adds.
hardened = $(if $(HARDENING),$(if $(filter x86_64%,$(shell $(CC) -dumpmachine)),-fcf-protection=full,$(if \
	$(filter aarch64%,$(shell $(CC) -dumpmachine)),-mbranch-protection=standard)))

# One object with what the exported functions need, and no other global name. It begins
# with an empty one, as ld.lld has to see an object before it knows the machine. (And
# ld.lld -r --gc-sections drops .eh_frame, without which no thread can be cancelled.)
$(O)/sendfd.o: $(rust_archive) $(map) $(O)/flags Makefile
	$(call say,LD,$@)
	$(quiet)$(CC) $(CPPFLAGS) $(CFLAGS) $(hardened) -g0 -fno-lto -w -x c -c /dev/null -o $@.empty
	$(quiet)$(LD) -r $(exports:%=-u %) -o $@.all $@.empty $(rust_archive) || { \
		echo 'LD=$(LD) has to be GNU ld or ld.lld; LDFLAGS=-fuse-ld=NAME chooses the linker of' \
			'the shared object' >&2; exit 1; }
	$(quiet)$(OBJCOPY) $(exports:%=--keep-global-symbol=%) $@.all $@
	$(quiet)rm -f $@.all $@.empty

# In the archive the names that a program may have for functions of its own are weak.
$(O)/libsendfd.a: $(O)/sendfd.o
	$(call say,AR,$@)
	$(quiet)$(OBJCOPY) --weaken-symbol=sendfd --weaken-symbol=recvfd $< $(O)/sendfd-weak.o
	$(quiet)rm -f $@
	$(quiet)$(AR) rcsD $@ $(O)/sendfd-weak.o
	$(quiet)rm -f $(O)/sendfd-weak.o

$(O)/libsendfd.so.$(version): $(O)/sendfd.o $(map)
	$(call say,CC,$@)
	$(quiet)$(CC) -shared -nostartfiles $(CFLAGS) $(LDFLAGS) -Wl,-soname,$(soname) \
		-Wl,--version-script=$(map) -Wl,-z,defs,-z,relro,-z,now,-z,noexecstack \
		-o $@ $<

$(O)/$(soname) $(O)/libsendfd.so: $(O)/libsendfd.so.$(version)
	$(quiet)ln -sf $(<F) $@

# Paths below another directory are written so, to move with it.
below = $(patsubst $(prefix)/%,$${prefix}/%,$(patsubst $(exec_prefix)/%,$${exec_prefix}/%,$(1)))
replace = -e $(call quoted,s|@$(1)@|$(2)|)
pc = sed $(call replace,prefix,$(prefix)) \
	$(call replace,exec_prefix,$(patsubst $(prefix),$${prefix},$(call below,$(exec_prefix)))) \
	$(call replace,libdir,$(call below,$(libdir))) \
	$(call replace,includedir,$(patsubst $(prefix)/%,$${prefix}/%,$(includedir))) \
	$(call replace,version,$(version)) pkgconfig/sendfd.pc.in

# Made each time: the directories may differ from those of the last call.
.PHONY: pc
$(O)/sendfd.pc: pc ;
pc: | $(O)
	$(quiet)$(pc) >$(O)/sendfd.pc

# CMake's are found from one another, and move so.
cmake = sed $(foreach name,cmakedir libdir includedir version soname,$(call replace,$(name),$($(name))))

.PHONY: cmake-package
$(O)/sendfd-config.cmake $(O)/sendfd-config-version.cmake: cmake-package ;
cmake-package: | $(O)
	$(quiet)$(cmake) pkgconfig/sendfd-config.cmake.in >$(O)/sendfd-config.cmake
	$(quiet)$(cmake) pkgconfig/sendfd-config-version.cmake.in >$(O)/sendfd-config-version.cmake

$(O):
	$(quiet)mkdir -p $@ || { echo 'this directory cannot be written: make O=DIR builds elsewhere' >&2; \
		exit 1; }

# --- the header ------------------------------------------------------------

header:
	$(call say,CBINDGEN,include/sendfd.h)
	$(quiet)tools/header/generate include/sendfd.h

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
	644:include/sendfd.hpp:$(includedir)/sendfd.hpp \
	644:$(O)/sendfd.pc:$(pkgconfigdir)/sendfd.pc \
	644:$(O)/sendfd-config.cmake:$(cmakedir)/sendfd-config.cmake \
	644:$(O)/sendfd-config-version.cmake:$(cmakedir)/sendfd-config-version.cmake \
	$(foreach page,$(man_pages),644:$(page):$(call man_place,$(notdir $(page)))) \
	$(foreach link,$(man_links),link:$(notdir $(call field,1,$(link))):$(call \
		man_place,$(call field,2,$(link))))

field = $(word $(1),$(subst :, ,$(2)))
in_destdir = $(call quoted,$(DESTDIR)$(1))
install_one = $(INSTALL) -d $(call in_destdir,$(dir $(call field,3,$(1)))) && \
	$(if $(filter link,$(call field,1,$(1))),\
	ln -sf $(call field,2,$(1)),\
	$(INSTALL) -m $(call field,1,$(1)) $(call field,2,$(1))) $(call in_destdir,$(call field,3,$(1)))

define newline


endef

install: all
	$(foreach one,$(installed),$(call install_one,$(one))$(newline)	)

uninstall:
	rm -f $(foreach one,$(installed),$(call in_destdir,$(call field,3,$(one))))
	rmdir $(call in_destdir,$(cmakedir)) 2>/dev/null || :

installcheck:
	$(quiet)$(foreach name,DESTDIR pkgconfigdir libdir includedir cmakedir,$(name)=$(call \
		quoted,$($(name)))) tests/run installcheck tests/package/installed

# --- and the rest ----------------------------------------------------------

tarballs := libsendfd-$(version).tar.gz libsendfd-$(version)-vendored.tar.gz
dist: | $(O)
	$(call say,TAR,$(tarballs:%=$(O)/%))
	$(quiet)tools/dist $(version) $(tarballs:%=$(O)/%)

html: | $(O)
	$(call say,MANDOC,$(O)/html/index.html)
	$(quiet)tools/html $(O)/html

lint:
	$(quiet)tools/lint

format:
	$(quiet)tools/lint --fix

clean:
	rm -rf $(addprefix $(O)/,target cargo crate c_tests examples tests bench html tap tools)
	rm -f $(built) $(addprefix $(O)/,flags libsendfd-rust.a sendfd.o sendfd-weak.o $(tarballs))
	[ ! -d $(O) ] || rmdir --ignore-fail-on-non-empty $(O)

# Files that a packager's copy of the sources does not need.
include $(wildcard examples/examples.mk tests/tests.mk bench/bench.mk)
