//! What build.rs makes of `proto/`. Nothing is decided here, and nothing outside this crate sees it.

#[allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/protos.rs"));
}

pub(crate) use generated::{
    envoy::service::discovery::v3 as discovery,
    isthmus::{ca::v1 as ca, federation::v1 as federation, proxy::v1 as proxy},
};

/// Shows no content: that may be a key.
impl std::fmt::Debug for discovery::Any {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} bytes)", self.type_url, self.value.len())
    }
}
