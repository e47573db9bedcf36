//! The custom resources of Isthmus and of the Multi-Cluster Services API as Rust types.
