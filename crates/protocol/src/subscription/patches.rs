//! Publications for clients that take patches. In JSON, all their payloads are strings: of the JSON that was
//! published, or of a patch.

use bytes::Bytes;
use tidegate_core::{Entry, Format, Kind, Publication};

use super::{ChannelSubscription, PROTOBUF};
use crate::{Encoding, convert, delta, message};

// More formats; see those of all others.
const JSON_WHOLE: Format = Format::new(2);
const JSON_PATCH: Format = Format::new(3);
const PROTOBUF_PATCH: Format = Format::new(4);
/// The patch itself, which both encodings carry. Empty where the whole payload is shorter.
const PATCH: Format = Format::new(5);

impl ChannelSubscription {
    /// The push of a publication: a patch of the one before it, if the client has that.
    pub(super) fn patched<'e>(
        &self,
        entry: &'e Entry,
        publication: &Publication,
        contiguous: bool,
    ) -> &'e Bytes {
        if (contiguous || self.brought_base(entry, publication))
            && let Some(patch) = entry.patch(PATCH, |publication, base| {
                delta::create(&base.data, &publication.data).unwrap_or_default().into()
            })
            && !patch.is_empty()
        {
            let (format, encoding) = match self.encoding {
                Encoding::Json => (JSON_PATCH, Encoding::Json),
                Encoding::Protobuf => (PROTOBUF_PATCH, Encoding::Protobuf),
            };
            let form =
                entry.patch(format, |publication, _| self.push(of_patch(encoding, publication, patch)));
            return form.expect("an entry that has one patch has all");
        }
        match self.encoding {
            Encoding::Json => entry.form(JSON_WHOLE, |kind| match kind {
                // Without the epoch, which others get with the first of a stream.
                Kind::Publication(publication) => self.push(message::Publication {
                    epoch: String::new(),
                    ..whole(Encoding::Json, publication)
                }),
                _ => Bytes::new(),
            }),
            Encoding::Protobuf => {
                entry.form(PROTOBUF, |kind| super::encode(self.encoding, &self.channel, kind))
            }
        }
    }

    /// Whether the client got the publication before this one with the subscribe reply.
    fn brought_base(&self, entry: &Entry, publication: &Publication) -> bool {
        self.brought > 0
            && entry.base().is_some_and(|base| base.offset == self.brought)
            && publication.epoch.as_deref() == Some(&*self.epoch)
    }

    fn push(&self, publication: message::Publication) -> Bytes {
        self.encoding.publication_push(self.channel.as_str(), &publication).unwrap_or_default()
    }
}

/// What a subscribe reply brings: the first whole, each other as a patch of the one before it, while no more
/// than [`PATCHED`] bytes are looked at. Unlike pushes these are made for one client.
pub(crate) fn recovered(publications: &[Publication], encoding: Encoding) -> Vec<message::Publication> {
    let mut left = PATCHED;
    let mut before: Option<&Publication> = None;
    let mut messages = Vec::with_capacity(publications.len());
    for publication in publications {
        let patch = before.replace(publication).and_then(|before| {
            left = left.checked_sub(before.data.len() + publication.data.len())?;
            delta::create(&before.data, &publication.data)
        });
        let message = match patch {
            Some(patch) => of_patch(encoding, publication, &patch.into()),
            None => whole(encoding, publication),
        };
        // In JSON its place in the stream is told with the reply only.
        messages.push(match encoding {
            Encoding::Json => message::Publication { epoch: String::new(), ..message },
            Encoding::Protobuf => message,
        });
    }
    messages
}

/// Bytes of payloads, each counted twice, that are looked at to patch what one reply brings. 1 MiB takes
/// some milliseconds; after that publications are whole.
const PATCHED: usize = 1 << 20;

fn whole(encoding: Encoding, publication: &Publication) -> message::Publication {
    let data = match encoding {
        Encoding::Json => string(&publication.data, &publication.data),
        Encoding::Protobuf => publication.data.clone(),
    };
    message::Publication { data, ..convert::publication(publication) }
}

fn of_patch(encoding: Encoding, publication: &Publication, patch: &Bytes) -> message::Publication {
    let data = match encoding {
        Encoding::Json => string(patch, &publication.data),
        Encoding::Protobuf => patch.clone(),
    };
    message::Publication { data, delta: true, ..convert::publication(publication) }
}

/// `text` as a JSON string, if what it stands for is text; else as it is, which is no JSON and so is refused.
fn string(text: &Bytes, payload: &Bytes) -> Bytes {
    match str::from_utf8(text) {
        Ok(string) if str::from_utf8(payload).is_ok() => {
            serde_json::to_vec(string).expect("a string can be JSON").into()
        }
        _ => payload.clone(),
    }
}
