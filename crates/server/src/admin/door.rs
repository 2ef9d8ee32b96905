use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, crypto};
use serde::{Deserialize, Serialize};
use tidegate_core::admission::network;

use super::Options;
use super::attempts::Attempts;
use crate::config::Secret;

/// Who may come in: checks passwords and sessions.
///
/// A session is a cookie that says until when it lasts, and the server's signature; the server remembers only
/// those that were ended before.
pub(super) struct Door {
    pub(super) insecure: bool,
    /// Where the cookie is sent to.
    path: String,
    signing: EncodingKey,
    checking: DecodingKey,
    /// What the right password's signature is; `None`: none is right.
    password: Option<Secret>,
    idle: i64,
    max: i64,
    desk: Desk,
}

/// What must be remembered while a server runs, even if its routes are replaced: tries at the password, and
/// sessions that were ended.
#[derive(Clone, Debug, Default)]
pub struct Desk(Arc<Mutex<Notes>>);

#[derive(Debug, Default)]
struct Notes {
    attempts: Attempts,
    /// Ended sessions, and when they would have ended by themselves.
    ended: HashMap<String, i64>,
}

/// Ended sessions that are remembered. 1,024: each took a login.
const ENDED: usize = 1024;

/// A session. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) id: String,
    /// When it began.
    pub(super) begun: i64,
    /// Until when it lasts, if it is not used.
    pub(super) until: i64,
    /// It began over TLS, and its cookie is sent over nothing else.
    pub(super) secure: bool,
}

/// Why somebody does not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// That is not the password.
    Wrong,
    /// There were too many tries; the next is in so long.
    TooOften(Duration),
}

impl Door {
    pub(super) fn new(options: &Options, desk: Desk) -> Self {
        let (password, secret) = (options.password.expose(), options.secret.expose());
        // The secret may be that of clients' tokens, too: those are signed with another key. The length tells
        // where the secret ends.
        let key = format!("tidegate admin session\n{}\n{secret}{password}", secret.len());
        let signing = EncodingKey::from_secret(key.as_bytes());
        let checking = DecodingKey::from_secret(key.as_bytes());
        let home = super::home(&options.prefix);
        // What a cookie cannot say is left out: it is then sent to the whole server.
        let plain = |c: char| c.is_ascii_graphic() && c != ';' && c != ',';
        let usable = !password.is_empty() && !secret.is_empty();
        Self {
            insecure: options.insecure,
            path: if home.chars().all(plain) { home } else { "/".to_owned() },
            password: usable.then(|| sign(&signing, password.as_bytes()).into()),
            signing,
            checking,
            idle: seconds(options.session_idle),
            max: seconds(options.session_max),
            desk,
        }
    }

    /// Begins a session for who knows the password. The work is the same whatever `password` is wrong in.
    pub(super) fn enter(
        &self,
        password: &[u8],
        secure: bool,
        address: Option<IpAddr>,
        now: Instant,
        unix: i64,
    ) -> Result<Session, Closed> {
        let network = address.map(network);
        if let Some(network) = network {
            self.desk.lock().attempts.take(network, now).map_err(Closed::TooOften)?;
        }
        // Signatures are compared, which are all of one length.
        let signature = sign(&self.signing, password);
        if !self.password.as_ref().is_some_and(|right| right.matches(signature.as_bytes())) {
            return Err(Closed::Wrong);
        }
        if let Some(network) = network {
            self.desk.lock().attempts.forget(network);
        }
        let until = unix + self.idle.min(self.max);
        Ok(Session { id: uuid::Uuid::new_v4().to_string(), begun: unix, until, secure })
    }

    /// The session that a request is of.
    pub(super) fn session(&self, headers: &HeaderMap, unix: i64) -> Option<Session> {
        if self.insecure {
            return Some(Session { id: String::new(), begun: unix, until: i64::MAX, secure: false });
        }
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut cookies = cookies.flat_map(|value| value.split(';'));
        let token = cookies.find_map(|cookie| cookie.trim().strip_prefix(COOKIE)?.strip_prefix('='))?;
        let (payload, signature) = token.split_once('.')?;
        let right = crypto::verify(signature, payload.as_bytes(), &self.checking, Algorithm::HS256);
        if !right.is_ok_and(|right| right) {
            return None;
        }
        let session = URL_SAFE_NO_PAD.decode(payload).ok()?;
        let session: Session = serde_json::from_slice(&session).ok()?;
        self.lasts(&session, unix).then_some(session)
    }

    /// Whether a session goes on.
    pub(super) fn lasts(&self, session: &Session, unix: i64) -> bool {
        session.until > unix && (self.insecure || !self.desk.lock().ended.contains_key(&session.id))
    }

    /// The same session with more time, if it is used and may last longer.
    pub(super) fn renew(&self, session: &Session, unix: i64) -> Option<Session> {
        let until = (unix + self.idle).min(session.begun + self.max);
        // Not with each request: a cookie now and then is enough.
        let due = !self.insecure && session.until - unix < self.idle / 2 && until > session.until;
        due.then(|| Session { until, ..session.clone() })
    }

    /// Ends a session before its time.
    pub(super) fn leave(&self, session: &Session, unix: i64) {
        let mut notes = self.desk.lock();
        notes.ended.retain(|_, until| *until > unix);
        if notes.ended.len() >= ENDED
            && let Some(first) = notes.ended.iter().min_by_key(|(_, until)| **until).map(|(id, _)| id.clone())
        {
            notes.ended.remove(&first);
        }
        // It may have been renewed: it is remembered as long as any of its cookies may last.
        notes.ended.insert(session.id.clone(), session.begun + self.max);
    }

    /// The cookie of a session, or one that takes it away.
    pub(super) fn cookie(&self, session: Option<&Session>, unix: i64) -> String {
        let (token, age) = match session {
            None => (String::new(), 0),
            Some(session) => {
                let payload = serde_json::to_vec(session).expect("a session is JSON");
                let payload = URL_SAFE_NO_PAD.encode(payload);
                let signature = sign(&self.signing, payload.as_bytes());
                (format!("{payload}.{signature}"), session.until - unix)
            }
        };
        let secure = if session.is_some_and(|session| session.secure) { "; Secure" } else { "" };
        format!("{COOKIE}={token}; Path={}; Max-Age={age}; HttpOnly; SameSite=Strict{secure}", self.path)
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Notes> {
        // Nothing in here panics half way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const COOKIE: &str = "tidegate_admin";

fn sign(key: &EncodingKey, message: &[u8]) -> String {
    crypto::sign(message, key, Algorithm::HS256).expect("every key and message has an HMAC")
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX >> 1)
}
