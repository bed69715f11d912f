# The benchmarks: `make bench`, and `make bench-plot` for what docs/BENCHMARKS.md shows.

.PHONY: bench bench-plot

bench_programs := $(addprefix $(O)/bench/,one_descriptor buffers arrays load)
BENCH_QUICK    ?= 0

# The alternatives are compiled as for a release, whatever CFLAGS says.
$(O)/bench/%: bench/%.c bench/bench.c bench/contenders.c $(wildcard bench/*.h) \
		include/sendfd.h $(O)/libsendfd.so $(O)/$(soname) $(O)/flags
	$(call say,CC,$@)
	$(quiet)mkdir -p $(@D)
	$(quiet)$(CC) -std=c11 $(CPPFLAGS) $(c_warnings) -D_GNU_SOURCE -Iinclude $(CFLAGS) -O2 \
		$(LDFLAGS) -o $@ $(filter %.c,$^) $(with_shared)

bench: all $(bench_programs)
	$(quiet)CFLAGS='$(CFLAGS) -O2' CPPFLAGS='$(CPPFLAGS)' LDFLAGS='$(LDFLAGS)' \
		BENCH_QUICK='$(BENCH_QUICK)' bench/run $(BENCH_PARTS)

bench-plot:
	$(quiet)bench/plot
	$(quiet)bench/report

