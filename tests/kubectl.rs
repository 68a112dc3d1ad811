//! `kubectl` cannot tell the embedded cluster from a real one: what people type, and what they read.
//!
//! The cluster is served by this process and shared; each test has a namespace of its own. What is
//! read are transcripts. Real processes and sockets; everything is waited for, nothing is timed.

mod access;
mod describing;
mod documents;
mod editing;
mod making;
mod process;
mod reading;
mod refusals;
pub(crate) mod screen;
pub(crate) mod session;
mod watching;
mod workloads;
