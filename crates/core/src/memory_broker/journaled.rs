//! Publishing in two steps, where a journal keeps the streams.

use std::sync::Arc;
use std::time::Instant;

use super::MemoryBroker;
use super::keys::{Cell, First, Keys};
use super::stream::Begun;
use crate::broker::{BrokerError, PublishOptions, Published};
use crate::journal::{Change, Journal, Record, Room, Written};
use crate::request::StreamPosition;
use crate::{Channel, HistoryBounds, Publication};

/// What a first step has come to.
enum Step {
    /// This publication is being written.
    Ours(Published, Written),
    /// What decides about it is being written.
    Theirs(Written),
    Suppressed(StreamPosition),
}

impl MemoryBroker {
    pub(super) async fn publish_journaled(
        &self,
        journal: &dyn Journal,
        channel: &Channel,
        publication: Publication,
        options: &PublishOptions,
        now: Instant,
    ) -> Result<Published, BrokerError> {
        let key = options.idempotency_key.as_ref().filter(|key| !key.is_empty());
        let cell = key.map(|key| self.keys.cell(channel, key, options.idempotent_for, now));
        let mut room = Some(journal.room(bytes(channel, &publication)).await?);
        loop {
            let publication = publication.clone();
            let step = match &cell {
                None => self.begin(journal, channel, publication, options, None, &mut room, now)?,
                Some(cell) => {
                    let mut first = cell.lock();
                    match &*first {
                        First::Published(position) => Step::Suppressed(position.clone()),
                        First::Writing => Step::Theirs(journal.submit(nothing(channel), None)?),
                        First::Open => {
                            let step = self.begin(
                                journal,
                                channel,
                                publication,
                                options,
                                Some(cell),
                                &mut room,
                                now,
                            )?;
                            match &step {
                                Step::Ours(..) => *first = First::Writing,
                                Step::Suppressed(position) => *first = First::Published(position.clone()),
                                Step::Theirs(_) => {}
                            }
                            step
                        }
                    }
                }
            };
            match step {
                Step::Suppressed(position) => return Ok(Published { position, suppressed: true }),
                Step::Ours(published, written) => return written.await.map(|()| published),
                // If that was aborted, this one has its chance.
                Step::Theirs(written) => written.await?,
            }
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "what a publication is, and the cell and room that go with it"
    )]
    fn begin(
        &self,
        journal: &dyn Journal,
        channel: &Channel,
        publication: Publication,
        options: &PublishOptions,
        cell: Option<&Arc<Cell>>,
        room: &mut Option<Room>,
        now: Instant,
    ) -> Result<Step, BrokerError> {
        let deliver = self.deliver()?;
        self.streams.open(channel, &options.history, now, |stream| {
            stream.tell_break(&mut |kind| deliver.deliver(channel, kind, now))?;
            let mut stored = match stream.begin(publication, options, now) {
                Begun::Suppressed(position) => return Ok(Step::Suppressed(position)),
                Begun::Undecided => return Ok(Step::Theirs(journal.submit(nothing(channel), None)?)),
                Begun::Publish(stored) => stored,
            };
            deliver.takes(channel, &stored.publication)?;
            stored.key = cell.and(options.idempotency_key.clone()).map(|key| {
                let until = Keys::until(options.idempotent_for, now);
                (key, until)
            });
            let change = Change::Publish(Box::new(stored.clone()));
            let written = journal.submit(Record { channel: channel.clone(), change }, room.take())?;
            stream.submitted(&stored, cell.cloned(), now);
            Ok(Step::Ours(Published { position: stream.newest(), suppressed: false }, written))
        })
    }

    /// Lets the journal know of a stream that begins by being read: who has read its epoch may come back with it.
    pub(super) async fn tell_journal(
        &self,
        journal: &dyn Journal,
        channel: &Channel,
        bounds: &HistoryBounds,
        now: Instant,
    ) {
        if self.streams.with(channel, |stream| stream.is_told(now)).unwrap_or_default() {
            return;
        }
        // Where nothing can be written, reading goes on: after a restart this epoch is not known then.
        let Ok(room) = journal.room(OVERHEAD + channel.as_str().len()).await else { return };
        let written = self.streams.open(channel, bounds, now, |stream| {
            let change = Change::State(stream.untold()?);
            let written = journal.submit(Record { channel: channel.clone(), change }, Some(room));
            if written.is_err() {
                stream.tell_again();
            }
            written.ok()
        });
        if let Some(written) = written {
            let _ = written.await;
        }
    }

    pub(super) async fn clear_journaled(
        &self,
        journal: &dyn Journal,
        channel: &Channel,
    ) -> Result<(), BrokerError> {
        let written = self.streams.with(channel, |stream| {
            let StreamPosition { offset, epoch } = stream.newest();
            journal.submit(Record { channel: channel.clone(), change: Change::Clear { epoch, offset } }, None)
        });
        match written {
            Some(written) => written?.await,
            None => Ok(()),
        }
    }
}

fn nothing(channel: &Channel) -> Record {
    Record { channel: channel.clone(), change: Change::Nothing }
}

/// What a publication takes while it waits to be written.
fn bytes(channel: &Channel, publication: &Publication) -> usize {
    let info = publication.info.as_ref().map_or(0, |info| info.connection.len() + info.channel.len());
    OVERHEAD + channel.as_str().len() + publication.weight() + info
}

/// What a record is beside its payload, in bytes.
const OVERHEAD: usize = 512;
