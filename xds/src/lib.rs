//! The wire: IR <-> protobuf, the delta protocol as a sans-IO state machine, and thin tonic endpoints.
