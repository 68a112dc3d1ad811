//! Metric sources: which request asks, and how the reply is read. Pure; nothing here does I/O.
