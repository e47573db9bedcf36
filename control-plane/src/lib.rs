//! The running control plane: sources, run loop, publish, status, federation streams, CA, DNS and proxies as local processes.
