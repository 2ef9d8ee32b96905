mod patches;
mod tracked;

use std::sync::Arc;

use bytes::Bytes;
use tidegate_core::outbox::Batch;
use tidegate_core::{Channel, Entry, Filter, Format, Gap, Kind, Publication, Subscription};

use crate::Encoding;
use crate::convert;
use crate::message::{Join, Leave, Push};
use crate::session::bare;

pub(crate) use patches::recovered;
pub(crate) use tracked::write as write_tracked;

/// Makes pushes of a channel's entries.
#[derive(Debug)]
pub(crate) struct ChannelSubscription {
    pub(crate) channel: Channel,
    pub(crate) encoding: Encoding,
    /// Publications up to this offset, in this life of the stream, came before or with the subscribe reply.
    pub(crate) floor: u64,
    pub(crate) epoch: Arc<str>,
    pub(crate) continuous: bool,
    pub(crate) join_leave: bool,
    /// What is wanted of the log's publications; `None`: all.
    pub(crate) filter: Option<Filter>,
    /// Publications may come as patches.
    pub(crate) delta: bool,
    /// The offset of the last publication that came with the subscribe reply; 0 for none.
    pub(crate) brought: u64,
    /// The client asked to be told of gaps.
    pub(crate) notices: bool,
    /// The client only reads: pushes come without a reply around them.
    pub(crate) bare: bool,
    /// It has a track of its own, where nobody needs to be told the channel.
    pub(crate) tracked: bool,
    /// Publications may get lost on the way.
    pub(crate) loose: bool,
}

// The numbers of formats: an entry is encoded once for each.
const JSON: Format = Format::new(0);
const PROTOBUF: Format = Format::new(1);

impl Subscription for ChannelSubscription {
    fn write(&mut self, entry: &Entry, contiguous: bool, out: &mut Batch) {
        let form = match entry.kind() {
            Kind::Publication(publication) if self.is_known(publication) || !self.wants(publication) => {
                return;
            }
            Kind::Publication(publication) if self.delta => self.patched(entry, publication, contiguous),
            Kind::Publication(_) => self.form(entry),
            Kind::Join(_) | Kind::Leave(_) if self.join_leave => self.form(entry),
            _ => return,
        };
        if form.is_empty() {
            out.close(convert::disconnect(&crate::Disconnect::INAPPROPRIATE_PROTOCOL));
        } else if self.tracked {
            if self.loose && entry.publication().is_some() {
                out.loosely();
            }
            tracked::write(self.encoding, form, out);
        } else if self.bare {
            out.message(&bare(form));
        } else {
            out.message(form);
        }
    }

    fn gap(&mut self, gap: &Gap, out: &mut Batch) {
        if self.notices {
            let channel = serde_json::Value::from(self.channel.as_str());
            let (missed, cause) = (gap.publications(), gap.cause.name());
            let notice = format!(
                r#"{{"tidegate":{{"gap":{{"channel":{channel},"missed":{missed},"cause":"{cause}"}}}}}}"#
            );
            let push = convert::message_push(Bytes::from(notice));
            let push = self.encoding.encode_push(&push).expect("the notice is JSON");
            if self.tracked {
                return tracked::write(self.encoding, &push, out);
            }
            out.message(&if self.bare { bare(&push) } else { push });
        }
    }

    fn likeness(&self, first: &Entry) -> Option<u16> {
        if self.delta || self.bare || self.loose || self.filter.is_some() {
            return None;
        }
        if self.floor > 0 {
            // Offsets rise: behind a publication of the same life of the stream that the client does not have,
            // there is none that it has. Of another life nothing follows: it may be one before.
            let publication = first.publication()?;
            let same = publication.epoch.as_deref() == Some(&*self.epoch);
            if !same || publication.offset <= self.floor {
                return None;
            }
        }
        let differences = [self.encoding == Encoding::Protobuf, self.join_leave, self.tracked];
        Some(differences.iter().fold(0, |number, differs| number << 1 | u16::from(*differs)))
    }

    fn has(&self, entry: &Entry) -> bool {
        match entry.kind() {
            Kind::Publication(publication) => self.is_known(publication),
            // Of no concern, and so in nobody's way.
            Kind::Join(_) | Kind::Leave(_) => !self.join_leave,
            _ => false,
        }
    }

    fn continuous(&self) -> bool {
        self.continuous
    }
}

impl ChannelSubscription {
    /// The push as all see it that take no patches.
    fn form<'e>(&self, entry: &'e Entry) -> &'e Bytes {
        let format = match self.encoding {
            Encoding::Json => JSON,
            Encoding::Protobuf => PROTOBUF,
        };
        entry.form(format, |kind| encode(self.encoding, &self.channel, kind))
    }

    fn wants(&self, publication: &Publication) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.matches(publication.tags.as_deref()))
    }

    /// Whether the client has the publication already.
    fn is_known(&self, publication: &Publication) -> bool {
        publication.offset > 0
            && publication.offset <= self.floor
            && publication.epoch.as_deref().is_none_or(|epoch| *epoch == *self.epoch)
    }
}

/// The push of an entry; empty where the encoding cannot carry it.
fn encode(encoding: Encoding, channel: &Channel, kind: &Kind) -> Bytes {
    let push = |push: Push| encoding.encode_push(&Push { channel: channel.to_string(), ..push });
    let encoded = match kind {
        Kind::Publication(publication) => {
            encoding.publication_push(channel.as_str(), &convert::publication(publication))
        }
        Kind::Join(info) => {
            let info = Some(convert::client_info(info));
            push(Push { join: Some(Join { info }), ..Default::default() })
        }
        Kind::Leave(info) => {
            let info = Some(convert::client_info(info));
            push(Push { leave: Some(Leave { info }), ..Default::default() })
        }
        Kind::Break => Ok(Bytes::new()),
    };
    encoded.unwrap_or_default()
}
