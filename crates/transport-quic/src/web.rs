use std::io;
use std::time::Duration;

use http::StatusCode;
use quinn::Connection;
use tidegate_core::transport::Peer;
use web_transport_quinn::Request;

use crate::{Options, QuicConnection};

/// How long a refusal may take to arrive. 1 s: a few round trips.
const ANSWERED: Duration = Duration::from_secs(1);

/// Lets a browser in, if it asks for the right thing from the right page, and has opened its stream.
pub(crate) async fn open(
    connection: &Connection,
    peer: Peer,
    options: &Options,
) -> io::Result<(QuicConnection, Peer)> {
    let Some(web) = &options.webtransport else { return Err(io::ErrorKind::Unsupported.into()) };
    let request = Request::accept(connection.clone()).await.map_err(io::Error::other)?;
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let origin = request.headers.get(http::header::ORIGIN).map(text);
    let refusal = if request.url.path() != web.path {
        Some(StatusCode::NOT_FOUND)
    } else if !(web.allows)(origin.as_deref()) {
        Some(StatusCode::FORBIDDEN)
    } else {
        None
    };
    if let Some(status) = refusal {
        let path = request.url.path().to_owned();
        // Kept, for it holds the control streams, which no side may close (RFC 9114 §6.2.1). Closing at once would lose the
        // answer; and a browser keeps the connection for what it may want next.
        let _refused = request.respond(status).await.map_err(io::Error::other)?;
        let _ = tokio::time::timeout(ANSWERED, connection.closed()).await;
        let error = format!("WebTransport to {path} from {origin:?} was refused with {status}");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, error));
    }
    let headers = request.headers.iter();
    let peer = Peer {
        transport: "webtransport",
        query: request.url.query().unwrap_or_default().to_owned(),
        headers: headers.map(|(name, value)| (name.as_str().to_owned(), text(value))).collect(),
        ..peer
    };
    let session = request.ok().await.map_err(io::Error::other)?;
    let (send, recv) = session.accept_bi().await.map_err(io::Error::other)?;
    Ok((QuicConnection::web(session, send, recv, web.message_size_limit), peer))
}
