//! A Kubernetes API server in memory, as an axum `Router`.
