//! Observe, decide, act: one file per kind.
