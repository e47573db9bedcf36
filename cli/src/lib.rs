//! The `isthmus` command: arguments, output and exit codes. Logic lives in the crates below it.
