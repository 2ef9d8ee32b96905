//! The page at `/`, which shows a newcomer that the server works.

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

/// The page and what belongs to it, at `path` (`/`, or `/demo` where another page stands at `/`).
pub fn routes(path: &str) -> Router {
    let page = || async { file("text/html; charset=utf-8", include_str!("page/index.html")) };
    let style = || async { file("text/css; charset=utf-8", include_str!("page/page.css")) };
    let script = || async { file("text/javascript; charset=utf-8", include_str!("page/page.js")) };
    Router::new().route(path, get(page)).route("/page.css", get(style)).route("/page.js", get(script))
}

/// Everything comes from this server, and nobody else may show it in a frame.
const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; frame-ancestors 'none'; \
                      base-uri 'none'; form-action 'self'";

fn file(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text)
}
