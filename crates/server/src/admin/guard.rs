use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::door::{Closed, Door, Session};
use crate::time::{now, unix_millis};

/// Lets requests pass that are of a session, and takes it along.
pub(super) async fn session(State(door): State<Arc<Door>>, mut request: Request, next: Next) -> Response {
    let unix = unix();
    let Some(session) = door.session(request.headers(), unix) else { return nobody() };
    let renewed = door.renew(&session, unix);
    request.extensions_mut().insert(renewed.clone().unwrap_or(session));
    let mut response = next.run(request).await;
    if let Some(renewed) = renewed {
        bake(&mut response, &door.cookie(Some(&renewed), unix));
    }
    response
}

/// Lets requests pass that the page itself makes, or a program, but none of another site's page: the browser
/// says whose they are. What changes something must be JSON, which other sites cannot send unasked, either.
pub(super) async fn same_site(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or("?"));
    let own = match (text("sec-fetch-site"), text("origin"), text("host")) {
        (Some("same-origin"), ..) => true,
        // Typed into the address bar.
        (Some("none"), ..) => request.method() == Method::GET,
        (Some(_), ..) => false,
        (None, Some(origin), host) => origin.split_once("://").map(|(_, origin)| origin) == host,
        (None, None, _) => true,
    };
    let json = text("content-type").is_some_and(|kind| {
        kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
    });
    if !own {
        return refuse(StatusCode::FORBIDDEN, "a page of another site may not ask this");
    }
    if request.method() == Method::POST && !json {
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "expected a body of the type application/json");
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// What a login brings.
#[derive(Deserialize)]
struct Login {
    password: String,
}

/// What is said of a session.
#[derive(Serialize)]
struct Standing {
    /// Nobody was asked for a password.
    insecure: bool,
    /// In how many seconds it ends, if it is not used.
    seconds: i64,
}

/// Begins a session.
pub(super) async fn login(
    State(door): State<Arc<Door>>,
    address: Option<Extension<ConnectInfo<SocketAddr>>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let address = address.map(|Extension(ConnectInfo(address))| address.ip());
    let Ok(login) = serde_json::from_slice::<Login>(&body) else {
        return refuse(StatusCode::BAD_REQUEST, "expected {\"password\": \"…\"}");
    };
    let unix = unix();
    match door.enter(login.password.as_bytes(), is_secure(&headers), address, now(), unix) {
        Ok(session) => {
            tracing::info!(address = %known(address), "admin: somebody has signed in");
            let mut response = standing(&door, &session, unix);
            bake(&mut response, &door.cookie(Some(&session), unix));
            response
        }
        Err(Closed::Wrong) => {
            tracing::warn!(address = %known(address), "admin: wrong password");
            refuse(StatusCode::UNAUTHORIZED, "this is not the password (admin.password)")
        }
        Err(Closed::TooOften(wait)) => {
            tracing::warn!(address = %known(address), "admin: too many tries at the password");
            let seconds = wait.as_secs() + 1;
            let text = format!("too many tries from this address; the next one is in {seconds} s");
            let mut response = refuse(StatusCode::TOO_MANY_REQUESTS, &text);
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            response
        }
    }
}

/// Largest login, in bytes. 4 KiB: a long passphrase fits many times.
pub(super) const LOGIN: usize = 4096;

/// Ends the session, if there is one.
pub(super) async fn logout(State(door): State<Arc<Door>>, headers: HeaderMap) -> Response {
    let unix = unix();
    if let Some(session) = door.session(&headers, unix).filter(|_| !door.insecure) {
        door.leave(&session, unix);
    }
    let mut response = Json(json!({})).into_response();
    bake(&mut response, &door.cookie(None, unix));
    response
}

/// Says whether there is a session.
pub(super) async fn who(State(door): State<Arc<Door>>, headers: HeaderMap) -> Response {
    let unix = unix();
    door.session(&headers, unix).map_or_else(nobody, |session| standing(&door, &session, unix))
}

fn standing(door: &Door, session: &Session, unix: i64) -> Response {
    Json(Standing { insecure: door.insecure, seconds: session.until - unix }).into_response()
}

fn nobody() -> Response {
    refuse(StatusCode::UNAUTHORIZED, "sign in first: there is no session, or it is over")
}

/// An answer for people.
pub(super) fn refuse(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({ "message": text }))).into_response()
}

fn bake(response: &mut Response, cookie: &str) {
    let value = HeaderValue::from_str(cookie).expect("a path is of visible characters, and so is base64");
    response.headers_mut().append(header::SET_COOKIE, value);
}

/// Whether the browser sees the page over TLS, whatever stands between.
fn is_secure(headers: &HeaderMap) -> bool {
    headers.get(header::ORIGIN).is_some_and(|origin| origin.as_bytes().starts_with(b"https://"))
}

fn known(address: Option<IpAddr>) -> String {
    address.map_or_else(|| "unknown".to_owned(), |address| address.to_string())
}

/// Seconds since 1970.
pub(super) fn unix() -> i64 {
    unix_millis() / 1000
}
