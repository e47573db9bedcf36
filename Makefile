# Two commands matter: `make demo` shows the mesh at work, `make test` runs every check there is.
.PHONY: demo test bench build-tools

# Builds that nobody steps through need no incremental data.
export CARGO_INCREMENTAL ?= 0

demo: build-tools ## Two clusters on this machine: load, faults, failover, and a table of what happened.
	cargo build --locked --bins
	target/debug/isthmus demo

test: build-tools ## Formatting, lints, every test.
	cargo fmt --all --check
	cargo build --locked --workspace --all-targets
	cargo test --locked --workspace
	cargo clippy --locked --workspace --all-targets -- -D warnings

build-tools:
	@tools/setup cc=build-essential cmake=cmake git=git

bench: ## What a request costs, beside Envoy, HAProxy and nginx (about ten minutes).
	bench/bench
