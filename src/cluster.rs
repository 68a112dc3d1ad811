//! The door to Kubernetes: read, apply, write status, record Events.
