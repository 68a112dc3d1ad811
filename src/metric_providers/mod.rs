//! Metric sources: which request asks, and how the reply is read. Pure; nothing here does I/O.

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Take a new measurement.
    Run,
    /// Look at the one in flight.
    Resume,
    /// Stop the one in flight.
    Terminate,
}
