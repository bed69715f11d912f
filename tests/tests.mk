# Everything that tests: `make check`, and what goes beyond it. A test prints TAP; in
# tests/ there is a folder for each kind, and each tells in its first comment what it
# would catch.

test_flags     := $(c_warnings) -D_GNU_SOURCE -pthread -Iinclude -Ic_tests
test_support   := tap peer classic_snippet
test_objects   := $(test_support:%=$(O)/c_tests/%.o)
c_test_names   := $(filter-out $(test_support),$(basename $(notdir $(wildcard c_tests/*.c))))
cxx_test_names := $(basename $(notdir $(wildcard c_tests/*.cc)))
# Without a C++ compiler the tests in C++ are skipped, and the run says so.
have_cxx       := $(shell command -v $(CXX))
built_tests    := $(c_test_names) $(if $(have_cxx),$(cxx_test_names))
# Each is linked with the shared object and once more with the archive.
test_programs  := $(foreach kind,shared static,$(built_tests:%=$(O)/c_tests/$(kind)/%))
# make check runs all of these kinds but what takes long or needs more.
beyond_check   := $(addprefix tests/,package/abi.t package/reproducible.t model/model.t)
checks         := $(filter-out $(beyond_check),$(foreach \
	kind,package documents examples bindings interop model,$(wildcard tests/$(kind)/*.t)))

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
		$(with_shared)

$(O)/c_tests/static/%: $(O)/c_tests/%.o $(test_objects) $(O)/libsendfd.a
	$(quiet)mkdir -p $(@D)
	$(quiet)$(test_linker) -pthread $(CFLAGS) $(LDFLAGS) -o $@ $< $(test_objects) \
		$(O)/libsendfd.a

.SECONDARY: $(test_objects) $(built_tests:%=$(O)/c_tests/%.o)

# --- interoperation --------------------------------------------------------

# libsendfd with every other thing that passes descriptors, and with programs that
# do: tests/interop/matrix.t tells with which.
interop_tests := $(wildcard tests/interop/*.t)
interop_built := $(addprefix $(O)/tests/interop/,c classic talk)
interop_cc     = mkdir -p $(@D) && $(CC) -std=c11 $(CPPFLAGS) $(c_warnings) -D_GNU_SOURCE \
	-Iinclude -Ic_tests $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.c,$^)

$(O)/tests/interop/c: $(addprefix tests/interop/peers/,c.c command.c command.h) \
		include/sendfd.h $(O)/libsendfd.so $(O)/$(soname)
	$(call say,CC,$@)
	$(quiet)$(interop_cc) $(with_shared)

$(O)/tests/interop/classic: $(addprefix tests/interop/peers/,classic.c command.c command.h) \
		c_tests/classic_snippet.c c_tests/peer.h
	$(call say,CC,$@)
	$(quiet)$(interop_cc)

$(O)/tests/interop/talk: tests/interop/talk.c include/sendfd.h $(O)/libsendfd.so $(O)/$(soname)
	$(call say,CC,$@)
	$(quiet)$(interop_cc) $(with_shared)

# Cargo decides what is out of date here too.
.PHONY: interop_rust check-interop interop-table
interop_rust: | $(O)
	$(call say,CARGO,$(O)/tests/interop/rust)
	$(quiet)tests/interop/rust/build $(O)

check-interop: all $(interop_built) $(examples) interop_rust
	$(quiet)tests/run interop $(interop_tests)

interop-table: all $(interop_built) interop_rust
	$(quiet)tests/interop/matrix.t --table

# --- all tests -------------------------------------------------------------

.PHONY: check
check: all $(test_programs) $(examples) $(if $(filter $(interop_tests),$(checks)),$(interop_built) interop_rust)
	$(quiet)tests/run check $(test_programs) $(checks)

# --- proofs ----------------------------------------------------------------

# Each tells in its first comment what it would catch. TEST_TIMEOUT: in seconds.
.PHONY: check-fault check-syscalls check-signal-safety check-abi abi-baseline \
	check-reproducible check-valgrind check-asan check-model check-arch check-breakages \
	check-mutants fuzz soak

$(O)/tests/stress/%: tests/stress/%.c tests/faults/scenario.c tests/faults/scenario.h $(test_objects) \
		$(O)/libsendfd.so $(O)/$(soname)
	$(call say,CC,$@)
	$(quiet)mkdir -p $(@D)
	$(quiet)$(CC) -std=c11 $(CPPFLAGS) $(test_flags) $(CFLAGS) $(LDFLAGS) -o $@ $< \
		-Itests/faults tests/faults/scenario.c $(test_objects) $(with_shared)

check-fault: all
	$(quiet)TEST_TIMEOUT=600 tests/run fault tests/faults/fault.t

check-syscalls: all
	$(quiet)TEST_TIMEOUT=300 tests/run syscalls tests/faults/syscalls.t

check-signal-safety: $(O)/tests/stress/signal_storm $(O)/tests/stress/stack_use
	$(quiet)tests/run signal-safety $^

check-abi: all
	$(quiet)TEST_TIMEOUT=300 tests/run abi tests/package/abi.t

abi-baseline: all
	$(quiet)tests/package/abi-baseline

check-reproducible:
	$(quiet)TEST_TIMEOUT=300 tests/run reproducible tests/package/reproducible.t

check-valgrind: all $(test_programs)
	$(quiet)TEST_TIMEOUT=1200 tests/run valgrind tests/memory/valgrind.t

check-asan: all
	$(quiet)TEST_TIMEOUT=1200 tests/run asan tests/memory/asan.t

check-arch: all
	$(quiet)TEST_TIMEOUT=1800 tests/run arch tests/machines/arch.t

check-breakages: all
	$(quiet)TEST_TIMEOUT=1800 tests/run breakages tests/breakage/breakages.t

# Half an hour, and so not in CI.
check-mutants: all
	$(quiet)TEST_TIMEOUT=7200 tests/run mutants tests/breakage/mutants.py

check-model: all
	$(quiet)TEST_TIMEOUT=300 tests/run model tests/model/model.t

FUZZ_SECONDS ?= 60
fuzz: all
	$(quiet)TEST_TIMEOUT=$$((2 * $(FUZZ_SECONDS) + 900)) FUZZ_SECONDS=$(FUZZ_SECONDS) \
		tests/run fuzz tests/model/fuzz/run

SOAK_SECONDS ?= 60
soak: all
	$(quiet)SOAK_SECONDS=$(SOAK_SECONDS) TEST_TIMEOUT=$$(($(SOAK_SECONDS) + 120)) \
		tests/run soak tests/stress/soak.t

