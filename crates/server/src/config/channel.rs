//! Channels and their namespaces.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::form;
use super::proxy::Proxy;
use super::settings::Config;

/// `channel`: channels and their namespaces.
#[derive(Debug, Clone, Deserialize)]
pub struct Channels {
    /// Options of channels without a namespace.
    pub without_namespace: ChannelOptions,
    /// Options of the channels of each namespace. Nothing is inherited from `without_namespace`.
    #[serde(deserialize_with = "form::by_name")]
    pub namespaces: BTreeMap<String, ChannelOptions>,
    /// Time the position of a stream is kept after its last publication.
    #[serde(deserialize_with = "form::duration")]
    pub history_meta_ttl: Duration,
    /// What publications must be, where the namespace does not say.
    pub publication_data_format: DataFormat,
    /// Longest time a publisher may wait for room. 10s: below the time-outs of HTTP clients and proxies.
    #[serde(deserialize_with = "form::duration")]
    pub publish_wait_limit: Duration,
    /// Longest channel name, in bytes.
    pub max_length: usize,
    /// Prefix of channels that need a subscription token.
    pub private_prefix: String,
    /// What ends the namespace in a channel name.
    pub namespace_boundary: String,
    /// What starts the list of allowed users in a channel name.
    pub user_boundary: String,
    /// What separates allowed users in a channel name.
    pub user_separator: String,
    /// What tags filters may be.
    pub tags_filter: TagsFilter,
    /// The proxies called `default`.
    pub proxy: ChannelProxies,
}

/// `channel.tags_filter`: the bounds of filters, where a namespace allows them.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct TagsFilter {
    /// Nodes of a filter above one another.
    pub depth: usize,
    /// Nodes of a filter in all: each is judged for each publication.
    pub nodes: usize,
    /// Bytes of a filter's keys and values: they are kept for each subscription.
    pub bytes: usize,
    /// Filters of one channel that are judged once per publication. Subscribers with others filter when they
    /// read.
    pub logs: usize,
}

/// `channel.proxy`: the proxies called `default`.
#[derive(Debug, Clone, Deserialize)]
pub struct ChannelProxies {
    /// Asked whether a client may subscribe.
    pub subscribe: Proxy,
    /// Asked whether a client may publish.
    pub publish: Proxy,
    /// Asked whether a subscription may go on.
    pub sub_refresh: Proxy,
}

/// `channel.without_namespace` and each of `channel.namespaces`: what the channels of a namespace are like.
#[derive(Debug, Clone, Deserialize)]
pub struct ChannelOptions {
    /// Whether it is kept who is subscribed.
    pub presence: bool,
    /// Whether there are join and leave messages.
    pub join_leave: bool,
    /// Whether join and leave messages go to clients that did not ask for them.
    pub force_push_join_leave: bool,
    /// Publications kept in history; 0 keeps none.
    pub history_size: usize,
    /// Time publications are kept in history; zero keeps none.
    #[serde(deserialize_with = "form::duration")]
    pub history_ttl: Duration,
    /// Time the position of a stream is kept; `None` takes that of all channels.
    #[serde(deserialize_with = "form::some_duration")]
    pub history_meta_ttl: Option<Duration>,
    /// Whether every subscription is positioned.
    pub force_positioning: bool,
    /// Whether clients may ask for positioned subscriptions.
    pub allow_positioning: bool,
    /// Whether every subscription is recoverable.
    pub force_recovery: bool,
    /// Whether clients may ask for recoverable subscriptions.
    pub allow_recovery: bool,
    /// How subscriptions recover.
    pub force_recovery_mode: RecoveryMode,
    /// Whether every subscription gets the latest publication, where subscriptions recover that.
    pub auto_cache_recover: bool,
    /// Delta compression clients may ask for.
    pub allowed_delta_types: Vec<DeltaType>,
    /// Whether publications are published as deltas without asking for it each time.
    pub delta_publish: bool,
    /// Whether clients may filter publications by tags.
    pub allow_tags_filter: bool,
    /// Whether anonymous users may subscribe too.
    pub allow_subscribe_for_anonymous: bool,
    /// Whether clients may subscribe.
    pub allow_subscribe_for_client: bool,
    /// Whether anonymous users may publish too.
    pub allow_publish_for_anonymous: bool,
    /// Whether subscribers may publish.
    pub allow_publish_for_subscriber: bool,
    /// Whether clients may publish.
    pub allow_publish_for_client: bool,
    /// Whether anonymous users may ask for presence too.
    pub allow_presence_for_anonymous: bool,
    /// Whether subscribers may ask for presence.
    pub allow_presence_for_subscriber: bool,
    /// Whether clients may ask for presence.
    pub allow_presence_for_client: bool,
    /// Whether anonymous users may ask for history too.
    pub allow_history_for_anonymous: bool,
    /// Whether subscribers may ask for history.
    pub allow_history_for_subscriber: bool,
    /// Whether clients may ask for history.
    pub allow_history_for_client: bool,
    /// Whether users named in a channel name may subscribe to it.
    pub allow_user_limited_channels: bool,
    /// What publications must be.
    pub publication_data_format: DataFormat,
    /// Regular expression channel names must match.
    #[serde(deserialize_with = "form::some_text")]
    pub channel_regex: Option<String>,
    /// What happens to slow subscribers.
    pub backpressure: Backpressure,
    /// What subscribers may ask for instead.
    pub allowed_backpressure: Vec<Backpressure>,
    /// Whether subscribers over QUIC may ask for datagrams, where there is no history.
    pub allow_datagrams: bool,
    /// Keys whose latest publication a channel holds beyond its window, where `latest_per_key` is used or
    /// allowed. 1024: instruments, players or sensors of one channel.
    pub key_table_size: usize,
    /// Bytes of these. 1 MiB: half a window.
    pub key_table_bytes: usize,
    /// Publications a channel holds for subscribers that are behind; at least 1. 4096: four seconds at a
    /// thousand a second.
    pub window_size: usize,
    /// Bytes a channel holds for subscribers that are behind; at least 4096. A publication may have a quarter of
    /// it. 2 MiB: twice what a subscriber may be behind.
    pub window_bytes: usize,
    /// Time a channel holds a publication for subscribers that are behind. 60s: stalled clients on many
    /// channels must not keep their windows for ever.
    #[serde(deserialize_with = "form::duration")]
    pub window_age: Duration,
    /// Whether the proxy `subscribe_proxy_name` is asked about subscriptions.
    pub subscribe_proxy_enabled: bool,
    /// A name of `proxies`, or `default`.
    pub subscribe_proxy_name: String,
    /// Whether the proxy `publish_proxy_name` is asked about publications of clients.
    pub publish_proxy_enabled: bool,
    /// A name of `proxies`, or `default`.
    pub publish_proxy_name: String,
    /// Whether the proxy `sub_refresh_proxy_name` is asked about expiring subscriptions.
    pub sub_refresh_proxy_enabled: bool,
    /// A name of `proxies`, or `default`.
    pub sub_refresh_proxy_name: String,
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Config::default().channel.without_namespace
    }
}

/// How subscriptions recover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecoveryMode {
    /// All that was missed, or nothing.
    #[serde(alias = "")]
    Stream,
    /// The latest publication only.
    Cache,
}

/// What the data of publications must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataFormat {
    /// Something; of a namespace: what holds for all channels.
    #[serde(rename = "")]
    Default,
    /// A JSON value.
    Json,
    /// A JSON object.
    JsonObject,
    /// Anything, also nothing.
    Binary,
}

/// How publications are compressed against the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeltaType {
    /// Fossil deltas.
    Fossil,
}

/// What happens to a subscriber that is more than `client.queue_max_size` behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backpressure {
    /// A positioned subscription is ended, for any other the connection.
    #[serde(rename = "")]
    Default,
    /// The oldest publications are skipped.
    SkipOldest,
    /// All but the latest publication is skipped.
    SkipLatest,
    /// All but the latest publication of each key is skipped.
    LatestPerKey,
    /// The subscription is ended.
    End,
    /// The connection is ended.
    Disconnect,
}

impl Backpressure {
    /// The word for it, in the configuration and in what subscribers ask for.
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "",
            Self::SkipOldest => "skip_oldest",
            Self::SkipLatest => "skip_latest",
            Self::LatestPerKey => "latest_per_key",
            Self::End => "end",
            Self::Disconnect => "disconnect",
        }
    }
}
