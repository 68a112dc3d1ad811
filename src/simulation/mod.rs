//! The rest of a cluster in memory: workload controllers, kubelet, garbage collector.

mod loopback;
pub mod prometheus;
pub mod workload;
