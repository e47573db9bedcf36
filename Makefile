# Two commands matter: `make demo` shows the mesh at work, `make test` runs every check there is.
.PHONY: demo test bench bench-operator build-tools clusters clusters-down cluster-tools image conformance

# Builds that nobody steps through need no incremental data.
export CARGO_INCREMENTAL ?= 0

demo: build-tools ## Two clusters on this machine: load, faults, failover, and a table of what happened.
	cargo build --locked --bins
	target/debug/isthmus demo

test: build-tools cluster-tools ## Formatting, lints, every test, on real clusters too, and the official suite.
	cargo fmt --all --check
	cargo build --locked --workspace --all-targets
	target/debug/conformance --prepare
	tools/checks

clusters: build-tools cluster-tools ## Two Kubernetes clusters on this machine (CLUSTERS=, NODES= say otherwise).
	cargo build --locked --workspace --all-targets
	@target/debug/clusters up --clusters=$(or $(CLUSTERS),2) --nodes=$(or $(NODES),1)

conformance: build-tools cluster-tools ## The official Gateway API suite; results in target/conformance (ACCEPT=1 lists new passes).
	cargo build --locked --workspace --all-targets
	target/debug/conformance $(if $(ACCEPT),--accept)

image: build-tools ## OCI archives of both programs in target/images (PROFILE=debug builds faster, and larger ones).
	cargo build --locked $(if $(filter debug,$(PROFILE)),--workspace --all-targets,--release --bins)
	target/$(or $(PROFILE),release)/images target/$(or $(PROFILE),release) target/images

clusters-down: ## Takes them down.
	@target/debug/clusters down

cluster-tools: build-tools
	@tools/setup jq=jq runc=runc nft=nftables ip=iproute2 nsenter=util-linux sysctl=procps curl=curl

build-tools:
	@tools/setup cc=build-essential cmake=cmake git=git \
	  /etc/ssl/certs/ca-certificates.crt=ca-certificates

bench: ## What a request costs, beside Envoy, HAProxy and nginx (about ten minutes).
	bench/bench

bench-operator: cluster-tools ## What a control plane costs on a real API server, and how fast a write is in force.
	bench/operator
