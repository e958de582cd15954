# The front door. Meson does the work; every target says what it does with `make help`.
BUILD     ?= build
PREFIX    ?= /usr/local
DESTDIR   ?=
MESON     ?= meson
export RAMET_CACHE ?= $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/ramet

.PHONY: help all deps build demo check check-quick check-host fuzz bench lint format install uninstall clean
all: build

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | sort | while IFS="$$(printf '\t')" read -r t h; do printf '  make %-12s %s\n' "$$t" "$$h"; done

deps: ## install what is missing (apt-get; the guest kernel goes to a cache folder)
	@scripts/deps

build: deps ## build ramet and libramet into build/
	@scripts/build $(BUILD)

demo: build ## the whole road on a real root: build, fork, boot, change, diff
	@scripts/demo $(BUILD)

check: deps ## every test, sanitizers, lint, a minute of fuzzing, documentation
	@scripts/check

check-quick: build ## unit and command-line tests only
	@scripts/check quick

check-host: build ## tests on the test host, a machine in QEMU; TEST=readers runs one
	@scripts/check-host $(BUILD) $(TEST)

fuzz: deps ## fuzz every parser for SECONDS (default 60)
	@tests/fuzz/run $(or $(SECONDS),60)

bench: build ## every figure beside its rival; BENCH=fork runs one
	@scripts/bench $(BUILD) $(BENCH)

lint: deps ## format, strict warnings, clang-tidy, shellcheck, documentation
	@scripts/lint

format: ## clang-format every source
	@git ls-files '*.c' '*.h' | xargs clang-format -i

install: build ## install below PREFIX (default /usr/local)
	@$(MESON) configure $(BUILD) --prefix=$(PREFIX) > /dev/null
	@DESTDIR=$(DESTDIR) $(MESON) install -C $(BUILD) --quiet
	@echo "installed below $(DESTDIR)$(PREFIX); 'ramet doctor' says what this host can do"

uninstall: ## remove what install put there
	@ninja -C $(BUILD) uninstall

clean: ## remove the build folders
	rm -rf $(BUILD) $(BUILD)-*
