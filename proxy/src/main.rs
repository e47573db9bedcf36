//! The `isthmus-proxy` program.

fn main() {}
