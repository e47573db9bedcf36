//! Gateway API -> IR and status. Pure: no I/O, no clock; user mistakes are conditions, never errors.
