//! The guided tour: its manifests, echo backends, load and faults.
