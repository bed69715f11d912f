# The tests. A test is a program that prints TAP: c_tests/NAME.c, which is
# linked with the shared object and once more with the archive, or tests/KIND/NAME.t. It
# says in its first comment what it does, and may say "Not in make check".

c_test_flags   := $(c_warnings) -D_GNU_SOURCE -pthread -Iinclude -Ic_tests
c_test_support := tap peer classic_snippet
c_test_objects := $(c_test_support:%=$(O)/c_tests/%.o)
c_test_names   := $(filter-out $(c_test_support),$(basename $(notdir $(wildcard c_tests/*.c))))
cxx_test_names := $(basename $(notdir $(wildcard c_tests/*.cc)))
built_tests    := $(c_test_names) $(if $(have_cxx),$(cxx_test_names))
test_programs  := $(foreach kind,shared static,$(built_tests:%=$(O)/c_tests/$(kind)/%))

scripts  := $(wildcard tests/*/*.t)
beyond   := $(shell grep -l '^\# Not in make check' $(scripts))
not_ever := $(shell grep -l '^\# Not in make check-all' $(scripts))
# The tests that make check runs besides the C tests.
checks   := $(filter-out $(beyond),$(scripts))

# --- running them ------------------------------------------------------------

# The tests with this name, or if there is none, those in the folder with this name.
named = $(or $(filter %/$(1).t %/$(1),$(scripts) $(test_programs)),$(filter-out \
	$(not_ever),$(filter tests/$(1)/%,$(scripts))),$(error there is no test $(1), and no such kind))

# Programs that tests need.
needs = all $(filter $(O)/%,$(1)) \
	$(if $(filter tests/interop/% tests/examples/% tests/bindings/%,$(1)),$(examples)) \
	$(if $(filter tests/interop/%,$(1)),interop-peers) $(if $(filter %/kernels.t,$(1)),$(test_programs))

.PHONY: check check-all
check: $(call needs,$(test_programs) $(checks))
	$(quiet)tests/run check $(test_programs) $(checks)

.SECONDEXPANSION:
check-%: $$(call needs,$$(call named,$$*))
	$(quiet)tests/run $* $(call named,$*)

check-all:
	$(quiet)status=0; for test in check $(patsubst %.t,check-%,$(notdir $(filter-out \
		$(not_ever),$(beyond)))); do $(MAKE) $$test || status=1; done; exit $$status

# --- building them -----------------------------------------------------------

$(O)/c_tests/%.o: c_tests/%.c $(wildcard c_tests/*.h) include/sendfd.h $(O)/flags
	$(call say,CC,$@)
	$(quiet)mkdir -p $(@D)
	$(quiet)$(CC) -std=c11 $(CPPFLAGS) $(c_test_flags) $(CFLAGS) -c -o $@ $<

$(O)/c_tests/%.o: c_tests/%.cc $(wildcard c_tests/*.h) include/sendfd.h include/sendfd.hpp $(O)/flags
	$(call say,CXX,$@)
	$(quiet)mkdir -p $(@D)
	$(quiet)$(CXX) -std=c++17 $(CPPFLAGS) $(c_test_flags) $(CXXFLAGS) -c -o $@ $<

c_test_linker = $(if $(filter $(cxx_test_names),$(notdir $@)),$(CXX),$(CC)) -pthread $(CFLAGS) \
	$(LDFLAGS) -o $@ $< $(c_test_objects)

$(O)/c_tests/shared/%: $(O)/c_tests/%.o $(c_test_objects) $(O)/libsendfd.so $(O)/$(soname)
	$(quiet)mkdir -p $(@D)
	$(quiet)$(c_test_linker) $(with_shared)

$(O)/c_tests/static/%: $(O)/c_tests/%.o $(c_test_objects) $(O)/libsendfd.a
	$(quiet)mkdir -p $(@D)
	$(quiet)$(c_test_linker) $(O)/libsendfd.a

.SECONDARY: $(c_test_objects) $(built_tests:%=$(O)/c_tests/%.o)

.PHONY: interop-peers
interop-peers: all
	$(call say,BUILD,$(O)/tests/interop)
	$(quiet)CFLAGS='$(CFLAGS)' CPPFLAGS='$(CPPFLAGS)' LDFLAGS='$(LDFLAGS)' tests/interop/build

# --- what is written by measuring --------------------------------------------

.PHONY: interop-table abi-baseline
interop-table: all interop-peers
	$(quiet)tests/interop/matrix.t --table
	$(quiet)tests/interop/comparison.t --table

abi-baseline: all
	$(quiet)tests/package/abi-baseline
