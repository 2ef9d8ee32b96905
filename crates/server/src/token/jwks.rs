//! Keys that are fetched: a JSON Web Key Set (RFC 7517).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use tokio::time::Instant;

use super::TokenError;
use super::algorithm::{Algorithm, ED, ES256, ES384, ES512, Material, RSA};
use super::keys::Key;
use crate::rules::RulesError;

/// The keys at one URL, which is fixed: a token chooses among them by its key id, and never where to look.
pub(super) struct Jwks {
    url: reqwest::Url,
    client: reqwest::Client,
    state: Mutex<State>,
    /// Held while fetching: one asks, the others wait for what it gets.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    keys: Vec<(String, Arc<Key>)>,
    /// When they came.
    fetched: Option<Instant>,
    /// When they were asked for last, and whether that worked.
    asked: Option<(Instant, bool)>,
}

impl Jwks {
    /// The set at `url`, which is the value of `key`. Fetches nothing yet.
    pub(super) fn new(key: &str, url: &str) -> Result<Self, RulesError> {
        let wrong = |expected: &str| RulesError::BadValue {
            key: key.to_owned(),
            found: format!("{url:?}"),
            expected: expected.to_owned(),
        };
        let url = parsed(url).ok_or_else(|| wrong("a URL that starts with http:// or https://"))?;
        Ok(Self::at(url, client().map_err(|_| wrong("a system with certificates of authorities"))?))
    }

    /// The set at `url`, fetched by `client`, in time.
    pub(super) fn at(url: reqwest::Url, client: reqwest::Client) -> Self {
        Self { url, client, state: Mutex::default(), fetching: tokio::sync::Mutex::new(()) }
    }

    /// The key of this id for this algorithm.
    ///
    /// Keys are kept for an hour. One that is not known is asked for at once, but not more often than every
    /// five seconds, whatever ids come. While the set cannot be fetched, keys live for a day.
    pub(super) async fn find(&self, id: &str, algorithm: Algorithm) -> Result<Arc<Key>, TokenError> {
        if let Some(found) = self.look(id, algorithm, FRESH) {
            return Ok(found);
        }
        let _alone = self.fetching.lock().await;
        if let Some(found) = self.look(id, algorithm, FRESH) {
            return Ok(found);
        }
        let asked = self.with(|state| state.asked).filter(|(at, _)| at.elapsed() < PAUSE);
        let works = match asked {
            Some((_, worked)) => worked,
            None => self.fetch_and_keep().await,
        };
        match self.look(id, algorithm, STALE) {
            Some(found) => Ok(found),
            None if works => Err(TokenError::Invalid("an unknown key id")),
            None => Err(TokenError::Unavailable),
        }
    }

    fn look(&self, id: &str, algorithm: Algorithm, age: Duration) -> Option<Arc<Key>> {
        self.with(|state| {
            state.fetched.filter(|at| at.elapsed() < age)?;
            let fits =
                |(known, key): &&(String, Arc<Key>)| known == id && key.algorithms.contains(&algorithm);
            state.keys.iter().find(fits).map(|(_, key)| key.clone())
        })
    }

    async fn fetch_and_keep(&self) -> bool {
        let fetched = self.fetch().await;
        let now = Instant::now();
        self.with(|state| state.asked = Some((now, fetched.is_ok())));
        match fetched {
            Ok(keys) => {
                tracing::debug!(keys = keys.len(), "fetched the keys of tokens");
                self.with(|state| (state.keys, state.fetched) = (keys, Some(now)));
                true
            }
            Err(error) => {
                tracing::warn!(url = %self.shown(), error, "cannot fetch the keys of tokens");
                false
            }
        }
    }

    async fn fetch(&self) -> Result<Vec<(String, Arc<Key>)>, String> {
        // The URL is told once, by the caller, without what may be secret in it.
        let said = |error: reqwest::Error| error.without_url().to_string();
        let mut response = self.client.get(self.url.clone()).send().await.map_err(said)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(format!("expected status 200, got {}", response.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(said)? {
            if body.len() + chunk.len() > MAX_BYTES {
                return Err(format!("expected at most {MAX_BYTES} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        parse(&body)
    }

    /// The URL without user, password and query.
    fn shown(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        format!("{}://{host}{}", self.url.scheme(), self.url.path())
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A URL of HTTP.
pub(super) fn parsed(url: &str) -> Option<reqwest::Url> {
    reqwest::Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"))
}

/// What fetches sets.
pub(super) fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT)
        // Whoever can redirect could choose the keys.
        .redirect(reqwest::redirect::Policy::none())
        .build()
}

/// The usable keys of a set; others are passed over, for a set may have keys for others.
pub(super) fn parse(json: &[u8]) -> Result<Vec<(String, Arc<Key>)>, String> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }
    let set: Set = serde_json::from_slice(json).map_err(|_| "expected a JSON Web Key Set".to_owned())?;
    let keys =
        set.keys.into_iter().take(MAX_KEYS).filter_map(|key| usable(serde_json::from_value(key).ok()?));
    Ok(keys.collect())
}

/// A JSON Web Key. Symmetric ones are none of ours: whoever may read the set could sign.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

fn usable(jwk: Jwk) -> Option<(String, Arc<Key>)> {
    if jwk.usage.is_some_and(|usage| usage != "sig") {
        return None;
    }
    let common = |key: jsonwebtoken::errors::Result<DecodingKey>| key.ok().map(Material::Common);
    let (family, key) = match (&*jwk.kty, jwk.crv.as_deref()) {
        ("RSA", _) => (RSA, common(DecodingKey::from_rsa_components(&jwk.n?, &jwk.e?))),
        ("EC", Some("P-256")) => (ES256, common(DecodingKey::from_ec_components(&jwk.x?, &jwk.y?))),
        ("EC", Some("P-384")) => (ES384, common(DecodingKey::from_ec_components(&jwk.x?, &jwk.y?))),
        ("EC", Some("P-521")) => (ES512, Material::p521(&point(&jwk.x?, &jwk.y?)?)),
        ("OKP", Some("Ed25519")) => (ED, common(DecodingKey::from_ed_components(&jwk.x?))),
        _ => return None,
    };
    let algorithms = match jwk.alg {
        None => family,
        Some(name) => {
            let only = Algorithm::named(&name)?;
            std::slice::from_ref(family.iter().find(|of_family| **of_family == only)?)
        }
    };
    Some((jwk.kid, Arc::new(Key { name: "jwks_public_endpoint", algorithms, key: key?, until: None })))
}

/// An uncompressed point (SEC 1 §2.3.3) of its coordinates in base64.
fn point(x: &str, y: &str) -> Option<Vec<u8>> {
    let mut point = vec![4];
    for coordinate in [x, y] {
        point.extend(URL_SAFE_NO_PAD.decode(coordinate).ok()?);
    }
    Some(point)
}

/// How long keys are used without asking again. An hour, as v6.
const FRESH: Duration = Duration::from_secs(3600);
/// How long keys are used while the set cannot be fetched. A day: an outage of the issuer ends no connections.
const STALE: Duration = Duration::from_secs(24 * 3600);
/// How long to wait before asking again, whatever was asked for. 5 s: made-up key ids cost the issuer little.
const PAUSE: Duration = Duration::from_secs(5);
/// How long the issuer may take. 5 s, half of what a client may take to connect.
const TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The largest set, in bytes. 256 KiB ≈ 500 keys.
const MAX_BYTES: usize = 256 << 10;
/// The most keys of a set.
const MAX_KEYS: usize = 256;
