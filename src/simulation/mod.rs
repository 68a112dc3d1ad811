//! The rest of a cluster in memory: workload controllers, kubelet, garbage collector.
