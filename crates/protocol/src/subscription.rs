use bytes::Bytes;
use tidegate_core::outbox::Batch;
use tidegate_core::{Channel, Entry, Format, Gap, Kind, Publication, Subscription};

use crate::Encoding;
use crate::convert;
use crate::message::{Join, Leave, Push};

/// Makes pushes of a channel's entries.
#[derive(Debug)]
pub(crate) struct ChannelSubscription {
    pub(crate) channel: Channel,
    pub(crate) encoding: Encoding,
    /// Publications up to this offset, in this life of the stream, came before or with the subscribe reply.
    pub(crate) floor: u64,
    pub(crate) epoch: std::sync::Arc<str>,
    pub(crate) continuous: bool,
    pub(crate) join_leave: bool,
    /// The client asked to be told of gaps.
    pub(crate) notices: bool,
}

const JSON: Format = Format::new(0);
const PROTOBUF: Format = Format::new(1);

impl Subscription for ChannelSubscription {
    fn write(&mut self, entry: &Entry, _contiguous: bool, out: &mut Batch) {
        match entry.kind() {
            Kind::Publication(publication) if !self.has(publication) => {}
            Kind::Join(_) | Kind::Leave(_) if self.join_leave => {}
            _ => return,
        }
        let format = match self.encoding {
            Encoding::Json => JSON,
            Encoding::Protobuf => PROTOBUF,
        };
        let form = entry.form(format, |kind| encode(self.encoding, &self.channel, kind));
        if form.is_empty() {
            out.close(convert::disconnect(&crate::Disconnect::INAPPROPRIATE_PROTOCOL));
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
            out.message(&self.encoding.encode_push(&push).expect("the notice is JSON"));
        }
    }

    fn continuous(&self) -> bool {
        self.continuous
    }
}

impl ChannelSubscription {
    /// Whether the client has the publication already.
    fn has(&self, publication: &Publication) -> bool {
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
