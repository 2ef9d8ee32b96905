//! What records say.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use tidegate_core::journal::{Change, State, Stored};
use tidegate_core::{Channel, ClientInfo, Publication};

use crate::clock::Clock;
use crate::frame::{self, Label};
use crate::wire::{Reader, Writer};

/// What a record says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Entry {
    Publish(Channel, Box<Stored>),
    Clear(Channel, Arc<str>, u64),
    State(Channel, State),
    /// An idempotency key whose publication is not kept any more: channel, key, until, epoch, offset.
    Key(Channel, Arc<str>, std::time::Instant, Arc<str>, u64),
    /// The streams of which the file has records.
    Index(Vec<Listed>),
}

/// A stream of which a file has records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) stream: u64,
    /// The newest offset that the file names.
    pub(crate) top: u64,
    /// Up to which offset it says that nothing is kept.
    pub(crate) cleared: u64,
}

/// The streams of which a file has records, as it grows.
#[derive(Debug, Default)]
pub(crate) struct Listing(HashMap<u64, Listed>);

impl Listing {
    pub(crate) fn note(&mut self, entry: &Entry) {
        let Label { stream, offset, .. } = entry.label();
        let cleared = match entry {
            Entry::Clear(_, _, offset) => *offset,
            Entry::State(_, state) => state.base,
            _ => 0,
        };
        if stream != 0 {
            let listed = self.0.entry(stream).or_insert(Listed { stream, top: 0, cleared: 0 });
            (listed.top, listed.cleared) = (listed.top.max(offset), listed.cleared.max(cleared));
        }
    }

    /// The record that ends the file.
    pub(crate) fn take(&mut self) -> Entry {
        Entry::Index(std::mem::take(&mut self.0).into_values().collect())
    }
}

pub(crate) const PUBLISH: u8 = 1;
pub(crate) const CLEAR: u8 = 2;
pub(crate) const STATE: u8 = 3;
pub(crate) const KEY: u8 = 4;
pub(crate) const INDEX: u8 = 5;

impl Entry {
    /// What is to be written for a change; `None` for nothing.
    pub(crate) fn of(channel: &Channel, change: &Change) -> Option<Self> {
        Some(match change {
            Change::Publish(stored) => Self::Publish(channel.clone(), stored.clone()),
            Change::Clear { epoch, offset } => Self::Clear(channel.clone(), epoch.clone(), *offset),
            Change::State(state) => Self::State(channel.clone(), state.clone()),
            Change::Nothing => return None,
        })
    }

    pub(crate) fn label(&self) -> Label {
        match self {
            Self::Publish(channel, stored) => {
                let epoch = stored.publication.epoch.as_deref().unwrap_or_default();
                Label { kind: PUBLISH, stream: stream(channel, epoch), offset: stored.publication.offset }
            }
            Self::Clear(channel, epoch, offset) => {
                Label { kind: CLEAR, stream: stream(channel, epoch), offset: *offset }
            }
            Self::State(channel, state) => {
                Label { kind: STATE, stream: stream(channel, &state.epoch), offset: state.top }
            }
            Self::Key(..) => Label { kind: KEY, stream: 0, offset: 0 },
            Self::Index(_) => Label { kind: INDEX, stream: 0, offset: 0 },
        }
    }

    /// Appends the whole record to `out`.
    pub(crate) fn write(&self, salt: u32, clock: &Clock, out: &mut Vec<u8>) {
        let mut body = Vec::new();
        self.encode(clock, &mut body);
        frame::write(salt, self.label(), &body, out);
    }

    fn encode(&self, clock: &Clock, out: &mut Vec<u8>) {
        let mut out = Writer(out);
        match self {
            Self::Publish(channel, stored) => {
                out.text(channel.as_str());
                encode_stored(stored, clock, &mut out);
            }
            Self::Clear(channel, epoch, offset) => {
                out.text(channel.as_str());
                out.text(epoch);
                out.number(*offset);
            }
            Self::State(channel, state) => {
                out.text(channel.as_str());
                out.text(&state.epoch);
                out.number(state.top);
                out.number(state.base);
                out.number(state.version.0);
                out.option(state.version.1.as_deref(), Writer::text);
                out.number(clock.unix(state.forget_at));
            }
            Self::Key(channel, key, until, epoch, offset) => {
                out.text(channel.as_str());
                out.text(key);
                out.number(clock.unix(*until));
                out.text(epoch);
                out.number(*offset);
            }
            Self::Index(listed) => {
                out.number(listed.len() as u64);
                for Listed { stream, top, cleared } in listed {
                    out.number(*stream);
                    out.number(*top);
                    out.number(*cleared);
                }
            }
        }
    }

    /// The entry in `body`; `None` if it is none that this version writes.
    pub(crate) fn decode(kind: u8, body: &[u8], clock: &Clock) -> Option<Self> {
        let mut from = Reader(body);
        let entry = match kind {
            PUBLISH => {
                let channel = Channel::from(from.text()?);
                Self::Publish(channel, Box::new(decode_stored(&mut from, clock)?))
            }
            CLEAR => Self::Clear(from.text()?.into(), from.text()?.into(), from.number()?),
            STATE => {
                let channel = Channel::from(from.text()?);
                let epoch = from.text()?.into();
                let (top, base) = (from.number()?, from.number()?);
                let version = (from.number()?, from.option(|from| Some(from.text()?.into()))?);
                let forget_at = clock.instant(from.number()?);
                Self::State(channel, State { epoch, top, base, version, forget_at })
            }
            KEY => {
                let (channel, key) = (from.text()?.into(), from.text()?.into());
                let until = clock.instant(from.number()?);
                Self::Key(channel, key, until, from.text()?.into(), from.number()?)
            }
            INDEX => {
                let count = from.number()?;
                let listed = (0..count).map(|_| {
                    Some(Listed { stream: from.number()?, top: from.number()?, cleared: from.number()? })
                });
                Self::Index(listed.collect::<Option<_>>()?)
            }
            _ => return None,
        };
        from.0.is_empty().then_some(entry)
    }
}

/// Which stream a channel's epoch is, as labels tell it: FNV-1a, never 0.
pub(crate) fn stream(channel: &Channel, epoch: &str) -> u64 {
    let bytes = channel.as_str().bytes().chain([0xff]).chain(epoch.bytes());
    let hash = bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    hash.max(1)
}

fn encode_stored(stored: &Stored, clock: &Clock, out: &mut Writer<'_>) {
    let publication = &stored.publication;
    out.text(publication.epoch.as_deref().unwrap_or_default());
    out.number(publication.offset);
    out.bytes(&publication.data);
    out.option(publication.info.as_deref(), |out, info| {
        out.text(&info.user);
        out.text(&info.client);
        out.bytes(&info.connection);
        out.bytes(&info.channel);
    });
    out.option(publication.tags.as_deref(), |out, tags| {
        out.number(tags.len() as u64);
        for (name, value) in tags {
            out.text(name);
            out.text(value);
        }
    });
    out.option(publication.key.as_deref(), Writer::text);
    out.number(publication.version);
    out.number(publication.time as u64);
    out.number(u64::from(publication.delta));
    out.number(clock.unix(stored.until));
    out.number(stored.size as u64);
    out.number(clock.unix(stored.forget_at));
    out.option(stored.version_epoch.as_deref(), Writer::text);
    out.option(stored.key.as_ref(), |out, (key, until)| {
        out.text(key);
        out.number(clock.unix(*until));
    });
}

fn decode_stored(from: &mut Reader<'_>, clock: &Clock) -> Option<Stored> {
    let (epoch, offset, data) = (from.text()?.into(), from.number()?, from.bytes()?);
    let publication = Publication {
        epoch: Some(epoch),
        offset,
        data: Bytes::copy_from_slice(data),
        info: from.option(|from| {
            Some(Arc::new(ClientInfo {
                user: from.text()?.into(),
                client: from.text()?.into(),
                connection: Bytes::copy_from_slice(from.bytes()?),
                channel: Bytes::copy_from_slice(from.bytes()?),
            }))
        })?,
        tags: from.option(|from| {
            let count = from.number()?;
            let tags = (0..count).map(|_| Some((from.text()?.to_owned(), from.text()?.to_owned())));
            Some(Arc::new(tags.collect::<Option<BTreeMap<_, _>>>()?))
        })?,
        key: from.option(|from| Some(from.text()?.into()))?,
        version: from.number()?,
        time: from.number()? as i64,
        delta: from.number()? != 0,
    };
    Some(Stored {
        publication,
        until: clock.instant(from.number()?),
        size: from.number()? as usize,
        forget_at: clock.instant(from.number()?),
        version_epoch: from.option(|from| Some(from.text()?.into()))?,
        key: from.option(|from| Some((from.text()?.into(), clock.instant(from.number()?))))?,
    })
}
