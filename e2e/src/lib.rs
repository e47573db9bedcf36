//! End-to-end tests; everything of interest is in `tests/`.
