//! The admin page, and what it asks of the server.
//!
//! The page stands at the prefix, everything else below `{prefix}/admin/`. `POST login` takes the password and
//! sets the cookie of a session; nothing but that, `logout`, `session` and the page's own files answers without
//! one. Then there are `channels` and `connections`, which are looked up a page at a time, `stats` and `live`,
//! which are streams of events, and under `api/` the [HTTP API](crate::api).

mod attempts;
mod door;
mod guard;
mod live;
mod lookup;
mod page;
mod stats;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::response::Redirect;
use axum::routing::{get, post};
use tokio::sync::Semaphore;

use crate::api::{self, ApiOptions, Channels};
use crate::config::Secret;
use crate::handle::Handle;
use crate::http::Metrics;

pub use door::Desk;
use door::Door;
use stats::Stats;

/// How the page is served.
#[derive(Clone)]
pub struct Options {
    /// The path of the page; empty is `/`.
    pub prefix: String,
    /// What lets people in. An empty one lets nobody in.
    pub password: Secret,
    /// What sessions are signed with, beside the password: another password or secret ends them all.
    pub secret: Secret,
    /// Ask for no password.
    pub insecure: bool,
    /// What is known of channels.
    pub channels: Arc<dyn Channels>,
    /// How long a session lasts that nobody uses. 1 h: a page that is open uses it all the time.
    pub session_idle: Duration,
    /// How long one lasts at most. 12 h: a working day.
    pub session_max: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            prefix: String::new(),
            password: Secret::default(),
            secret: Secret::default(),
            insecure: false,
            channels: Arc::new(api::AnyChannel),
            session_idle: Duration::from_secs(3600),
            session_max: Duration::from_secs(12 * 3600),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// What the endpoints behind the door share.
struct Admin {
    handle: Handle,
    channels: Arc<dyn Channels>,
    door: Arc<Door>,
    stats: Stats,
    /// Looking through all channels or connections is work: one look at a time.
    look: Semaphore,
    streams: Arc<Semaphore>,
}

/// Streams that are open at once, per port. 32: ten people with a page and a channel each.
const STREAMS: usize = 32;

/// The page's routes. `desk` is what outlives them when they are replaced.
///
/// Addresses are taken from [`ConnectInfo`](axum::extract::ConnectInfo).
pub fn router(handle: Handle, metrics: Metrics, desk: &Desk, options: Options) -> Router {
    let door = Arc::new(Door::new(&options, desk.clone()));
    let below = |name: &str| path(&options.prefix, name);
    let api = ApiOptions {
        prefix: below("api"),
        insecure: true,
        body_limit: 1 << 20,
        channels: options.channels.clone(),
        ..ApiOptions::default()
    };
    let admin = Arc::new(Admin {
        stats: Stats::new(handle.clone(), metrics),
        channels: options.channels.clone(),
        door: door.clone(),
        look: Semaphore::new(1),
        streams: Arc::new(Semaphore::new(STREAMS)),
        handle: handle.clone(),
    });
    let inside = Router::new()
        .route(&below("channels"), get(lookup::channels))
        .route(&below("connections"), get(lookup::connections))
        .route(&below("stats"), get(live::stats))
        .route(&below("live"), get(live::channel))
        .with_state(admin)
        .merge(api::router(handle, api))
        .route_layer(from_fn_with_state(door.clone(), guard::session));
    let outside = Router::new()
        .route(&below("login"), post(guard::login))
        .route(&below("logout"), post(guard::logout))
        .route(&below("session"), get(guard::who))
        .layer(DefaultBodyLimit::max(guard::LOGIN))
        .with_state(door.clone());
    // Of both: no page of another site may ask anything, with a session or without one.
    let asked = inside.merge(outside).route_layer(from_fn_with_state(door, guard::same_site));
    let mut router = asked;
    for (file, kind, text) in page::FILES {
        router = router.route(&below(file), get(move || async move { page::file(kind, text) }));
    }
    let home = home(&options.prefix);
    if home != "/" {
        let to = home.clone();
        router = router.route(home.trim_end_matches('/'), get(move || async move { Redirect::to(&to) }));
    }
    router.route(&home, get(page::home))
}

/// The paths of [`router`].
pub fn paths(prefix: &str) -> Vec<String> {
    let names = ["channels", "connections", "stats", "live", "login", "logout", "session"];
    let files = page::FILES.iter().map(|(file, ..)| *file);
    let mut paths: Vec<String> = names.into_iter().chain(files).map(|name| path(prefix, name)).collect();
    paths.extend(api::paths(&path(prefix, "api")));
    let home = home(prefix);
    if home != "/" {
        paths.push(home.trim_end_matches('/').to_owned());
    }
    paths.push(home);
    paths
}

/// Where the page stands: a path that ends with a slash, so that what it asks for stands below it.
pub fn home(prefix: &str) -> String {
    match prefix.trim_matches('/') {
        "" => "/".to_owned(),
        prefix => format!("/{prefix}/"),
    }
}

fn path(prefix: &str, name: &str) -> String {
    format!("{}admin/{name}", home(prefix))
}
