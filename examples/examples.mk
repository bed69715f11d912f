# The examples, each built with the shared object, and the demos: `make demo`.

.PHONY: demo

short_examples := $(patsubst %.c,$(O)/%,$(wildcard examples/*.c))
c_examples     := $(short_examples) $(O)/examples/handover $(O)/examples/load
# Without a C++ compiler what is in C++ is left out, and its tests are skipped.
have_cxx       := $(shell command -v $(CXX))
cxx_examples   := $(if $(have_cxx),$(patsubst %.cc,$(O)/%,$(wildcard examples/*.cc)))
examples       := $(c_examples) $(cxx_examples)
c_warnings     := -Wall -Wextra -Wpedantic -Werror
# Programs that are built here and linked with the shared object find it here.
with_shared     = -L$(O) -lsendfd -Wl,-rpath,$(call quoted,$(abspath $(O)))

$(short_examples): $(O)/%: %.c
$(O)/examples/load: examples/handover/load.c
$(O)/examples/handover: $(filter-out %/load.c,$(wildcard examples/handover/*.[ch]))

$(c_examples): include/sendfd.h $(O)/libsendfd.so $(O)/$(soname) $(O)/flags
	$(call say,CC,$@)
	$(quiet)mkdir -p $(@D)
	$(quiet)$(CC) -std=c11 $(CPPFLAGS) $(c_warnings) -D_GNU_SOURCE -Iinclude $(CFLAGS) \
		$(LDFLAGS) -o $@ $(filter %.c,$^) $(with_shared)

$(cxx_examples): $(O)/%: %.cc include/sendfd.hpp include/sendfd.h $(O)/libsendfd.so $(O)/$(soname) \
		$(O)/flags
	$(call say,CXX,$@)
	$(quiet)mkdir -p $(@D)
	$(quiet)$(CXX) -std=c++17 $(CPPFLAGS) $(c_warnings) -Iinclude $(CXXFLAGS) $(LDFLAGS) \
		-o $@ $(filter %.cc,$^) $(with_shared)

demo: all $(addprefix $(O)/examples/,parent_child unrelated handover load)
	$(quiet)examples/demo.sh $(O)/examples
	$(quiet)examples/handover/demo.sh $(O)/examples
