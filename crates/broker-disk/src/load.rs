//! What the files of a folder add up to.
//!
//! Records come in any order of offsets, and some twice: cleaning writes them again. A channel's newest epoch is the
//! one that was named last. Its publications are those that reach up to its top without a hole; whatever is known to
//! have been lost is such a hole.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_core::journal::{Restored, RestoredKey, State, Stored};
use tidegate_core::request::StreamPosition;
use tidegate_core::{Channel, Publication};

use crate::clock::Clock;
use crate::frame::{self, Found, Label};
use crate::mark::Mark;
use crate::record::{self, Entry, Listed, Listing};
use crate::segment::Name;

/// What a start has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Streams.
    pub streams: usize,
    /// Publications of theirs.
    pub publications: usize,
    /// Bytes of all files.
    pub bytes: u64,
    /// How long reading took.
    pub took: Duration,
    /// Bytes at the end of the last file of which nobody had been told: a write that was cut off.
    pub torn_bytes: u64,
    /// Damaged places.
    pub damaged: usize,
    /// Where the first of them are, for people.
    pub places: Vec<String>,
    /// Streams whose history begins behind a damaged place.
    pub holed: usize,
    /// Streams that begin another epoch, because publications of theirs may be missing.
    pub renewed: usize,
    /// The machine failed, and what the kernel held was lost, as far as anybody knows.
    pub power_lost: bool,
}

impl Report {
    fn damage(&mut self, name: &Name, what: &str) {
        self.damaged += 1;
        if self.places.len() < PLACES {
            self.places.push(format!("{:016x}-{:08x}.log: {what}", name.number, name.salt));
        }
    }
}

/// Adds up files, oldest first.
pub(crate) struct Load {
    clock: Clock,
    streams: HashMap<Channel, Stream>,
    keys: HashMap<(Channel, Arc<str>), RestoredKey>,
    /// What records and lists say of streams, whether these are known or not.
    claims: HashMap<u64, Claim>,
    /// Counts records, to tell what came after what.
    place: u64,
    /// Streams that were not heard of after this place may have lost something.
    suspect: Option<u64>,
    /// The streams of the file that was read last.
    pub(crate) listing: Listing,
    pub(crate) report: Report,
}

/// What must have been, of a stream.
#[derive(Clone, Copy, Default)]
struct Claim {
    top: u64,
    /// Nothing up to here is to be shown: it was removed, or there is a hole.
    base: u64,
    holed: bool,
}

struct Stream {
    id: u64,
    epoch: Arc<str>,
    kept: BTreeMap<u64, (Publication, Instant)>,
    top: u64,
    base: u64,
    /// The bound of the newest publication.
    size: (u64, usize),
    /// By the offset at which it held.
    version: (u64, (u64, Option<Arc<str>>)),
    forget_at: Instant,
    place: u64,
}

/// What a file's end is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// Where what is to be kept of it ends.
    pub(crate) end: u64,
    /// It has a list of its streams as its last record.
    pub(crate) listed: bool,
}

impl Load {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            streams: HashMap::new(),
            keys: HashMap::new(),
            claims: HashMap::new(),
            place: 0,
            suspect: None,
            listing: Listing::default(),
            report: Report::default(),
        }
    }

    /// A file that should be there is not.
    pub(crate) fn missing(&mut self, number: u64) {
        self.place += 1;
        self.suspect = Some(self.place);
        self.report.damage(&Name { number, salt: 0 }, "the file is missing");
    }

    /// Reads a file. `last` is for the one that was written last: what is known of its acknowledged length.
    pub(crate) fn file(&mut self, name: &Name, data: &[u8], last: Option<Option<Mark>>) -> Ending {
        let acknowledged =
            last.map(|mark| mark.filter(|mark| mark.segment == name.number).map(|mark| mark.len));
        let (mut at, mut end) = (0, data.len());
        let (mut listed, mut unknown) = (false, None);
        self.listing = Listing::default();
        while let Some((found, next)) = frame::next(name.salt, data, at) {
            let cut = next == data.len() && frame::is_cut(name.salt, data, at);
            // Without a mark, whatever is cut off counts as never acknowledged.
            let unacknowledged = acknowledged.flatten().is_none_or(|len| at as u64 >= len);
            if cut && acknowledged.is_some() && unacknowledged && found.len() == 1 {
                self.report.torn_bytes += (data.len() - at) as u64;
                end = at;
                break;
            }
            if cut && matches!(found[..], [Found::Record(..)]) {
                // All that it says is there; but nothing can be appended to it.
                self.report.damage(name, &format!("the end of the record at byte {at}"));
            }
            for found in found {
                self.place += 1;
                listed = false;
                match found {
                    Found::Record(label, body) => match Entry::decode(label.kind, body, &self.clock) {
                        Some(Entry::Index(streams)) => {
                            self.list(&streams);
                            (listed, unknown) = (true, None);
                        }
                        Some(entry) => {
                            self.listing.note(&entry);
                            self.entry(label, entry);
                        }
                        None => self.lost(name, at, label),
                    },
                    Found::Lost(label) => {
                        // The list is what ends a file: nothing is missing behind it.
                        listed = label.kind == record::INDEX;
                        self.lost(name, at, label);
                    }
                    Found::Unknown(range) => {
                        self.report.damage(name, &format!("bytes {} to {}", range.start, range.end));
                        unknown = Some(self.place);
                    }
                }
            }
            at = next;
        }
        let short = match acknowledged {
            Some(Some(len)) => (data.len() as u64) < len && !ends_with_lost(name.salt, data, len),
            Some(None) => false,
            None => !listed,
        };
        if short {
            self.report.damage(name, "the end is missing");
            unknown = Some(self.place);
        }
        self.suspect = unknown.or(self.suspect);
        Ending { end: end as u64, listed }
    }

    /// What there is, at `now`. With `power_lost` every stream may have lost its newest publications.
    pub(crate) fn finish(
        mut self,
        power_lost: bool,
        now: Instant,
        mut epoch: impl FnMut() -> Arc<str>,
    ) -> (Vec<Restored>, Vec<RestoredKey>, Report) {
        let mut restored = Vec::with_capacity(self.streams.len());
        for (channel, mut stream) in std::mem::take(&mut self.streams) {
            let claim = self.claims.get(&stream.id).copied().unwrap_or_default();
            let holed = claim.holed && stream.kept.keys().any(|&offset| offset <= claim.base);
            if claim.top > stream.top || holed || (claim.holed && claim.base == stream.top) {
                self.report.holed += 1;
            }
            stream.top = stream.top.max(claim.top);
            let suspected = self.suspect.is_some_and(|place| stream.place <= place);
            if power_lost || suspected {
                self.report.renewed += 1;
                stream.epoch = epoch();
            }
            if stream.forget_at > now {
                restored.push(stream.restore(channel, claim.base, now));
            }
        }
        self.report.streams = restored.len();
        self.report.publications = restored.iter().map(|stream| stream.publications.len()).sum();
        self.report.power_lost = power_lost;
        (restored, self.keys.into_values().filter(|key| key.until > now).collect(), self.report)
    }

    fn entry(&mut self, label: Label, entry: Entry) {
        match entry {
            Entry::Publish(channel, stored) => self.publish(label, channel, *stored),
            Entry::Clear(channel, epoch, offset) => {
                let forget_at =
                    self.streams.get(&channel).map_or(self.clock.instant(0), |known| known.forget_at);
                let stream = self.stream(label, channel, &epoch, forget_at);
                (stream.top, stream.base) = (stream.top.max(offset), stream.base.max(offset));
                stream.trim();
            }
            Entry::State(channel, state) => {
                let stream = self.stream(label, channel, &state.epoch, state.forget_at);
                (stream.top, stream.base) = (stream.top.max(state.top), stream.base.max(state.base));
                if stream.version.0 <= state.top {
                    stream.version = (state.top, state.version);
                }
                stream.trim();
            }
            Entry::Key(channel, key, until, epoch, offset) => {
                self.key(RestoredKey { channel, key, until, position: StreamPosition { offset, epoch } });
            }
            Entry::Index(_) => {}
        }
    }

    fn publish(&mut self, label: Label, channel: Channel, stored: Stored) {
        let Stored { publication, until, size, forget_at, version_epoch, key } = stored;
        let offset = publication.offset;
        if let Some((key, until)) = key {
            let epoch = publication.epoch.clone().unwrap_or_default();
            let position = StreamPosition { offset, epoch };
            self.key(RestoredKey { channel: channel.clone(), key, until, position });
        }
        let epoch = publication.epoch.clone().unwrap_or_default();
        let stream = self.stream(label, channel, &epoch, forget_at);
        if publication.version > 0 && stream.version.0 <= offset {
            stream.version = (offset, (publication.version, version_epoch));
        }
        stream.top = stream.top.max(offset);
        if stream.size.0 <= offset {
            stream.size = (offset, size);
        }
        stream.kept.insert(offset, (publication, until));
        stream.trim();
    }

    fn key(&mut self, key: RestoredKey) {
        let known = self.keys.entry((key.channel.clone(), key.key.clone())).or_insert_with(|| key.clone());
        // A key is used again when it has expired; the older publication may have been written again later.
        if known.until < key.until {
            *known = key;
        }
    }

    /// The stream of `channel` in `epoch`, which is its newest from now on.
    fn stream(
        &mut self,
        label: Label,
        channel: Channel,
        epoch: &Arc<str>,
        forget_at: Instant,
    ) -> &mut Stream {
        let place = self.place;
        let new = || Stream {
            id: label.stream,
            epoch: epoch.clone(),
            kept: BTreeMap::new(),
            top: 0,
            base: 0,
            size: (0, usize::MAX),
            version: (0, (0, None)),
            forget_at,
            place,
        };
        let stream = self.streams.entry(channel).or_insert_with(new);
        if stream.epoch != *epoch {
            *stream = new();
        }
        stream.place = place;
        stream.forget_at = stream.forget_at.max(forget_at);
        stream
    }

    fn list(&mut self, streams: &[Listed]) {
        for Listed { stream, top, cleared } in streams {
            let claim = self.claims.entry(*stream).or_default();
            (claim.top, claim.base) = (claim.top.max(*top), claim.base.max(*cleared));
        }
    }

    fn lost(&mut self, name: &Name, at: usize, label: Label) {
        self.report.damage(name, &format!("the record at byte {at}"));
        let Label { kind, stream, offset } = label;
        if stream == 0 {
            return;
        }
        let claim = self.claims.entry(stream).or_default();
        claim.top = claim.top.max(offset);
        if kind != record::STATE {
            (claim.base, claim.holed) = (claim.base.max(offset), true);
        }
    }
}

impl Stream {
    /// Drops what is beyond the bounds already.
    fn trim(&mut self) {
        let base = self.base;
        while self.kept.len() > self.size.1
            || self.kept.first_key_value().is_some_and(|(offset, _)| *offset <= base)
        {
            self.kept.pop_first();
        }
    }

    fn restore(mut self, channel: Channel, base: u64, now: Instant) -> Restored {
        let base = base.max(self.base);
        let mut publications = Vec::new();
        let mut offset = self.top;
        while offset > base && publications.len() < self.size.1 {
            let Some((mut publication, until)) = self.kept.remove(&offset) else { break };
            publication.epoch = Some(self.epoch.clone());
            publications.push((publication, until));
            offset -= 1;
        }
        publications.reverse();
        // The newest says for how long all are kept.
        if publications.last().is_some_and(|(_, until)| *until <= now) {
            publications.clear();
        }
        let state = State {
            epoch: self.epoch,
            top: self.top,
            base: self.top - publications.len() as u64,
            version: self.version.1,
            forget_at: self.forget_at,
        };
        Restored { channel, state, publications }
    }
}

/// Whether the record that `data` ends within is all that is missing of `len` bytes.
fn ends_with_lost(salt: u32, data: &[u8], len: u64) -> bool {
    let mut at = 0;
    let mut last = 0;
    while let Some((_, next)) = frame::next(salt, data, at) {
        (last, at) = (at, next);
    }
    frame::whole(salt, data, last).is_some_and(|end| end as u64 >= len)
}

/// Damaged places that a report names.
const PLACES: usize = 16;
