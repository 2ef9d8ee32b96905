//! What the channels of one namespace are like.

use std::sync::Arc;
use std::time::Duration;

use regex::Regex;
use tidegate_core::broker::PublishOptions;
use tidegate_core::{
    Backpressure, CloseConnection, EndSubscription, HistoryBounds, SkipToLatest, SkipToOldest, Window,
};

use super::error::{RulesError, expression};
use crate::config::{self, ChannelOptions};

/// The options of a namespace, ready to be asked for each channel.
pub(super) struct Namespace {
    pub(super) options: ChannelOptions,
    /// What the part of a name behind the namespace must match.
    pub(super) expression: Option<Regex>,
    pub(super) history: HistoryBounds,
    /// What happens to slow subscribers that hear of discontinuities, and so can recover.
    positioned: Arc<dyn Backpressure>,
    /// What happens to all others.
    other: Arc<dyn Backpressure>,
}

impl Namespace {
    pub(super) fn new(
        section: &str,
        options: &ChannelOptions,
        meta_ttl: Duration,
        policies: &Policies,
    ) -> Result<Self, RulesError> {
        let history = HistoryBounds {
            size: options.history_size,
            ttl: options.history_ttl,
            meta_ttl: options.history_meta_ttl.unwrap_or(meta_ttl),
        };
        check_history(section, options, &history)?;
        let text = options.channel_regex.as_deref();
        let expression =
            text.map(|text| expression(&format!("{section}.channel_regex"), text)).transpose()?;
        let (positioned, other) = match options.backpressure {
            config::Backpressure::Default => (&policies.end, &policies.close),
            config::Backpressure::SkipOldest => (&policies.oldest, &policies.oldest),
            config::Backpressure::SkipLatest => (&policies.latest, &policies.latest),
            config::Backpressure::End => (&policies.end, &policies.end),
            config::Backpressure::Disconnect => (&policies.close, &policies.close),
            config::Backpressure::LatestPerKey => {
                return Err(RulesError::Unsupported {
                    key: format!("{section}.backpressure"),
                    found: "\"latest_per_key\"".to_owned(),
                    expected: "\"\", \"skip_oldest\", \"skip_latest\", \"end\" or \"disconnect\"".to_owned(),
                });
            }
        };
        let (positioned, other) = (positioned.clone(), other.clone());
        Ok(Self { options: options.clone(), expression, history, positioned, other })
    }

    pub(super) fn publish_options(&self) -> PublishOptions {
        PublishOptions {
            history: self.history,
            delta: self.options.delta_publish,
            ..PublishOptions::default()
        }
    }

    pub(super) fn window(&self) -> Window {
        let ChannelOptions { window_size, window_bytes, window_age, .. } = self.options;
        Window { entries: window_size, bytes: window_bytes, age: window_age }
    }

    /// What happens to a subscriber that is too slow.
    pub(super) fn policy(&self, positioned: bool) -> Arc<dyn Backpressure> {
        if positioned { self.positioned.clone() } else { self.other.clone() }
    }
}

/// The policies that all namespaces share.
pub(super) struct Policies {
    end: Arc<dyn Backpressure>,
    close: Arc<dyn Backpressure>,
    oldest: Arc<dyn Backpressure>,
    latest: Arc<dyn Backpressure>,
}

impl Policies {
    /// Policies that count a subscriber as slow that is more than `queue_max_size` bytes behind.
    pub(super) fn new(queue_max_size: usize) -> Self {
        let bytes = u64::try_from(queue_max_size).unwrap_or(u64::MAX);
        Self {
            end: Arc::new(EndSubscription { bytes }),
            close: Arc::new(CloseConnection::slow(bytes)),
            oldest: Arc::new(SkipToOldest),
            latest: Arc::new(SkipToLatest { bytes }),
        }
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
    let needs = "false without history_size and history_ttl";
    match history.is_kept() {
        false if options.force_recovery => wrong("force_recovery", "true", needs),
        false if options.force_positioning => wrong("force_positioning", "true", needs),
        _ => Ok(()),
    }
}
