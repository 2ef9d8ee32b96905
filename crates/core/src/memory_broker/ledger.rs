use std::sync::{Arc, OnceLock};

use super::keys::First;
use super::streams::Streams;
use crate::Channel;
use crate::broker::Deliver;
use crate::journal::{Change, Ledger, Record, State};
use crate::request::StreamPosition;

/// What the journal calls when it has written.
pub(super) struct Commits {
    pub(super) deliver: Arc<OnceLock<Arc<dyn Deliver>>>,
    pub(super) streams: Arc<Streams>,
}

impl Ledger for Commits {
    fn commit(&self, record: &Record) {
        let channel = &record.channel;
        match &record.change {
            Change::Publish(stored) => {
                let publication = &stored.publication;
                let cell = self.streams.with(channel, |stream| {
                    stream.commit(publication.offset, &mut |kind, now| match self.deliver.get() {
                        Some(deliver) => deliver.deliver(channel, kind, now),
                        None => Ok(()),
                    })
                });
                // Whoever sees `Writing` until now waits behind this record, and looks again then.
                if let Some(cell) = cell.flatten() {
                    let epoch = publication.epoch.clone().unwrap_or_default();
                    *cell.lock() = First::Published(StreamPosition { offset: publication.offset, epoch });
                }
            }
            Change::Clear { epoch, offset } => {
                self.give_up(channel, &StreamPosition { offset: *offset, epoch: epoch.clone() });
            }
            Change::State(_) | Change::Nothing => {}
        }
    }

    fn abort(&self, record: &Record) {
        match &record.change {
            Change::Publish(stored) => {
                let offset = stored.publication.offset;
                let cells = self.streams.with(&record.channel, |stream| stream.abort(offset));
                for cell in cells.into_iter().flatten() {
                    *cell.lock() = First::Open;
                }
            }
            Change::State(_) => {
                self.streams.with(&record.channel, |stream| stream.tell_again());
            }
            Change::Clear { .. } | Change::Nothing => {}
        }
    }

    fn state(&self, channel: &Channel) -> Option<State> {
        self.streams.with(channel, |stream| stream.state()).flatten()
    }

    fn is_kept(&self, channel: &Channel, position: &StreamPosition) -> bool {
        self.streams.with(channel, |stream| stream.is_kept(position)).unwrap_or_default()
    }

    fn give_up(&self, channel: &Channel, position: &StreamPosition) -> usize {
        let mut taken = Vec::new();
        self.streams.with(channel, |stream| stream.take_up_to(position, &mut taken));
        taken.len()
    }

    fn bytes(&self) -> usize {
        self.streams.figures().bytes
    }
}
