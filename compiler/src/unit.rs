//! The units: for each derived thing what is gathered, and which function of `gateway` or `east-west`
//! translates it. Nothing is decided here.

mod attachment;
mod backend;
mod certificate;
mod class;
mod east_west;
mod export;
mod gateway;
mod import;
mod keep;
mod name;
mod port;
mod route;
mod span;
mod trust;

pub(crate) use attachment::Attachments;
pub(crate) use backend::{Backends, BackendsContext, PortKey, ports_of};
pub(crate) use certificate::Certificates;
pub(crate) use class::Classes;
pub(crate) use east_west::{EastWest, EastWestOutput};
pub(crate) use export::{Exports, ExportsContext};
pub(crate) use gateway::{Gateways, GatewaysContext, grants};
pub(crate) use import::{ImportOutput, Imports, ImportsContext};
pub(crate) use name::{ImportNames, table};
pub(crate) use port::Ports;
pub(crate) use route::{Routes, RoutesContext};
pub(crate) use span::{Spans, SpansContext};
pub(crate) use trust::{TrustOutput, Trusts};
