use tidegate_protocol::message::{Publication, SubscribeRequest, SubscribeResult};

use crate::{Gap, GapCause, Position, Subscribed};

/// Where a subscription is in its channel's stream, over all of its lives.
#[derive(Debug, Clone, Default)]
pub(crate) struct Track {
    /// It has been live before, or is to begin at a position: what is missed counts.
    begun: bool,
    recoverable: bool,
    position: Option<Position>,
    /// Live at the moment.
    pub(crate) live: bool,
}

impl Track {
    pub(crate) fn since(position: Option<Position>) -> Self {
        Self { begun: position.is_some(), recoverable: position.is_some(), position, live: false }
    }

    pub(crate) fn is_recoverable(&self) -> bool {
        self.recoverable
    }

    /// Asks for what was missed.
    pub(crate) fn ask(&self, request: &mut SubscribeRequest) {
        if let Some(position) = self.position.as_ref().filter(|_| self.recoverable) {
            request.recover = true;
            request.offset = position.offset;
            request.epoch.clone_from(&position.epoch);
        }
    }

    /// The subscription is live. Says how, and what was missed.
    pub(crate) fn resume(&mut self, result: &SubscribeResult) -> (Subscribed, Option<Gap>) {
        let has_position = result.recoverable || result.positioned || !result.epoch.is_empty();
        let position = has_position.then(|| Position::new(result.offset, result.epoch.clone()));
        let gap = if self.begun && !result.recovered { self.gap(result, position.as_ref()) } else { None };
        self.begun = true;
        self.live = true;
        self.recoverable = result.recoverable;
        self.position.clone_from(&position);
        let subscribed = Subscribed {
            recoverable: result.recoverable,
            positioned: result.positioned,
            was_recovering: result.was_recovering,
            recovered: result.recovered,
            position,
            data: result.data.clone(),
        };
        (subscribed, gap)
    }

    fn gap(&self, result: &SubscribeResult, now: Option<&Position>) -> Option<Gap> {
        let cause = if result.was_recovering { GapCause::Unrecoverable } else { GapCause::Away };
        let same_life = |(before, now): &(&Position, &Position)| {
            before.epoch == now.epoch && !now.epoch.is_empty() && before.offset <= now.offset
        };
        let between = self.position.as_ref().zip(now).filter(same_life);
        let missed = between.map(|(before, now)| now.offset - before.offset);
        (missed != Some(0)).then_some(Gap { missed, joins_and_leaves: 0, cause })
    }

    /// A publication has come.
    pub(crate) fn advance(&mut self, publication: &Publication) {
        let Some(position) = self.position.as_mut().filter(|_| publication.offset > 0) else { return };
        position.offset = publication.offset;
        if !publication.epoch.is_empty() {
            position.epoch.clone_from(&publication.epoch);
        }
    }

    /// What is known of the stream holds no longer: recovery is to fail, and to say so.
    pub(crate) fn invalidate(&mut self) {
        if let Some(position) = &mut self.position {
            // No server has such an epoch. An empty one would fit any.
            *position = Position::new(0, "_");
        }
    }
}
