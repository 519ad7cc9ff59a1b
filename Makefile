# Lockstep: one Makefile. `make help` lists the targets.
# Variables: V=1 (show commands), WERROR=1, SAN=address,undefined, CC, PREFIX, DESTDIR, NODES (for `up`).

VERSION := 0.1.0
PREFIX ?= /usr/local
DESTDIR ?=
CC := $(if $(filter default,$(origin CC)),gcc,$(CC))
SAN ?=
BUILD ?= build/$(if $(SAN),san,release)
V ?=
Q := $(if $(V),,@)
WERROR ?=

DEPS_BUILD := gcc make pkg-config libssl-dev libgit2-dev libconfig-dev libevent-dev \
	libcurl4-openssl-dev libjansson-dev zlib1g-dev libsystemd-dev
DEPS_TEST := $(DEPS_BUILD) check bats git gpgsm gpg gpg-agent openssl redis-server redis-tools nginx-light \
	haproxy strace valgrind clang llvm libclang-rt-14-dev clang-format jq curl socat faketime \
	procps iproute2 systemd systemd-container dbus man-db bash zsh python3-minimal

PKGS := libcrypto libssl zlib libgit2 libconfig libevent libevent_openssl libcurl jansson libsystemd
PKG_CFLAGS = $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS = $(shell pkg-config --libs $(PKGS) 2>/dev/null)

WARN := -Wall -Wextra -Wshadow -Wpointer-arith -Wcast-qual -Wwrite-strings -Wvla -Wundef \
	-Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wformat=2 \
	-Wimplicit-fallthrough -Wswitch-enum $(if $(WERROR),-Werror)
HARDEN := $(if $(SAN),,-D_FORTIFY_SOURCE=2) -fstack-protector-strong -fstack-clash-protection \
	-fcf-protection -fPIE
CPPFLAGS_ALL = -D_GNU_SOURCE -DLS_VERSION='"$(VERSION)"' -DLS_PREFIX='"$(PREFIX)"' -iquote src -iquote . \
	-include src/base/banned.h $(CPPFLAGS)
CFLAGS ?= -O2 -g
CFLAGS_ALL = -std=gnu17 -pthread $(WARN) $(HARDEN) $(PKG_CFLAGS) $(CFLAGS) \
	$(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)
LDFLAGS_ALL = -pie -pthread -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed $(LDFLAGS) \
	$(if $(SAN),-fsanitize=$(SAN))

PROGRAMS := lockstep lockstepd
MAINS := src/cli/main.c src/daemon/main.c
LIB_SRC := $(filter-out $(MAINS),$(wildcard src/*/*.c))
LIB_OBJ := $(LIB_SRC:%.c=$(BUILD)/%.o)
LIB := $(BUILD)/liblockstep.a
UNITS := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/test_*.c))

.DEFAULT_GOAL := all
.PHONY: all units lint fmt clean install uninstall deps-build deps-test check up down clean-run bench \
	fuzz soak help
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

units: $(UNITS)

# Installs what is missing, and asks for nothing when nothing is. Starts no service: while packages are installed a
# policy-rc.d forbids it, unless the machine has one of its own.
deps-build:
	@tests/deps $(DEPS_BUILD)
deps-test:
	@tests/deps $(DEPS_TEST)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
