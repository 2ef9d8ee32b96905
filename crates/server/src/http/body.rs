use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tidegate_protocol::Malformed;

/// A request's whole body, of at most `limit` bytes, if it comes in `time`.
///
/// It is copied as it comes: a peer that sends a byte a time must not make each of them keep a buffer.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    time: Duration,
) -> Result<Bytes, Unread> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > limit as u64) {
        return Err(Unread::TooLarge { limit });
    }
    tokio::time::timeout(time, collect(body, limit)).await.unwrap_or(Err(Unread::TooSlow { limit: time }))
}

async fn collect(mut body: Body, limit: usize) -> Result<Bytes, Unread> {
    let mut whole = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(data) = frame?.into_data() else { continue };
        if whole.len() + data.len() > limit {
            return Err(Unread::TooLarge { limit });
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.into())
}

/// Why a body was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unread {
    #[error("expected a body of at most {limit} bytes")]
    TooLarge { limit: usize },
    #[error("expected the whole body within {limit:?}")]
    TooSlow { limit: Duration },
    #[error("the body is broken: {0}")]
    Broken(#[from] axum::Error),
    #[error("expected a connect command in the body")]
    Empty,
    #[error("expected a connect request: {0}")]
    Malformed(#[from] Malformed),
    #[error("expected a connect command in the query, as cf_connect")]
    NoQuery,
}

impl Unread {
    /// What it is answered with.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::Broken(_) | Self::Empty | Self::Malformed(_) | Self::NoQuery => StatusCode::BAD_REQUEST,
        }
    }
}

impl IntoResponse for Unread {
    fn into_response(self) -> Response {
        let status = self.status();
        // What is left of the body is not read.
        (status, [(header::CONNECTION, "close")], format!("{self}\n")).into_response()
    }
}
