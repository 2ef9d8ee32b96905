//! What tokens say.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use tidegate_core::call::Overrides;

use super::{TokenChannel, TokenError};
use crate::payload::{self, Override};

/// The claims of connection and subscription tokens. A claim of the wrong type makes the token invalid; null
/// is as good as none.
#[derive(Deserialize)]
pub(super) struct Claims {
    #[serde(skip)]
    pub(super) user: String,
    sub: Option<String>,
    exp: Option<Date>,
    nbf: Option<Date>,
    #[expect(dead_code, reason = "its type is checked, and nothing depends on its value")]
    iat: Option<Date>,
    #[expect(dead_code, reason = "its type is checked, and nothing depends on its value")]
    jti: Option<String>,
    #[serde(default, deserialize_with = "names")]
    iss: Vec<String>,
    #[serde(default, deserialize_with = "names")]
    aud: Vec<String>,
    expire_at: Option<i64>,
    pub(super) channel: Option<String>,
    pub(super) client: Option<String>,
    info: Option<Box<RawValue>>,
    b64info: Option<String>,
    data: Option<Box<RawValue>>,
    b64data: Option<String>,
    r#override: Option<Override>,
    channels: Option<Vec<String>>,
    subs: Option<BTreeMap<String, Option<SubClaims>>>,
    meta: Option<Box<RawValue>>,
}

impl Claims {
    /// Reads the second part of a token. The user is what `user_claim` names, with dots between the names of
    /// nested claims, or `sub`.
    pub(super) fn parse(payload: &str, user_claim: Option<&str>) -> Result<Self, TokenError> {
        let json = URL_SAFE_NO_PAD.decode(payload).map_err(|_| NOT_CLAIMS)?;
        let mut claims: Self = serde_json::from_slice(&json).map_err(|_| NOT_CLAIMS)?;
        claims.user = match user_claim {
            None => claims.sub.take().unwrap_or_default(),
            Some(path) => user(&serde_json::from_slice(&json).map_err(|_| NOT_CLAIMS)?, path),
        };
        Ok(claims)
    }

    /// Checks that the token is valid at `now`, in seconds since 1970.
    pub(super) fn check_times(&self, now: i64) -> Result<(), TokenError> {
        let over = self.exp.as_ref().is_some_and(|exp| now >= exp.0);
        let early = self.nbf.as_ref().is_some_and(|nbf| now < nbf.0);
        if over || early { Err(TokenError::Expired) } else { Ok(()) }
    }

    /// When what the token grants expires: `expire_at` where it is there, 0 for never, otherwise `exp`.
    pub(super) fn expire_at(&self) -> i64 {
        let at = self.expire_at.or(self.exp.as_ref().map(|exp| exp.0)).unwrap_or_default();
        payload::moment(at)
    }

    pub(super) fn issuer(&self) -> &[String] {
        &self.iss
    }

    pub(super) fn audience(&self) -> &[String] {
        &self.aud
    }

    pub(super) fn info(&self) -> Result<Option<Bytes>, TokenError> {
        payload(self.b64info.as_deref(), self.info.as_deref())
    }

    pub(super) fn data(&self) -> Result<Bytes, TokenError> {
        Ok(payload(self.b64data.as_deref(), self.data.as_deref())?.unwrap_or_default())
    }

    pub(super) fn meta(&self) -> Bytes {
        self.meta.as_deref().map(payload::raw).unwrap_or_default()
    }

    pub(super) fn overrides(&self) -> Overrides {
        self.r#override.map(Overrides::from).unwrap_or_default()
    }

    /// The channels of `subs`, or where there are none of `channels`, as v6 has it.
    pub(super) fn channels(&self) -> Result<Vec<TokenChannel>, TokenError> {
        if let Some(subs) = self.subs.as_ref().filter(|subs| !subs.is_empty()) {
            let plain = SubClaims::default();
            return subs
                .iter()
                .map(|(channel, sub)| sub.as_ref().unwrap_or(&plain).channel(channel))
                .collect();
        }
        let channels = self.channels.iter().flatten();
        Ok(channels
            .map(|channel| TokenChannel {
                channel: channel.clone(),
                info: Bytes::new(),
                data: Bytes::new(),
                overrides: Overrides::default(),
            })
            .collect())
    }
}

/// An element of `subs`.
#[derive(Default, Deserialize)]
struct SubClaims {
    info: Option<Box<RawValue>>,
    b64info: Option<String>,
    data: Option<Box<RawValue>>,
    b64data: Option<String>,
    r#override: Option<Override>,
}

impl SubClaims {
    fn channel(&self, channel: &str) -> Result<TokenChannel, TokenError> {
        Ok(TokenChannel {
            channel: channel.to_owned(),
            info: payload(self.b64info.as_deref(), self.info.as_deref())?.unwrap_or_default(),
            data: payload(self.b64data.as_deref(), self.data.as_deref())?.unwrap_or_default(),
            overrides: self.r#override.map(Overrides::from).unwrap_or_default(),
        })
    }
}

/// Seconds since 1970, perhaps with a fraction, which is dropped (RFC 7519 §2, NumericDate). A text is none.
struct Date(i64);

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Seconds;
        impl Visitor<'_> for Seconds {
            type Value = Date;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("seconds since 1970, as a number")
            }

            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Date, E> {
                Ok(Date(seconds))
            }

            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Date, E> {
                Ok(Date(i64::try_from(seconds).unwrap_or(i64::MAX)))
            }

            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Date, E> {
                // A cast that saturates.
                Ok(Date(seconds as i64))
            }
        }
        from.deserialize_any(Seconds)
    }
}

/// A name, or a list of names.
fn names<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Names {
        One(String),
        Many(Vec<String>),
        None(()),
    }
    Ok(match Names::deserialize(from)? {
        Names::One(name) => vec![name],
        Names::Many(names) => names,
        Names::None(()) => Vec::new(),
    })
}

fn payload(base64: Option<&str>, json: Option<&RawValue>) -> Result<Option<Bytes>, TokenError> {
    payload::either(base64, json).map_err(|_| TokenError::Invalid("expected base64 in b64info and b64data"))
}

/// The user that the claim at `path` names; empty where there is none.
fn user(claims: &Value, path: &str) -> String {
    let nested = || path.split('.').try_fold(claims, |value, name| value.get(name));
    match claims.get(path).or_else(nested) {
        Some(Value::String(user)) => user.clone(),
        Some(user @ (Value::Number(_) | Value::Bool(_))) => user.to_string(),
        _ => String::new(),
    }
}

const NOT_CLAIMS: TokenError = TokenError::Invalid("expected claims as a JSON object, of the known types");
