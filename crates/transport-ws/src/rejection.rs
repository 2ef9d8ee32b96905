use std::fmt::Write;
use std::time::Duration;

use http::StatusCode;

/// Why a request does not become a WebSocket, as HTTP says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The method is not GET.
    #[error("a WebSocket begins with GET")]
    Method,
    /// The version is not HTTP/1.1.
    #[error("a WebSocket begins with HTTP/1.1")]
    HttpVersion,
    /// There is no `Connection: upgrade` or no `Upgrade: websocket`.
    #[error("expected an upgrade to websocket")]
    NotUpgrade,
    /// `Sec-WebSocket-Version` is not 13.
    #[error("expected Sec-WebSocket-Version: 13")]
    Version,
    /// `Sec-WebSocket-Key` is not 16 bytes of Base64, or is not there once.
    #[error("expected a Sec-WebSocket-Key of 16 bytes")]
    Key,
    /// `Host` is not there, or not once (RFC 9112 §3.2).
    #[error("expected one Host header")]
    Host,
    /// What came is not a request that could be read.
    #[error("not a request for a WebSocket")]
    Malformed,
    /// The headers are too many or too large.
    #[error("too many headers")]
    TooLarge,
    /// The page's origin is not allowed.
    #[error("origin not allowed")]
    Origin,
    /// The path is not the WebSocket's.
    #[error("no WebSocket here")]
    Path,
    /// The HTTP server does not let go of the connection.
    #[error("this server cannot upgrade")]
    NotUpgradable,
    /// There is no room for another connection.
    #[error("no room for another connection")]
    Full {
        /// When to come again.
        retry_after: Duration,
    },
}

impl Rejection {
    /// The response's status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::HttpVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            // 426 would say more; but peers and their tests know 400.
            Self::NotUpgrade | Self::Version | Self::Key | Self::Host | Self::Malformed => {
                StatusCode::BAD_REQUEST
            }
            Self::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Origin => StatusCode::FORBIDDEN,
            Self::Path => StatusCode::NOT_FOUND,
            Self::NotUpgradable => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Full { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The headers that the status calls for, names in lower case.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Method => vec![("allow", "GET".to_owned())],
            Self::NotUpgrade | Self::Version => {
                vec![("upgrade", "websocket".to_owned()), ("sec-websocket-version", "13".to_owned())]
            }
            Self::Full { retry_after } => vec![("retry-after", retry_after.as_secs().max(1).to_string())],
            _ => Vec::new(),
        }
    }

    /// The whole response, after which the connection closes.
    pub(crate) fn response(&self) -> String {
        let mut text = format!("HTTP/1.1 {}\r\n", self.status());
        for (name, value) in self.headers() {
            write!(text, "{name}: {value}\r\n").expect("a String takes everything");
        }
        let body = format!("{self}\n");
        let len = body.len();
        write!(
            text,
            "connection: close\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {len}\r\n\r\n{body}"
        )
        .expect("a String takes everything");
        text
    }
}

#[cfg(feature = "axum")]
impl axum::response::IntoResponse for Rejection {
    fn into_response(self) -> axum::response::Response {
        use http::header::{CONNECTION, HeaderValue};
        let mut response = (self.status(), format!("{self}\n")).into_response();
        for (name, value) in self.headers() {
            let value = value.parse().expect("the headers of a rejection are plain text");
            response.headers_mut().insert(name, value);
        }
        if let Self::Full { .. } = self {
            // The descriptor is wanted for others.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
