//! Connections: who may connect, and their limits.

use std::num::NonZeroUsize;
use std::time::Duration;

use serde::Deserialize;

use super::form;
use super::proxy::EventProxy;
use super::secret::Secret;
use super::transforms::{ToDisconnect, Transforms};

/// `client`: who may connect, and the limits of connections.
#[derive(Debug, Clone, Deserialize)]
pub struct Client {
    /// Origins from which browsers may connect, with `*` as wildcard; empty refuses every request that has an
    /// `Origin` header.
    pub allowed_origins: Vec<String>,
    /// Keys and claims of connection tokens, and of subscription tokens unless these have their own.
    pub token: Token,
    /// Keys and claims of subscription tokens.
    pub subscription_token: SubscriptionToken,
    /// Whether a connection without a token is the anonymous user's.
    pub allow_anonymous_connect_without_token: bool,
    /// Whether tokens without a user are refused.
    pub disallow_anonymous_connection_tokens: bool,
    /// Time between pings.
    #[serde(deserialize_with = "form::duration")]
    pub ping_interval: Duration,
    /// Time a client has to answer a ping; shorter than `ping_interval`.
    #[serde(deserialize_with = "form::duration")]
    pub pong_timeout: Duration,
    /// Time a connection has to refresh after its token expired.
    #[serde(deserialize_with = "form::duration")]
    pub expired_close_delay: Duration,
    /// Time a subscription has to refresh after its token expired.
    #[serde(deserialize_with = "form::duration")]
    pub expired_sub_close_delay: Duration,
    /// Time a client has to send connect.
    #[serde(deserialize_with = "form::duration")]
    pub stale_close_delay: Duration,
    /// Time without progress of a blocked socket after which the connection is ended. 30s: longer than a
    /// phone's change of network, shorter than windows are kept.
    #[serde(deserialize_with = "form::duration")]
    pub stalled_close_delay: Duration,
    /// Bytes a blocked socket has to take within `stalled_close_delay`, unless it has caught up before.
    pub stalled_min_bytes: usize,
    /// Time one message may take from its first byte to its last.
    #[serde(deserialize_with = "form::duration")]
    pub message_timeout: Duration,
    /// Control frames of a client in a second; `None` is unlimited.
    #[serde(deserialize_with = "form::limit")]
    pub control_frame_limit: Option<NonZeroUsize>,
    /// Bytes read of a client while its request is still being done; at least 1024.
    pub read_ahead_size: usize,
    /// Time a client has to close once the server has, and its requests have once it is gone.
    #[serde(deserialize_with = "form::duration")]
    pub close_timeout: Duration,
    /// Time brokers, and then hooks, have to clean up behind a connection.
    #[serde(deserialize_with = "form::duration")]
    pub leave_timeout: Duration,
    /// Subscriptions per connection; at least 1.
    pub channel_limit: usize,
    /// Bytes a subscriber may be behind before it counts as slow; at least 4096.
    pub queue_max_size: usize,
    /// Entries a subscriber may be behind before it counts as slow; `None` leaves it to the channel's window.
    #[serde(deserialize_with = "form::limit")]
    pub queue_max_entries: Option<NonZeroUsize>,
    /// Bytes all subscriptions of a connection may be behind together; `None` is unlimited. 4 MiB: four times
    /// what one may be; at 1 Mbit/s half a minute.
    #[serde(deserialize_with = "form::limit")]
    pub connection_queue_max_size: Option<NonZeroUsize>,
    /// Entries all subscriptions of a connection may be behind together; `None` is unlimited. 16384: four
    /// windows.
    #[serde(deserialize_with = "form::limit")]
    pub connection_queue_max_entries: Option<NonZeroUsize>,
    /// Bytes of control messages that wait for a client at which no more of its commands are done; at least
    /// 1024. 64 KiB: some 500 replies.
    pub reply_queue_max_size: usize,
    /// Time between refreshes of presence and checks for expired subscriptions.
    #[serde(deserialize_with = "form::duration")]
    pub presence_update_interval: Duration,
    /// Connections this node accepts; `None` is unlimited.
    #[serde(deserialize_with = "form::limit")]
    pub connection_limit: Option<NonZeroUsize>,
    /// Connections per user; `None` is unlimited.
    #[serde(deserialize_with = "form::limit")]
    pub user_connection_limit: Option<NonZeroUsize>,
    /// Connections per IPv4 address or IPv6 /64; `None` is unlimited.
    #[serde(deserialize_with = "form::limit")]
    pub ip_connection_limit: Option<NonZeroUsize>,
    /// New connections per second, and as many at once after a quiet second; `None` is unlimited.
    #[serde(deserialize_with = "form::limit")]
    pub connection_rate_limit: Option<NonZeroUsize>,
    /// What a second connection of a user does.
    pub duplicate_user: DuplicateUser,
    /// Takeovers of one user that are free, one after the other.
    pub takeover_limit: usize,
    /// Quiet time after which a user's takeovers are forgotten.
    #[serde(deserialize_with = "form::duration")]
    pub takeover_window: Duration,
    /// First pause between takeovers of one user; it doubles each time.
    #[serde(deserialize_with = "form::duration")]
    pub takeover_backoff: Duration,
    /// Longest pause between takeovers of one user.
    #[serde(deserialize_with = "form::duration")]
    pub takeover_backoff_max: Duration,
    /// Time the application is not told of a newcomer while the connection it displaces is cleaned up behind.
    #[serde(deserialize_with = "form::duration")]
    pub takeover_timeout: Duration,
    /// Whether the connect reply has the server's time.
    pub connect_include_server_time: bool,
    /// Publications one history request returns at most; `None` is unlimited.
    #[serde(deserialize_with = "form::limit")]
    pub history_max_publication_limit: Option<NonZeroUsize>,
    /// Publications one recovery returns at most; `None` is unlimited.
    #[serde(deserialize_with = "form::limit")]
    pub recovery_max_publication_limit: Option<NonZeroUsize>,
    /// Whether everyone may connect without a token and use every channel. For development.
    pub insecure: bool,
    /// Whether token signatures are not verified.
    pub insecure_skip_token_signature_verify: bool,
    /// Request header whose value is the user, set by a trusted proxy.
    #[serde(deserialize_with = "form::some_text")]
    pub user_id_http_header: Option<String>,
    /// A channel of their own for every user.
    pub subscribe_to_user_personal_channel: PersonalChannel,
    /// How clients that only read are closed whose connect request is refused with an error.
    pub connect_code_to_unidirectional_disconnect: Transforms<ToDisconnect>,
    /// Hooks for connect and refresh.
    pub proxy: ClientProxies,
}

/// What a second connection of a user does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DuplicateUser {
    /// Both stay.
    Keep,
    /// The new one is refused.
    Refuse,
    /// The old one is ended.
    Takeover,
}

/// `client.token`: keys and claims of tokens. An empty key refuses tokens of its algorithm; an empty claim
/// accepts every token.
#[derive(Debug, Clone, Deserialize)]
pub struct Token {
    /// Secret of HMAC tokens.
    pub hmac_secret_key: Secret,
    /// Previous secret of HMAC tokens.
    pub hmac_previous_secret_key: Secret,
    /// Unix seconds until which the previous secret is accepted; `None` has no end.
    #[serde(deserialize_with = "form::some_seconds")]
    pub hmac_previous_secret_key_valid_until: Option<i64>,
    /// Public key of RSA tokens, PEM.
    pub rsa_public_key: String,
    /// Public key of ECDSA tokens, PEM.
    pub ecdsa_public_key: String,
    /// URL of a JSON Web Key Set.
    pub jwks_public_endpoint: String,
    /// Audience tokens must name.
    pub audience: String,
    /// Regular expression the audience must match.
    pub audience_regex: String,
    /// Issuer tokens must name.
    pub issuer: String,
    /// Regular expression the issuer must match.
    pub issuer_regex: String,
    /// Claim that holds the user; `None` is `sub`.
    #[serde(deserialize_with = "form::some_text")]
    pub user_id_claim: Option<String>,
    /// Whether the groups that placeholders of the URL stand for may match more than a list of values.
    pub insecure_skip_jwks_endpoint_safety_check: bool,
}

/// `client.subscription_token`: keys and claims of subscription tokens.
#[derive(Debug, Clone, Deserialize)]
pub struct SubscriptionToken {
    /// Whether subscription tokens have keys of their own; otherwise those of connection tokens count.
    pub enabled: bool,
    /// The keys and claims.
    #[serde(flatten)]
    pub token: Token,
}

/// `client.subscribe_to_user_personal_channel`: a channel of their own for every user.
#[derive(Debug, Clone, Deserialize)]
pub struct PersonalChannel {
    /// Whether users are subscribed to it on connect.
    pub enabled: bool,
    /// Its namespace; empty is none.
    pub personal_channel_namespace: String,
    /// Whether only the newest connection of a user stays.
    pub single_connection: bool,
}

/// `client.proxy`: hooks of connections.
#[derive(Debug, Clone, Deserialize)]
pub struct ClientProxies {
    /// Asked whether a client may connect.
    pub connect: EventProxy,
    /// Asked whether a connection may go on.
    pub refresh: EventProxy,
}
