//! Real proxies on loopback: whatever can be seen from outside. A test that pins a case of the project's list
//! of failures carries the case's id in its name.

mod failure;
mod http1;
mod smuggling;
mod support;
mod tunnel;
