use axum::http::header;
use axum::response::IntoResponse;

use crate::http;

/// Every file of the page but itself: its name below `admin/`, its type, its text.
pub(super) const FILES: [(&str, &str, &str); 6] = [
    ("style.css", "text/css; charset=utf-8", include_str!("page/style.css")),
    ("main.js", JAVASCRIPT, include_str!("page/main.js")),
    ("server.js", JAVASCRIPT, include_str!("page/server.js")),
    ("dom.js", JAVASCRIPT, include_str!("page/dom.js")),
    ("figures.js", JAVASCRIPT, include_str!("page/figures.js")),
    ("tables.js", JAVASCRIPT, include_str!("page/tables.js")),
];

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// The page itself.
pub(super) async fn home() -> impl IntoResponse {
    file("text/html; charset=utf-8", include_str!("page/index.html"))
}

pub(super) fn file(kind: &'static str, text: &'static str) -> impl IntoResponse {
    (http::PAGE_HEADERS, [(header::CONTENT_TYPE, kind)], text)
}
