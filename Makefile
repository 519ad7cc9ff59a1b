# Lockstep: one Makefile. `make help` lists the targets.
# Variables: V=1 (show commands), WERROR=1, SAN=address,undefined, CC, PREFIX, DESTDIR, NODES (for `up`).

VERSION := 0.1.0
PREFIX ?= /usr/local
DESTDIR ?=
# Both cores, unless the caller says otherwise.
ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(shell nproc)
endif
CC := $(if $(filter default,$(origin CC)),gcc,$(CC))
SAN ?=
BUILD ?= build/$(if $(SAN),san,release)
V ?=
Q := $(if $(V),,@)
WERROR ?=

DEPS_BUILD := gcc make pkg-config libssl-dev libgit2-dev libconfig-dev libevent-dev \
	libcurl4-openssl-dev libjansson-dev zlib1g-dev libsystemd-dev libseccomp-dev
DEPS_TEST := $(DEPS_BUILD) check bats git gpgsm gpg gpg-agent openssl redis-server redis-tools etcd-server etcd-client nginx-light \
	haproxy strace valgrind clang llvm libclang-rt-14-dev clang-format jq curl socat faketime mandoc \
	procps iproute2 systemd systemd-container dbus man-db bash zsh python3 libfuse3-dev fuse3 e2fsprogs \
	xfsprogs

PKGS := libcrypto libssl zlib libgit2 libconfig libevent libevent_openssl libcurl jansson libsystemd libseccomp
PKG_CFLAGS = $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS = $(shell pkg-config --libs $(PKGS) 2>/dev/null)

WARN := -Wall -Wextra -Wshadow -Wpointer-arith -Wcast-qual -Wwrite-strings -Wvla -Wundef \
	-Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wformat=2 \
	-Wimplicit-fallthrough -Wswitch-enum $(if $(WERROR),-Werror)
HARDEN := $(if $(SAN),,-D_FORTIFY_SOURCE=2) -fstack-protector-strong -fstack-clash-protection \
	-fcf-protection -fPIE
CPPFLAGS_ALL = -D_GNU_SOURCE -DLS_VERSION='"$(VERSION)"' -DLS_PREFIX='"$(PREFIX)"' -iquote src -iquote . \
	-include src/base/banned.h $(CPPFLAGS)
CFLAGS ?= $(if $(SAN),-O1,-O2) -g
CFLAGS_ALL = -std=gnu17 -pthread $(WARN) $(HARDEN) $(PKG_CFLAGS) $(CFLAGS) \
	$(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)
LDFLAGS_ALL = -pie -pthread -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed $(LDFLAGS) \
	$(if $(SAN),-fsanitize=$(SAN))

PROGRAMS := lockstep lockstepd lockstep-gateway
MAINS := src/cli/main.c src/daemon/main.c src/gateway/main.c
LIB_SRC := $(filter-out $(MAINS),$(wildcard src/*/*.c))
LIB_OBJ := $(LIB_SRC:%.c=$(BUILD)/%.o)
LIB := $(BUILD)/liblockstep.a
UNITS := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/test_*.c))

.DEFAULT_GOAL := all
.PHONY: all units lint fmt clean install uninstall deps-build deps-test check check-run up down \
	clean-run bench fuzz fuzzers soak help FORCE
.SECONDARY:
.DELETE_ON_ERROR:

all: deps-build $(PROGRAMS:%=$(BUILD)/%) $(BUILD)/rladmin

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC      $<")
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

$(LIB): $(LIB_OBJ)
	@rm -f $@
	$(if $(V),,@echo "  AR      $@")
	$(Q)ar rcs $@ $^

$(BUILD)/lockstep: $(BUILD)/src/cli/main.o $(LIB)
$(BUILD)/lockstepd: $(BUILD)/src/daemon/main.o $(LIB)
$(BUILD)/lockstep-gateway: $(BUILD)/src/gateway/main.o $(LIB)
$(PROGRAMS:%=$(BUILD)/%):
	$(if $(V),,@echo "  LINK    $@")
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS)

$(BUILD)/rladmin: $(BUILD)/lockstep
	$(Q)ln -sf lockstep $@

$(BUILD)/tests/%: $(BUILD)/tests/unit/%.o $(LIB)
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK    $@")
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(shell pkg-config --libs check) $(PKG_LIBS)

# Tests that look at or fail single system calls have the linker send these to them.
wrap = $(foreach call,$(1),-Wl,--wrap=$(call))
$(BUILD)/tests/test_watch: LDFLAGS += $(call wrap,inotify_init1 inotify_add_watch)
$(BUILD)/tests/test_file: LDFLAGS += $(call wrap,openat write fchown fchmod fsync renameat \
	unlinkat symlinkat mkdirat)
$(BUILD)/tests/test_store: LDFLAGS += $(call wrap,openat write fchmod fsync renameat unlinkat)
$(BUILD)/tests/test_store: $(BUILD)/tests/unit/fake_store.o $(BUILD)/tests/unit/lossy_store.o
$(BUILD)/tests/test_differential: $(BUILD)/tests/fuzz/support/der.o

# The simulator; -DLS_MUTANT=n in CPPFLAGS builds it with one thing wrong.
SIM_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/sim/*.c))
$(BUILD)/sim: $(SIM_OBJ) $(LIB)
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK    $@")
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS)

units: $(UNITS)

# What the end-to-end tests put against the services beside lockstep itself.
E2E_PROGRAMS := $(patsubst tests/e2e/%.c,$(BUILD)/tests/%,$(wildcard tests/e2e/*.c))
.PHONY: e2e-programs
e2e-programs: $(E2E_PROGRAMS)
$(E2E_PROGRAMS): $(BUILD)/tests/%: $(BUILD)/tests/e2e/%.o
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK    $@")
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(shell pkg-config --libs libssl libcrypto)

# The disk that is cut off from power, and what leaves out syncs (without sanitizers: it is preloaded).
e2e-programs: $(BUILD)/tests/disk $(BUILD)/tests/nosync.so
$(BUILD)/tests/disk: $(BUILD)/tests/power/disk.o
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK    $@")
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(shell pkg-config --libs fuse3)
$(BUILD)/tests/nosync.so: tests/power/nosync.c
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK    $@")
	$(Q)$(CC) -std=gnu17 -D_GNU_SOURCE $(WARN) -O1 -g -fPIC -shared -o $@ $<

# What strikes at system calls.
e2e-programs: $(BUILD)/tests/inject
$(BUILD)/tests/inject: $(BUILD)/tests/crash/inject.o
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK    $@")
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^

# Installs what is missing, and asks for nothing when nothing is. Starts no service: while packages are installed a
# policy-rc.d forbids it, unless the machine has one of its own.
deps-build:
	@tests/deps $(DEPS_BUILD)
deps-test:
	@tests/deps $(DEPS_TEST)

# Where templates and policies were installed is compiled in, so another PREFIX is another object.
$(BUILD)/prefix: FORCE
	@mkdir -p $(@D)
	@printf '%s' '$(PREFIX)' | cmp -s - $@ || printf '%s' '$(PREFIX)' >$@
$(BUILD)/src/base/paths.o: $(BUILD)/prefix
FORCE:

# ---- a node to try ----

RUN := run
NODES ?= 1
# Several need an etcd, and curl to see that its members are well.
DEPS_UP := etcd-server curl
up: all
	@case '$(NODES)' in [1-9] | [1-9][0-9]) ;; *) echo "make up: NODES=$(NODES): wanted a number" >&2; exit 2 ;; esac
	@test '$(NODES)' = 1 || tests/deps $(DEPS_UP)
	@tests/up $(BUILD) $(CURDIR)/$(RUN) $(NODES)
down:
	@tests/down $(RUN)
clean-run: down
	rm -rf $(RUN)

# ---- checks ----

check: deps-test
	@$(MAKE) --no-print-directory check-run
check-run:
	@tests/check
lint:
	@tests/lint
fmt:
	clang-format -i $(wildcard src/*/*.[ch] tests/*/*.[ch] tests/*/*/*.[ch])

# Fuzz targets are built apart, with clang. FUZZ_SECONDS is for each target.
FUZZ_SECONDS ?= 3600
FUZZERS := $(patsubst tests/fuzz/%.c,build/fuzz/tests/%,$(wildcard tests/fuzz/fuzz_*.c))
fuzzers:
	@$(MAKE) --no-print-directory CC=clang BUILD=build/fuzz SAN=address,undefined \
		CFLAGS='-O1 -g -fsanitize=fuzzer-no-link' $(FUZZERS)
FUZZ_SUPPORT := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/fuzz/support/*.c))
build/fuzz/tests/%: $(BUILD)/tests/fuzz/%.o $(FUZZ_SUPPORT) $(LIB)
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK    $@")
	$(Q)$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer -o $@ $^ $(PKG_LIBS)
fuzz: deps-test fuzzers
	@tests/fuzz/run $(FUZZ_SECONDS)

bench: all
	@tests/bench/run $(BUILD)

# The slow proofs, up to an hour each: tests/soak/NN-name. SOAK="10-crash" runs that one alone.
soak: deps-test all e2e-programs
	@tests/soak/run $(SOAK)

# ---- installation ----

BINDIR = $(DESTDIR)$(PREFIX)/bin
SBINDIR = $(DESTDIR)$(PREFIX)/sbin
SHARE = $(DESTDIR)$(PREFIX)/share
UNITDIR = $(DESTDIR)$(PREFIX)/lib/systemd/system
SYSUSERSDIR = $(DESTDIR)$(PREFIX)/lib/sysusers.d
MAN = $(wildcard docs/man/*.[158])
UNITS_OF_SYSTEMD = $(notdir $(wildcard units/*.service))

install: all
	install -d $(BINDIR) $(SBINDIR) $(SHARE)/lockstep/templates $(SHARE)/lockstep/policies \
		$(UNITDIR) $(SYSUSERSDIR) $(SHARE)/bash-completion/completions $(SHARE)/zsh/site-functions \
		$(SHARE)/doc/lockstep
	install -m 755 $(BUILD)/lockstep $(BINDIR)/lockstep
	ln -sf lockstep $(BINDIR)/rladmin
	install -m 755 $(BUILD)/lockstepd $(BUILD)/lockstep-gateway $(SBINDIR)
	install -m 644 templates/*.conf $(SHARE)/lockstep/templates
	install -m 644 policies/*.conf $(SHARE)/lockstep/policies
	for unit in $(UNITS_OF_SYSTEMD); do \
		sed 's|@PREFIX@|$(PREFIX)|g' units/$$unit >$(UNITDIR)/$$unit && \
		chmod 644 $(UNITDIR)/$$unit || exit 1; done
	install -m 644 units/lockstep.sysusers $(SYSUSERSDIR)/lockstep.conf
	install -m 644 docs/completion/lockstep.bash $(SHARE)/bash-completion/completions/lockstep
	ln -sf lockstep $(SHARE)/bash-completion/completions/rladmin
	install -m 644 docs/completion/_lockstep $(SHARE)/zsh/site-functions/_lockstep
	install -m 644 README.md LICENSE docs/*.md docs/*.svg docs/*.tsv $(SHARE)/doc/lockstep
	for page in $(MAN); do \
		dir=$(SHARE)/man/man$${page##*.}; install -d $$dir && install -m 644 $$page $$dir || exit 1; done

uninstall:
	rm -f $(BINDIR)/lockstep $(BINDIR)/rladmin $(SBINDIR)/lockstepd $(SBINDIR)/lockstep-gateway \
		$(UNITS_OF_SYSTEMD:%=$(UNITDIR)/%) \
		$(SYSUSERSDIR)/lockstep.conf $(SHARE)/bash-completion/completions/lockstep \
		$(SHARE)/bash-completion/completions/rladmin $(SHARE)/zsh/site-functions/_lockstep \
		$(foreach page,$(MAN),$(SHARE)/man/man$(subst .,,$(suffix $(page)))/$(notdir $(page)))
	rm -rf $(SHARE)/lockstep $(SHARE)/doc/lockstep

clean:
	rm -rf build

help:
	@echo "make            builds lockstep, lockstepd, lockstep-gateway and rladmin (build/release)"
	@echo "make up, down   a node at $(RUN)/n1, started and stopped; clean-run deletes it"
	@echo "make check      every test, with sanitizers; lint: style and layers alone"
	@echo "make fuzz       each fuzz target for FUZZ_SECONDS; bench: measurements with their method"
	@echo "make soak       the slow proofs (crash points, power cuts, long life), up to an hour each"
	@echo "make install PREFIX=$(PREFIX) DESTDIR=, uninstall, clean, fmt"

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
