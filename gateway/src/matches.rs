//! Matches of a rule: what is valid, and their normal form.
