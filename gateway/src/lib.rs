//! Gateway API and core objects -> IR and status, split by unit of output.
//!
//! Pure: no I/O, no clock, and no World in scope: an engine gathers what a unit names as its inputs and
//! calls `translate`. A user's mistake is a [`Condition`], never an error. Units, in the order in which
//! one may read what another derived:
//!
//! 1. [`class`] of each GatewayClass, by its [`parameters`] and the [`definitions`] that are there;
//!    [`certificate`] of each TLS Secret; [`listener::port_conflicts`]
//!    once, over all Gateways of ours.
//! 2. [`listener`] of each Gateway.
//! 3. [`attachment`] of each route, of any kind.
//! 4. [`http_route`] of each HTTPRoute.
//! 5. [`backend`] of each port that a route or a handle refers to.
//! 6. [`status`] of each object, when what proxies acked is known.
//!
//! [`schema`] has the defaults and rules that an API server would apply, for objects from a directory.
//! All references across namespaces go through [`reference`], whatever they refer to (case G3).

pub mod attachment;
pub mod backend;
pub mod certificate;
pub mod class;
mod condition;
pub mod definitions;

pub mod http_route;
mod lexical;
pub mod listener;
pub mod parameters;
pub mod reference;
pub mod schema;
pub mod status;

pub use condition::{Condition, Verdict};

/// `spec.controllerName` of each GatewayClass that is ours.
pub const CONTROLLER: &str = "isthmus.dev/gateway";

/// The GatewayClass that is implied in a directory.
pub const CLASS: &str = "isthmus";

/// The API group of Gateway API.
pub const GROUP: &str = "gateway.networking.k8s.io";
