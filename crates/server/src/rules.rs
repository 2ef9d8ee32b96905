//! The rules of the configuration: who may connect, and what a client may do in which channel.
//!
//! [`Rules`] is the [`Authenticator`](tidegate_core::Authenticator) of the binary. Every decision has two
//! steps, each a function of its own: who allows it (a token, the channel's name, an option), and what is
//! granted then. A proxy is one more to allow it.

mod authenticate;
mod channels;
mod connect;
mod error;
mod explain;
mod namespace;
mod namespaces;
mod proxies;
mod subscribe;
#[cfg(test)]
mod tests;
mod wishes;

use std::time::{SystemTime, UNIX_EPOCH};

use tidegate_core::broker::PublishOptions;
use tidegate_core::{Channel, Client, ClientError, HistoryBounds, Lag, Window};

use crate::config::{self, Config};
use crate::token::Verifier;

#[cfg(test)]
pub(crate) use tests::subscribe_to;

pub use error::RulesError;

pub(crate) use error::expression;

use namespace::Namespace;
use namespaces::Namespaces;
use proxies::{Proxies, Shelf};

/// What the configuration says of clients and channels.
///
/// It shows no keys and no tokens, in `Debug` or in logs.
pub struct Rules {
    namespaces: Namespaces,
    /// Everyone may do everything that a channel has.
    insecure: bool,
    anonymous_without_token: bool,
    anonymous_tokens: bool,
    /// The header that names the user, in lower case.
    user_header: Option<String>,
    personal: config::PersonalChannel,
    connections: Verifier,
    /// `None`: subscription tokens are verified as connection tokens.
    subscriptions: Option<Verifier>,
    proxies: Proxies,
}

impl Rules {
    /// The rules of a configuration. Nothing is fetched yet.
    ///
    /// # Errors
    /// [`RulesError`] names the key whose value makes no sense, or is not implemented.
    pub fn new(config: &Config) -> Result<Self, RulesError> {
        let client = &config.client;
        let skip = client.insecure_skip_token_signature_verify;
        let own = &client.subscription_token;
        if client.insecure {
            tracing::warn!("client.insecure is on: everybody may connect, and use every channel");
        }
        if skip {
            tracing::warn!("client.insecure_skip_token_signature_verify is on: everybody can be any user");
        }
        let mut shelf = Shelf::new(config);
        let mut namespaces = Namespaces::new(&config.channel, behind(client))?;
        namespaces.ask(&config.channel, &mut shelf)?;
        let rules = Self {
            namespaces,
            proxies: Proxies::new(config, &mut shelf)?,
            insecure: client.insecure,
            anonymous_without_token: client.allow_anonymous_connect_without_token,
            anonymous_tokens: !client.disallow_anonymous_connection_tokens,
            user_header: client.user_id_http_header.as_ref().map(|name| name.to_ascii_lowercase()),
            personal: client.subscribe_to_user_personal_channel.clone(),
            connections: Verifier::new("client.token", &client.token, skip)?,
            subscriptions: match own.enabled {
                true => Some(Verifier::new("client.subscription_token", &own.token, skip)?),
                false => None,
            },
        };
        let personal = &rules.personal;
        if personal.enabled && rules.namespaces.of(&rules.personal_channel("user")).is_err() {
            return Err(RulesError::BadValue {
                key: "client.subscribe_to_user_personal_channel.personal_channel_namespace".to_owned(),
                found: format!("{:?}", personal.personal_channel_namespace),
                expected: "the name of one of channel.namespaces".to_owned(),
            });
        }
        Ok(rules)
    }

    /// How the server publishes to `channel`.
    ///
    /// # Errors
    /// 102 where the namespace is unknown, as for all that follow.
    pub fn publish_options(&self, channel: &Channel) -> Result<PublishOptions, ClientError> {
        Ok(self.namespaces.of(channel.as_str())?.publish_options())
    }

    /// The history that `channel` keeps; [`HistoryBounds::is_kept`] says whether it keeps any.
    ///
    /// # Errors
    /// 102 where the namespace is unknown.
    pub fn history_bounds(&self, channel: &Channel) -> Result<HistoryBounds, ClientError> {
        Ok(self.namespaces.of(channel.as_str())?.history)
    }

    /// Whether it is kept who is subscribed to `channel`.
    ///
    /// # Errors
    /// 102 where the namespace is unknown.
    pub fn presence_enabled(&self, channel: &Channel) -> Result<bool, ClientError> {
        Ok(self.namespaces.of(channel.as_str())?.options.presence)
    }

    /// How much `channel` holds for subscribers that are behind. In an unknown namespace, which nobody can
    /// subscribe to: as without one.
    pub fn window(&self, channel: &Channel) -> Window {
        self.namespaces.of(channel.as_str()).unwrap_or_else(|_| self.namespaces.default()).window()
    }

    /// The namespace of a channel that a client names.
    fn named_by_client(&self, channel: &Channel) -> Result<&Namespace, ClientError> {
        self.namespaces.named_by_client(channel.as_str())
    }

    /// The verifier of subscription tokens.
    fn subscription_tokens(&self) -> &Verifier {
        self.subscriptions.as_ref().unwrap_or(&self.connections)
    }

    /// The channel of one user's own.
    fn personal_channel(&self, user: &str) -> String {
        self.namespaces.personal(&self.personal.personal_channel_namespace, user)
    }

    /// Whether three options allow something to `client`: one for everybody, one for subscribers, and one
    /// without which the other two do not count for anonymous users.
    fn allows(&self, client: &Client, subscribed: bool, allowed: Allowed) -> bool {
        let everybody = allowed.client || (subscribed && allowed.subscriber);
        self.insecure || (everybody && (allowed.anonymous || !client.user().is_empty()))
    }

    fn allows_history(&self, client: &Client, subscribed: bool, options: &config::ChannelOptions) -> bool {
        let allowed = Allowed {
            client: options.allow_history_for_client,
            subscriber: options.allow_history_for_subscriber,
            anonymous: options.allow_history_for_anonymous,
        };
        self.allows(client, subscribed, allowed)
    }

    fn allows_presence(&self, client: &Client, subscribed: bool, options: &config::ChannelOptions) -> bool {
        let allowed = Allowed {
            client: options.allow_presence_for_client,
            subscriber: options.allow_presence_for_subscriber,
            anonymous: options.allow_presence_for_anonymous,
        };
        self.allows(client, subscribed, allowed)
    }

    fn allows_publish(&self, client: &Client, subscribed: bool, options: &config::ChannelOptions) -> bool {
        let allowed = Allowed {
            client: options.allow_publish_for_client,
            subscriber: options.allow_publish_for_subscriber,
            anonymous: options.allow_publish_for_anonymous,
        };
        self.allows(client, subscribed, allowed)
    }
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rules")
            .field("insecure", &self.insecure)
            .field("namespaces", &self.namespaces)
            .finish_non_exhaustive()
    }
}

/// The `allow_*` options of one thing that clients do.
#[derive(Clone, Copy)]
struct Allowed {
    client: bool,
    subscriber: bool,
    anonymous: bool,
}

/// How far behind a subscription may be.
fn behind(client: &config::Client) -> Lag {
    let entries = client.queue_max_entries.map_or(u64::MAX, |entries| entries.get() as u64);
    Lag { entries, bytes: client.queue_max_size as u64 }
}

/// Seconds since 1970.
fn unix_now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}
