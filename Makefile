# Two commands matter: `make demo` shows the mesh at work, `make test` runs every check there is.
.PHONY: demo test

demo: ## Two clusters on this machine: load, faults, failover, and a table of what happened.
	cargo build --bins
	target/debug/isthmus demo

test: ## Formatting, lints, every test.
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo test --workspace --locked
