//! Rollouts: from what was observed to the changes that are due.

pub mod operations;
