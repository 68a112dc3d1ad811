//! The HTTP client of the simulation: it only ever speaks to this machine.

use std::time::Duration;

/// A client without proxies (they could not reach a loopback address) and with a time-out.
pub(super) fn client(timeout: Duration) -> reqwest::Result<reqwest::Client> {
    // Building a client panics without a provider; an error only says that there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .timeout(timeout)
        .build()
}
