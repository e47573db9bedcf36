//! End-to-end tests; everything of interest is in `tests/`. Here is what several of them need.

use std::path::PathBuf;

/// Where `isthmus` and `isthmus-proxy` are: above this test's own program.
///
/// # Panics
/// When they were not built.
#[allow(clippy::panic, reason = "tests fail by panicking")]
pub fn programs() -> PathBuf {
    let exe = std::env::current_exe().unwrap_or_default();
    let directory = exe.ancestors().find(|directory| directory.join("isthmus").is_file());
    let Some(directory) = directory else {
        panic!("no `isthmus` beside {}: build the programs first, as `make test` does", exe.display())
    };
    directory.to_owned()
}
