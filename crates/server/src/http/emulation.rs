//! What is posted for those who read a stream.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any};
use tidegate_protocol::Encoding;

use super::cors;
use super::endpoint::{StreamOptions, is_binary};
use crate::handle::Handle;

/// The route at which those who read a stream post what they write: `session` and `node`, as the connect reply
/// has told them, and `data`, the commands.
///
/// What was taken is answered with 204, and so is what comes for a session that has ended: its client learns that
/// from its stream. Another node's session is a 404. More than is read is a 503: nothing of it was taken.
pub fn emulation(handle: Handle, options: StreamOptions) -> MethodRouter {
    any(post).with_state(Arc::new(Posts { handle, options }))
}

const METHODS: &str = "POST, OPTIONS";

struct Posts {
    handle: Handle,
    options: StreamOptions,
}

async fn post(State(posts): State<Arc<Posts>>, request: Request) -> Response {
    let allowed = match cors::judge(&posts.options.allowed_origins, request.headers()) {
        Ok(allowed) => allowed,
        Err(refused) => return refused.into_response(),
    };
    if request.method() == Method::OPTIONS {
        return allowed.preflight(METHODS, request.headers());
    }
    let mut response = if request.method() == Method::POST {
        posts.take(request).await
    } else {
        (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, METHODS)]).into_response()
    };
    allowed.mark(&mut response);
    response
}

impl Posts {
    /// Hands what was posted to its session.
    async fn take(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let body = match self.options.read(&parts.headers, body).await {
            Ok(body) => body,
            Err(refused) => return refused.into_response(),
        };
        let encoding = if is_binary(&parts.headers) { Encoding::Protobuf } else { Encoding::Json };
        let posted = match encoding.emulation_request(&body) {
            Ok(posted) => posted,
            Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
        };
        let app = self.handle.app();
        if posted.node != app.node.id {
            return (StatusCode::NOT_FOUND, "no such node here\n").into_response();
        }
        if let Some(pipe) = app.sessions.pipe(&posted.session)
            && pipe.post(posted.data, app.settings().read_ahead).is_err()
        {
            // The SDKs take it for a broken connection, and connect again.
            return self.options.full("the session has not done yet what was posted before\n");
        }
        StatusCode::NO_CONTENT.into_response()
    }
}
