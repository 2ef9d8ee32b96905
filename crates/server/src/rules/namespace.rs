//! What the channels of one namespace are like.

use std::sync::Arc;

use regex::Regex;
use tidegate_core::broker::PublishOptions;
use tidegate_core::{
    Backpressure, ClientError, CloseConnection, EndSubscription, HistoryBounds, Lag, LatestPerKey,
    SkipToLatest, SkipToOldest, Window,
};
use tidegate_protocol::is_json;

use super::error::{RulesError, expression};
use super::proxies::ChannelProxies;
use crate::config::{self, ChannelOptions, DataFormat};

/// The options of a namespace, ready to be asked for each channel.
pub(super) struct Namespace {
    pub(super) options: ChannelOptions,
    /// What the part of a name behind the namespace must match.
    pub(super) expression: Option<Regex>,
    pub(super) history: HistoryBounds,
    pub(super) format: DataFormat,
    /// Who is asked what clients may do.
    pub(super) proxies: ChannelProxies,
    policies: Policies,
}

impl Namespace {
    pub(super) fn new(
        section: &str,
        options: &ChannelOptions,
        channels: &config::Channels,
        policies: &Policies,
    ) -> Result<Self, RulesError> {
        let history = HistoryBounds {
            size: options.history_size,
            ttl: options.history_ttl,
            meta_ttl: options.history_meta_ttl.unwrap_or(channels.history_meta_ttl),
        };
        let format = match options.publication_data_format {
            DataFormat::Default => channels.publication_data_format,
            own => own,
        };
        check_history(section, options, &history)?;
        let text = options.channel_regex.as_deref();
        let expression =
            text.map(|text| expression(&format!("{section}.channel_regex"), text)).transpose()?;
        let proxies = ChannelProxies::default();
        Ok(Self {
            options: options.clone(),
            expression,
            history,
            format,
            proxies,
            policies: policies.clone(),
        })
    }

    /// Checks what is to be published.
    ///
    /// # Errors
    /// 107 for what the format does not allow.
    pub(super) fn check(&self, data: &[u8]) -> Result<(), ClientError> {
        let sound = match self.format {
            DataFormat::Default => !data.is_empty(),
            DataFormat::Json => is_json(data),
            DataFormat::JsonObject => data.trim_ascii_start().starts_with(b"{") && is_json(data),
            DataFormat::Binary => true,
        };
        if sound { Ok(()) } else { Err(ClientError::BAD_REQUEST) }
    }

    pub(super) fn publish_options(&self) -> PublishOptions {
        PublishOptions {
            history: self.history,
            delta: self.options.delta_publish,
            ..PublishOptions::default()
        }
    }

    pub(super) fn window(&self) -> Window {
        let options = &self.options;
        // No account of keys is kept where nobody looks at it.
        let keyed = options.backpressure == config::Backpressure::LatestPerKey
            || options.allowed_backpressure.contains(&config::Backpressure::LatestPerKey);
        Window {
            entries: options.window_size,
            bytes: options.window_bytes,
            age: options.window_age,
            keys: if keyed { options.key_table_size } else { 0 },
            key_bytes: if keyed { options.key_table_bytes } else { 0 },
        }
    }

    /// What happens to a subscriber that is too slow, `positioned` telling whether it hears of
    /// discontinuities and so can recover.
    pub(super) fn policy(&self, positioned: bool) -> Arc<dyn Backpressure> {
        self.policies.of(self.options.backpressure, positioned)
    }

    /// The same for one that asks for a policy by its name.
    ///
    /// # Errors
    /// 107 where subscribers may not ask for this one.
    pub(super) fn policy_asked_for(&self, name: &str) -> Result<Arc<dyn Backpressure>, ClientError> {
        let allowed = &self.options.allowed_backpressure;
        match allowed.iter().find(|policy| policy.name() == name) {
            Some(policy) => Ok(self.policies.of(*policy, true)),
            None => {
                let names: Vec<_> = allowed.iter().map(|policy| policy.name()).collect();
                let expected = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                let message = format!("bad request: backpressure is {name:?}; allowed here: {expected}");
                Err(ClientError { message: message.into(), ..ClientError::BAD_REQUEST })
            }
        }
    }
}

/// The policies that all namespaces share.
#[derive(Clone)]
pub(super) struct Policies {
    end: Arc<dyn Backpressure>,
    close: Arc<dyn Backpressure>,
    oldest: Arc<dyn Backpressure>,
    latest: Arc<dyn Backpressure>,
    per_key: Arc<dyn Backpressure>,
}

impl Policies {
    /// Policies that count a subscriber as slow that is more than `beyond` behind.
    pub(super) fn new(beyond: Lag) -> Self {
        Self {
            end: Arc::new(EndSubscription { beyond }),
            close: Arc::new(CloseConnection::slow(beyond)),
            oldest: Arc::new(SkipToOldest),
            latest: Arc::new(SkipToLatest { beyond }),
            per_key: Arc::new(LatestPerKey { beyond }),
        }
    }

    fn of(&self, policy: config::Backpressure, positioned: bool) -> Arc<dyn Backpressure> {
        let policy = match policy {
            config::Backpressure::Default if positioned => &self.end,
            config::Backpressure::Default | config::Backpressure::Disconnect => &self.close,
            config::Backpressure::SkipOldest => &self.oldest,
            config::Backpressure::SkipLatest => &self.latest,
            config::Backpressure::LatestPerKey => &self.per_key,
            config::Backpressure::End => &self.end,
        };
        policy.clone()
    }
}

/// History needs a size and a time, and promises that rest on it need history.
fn check_history(section: &str, options: &ChannelOptions, history: &HistoryBounds) -> Result<(), RulesError> {
    let wrong = |key: &str, found: &str, expected: &str| {
        let (found, expected) = (found.to_owned(), expected.to_owned());
        Err(RulesError::BadValue { key: format!("{section}.{key}"), found, expected })
    };
    if (history.size > 0) == history.ttl.is_zero() {
        let (key, other) = match history.size {
            0 => ("history_size", "history_ttl"),
            _ => ("history_ttl", "history_size"),
        };
        return wrong(key, "0", &format!("more, because {other} is set: there is no history without both"));
    }
    if options.force_recovery && !history.is_kept() {
        return wrong("force_recovery", "true", "false without history_size and history_ttl");
    }
    let cache = options.force_recovery && options.force_recovery_mode == config::RecoveryMode::Cache;
    if options.auto_cache_recover && !cache {
        let expected = "false without force_recovery and without force_recovery_mode cache";
        return wrong("auto_cache_recover", "true", expected);
    }
    Ok(())
}
