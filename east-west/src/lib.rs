//! Federation: exports, imports, conflict rules, peers and their leases, trust bundles and names. No I/O, no clock.
