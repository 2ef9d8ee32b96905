//! What pages of other origins may do: with the same list as WebSockets have.

#[cfg(test)]
mod tests;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tidegate_transport_ws::{Origins, origin_allowed};

/// How long a browser need not ask again, in seconds. 10 min: Chromium forgets after two hours, and an origin
/// that is taken off the list is refused by the request itself.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// A request of a page that may do it, or of no page at all.
#[derive(Clone, Debug)]
pub(super) struct Allowed {
    origin: Option<HeaderValue>,
    /// Every origin is allowed: a page is then answered, but not with what the browser keeps for its user.
    any: bool,
}

/// The page's origin is not allowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forbidden;

/// Judges a request by its `Origin`.
///
/// # Errors
/// [`Forbidden`], and nothing is done of it.
pub(super) fn judge(origins: &Origins, headers: &HeaderMap) -> Result<Allowed, Forbidden> {
    if !origin_allowed(headers, origins) {
        return Err(Forbidden);
    }
    Ok(Allowed { origin: headers.get(header::ORIGIN).cloned(), any: origins.allow_any() })
}

impl Allowed {
    /// Answers the question that a browser asks before the request: whether it may send it.
    pub(super) fn preflight(&self, methods: &'static str, headers: &HeaderMap) -> Response {
        let mut response = StatusCode::NO_CONTENT.into_response();
        let answer = response.headers_mut();
        answer.insert(header::ALLOW, HeaderValue::from_static(methods));
        if headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
            answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
            answer.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
            // Whatever it sends besides, nothing is done by it that its origin may not do.
            if let Some(wanted) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
                answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
            }
        }
        self.mark(&mut response);
        response
    }

    /// Lets the page read the response.
    pub(super) fn mark(&self, response: &mut Response) {
        let headers = response.headers_mut();
        headers.append(header::VARY, HeaderValue::from_static("origin"));
        let Some(origin) = &self.origin else { return };
        if self.any {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        } else {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }
}

impl IntoResponse for Forbidden {
    fn into_response(self) -> Response {
        (StatusCode::FORBIDDEN, "origin not allowed\n").into_response()
    }
}
