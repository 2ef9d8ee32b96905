//! The page at `/`, which shows a newcomer that the server works.

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

use crate::http;

/// The page and what belongs to it, at `path` (`/`, or `/demo` where another page stands at `/`).
pub fn routes(path: &str) -> Router {
    let page = || async { file("text/html; charset=utf-8", include_str!("page/index.html")) };
    let style = || async { file("text/css; charset=utf-8", include_str!("page/page.css")) };
    let script = || async { file("text/javascript; charset=utf-8", include_str!("page/page.js")) };
    Router::new().route(path, get(page)).route("/page.css", get(style)).route("/page.js", get(script))
}

/// The paths of [`routes`].
pub fn paths(path: &str) -> [String; 3] {
    [path.to_owned(), "/page.css".to_owned(), "/page.js".to_owned()]
}

fn file(kind: &'static str, text: &'static str) -> impl IntoResponse {
    (http::PAGE_HEADERS, [(header::CONTENT_TYPE, kind)], text)
}

#[cfg(test)]
mod tests;
