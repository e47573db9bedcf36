//! Filters of a rule or of a backend: which combinations are valid, and what the IR says of them.
