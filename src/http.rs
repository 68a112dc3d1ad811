//! The door to everything else over HTTP: time-outs, size limits, TLS, refused addresses, redaction.
