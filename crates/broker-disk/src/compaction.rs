//! Cleaning: the oldest file goes, when what is still kept of it has been written again.

use std::collections::HashSet;
use std::io;
use std::time::Instant;

use tidegate_core::Channel;
use tidegate_core::journal::Ledger;
use tidegate_core::request::StreamPosition;

use crate::Fsync;
use crate::frame::{self, Found};
use crate::record::Entry;
use crate::segment::Name;
use crate::writer::Writer;

/// A file that is being cleaned out.
pub(crate) struct Retiring {
    name: Name,
    data: Vec<u8>,
    at: usize,
    channels: HashSet<Channel>,
    /// Its publications are not written again: there is no room.
    give_up: bool,
    /// Bytes of it that were written again.
    carried: u64,
    given_up: usize,
    damaged: usize,
}

impl Writer {
    /// Whether a file is to be cleaned out.
    pub(crate) fn is_due(&self) -> bool {
        let Some(ledger) = self.queue.ledger() else { return false };
        if self.retiring.is_some() {
            return true;
        }
        let Some((oldest, _)) = self.full.front() else { return false };
        let (bytes, kept) = (self.bytes(), ledger.bytes() as u64);
        let enough = (4 * self.options.segment_bytes).max(2 * kept).min(self.options.limit_bytes);
        let enough = self.crowded.map_or(enough, |crowded| enough.max(crowded));
        bytes > enough || self.full.len() > self.options.most_files() || oldest.number < self.distrusted
    }

    /// Goes on cleaning, as far as `pace` bytes of the old file, or a little.
    pub(crate) fn clean(&mut self, pace: u64) {
        if !self.is_due() {
            return;
        }
        if let Err(error) = self.slice(pace.max(LEAST_SLICE) as usize) {
            self.fail(&error, Default::default());
        }
    }

    fn slice(&mut self, pace: usize) -> io::Result<()> {
        let Some(ledger) = self.queue.ledger() else { return Ok(()) };
        let mut retiring = match self.retiring.take() {
            Some(retiring) => retiring,
            None => self.choose(&*ledger)?,
        };
        let until = retiring.at.saturating_add(pace);
        let mut carried = Vec::new();
        let now = Instant::now();
        let data = std::mem::take(&mut retiring.data);
        while retiring.at < until {
            let next = frame::next(retiring.name.salt, &data, retiring.at);
            let Some((found, next)) = next else { break };
            for found in found {
                match found {
                    Found::Record(label, body) => {
                        let entry = Entry::decode(label.kind, body, &self.clock);
                        retiring.damaged += usize::from(entry.is_none());
                        carried.extend(entry.and_then(|entry| retiring.judge(entry, &*ledger, now)));
                    }
                    Found::Lost(_) | Found::Unknown(_) => retiring.damaged += 1,
                }
            }
            retiring.at = next;
        }
        retiring.data = data;
        if !carried.is_empty() {
            retiring.carried += self.carry(&carried)?;
        }
        if retiring.at < retiring.data.len() {
            self.retiring = Some(retiring);
            return Ok(());
        }
        self.retire(retiring, &*ledger)
    }

    fn choose(&self, ledger: &dyn Ledger) -> io::Result<Retiring> {
        let (name, _) = self.full.front().expect("cleaning is due where there is a full file").clone();
        let data = std::fs::read(name.path(&self.folder))?;
        let over = self.bytes() > self.options.limit_bytes;
        // Otherwise there is enough to clean out.
        let full = self.crowded.is_some() || ledger.bytes() as u64 > self.options.limit_bytes / 2;
        Ok(Retiring {
            name,
            data,
            at: 0,
            channels: HashSet::new(),
            give_up: over && full,
            carried: 0,
            given_up: 0,
            damaged: 0,
        })
    }

    fn carry(&mut self, entries: &[Entry]) -> io::Result<u64> {
        let before = self.bytes();
        self.append(entries)?;
        self.note(entries);
        Ok(self.bytes() - before)
    }

    /// Everything of the file that is kept has been written again, but for what its streams are like.
    fn retire(&mut self, retiring: Retiring, ledger: &dyn Ledger) -> io::Result<()> {
        let Retiring { name, data, channels, give_up, mut carried, given_up, damaged, .. } = retiring;
        let states = channels.into_iter().filter_map(|channel| {
            let state = ledger.state(&channel)?;
            Some(Entry::State(channel, state))
        });
        let states: Vec<Entry> = states.collect();
        for states in states.chunks(STATES) {
            carried += self.carry(states)?;
        }
        if self.options.fsync != Fsync::Never {
            // What was written again may reach over several files; earlier ones were given to be synced when
            // they were full, and that is waited for.
            self.sync()?;
            self.wait_for_syncs()?;
        }
        std::fs::remove_file(name.path(&self.folder))?;
        self.full.pop_front();
        // Rewriting what is all kept gains nothing: first the files grow by a quarter, within the limit.
        let crowded = carried > data.len() as u64 / 4 * 3;
        let grown = self.bytes() / 4 * 5;
        self.crowded = crowded.then(|| if give_up { grown } else { grown.min(self.options.limit_bytes) });
        if damaged > 0 {
            metrics::counter!("tidegate_history_damaged_total").increment(damaged as u64);
            tracing::error!(
                damaged,
                number = name.number,
                "damaged records in a history file; what they held is still served, and gone after a restart"
            );
        }
        if given_up > 0 {
            metrics::counter!("tidegate_history_given_up_total").increment(given_up as u64);
            tracing::warn!(
                given_up,
                limit = self.options.limit_bytes,
                "the history's files are full; the oldest publications were given up"
            );
        }
        Ok(())
    }
}

impl Retiring {
    /// What is to be written again of an entry.
    fn judge(&mut self, entry: Entry, ledger: &dyn Ledger, now: Instant) -> Option<Entry> {
        match entry {
            Entry::Publish(channel, stored) => {
                self.channels.insert(channel.clone());
                let epoch = stored.publication.epoch.clone().unwrap_or_default();
                let position = StreamPosition { offset: stored.publication.offset, epoch };
                if self.give_up {
                    self.given_up += ledger.give_up(&channel, &position);
                } else if ledger.is_kept(&channel, &position) {
                    return Some(Entry::Publish(channel, stored));
                }
                let (key, until) = stored.key.filter(|(_, until)| *until > now)?;
                Some(Entry::Key(channel, key, until, position.epoch, position.offset))
            }
            Entry::Clear(channel, ..) | Entry::State(channel, _) => {
                self.channels.insert(channel);
                None
            }
            Entry::Key(_, _, until, ..) => (until > now).then_some(entry),
            Entry::Index(_) => None,
        }
    }
}

/// Bytes of the old file that are looked at between two batches at least: a fraction of a millisecond.
const LEAST_SLICE: u64 = 256 << 10;

/// States that are written in one go.
const STATES: usize = 1024;
