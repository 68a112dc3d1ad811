//! Logs, spans and `/metrics`.
