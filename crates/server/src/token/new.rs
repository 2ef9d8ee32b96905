//! What a new token says.

use serde_json::{Map, Value};

use crate::config;

/// A connection token, or, with a channel, a subscription token.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct NewToken {
    /// The user; empty for an anonymous one.
    pub user: String,
    /// The channel that it is for; `None` makes a connection token.
    pub channel: Option<String>,
    /// The only connection that may use it.
    pub client: Option<String>,
    /// When it expires, in seconds since 1970; `None` for never.
    pub expires: Option<i64>,
    /// When it begins to be valid, in seconds since 1970.
    pub not_before: Option<i64>,
    /// When what it grants expires, in seconds since 1970; 0 for never, `None` with the token.
    pub expire_at: Option<i64>,
    /// Channels that the connection is subscribed to by the server.
    pub channels: Vec<String>,
    /// Claims with JSON as values: `info`, `data`, `meta`, or the application's own. They count more than all
    /// others.
    pub claims: Map<String, Value>,
}

impl NewToken {
    /// The claims that make a server accept it that has `token` in its configuration, at `now`, in seconds since 1970.
    pub fn claims(&self, token: &config::Token, now: i64) -> Map<String, Value> {
        let mut claims = Map::new();
        let user = token.user_id_claim.as_deref().unwrap_or("sub");
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                claims.insert(name.to_owned(), value);
            }
        };
        let text = |text: &str| (!text.is_empty()).then(|| Value::from(text));
        set(user, text(&self.user));
        set("channel", self.channel.as_deref().map(Value::from));
        set("client", self.client.as_deref().map(Value::from));
        set("iat", Some(now.into()));
        set("exp", self.expires.map(Value::from));
        set("nbf", self.not_before.map(Value::from));
        set("expire_at", self.expire_at.map(Value::from));
        set("channels", (!self.channels.is_empty()).then(|| self.channels.clone().into()));
        set("iss", text(&token.issuer));
        set("aud", text(&token.audience));
        claims.extend(self.claims.clone());
        claims
    }
}
