//! Faults as clients meet them: what is sent instead of an answer, or with it.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use futures::{StreamExt as _, stream};
use tokio::time::sleep;

use super::failure::Failure;
use super::serving::refusal;
use super::traffic::Fault;
use super::watching;

/// Answers a request as its fault says; `carry_out` does what was asked. `watch_from` is the version
/// from which a watch begins.
pub(super) async fn answer(
    fault: Fault,
    watch_from: Option<u64>,
    carry_out: impl FnOnce() -> Response,
) -> Response {
    match fault {
        Fault::None => carry_out(),
        Fault::Status(status) => refusal(&Failure::scripted(status)),
        Fault::Delay(time) => {
            sleep(time).await;
            carry_out()
        }
        Fault::AppliedThenStatus(status) => {
            carry_out();
            refusal(&Failure::scripted(status))
        }
        Fault::AppliedThenSilence => {
            carry_out();
            std::future::pending().await
        }
        Fault::Cut => cut(),
        Fault::AppliedThenCut => {
            carry_out();
            cut()
        }
        Fault::CutAfter(time) => carry_out().map(|body| cut_after(body, time)),
        Fault::Expired => match watch_from {
            Some(from) => watching::refused(&Failure::watch_expired(from, from + 1)),
            None => refusal(&Failure::list_expired()),
        },
    }
}

fn lost() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionReset,
        "the connection was cut on purpose",
    )
}

/// An answer of which nothing arrives: over a socket the connection ends, in-process the body fails.
fn cut() -> Response {
    Body::from_stream(stream::once(async { Err::<&[u8], _>(lost()) })).into_response()
}

fn cut_after(body: Body, time: Duration) -> Body {
    let state = Some((body.into_data_stream(), Box::pin(sleep(time))));
    Body::from_stream(stream::unfold(state, |state| async {
        let (mut body, mut end) = state?;
        tokio::select! {
            biased;
            chunk = body.next() => {
                let chunk = chunk?.map_err(io::Error::other);
                Some((chunk, Some((body, end))))
            }
            () = &mut end => Some((Err(lost()), None)),
        }
    }))
}
