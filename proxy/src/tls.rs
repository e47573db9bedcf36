//! TLS: streams without idle buffers, listeners' certificates, and the mesh's mutual TLS.

mod hello;
mod mesh;
mod server;
mod stream;

pub(crate) use hello::{Hello, read_hello, refuse_name};
pub(crate) use mesh::{ALPN, HandleState, MeshTls, Svid, svid};
pub(crate) use server::{ListenerTls, certified_key};
pub(crate) use stream::TlsStream;
