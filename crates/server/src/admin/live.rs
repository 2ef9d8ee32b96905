//! Streams of events, which a slow reader does not hold up: a task of its own fills a short queue, and what does
//! not fit is counted and left out.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::sse::{Event as Message, Sse};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream::poll_fn;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidegate_core::reader::Event;
use tidegate_core::{Channel, ClientInfo, End, Kind, Publication, Reader};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{Sender, channel as queue};
use tokio::time::{MissedTickBehavior, interval};

use super::Admin;
use super::door::Session;
use super::guard::{refuse, unix};
use super::stats::EVERY;

/// Events that wait for a reader. 64: some 300 KiB at most, for a reader that stalls.
const QUEUE: usize = 64;
/// Publications of a channel that are shown in a second. 50: more than a person can read; what comes besides is
/// counted.
const SHOWN: u32 = 50;
/// What is shown of a payload, in bytes. 4 KiB: a screen full.
const PREVIEW: usize = 4096;
/// Entries read in a row, after which other tasks have their turn: some 10 µs.
const TURN: u32 = 64;
/// Seconds in which a reader may take nothing, before its stream ends. 30.
const STALLED: u32 = 30;

/// A stream that is open.
struct Stream {
    admin: Arc<Admin>,
    session: Session,
    to: Sender<Message>,
    /// Seconds that the queue has been full.
    full: u32,
    _place: OwnedSemaphorePermit,
}

impl Stream {
    /// Opens a stream that `fill` fills, in a task of the server's.
    fn open<F: Future<Output = ()> + Send + 'static>(
        admin: Arc<Admin>,
        session: Session,
        fill: impl FnOnce(Self) -> F,
    ) -> Response {
        let Ok(place) = admin.streams.clone().try_acquire_owned() else {
            let text = "as many pages watch already as may; close one of them";
            return refuse(StatusCode::SERVICE_UNAVAILABLE, text);
        };
        let (to, mut from) = queue(QUEUE);
        let app = admin.handle.app().clone();
        app.tasks.spawn(fill(Self { admin, session, to, full: 0, _place: place }));
        Sse::new(poll_fn(move |cx| from.poll_recv(cx).map(|message| message.map(Ok::<_, Infallible>))))
            .into_response()
    }

    /// Whether it goes on, asked once a second: it ends with its session, and when the node stops.
    fn goes_on(&mut self) -> bool {
        self.full = if self.to.capacity() == 0 { self.full + 1 } else { 0 };
        let stays = self.full < STALLED && !self.admin.handle.app().is_draining();
        stays && self.admin.door.lasts(&self.session, unix())
    }

    /// Sends an event, if it fits.
    fn send(&self, name: &str, data: &impl Serialize) -> bool {
        let message = Message::default().event(name).json_data(data);
        message.is_ok_and(|message| self.to.try_send(message).is_ok())
    }
}

/// The node's figures, once a second.
pub(super) async fn stats(
    State(admin): State<Arc<Admin>>,
    Extension(session): Extension<Session>,
) -> Response {
    Stream::open(admin, session, async |mut stream| {
        let mut seconds = seconds();
        loop {
            tokio::select! {
                _ = seconds.tick() => {}
                () = stream.to.closed() => return,
            }
            if !stream.goes_on() {
                return;
            }
            let sample = stream.admin.stats.latest().await;
            stream.send("sample", &*sample);
        }
    })
}

/// Which channel.
#[derive(Deserialize)]
pub(super) struct Which {
    channel: String,
}

/// What happens in a channel from now on.
pub(super) async fn channel(
    State(admin): State<Arc<Admin>>,
    Extension(session): Extension<Session>,
    Query(which): Query<Which>,
) -> Response {
    let channel = Channel::new(which.channel);
    let refused = match (channel.as_str(), admin.channels.publish_options(&channel)) {
        ("", _) => Some("expected the name of a channel".to_owned()),
        (name, Err(error)) => Some(format!("there can be no channel {name:?}: {}", error.message)),
        _ => None,
    };
    if let Some(text) = refused {
        return refuse(StatusCode::NOT_FOUND, &text);
    }
    match read(&admin, &channel) {
        Ok(reader) => Stream::open(admin, session, |stream| watch(stream, channel, reader)),
        Err(text) => refuse(StatusCode::NOT_FOUND, &text),
    }
}

/// A reader of the channel, which counts as a subscriber of it.
fn read(admin: &Admin, channel: &Channel) -> Result<Reader, String> {
    loop {
        let log = admin.handle.hub().open(channel).map_err(|error| error.to_string())?;
        match Reader::new(&log) {
            Ok(reader) => return Ok(reader),
            // Its last subscriber left at this moment: opened again, it is another.
            Err(End::Idle) => {}
            Err(end) => return Err(format!("the channel has ended: {end:?}")),
        }
    }
}

async fn watch(mut stream: Stream, channel: Channel, mut reader: Reader) {
    let mut seconds = seconds();
    let (mut shown, mut skipped, mut row) = (0, 0u64, 0);
    stream.send("watching", &json!({ "channel": channel.as_str() }));
    loop {
        tokio::select! {
            biased;
            _ = seconds.tick() => {
                shown = 0;
                if skipped > 0 && stream.send("skipped", &json!({ "publications": skipped })) {
                    skipped = 0;
                }
                // A peer that is gone is noticed by writing to it.
                stream.send("alive", &json!({}));
                if !stream.goes_on() {
                    return;
                }
            }
            () = stream.to.closed() => return,
            event = reader.next() => match event {
                Event::Entry(entry) => {
                    let (name, what) = match entry.kind() {
                        Kind::Publication(publication) => ("publication", Seen::publication(publication)),
                        Kind::Join(info) => ("join", Seen::client(info)),
                        Kind::Leave(info) => ("leave", Seen::client(info)),
                        Kind::Break => continue,
                    };
                    if shown < SHOWN && stream.send(name, &what) {
                        shown += 1;
                    } else {
                        skipped += 1;
                    }
                    row += 1;
                    if row % TURN == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                Event::Gap(gap) => skipped += gap.publications(),
                Event::End(end) => {
                    stream.send("ended", &json!({ "why": why(&end) }));
                    return;
                }
            },
        }
    }
}

/// What is shown of an entry.
#[derive(Serialize)]
struct Seen {
    /// When it was published, in milliseconds since 1970; 0 for unknown.
    time: i64,
    /// The payload, as text or in base64, perhaps cut.
    data: String,
    base64: bool,
    /// How long the payload is, in bytes.
    bytes: usize,
    offset: u64,
    user: Arc<str>,
    client: Arc<str>,
    tags: Option<Arc<std::collections::BTreeMap<String, String>>>,
}

impl Seen {
    fn publication(publication: &Publication) -> Self {
        let whole = &publication.data;
        let cut = &whole[..whole.len().min(PREVIEW)];
        // A character may have been cut in two.
        let text = match std::str::from_utf8(cut) {
            Ok(text) => Some(text),
            Err(error) if error.error_len().is_none() && whole.len() > PREVIEW => {
                std::str::from_utf8(&cut[..error.valid_up_to()]).ok()
            }
            Err(_) => None,
        };
        Self {
            time: publication.time,
            data: text.map_or_else(|| STANDARD.encode(cut), str::to_owned),
            base64: text.is_none(),
            bytes: whole.len(),
            offset: publication.offset,
            tags: publication.tags.clone(),
            ..publication
                .info
                .as_deref()
                .map(Self::client)
                .unwrap_or_else(|| Self::client(&ClientInfo::default()))
        }
    }

    fn client(info: &ClientInfo) -> Self {
        Self {
            time: crate::time::unix_millis(),
            data: String::new(),
            base64: false,
            bytes: 0,
            offset: 0,
            user: info.user.clone(),
            client: info.client.clone(),
            tags: None,
        }
    }
}

fn why(end: &End) -> &'static str {
    match end {
        End::Deleted => "the channel was deleted",
        _ => "the channel has ended",
    }
}

fn seconds() -> tokio::time::Interval {
    let mut seconds = interval(EVERY);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    seconds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_shown_as_far_as_they_can_be() {
        let check = |data: &[u8], shown: &str, base64: bool| {
            let seen = Seen::publication(&Publication::new(data.to_vec()));
            assert_eq!((seen.data.as_str(), seen.base64, seen.bytes), (shown, base64, data.len()));
        };
        check(b"{\"a\":1}", "{\"a\":1}", false);
        check(b"", "", false);
        check(&[0xff, 0x00], "/wA=", true);
        check("é".as_bytes(), "é", false);
        check(&"é".as_bytes()[..1], "ww==", true);
        check(&[b'x'; PREVIEW + 1], &"x".repeat(PREVIEW), false);
        // Cut in the middle of a character.
        let long = format!("x{}", "é".repeat(PREVIEW));
        check(long.as_bytes(), &format!("x{}", "é".repeat((PREVIEW - 1) / 2)), false);
    }
}
