//! What the HTTP API asks of the rules.

use tidegate_core::broker::PublishOptions;
use tidegate_core::{Channel, ClientError, HistoryBounds};

use super::Rules;
use crate::api::Channels;

impl Channels for Rules {
    fn publish_options(&self, channel: &Channel) -> Result<PublishOptions, ClientError> {
        Self::publish_options(self, channel)
    }

    fn check(&self, channel: &Channel, data: &[u8]) -> Result<(), ClientError> {
        self.namespaces.of(channel.as_str())?.check(data)
    }

    fn largest(&self, channel: &Channel) -> usize {
        self.window(channel).largest()
    }

    fn history(&self, channel: &Channel) -> Result<HistoryBounds, ClientError> {
        let bounds = self.history_bounds(channel)?;
        if bounds.is_kept() { Ok(bounds) } else { Err(ClientError::NOT_AVAILABLE) }
    }

    fn presence(&self, channel: &Channel) -> Result<(), ClientError> {
        if self.presence_enabled(channel)? { Ok(()) } else { Err(ClientError::NOT_AVAILABLE) }
    }
}
