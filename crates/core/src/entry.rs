use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::sync::atomic::{AtomicBool, Ordering};
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
    forms: Forms,
    /// Where its publisher lets it be a patch.
    patches: Option<Box<Patches>>,
}

/// What depends on what stands before an entry in its log.
#[derive(Debug, Default)]
struct Patches {
    /// What a patch is made against. Set by the log that has the entry, before anybody reads it.
    base: OnceLock<Base>,
    forms: Forms,
    /// A log has it, and may have set `base`.
    taken: AtomicBool,
    /// The same entry in another log: the encodings that do not depend on the log are there.
    twin: Option<Arc<Entry>>,
}

/// Encodings, each made when the first reader asks for it. Readers of a channel mostly want the same one:
/// that stands here, and room for the others is made when one is asked for.
#[derive(Debug, Default)]
struct Forms {
    first: OnceLock<(Format, Bytes)>,
    others: OnceLock<Box<[OnceLock<Bytes>; FORMATS]>>,
}

impl Forms {
    fn get_or_init(&self, format: Format, encode: impl FnOnce() -> Bytes) -> &Bytes {
        // As the lock calls it at most once, whoever loses the race still has it for its own format.
        let mut encode = Some(encode);
        let mut make = || encode.take().expect("made once")();
        let (of, form) = self.first.get_or_init(|| (format, make()));
        if *of == format {
            return form;
        }
        self.others.get_or_init(Box::default)[usize::from(format.0)].get_or_init(make)
    }
}

/// The publication before another one in a log, as far as a patch needs it.
#[derive(Clone, Debug)]
pub struct Base {
    /// Its payload.
    pub data: Bytes,
    /// Its place in the channel's stream; 0 where the channel keeps no history.
    pub offset: u64,
}

impl Entry {
    /// An entry that nobody has encoded yet.
    pub fn new(kind: Kind) -> Self {
        let patched = matches!(&kind, Kind::Publication(publication) if publication.delta);
        Self { kind, forms: Default::default(), patches: patched.then(Box::default) }
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

    /// The entry in `format`; `encode` runs at most once per entry and format, however many logs have it.
    pub fn form(&self, format: Format, encode: impl FnOnce(&Kind) -> Bytes) -> &Bytes {
        let entry = self.patches.as_deref().and_then(|patches| patches.twin.as_deref()).unwrap_or(self);
        entry.forms.get_or_init(format, || encode(&entry.kind))
    }

    /// The publication in `format`, which depends on the one before it in the log; `None` where the log
    /// does not have that one's payload any more, or the publisher did not ask for patches. `encode` runs at
    /// most once per log and format.
    ///
    /// It is for readers that have got the one before it.
    pub fn patch(&self, format: Format, encode: impl FnOnce(&Publication, &Base) -> Bytes) -> Option<&Bytes> {
        let (publication, patches) = (self.publication()?, self.patches.as_deref()?);
        let base = patches.base.get()?;
        Some(patches.forms.get_or_init(format, || encode(publication, base)))
    }

    /// What a patch of the publication is made against.
    pub fn base(&self) -> Option<&Base> {
        self.patches.as_deref()?.base.get()
    }

    /// The entry for a log that is about to take it: another where a patch is made against what stands
    /// before it and another log has it already.
    pub(crate) fn for_log(self: Arc<Self>) -> Arc<Self> {
        let Some(patches) = &self.patches else { return self };
        if !patches.taken.swap(true, Ordering::Relaxed) {
            return self;
        }
        let kind = self.kind.clone();
        let twin = Some(patches.twin.clone().unwrap_or(self));
        let patches = Patches { taken: AtomicBool::new(true), twin, ..Patches::default() };
        Arc::new(Self { kind, forms: Default::default(), patches: Some(Box::new(patches)) })
    }

    /// Sets what a patch is made against.
    pub(crate) fn follow(&self, base: Base) {
        let set = self.patches.as_deref().map(|patches| patches.base.set(base));
        debug_assert!(matches!(set, Some(Ok(()))), "each log has an entry of its own");
    }

    /// What it counts for beside its publication, in bytes.
    pub(crate) fn overhead(&self) -> usize {
        ENTRY_OVERHEAD + self.patches.as_ref().map_or(0, |_| size_of::<Patches>())
    }

    /// What it counts for against a window, in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.overhead() + self.publication().map_or(0, Publication::weight)
    }
}

/// What an entry costs beside its payload: itself, its place in a segment, and one encoding's header.
pub(crate) const ENTRY_OVERHEAD: usize = size_of::<Entry>() + 64;

#[cfg(all(test, not(loom)))]
mod tests;
