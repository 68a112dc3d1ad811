//! Connections: the server on a socket, with limits that keep one client from harming the others.

use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How long a connection may go without a whole request head. Longer than clients keep connections
/// that they do not use (Go and hyper: 90 s), so that it is they who close them: a request that meets
/// a closing connection fails.
const HEAD_WITHIN: Duration = Duration::from_mins(2);

/// The largest request head: Go's limit, and so that of a real API server. Selectors in paths may be
/// long.
const LARGEST_HEAD: usize = 1024 * 1024;

/// How long requests in flight may take once the serving is to end.
const LAST_REQUESTS: Duration = Duration::from_secs(2);

/// The wait after a connection could not be taken: usually there are too many open files.
const AFTER_REFUSAL: Duration = Duration::from_secs(1);

/// Serves HTTP/1.1 until `stop`; then takes no new connections and ends those that are open, once
/// they have answered or after two seconds.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    serve_within(HEAD_WITHIN, listener, router, stop).await;
}

async fn serve_within(
    head_within: Duration,
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
) {
    // Each connection is a task of its own: what fails in it fails alone.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let stop = stop.clone();
                    connections.spawn(answer(head_within, stream, router.clone(), stop));
                }
                Err(error) => {
                    warn!(%error, "cannot take a connection and waits");
                    tokio::time::sleep(AFTER_REFUSAL).await;
                }
            }
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    // Those that are not done by then end when the set is dropped.
    let _ = tokio::time::timeout(LAST_REQUESTS, all).await;
}

async fn answer(head_within: Duration, stream: TcpStream, router: Router, stop: CancellationToken) {
    // Small answers, such as the events of a watch, are sent at once. It is but a wish.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_within)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    // An error here is a client that went away, is too slow or does not speak HTTP, or a fault.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn served(head_within: Duration) -> (std::net::SocketAddr, CancellationToken) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let router = Router::new().fallback(get(|| async { "ok" }));
        tokio::spawn(serve_within(head_within, listener, router, stop.clone()));
        (address, stop)
    }

    /// All that comes back for what is sent until the connection is closed.
    async fn replies(address: std::net::SocketAddr, sent: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The server may answer and close before all is sent.
        let _ = stream.write_all(sent).await;
        let mut told = Vec::new();
        let _ = stream.read_to_end(&mut told).await;
        String::from_utf8(told).unwrap()
    }

    const WHOLE: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

    #[tokio::test]
    async fn a_client_that_does_not_finish_its_request_is_cut_off_and_others_are_answered() {
        let (address, _stop) = served(Duration::from_millis(50)).await;
        let slow = tokio::spawn(replies(address, b"GET / HTTP/1.1\r\nhost:"));
        assert!(replies(address, WHOLE).await.starts_with("HTTP/1.1 200"));
        assert_eq!(slow.await.unwrap(), "");
    }

    #[tokio::test]
    async fn a_request_head_that_is_too_large_is_refused() {
        let (address, _stop) = served(HEAD_WITHIN).await;
        let mut sent = b"GET / HTTP/1.1\r\nhost: x\r\nx: ".to_vec();
        sent.resize(LARGEST_HEAD + 1, b'x');
        let told = replies(address, &sent).await;
        assert!(told.starts_with("HTTP/1.1 431"), "{told}");
    }

    #[tokio::test]
    async fn connections_without_a_request_end_with_the_serving() {
        let (address, stop) = served(HEAD_WITHIN).await;
        let idle = tokio::spawn(replies(address, b""));
        assert!(replies(address, WHOLE).await.starts_with("HTTP/1.1 200"));
        stop.cancel();
        assert_eq!(idle.await.unwrap(), "");
    }
}
