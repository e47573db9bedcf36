//! Compiles the protobuf declarations, without protoc.

use std::{error::Error, path::PathBuf};

/// Each of them, below `proto`.
const FILES: [&str; 12] = [
    "envoy/service/discovery/v3/discovery.proto",
    "isthmus/ca/v1/ca.proto",
    "isthmus/federation/v1/federation.proto",
    "isthmus/proxy/v1/commit.proto",
    "isthmus/proxy/v1/endpoints.proto",
    "isthmus/proxy/v1/evidence.proto",
    "isthmus/proxy/v1/listener.proto",
    "isthmus/proxy/v1/peer.proto",
    "isthmus/proxy/v1/route.proto",
    "isthmus/proxy/v1/service.proto",
    "isthmus/proxy/v1/snapshot_file.proto",
    "isthmus/proxy/v1/trust.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("proto");
    let files = protox::compile(FILES, [root])?;
    tonic_prost_build::configure()
        .bytes(".")
        .btree_map(".")
        // A key must not show in any debug output.
        .skip_debug([".isthmus.proxy.v1.Certificate", ".envoy.service.discovery.v3.Any"])
        .include_file("protos.rs")
        .emit_rerun_if_changed(false)
        .compile_fds(files)?;
    Ok(())
}
