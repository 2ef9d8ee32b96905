use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::{ClientInfo, Publication};

/// How many formats an entry can be kept in at once.
pub const FORMATS: usize = 8;

/// An encoding of entries on the wire: a protocol and its variant, as a small number below [`FORMATS`].
///
/// Whoever assembles a server gives each its number; two meanings must not share one, for an entry is
/// encoded once per format and all readers share the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Format(u8);

impl Format {
    /// The format with this number.
    ///
    /// # Panics
    /// If `number` is not below [`FORMATS`]; in a constant, that is an error of the compiler's.
    pub const fn new(number: u8) -> Self {
        assert!((number as usize) < FORMATS, "a format's number is below FORMATS");
        Self(number)
    }
}

/// What stands in a log at one place.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A message to the channel.
    Publication(Publication),
    /// A client subscribed.
    Join(Arc<ClientInfo>),
    /// A client's subscription ended.
    Leave(Arc<ClientInfo>),
    /// The stream before this place and the stream behind it are not continuous: a positioned
    /// subscription must recover.
    Break,
}

/// One step of a channel: what happened, and its encodings, each made once however many read it.
#[derive(Debug)]
pub struct Entry {
    kind: Kind,
    /// Empty until the first reader of a format asks.
    forms: [OnceLock<Bytes>; FORMATS],
}

impl Entry {
    /// An entry that nobody has encoded yet.
    pub fn new(kind: Kind) -> Self {
        Self { kind, forms: Default::default() }
    }

    /// What happened.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The publication, where it is one.
    pub fn publication(&self) -> Option<&Publication> {
        match &self.kind {
            Kind::Publication(publication) => Some(publication),
            _ => None,
        }
    }

    /// The entry in `format`; `encode` runs at most once per entry and format.
    pub fn form(&self, format: Format, encode: impl FnOnce(&Kind) -> Bytes) -> &Bytes {
        self.forms[usize::from(format.0)].get_or_init(|| encode(&self.kind))
    }

    /// What it counts for against a window, in bytes.
    pub(crate) fn weight(&self) -> usize {
        ENTRY_OVERHEAD + self.publication().map_or(0, Publication::weight)
    }
}

/// What an entry costs beside its payload: itself, its place in a segment, and one encoding's header.
pub(crate) const ENTRY_OVERHEAD: usize = size_of::<Entry>() + 64;
