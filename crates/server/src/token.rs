//! Tokens: JSON Web Tokens that say who connects, and who may subscribe.
//!
//! A token is judged in this order: its form, its signature, its issuer and audience, its times. Nothing here
//! shows a token or a key: errors hold fixed texts only.

mod algorithm;
mod claims;
mod jwks;
mod keys;
mod new;
mod report;
mod sets;
mod signer;
#[cfg(test)]
pub(crate) mod tests;

use bytes::Bytes;
use regex::Regex;
use tidegate_core::call::Overrides;

use crate::config;
use crate::rules::RulesError;

pub use new::NewToken;
pub use report::{Kind, Report};
pub use signer::{Signer, SignerError};

pub(crate) use report::{Reader, moment as report_moment};

use claims::Claims;
use keys::{Header, Keys};
use sets::Groups;

/// Verifies tokens by the keys of one section of the configuration.
pub(crate) struct Verifier {
    section: String,
    keys: Keys,
    skip_signature: bool,
    issuer: Named,
    audience: Named,
    user_claim: Option<String>,
}

/// What a connection token says.
pub(crate) struct ConnectToken {
    /// The user; empty for an anonymous one.
    pub(crate) user: String,
    /// When the connection expires, in seconds since 1970; 0 for never.
    pub(crate) expire_at: i64,
    /// What others may know of the connection, where the token says so.
    pub(crate) info: Option<Bytes>,
    /// The application's own.
    pub(crate) meta: Bytes,
    /// Channels that the client is subscribed to by the server, in the token's order.
    pub(crate) channels: Vec<TokenChannel>,
}

/// A server-side subscription that a connection token names.
pub(crate) struct TokenChannel {
    pub(crate) channel: String,
    pub(crate) info: Bytes,
    pub(crate) data: Bytes,
    pub(crate) overrides: Overrides,
}

/// What a subscription token says.
pub(crate) struct SubscribeToken {
    /// The user that it is for.
    pub(crate) user: String,
    /// The channel that it is for; never empty.
    pub(crate) channel: String,
    /// The connection that it is for; empty for any.
    pub(crate) client: String,
    /// When the subscription expires, in seconds since 1970; 0 for never.
    pub(crate) expire_at: i64,
    /// What others may know of the subscription, where the token says so.
    pub(crate) info: Option<Bytes>,
    /// What the client is told with the subscribe reply.
    pub(crate) data: Bytes,
    /// Options of the channel that are different for this subscription.
    pub(crate) overrides: Overrides,
}

/// Why a token was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    /// It never was, and never will be.
    #[error("invalid token: {0}")]
    Invalid(&'static str),
    /// It was once, or will be.
    #[error("token expired, or not valid yet")]
    Expired,
    /// It cannot be told now, because keys cannot be fetched: the same token may be accepted later.
    #[error("the keys of tokens cannot be fetched")]
    Unavailable,
}

impl Verifier {
    /// A verifier by the keys of `section`, such as `client.token`. Fetches nothing yet.
    ///
    /// # Errors
    /// A key or an expression that makes no sense.
    pub(crate) fn new(
        section: &str,
        token: &config::Token,
        skip_signature: bool,
    ) -> Result<Self, RulesError> {
        Ok(Self {
            section: section.to_owned(),
            keys: Keys::new(section, token)?,
            skip_signature,
            issuer: Named::new(section, "issuer", &token.issuer, &token.issuer_regex)?,
            audience: Named::new(section, "audience", &token.audience, &token.audience_regex)?,
            user_claim: token.user_id_claim.clone(),
        })
    }

    /// What a connection token says. `now` is in seconds since 1970.
    pub(crate) async fn connect(&self, token: &str, now: i64) -> Result<ConnectToken, TokenError> {
        let claims = self.claims(token, now).await?;
        // A subscription token must not open a connection, or whoever may read one channel may be its user.
        if claims.channel.as_ref().is_some_and(|channel| !channel.is_empty()) {
            return Err(TokenError::Invalid("a connection token with a channel"));
        }
        claims.check_times(now)?;
        Ok(ConnectToken {
            expire_at: claims.expire_at(),
            info: claims.info()?,
            meta: claims.meta(),
            channels: claims.channels()?,
            user: claims.user,
        })
    }

    /// What a subscription token says. `now` is in seconds since 1970.
    pub(crate) async fn subscribe(&self, token: &str, now: i64) -> Result<SubscribeToken, TokenError> {
        let claims = self.claims(token, now).await?;
        claims.check_times(now)?;
        let channel = claims.channel.clone().filter(|channel| !channel.is_empty());
        Ok(SubscribeToken {
            channel: channel.ok_or(TokenError::Invalid("a subscription token without a channel"))?,
            client: claims.client.clone().unwrap_or_default(),
            expire_at: claims.expire_at(),
            info: claims.info()?,
            data: claims.data()?,
            overrides: claims.overrides(),
            user: claims.user,
        })
    }

    /// The key that a token is signed with, as the configuration names it.
    pub(crate) async fn key_of(&self, token: &str, now: i64) -> Result<String, TokenError> {
        Ok(format!("{}.{}", self.section, self.signed(&Parts::of(token)?, now).await?))
    }

    /// The claims of a token with the right signature, issuer and audience.
    async fn claims(&self, token: &str, now: i64) -> Result<Claims, TokenError> {
        let parts = Parts::of(token)?;
        if !self.skip_signature {
            self.signed(&parts, now).await?;
        }
        let claims = Claims::parse(parts.payload, self.user_claim.as_deref())?;
        self.named(&claims)?;
        Ok(claims)
    }

    /// The key that a token is signed with, without the section.
    async fn signed(&self, parts: &Parts<'_>, now: i64) -> Result<&'static str, TokenError> {
        let groups = match self.keys {
            // Whose keys count is what the token says: it is looked at before it is verified, as far as that.
            Keys::Chosen(_) => self.named(&Claims::parse(parts.payload, None)?)?,
            _ => Groups::new(),
        };
        self.keys.check(&parts.header, parts.message.as_bytes(), parts.signature, &groups, now).await
    }

    /// Checks issuer and audience; what the groups of their expressions are.
    fn named(&self, claims: &Claims) -> Result<Groups, TokenError> {
        let mut groups = self.issuer.accept(claims.issuer()).ok_or(TokenError::Invalid("another issuer"))?;
        let audience = self.audience.accept(claims.audience());
        groups.extend(audience.ok_or(TokenError::Invalid("another audience"))?);
        Ok(groups)
    }
}

/// A token, cut into its parts.
struct Parts<'a> {
    header: Header,
    payload: &'a str,
    /// What is signed: the first two parts.
    message: &'a str,
    signature: &'a str,
}

impl<'a> Parts<'a> {
    fn of(token: &'a str) -> Result<Self, TokenError> {
        let (message, signature) = token.rsplit_once('.').ok_or(NOT_A_TOKEN)?;
        let (header, payload) = message.split_once('.').ok_or(NOT_A_TOKEN)?;
        Ok(Self { header: Header::parse(header)?, payload, message, signature })
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("skip_signature", &self.skip_signature).finish_non_exhaustive()
    }
}

/// A name that a token must have, and an expression that one of its names must match.
struct Named {
    name: Option<String>,
    expression: Option<Regex>,
}

impl Named {
    fn new(section: &str, key: &str, name: &str, expression: &str) -> Result<Self, RulesError> {
        let name = Some(name).filter(|name| !name.is_empty()).map(str::to_owned);
        let expression = match expression {
            "" => None,
            text => Some(crate::rules::expression(&format!("{section}.{key}_regex"), text)?),
        };
        Ok(Self { name, expression })
    }

    /// The named groups of the expression in the first name that it matches; `None` if the names are not accepted.
    fn accept(&self, names: &[String]) -> Option<Groups> {
        if self.name.as_ref().is_some_and(|name| !names.contains(name)) {
            return None;
        }
        let Some(expression) = &self.expression else { return Some(Groups::new()) };
        let found = names.iter().find_map(|name| expression.captures(name))?;
        let groups = expression.capture_names().flatten();
        let groups = groups.filter_map(|name| Some((name.to_owned(), found.name(name)?.as_str().to_owned())));
        Some(groups.collect())
    }
}

const NOT_A_TOKEN: TokenError = TokenError::Invalid("expected a header, claims and a signature");
