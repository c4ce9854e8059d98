# What a developer types. `make` alone lists it. Every target gets what it needs by itself.

BIN := $(or $(CARGO_TARGET_DIR),target)/debug
# Extra arguments for `titan dev`, `cargo test` or `cargo bench`, for example: make demo ARGS=--once
ARGS ?=

.PHONY: help setup build demo dev test check fmt-check lint doc docs deny bench clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

setup: ## Get what is missing to build and test (a C compiler, a Redis or Valkey server)
	@sh scripts/setup.sh

# One set of packages everywhere, so that no target makes another one compile the dependencies again.
build: setup ## Build all programs into target/debug
	cargo build --workspace --bins

demo: build ## Start Redis, a coordinator, two agents and a small model here, run real jobs and chat; ARGS=--once ends by itself
	@sh scripts/setup.sh --model
	@$(BIN)/titan dev --demo $(ARGS)

dev: setup ## Run `titan dev`, rebuilt and restarted whenever a source file changes
	@bash scripts/dev.sh $(ARGS)

test: build ## Run all tests; ARGS="-p titan-lua" or ARGS=name narrows it down
	@sh scripts/setup.sh --clients
	TITAN_BIN_DIR=$(abspath $(BIN)) cargo test $(ARGS)

check: fmt-check lint doc deny ## Formatting, lints, documentation, dependencies

fmt-check:
	cargo fmt --all --check

lint: setup
	cargo clippy --workspace --all-targets -- -D warnings

doc: setup
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

docs: build ## Write what is generated in docs/, after a change of the command line
	@$(BIN)/titan manual --reference docs/cli.md

deny:
	@sh scripts/setup.sh --checks
	@sh scripts/deny.sh

bench: ## Measure speed and sizes (10 minutes, and more for the first optimised build); ARGS="--bench placing" for one
	@sh scripts/setup.sh --benches
	cargo bench --package titan-tests $(ARGS)

clean: ## Remove what was built and fetched in this folder
	cargo clean
	rm -rf .tools
