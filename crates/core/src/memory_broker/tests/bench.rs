use std::fmt::Write;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::paper::Paper;
use crate::broker::{BrokerError, Deliver, PublishOptions, Published};
use crate::request::{HistoryRequest, StreamPosition};
use crate::{Broker, Channel, ClientInfo, HistoryBounds, Kind, MemoryBroker, Publication, Refused};

/// Runs a future of this broker's: they are ready at once, with a journal of paper, too.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a future of the memory broker's never pends"),
    }
}

/// Takes everything up to `TOO_LARGE` bytes, and remembers it.
#[derive(Default)]
pub(super) struct Recorder(
    pub(super) Mutex<Vec<(Channel, Kind)>>,
    /// No publication is taken, whatever was said before.
    pub(super) Mutex<bool>,
);

const TOO_LARGE: usize = 8;

impl Deliver for Recorder {
    fn deliver(&self, channel: &Channel, kind: Kind, _: Instant) -> Result<(), Refused> {
        if let Kind::Publication(publication) = &kind
            && (publication.data.len() >= TOO_LARGE || *self.1.lock().unwrap())
        {
            return Err(Refused::TooLarge { bytes: publication.data.len(), limit: TOO_LARGE });
        }
        self.0.lock().unwrap().push((channel.clone(), kind));
        Ok(())
    }

    fn takes(&self, _: &Channel, publication: &Publication) -> Result<(), Refused> {
        let bytes = publication.data.len();
        if bytes < TOO_LARGE { Ok(()) } else { Err(Refused::TooLarge { bytes, limit: TOO_LARGE }) }
    }
}

pub(super) struct Bench {
    pub(super) broker: MemoryBroker,
    pub(super) recorder: Arc<Recorder>,
    pub(super) start: Instant,
    /// Epochs in the order in which they were seen: the first is `a`.
    epochs: Vec<Arc<str>>,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::of(MemoryBroker::new(7))
    }

    /// A broker that publishes in two steps.
    pub(super) fn journaled() -> Self {
        Self::of(MemoryBroker::journaled(7, Arc::new(Paper::default()), [], [], Instant::now()))
    }

    pub(super) fn of(broker: MemoryBroker) -> Self {
        let recorder = Arc::new(Recorder::default());
        broker.start(recorder.clone());
        Self { broker, recorder, start: Instant::now(), epochs: Vec::new() }
    }

    fn position(&mut self, position: &StreamPosition) -> String {
        format!("{}{}", position.offset, self.epoch(&position.epoch))
    }

    fn epoch(&mut self, epoch: &Arc<str>) -> String {
        if epoch.is_empty() {
            return String::new();
        }
        let known = self.epochs.iter().position(|known| known == epoch);
        let number = known.unwrap_or_else(|| {
            self.epochs.push(epoch.clone());
            self.epochs.len() - 1
        });
        char::from(b'a' + number as u8).into()
    }

    fn published(&mut self, result: Result<Published, BrokerError>) -> String {
        match result {
            Ok(Published { position, suppressed: false }) => self.position(&position),
            Ok(Published { position, .. }) => format!("={}", self.position(&position)),
            Err(error) => self.error(&error),
        }
    }

    fn error(&self, error: &BrokerError) -> String {
        match error {
            BrokerError::Refused(_) => "refused".into(),
            BrokerError::WrongEpoch => "wrong epoch".into(),
            error => error.to_string(),
        }
    }

    /// What was delivered since the last call.
    fn delivered(&mut self) -> String {
        let delivered = std::mem::take(&mut *self.recorder.0.lock().unwrap());
        let words = delivered.iter().map(|(_, kind)| match kind {
            Kind::Publication(publication) => self.publication(publication),
            Kind::Join(info) => format!("join:{}", info.client),
            Kind::Leave(info) => format!("leave:{}", info.client),
            Kind::Break => "break".into(),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    fn publication(&mut self, publication: &Publication) -> String {
        let data = String::from_utf8_lossy(&publication.data).into_owned();
        let epoch = publication.epoch.clone().unwrap_or_default();
        format!("{data}:{}{}", publication.offset, self.epoch(&epoch))
    }

    /// Does what one line of a script says, on channel `c`, and says what came of it.
    ///
    /// `@N`: at second N. `kN`: N are kept, for ten seconds, and the stream for a hundred; `k0` keeps none.
    pub(super) fn run(&mut self, line: &str) -> String {
        let (mut at, mut size, mut channel) = (0, 3, Channel::from("c"));
        let mut options = PublishOptions::default();
        let mut publication = Publication::default();
        let mut request =
            HistoryRequest { channel: channel.clone(), limit: None, since: None, reverse: false };
        let mut words = line.split(' ');
        let verb = words.next().unwrap_or_default();
        let mut rest = Vec::new();
        if verb == "pub" {
            rest.extend(words.next());
        }
        for word in words {
            match word.split_at(1) {
                ("@", n) => at = n.parse().unwrap(),
                ("k", n) => size = n.parse().unwrap(),
                ("#", name) => channel = name.into(),
                ("i", key) => options.idempotency_key = Some(key.into()),
                ("t", n) => options.idempotent_for = Duration::from_secs(n.parse().unwrap()),
                ("v", n) => publication.version = n.parse().unwrap(),
                ("e", epoch) => options.version_epoch = Some(epoch.into()),
                ("l", n) => request.limit = Some(n.parse().unwrap()),
                ("r", "") => request.reverse = true,
                (">", at) => {
                    let end = at.find(|c: char| !c.is_ascii_digit()).unwrap_or(at.len());
                    let epoch: Arc<str> = match at[end..].bytes().next() {
                        Some(b'?') => "another".into(),
                        Some(letter) => self.epochs[usize::from(letter - b'a')].clone(),
                        None => "".into(),
                    };
                    request.since = Some(StreamPosition { offset: at[..end].parse().unwrap(), epoch });
                }
                _ => rest.push(word),
            }
        }
        let now = self.start + Duration::from_secs(at);
        let (ttl, meta_ttl) = (Duration::from_secs(10), Duration::from_secs(100));
        options.history = HistoryBounds { size, ttl, meta_ttl };
        publication.data = rest.first().unwrap_or(&"").to_string().into();
        request.channel = channel.clone();
        let info = |user: &str, client: &str| {
            Arc::new(ClientInfo { user: user.into(), client: client.into(), ..Default::default() })
        };
        let broker = &self.broker;
        match verb {
            "pub" => {
                let result = block_on(broker.publish(&channel, publication, &options, now));
                self.published(result)
            }
            "hist" => match block_on(broker.history(&request, &options.history, now)) {
                Ok(history) => {
                    let mut said = self.position(&history.top);
                    for publication in &history.publications {
                        let _ = write!(said, " {}", self.publication(publication));
                    }
                    said
                }
                Err(error) => self.error(&error),
            },
            "clear" => format!("{:?}", block_on(broker.remove_history(&channel))),
            "join" => {
                format!("{:?}", block_on(broker.announce(&channel, Kind::Join(info("", rest[0])), now)))
            }
            "leave" => {
                format!("{:?}", block_on(broker.announce(&channel, Kind::Leave(info("", rest[0])), now)))
            }
            "subscribe" => format!("{:?}", block_on(broker.subscribe(&channel))),
            "unsubscribe" => format!("{:?}", block_on(broker.unsubscribe(&channel))),
            "sweep" => {
                block_on(broker.sweep(now));
                let held = broker.figures();
                format!(
                    "{} streams {} kept {} keys {} present",
                    held.streams,
                    held.publications,
                    broker.keys.len(),
                    broker.presence.channels()
                )
            }
            "present" => {
                let ttl = Duration::from_secs(10);
                format!("{:?}", block_on(broker.add_presence(&channel, &info(rest[0], rest[1]), ttl, now)))
            }
            "absent" => format!("{:?}", block_on(broker.remove_presence(&channel, rest[0]))),
            "who" => {
                let present = block_on(broker.presence(&channel, now)).unwrap();
                let stats = block_on(broker.presence_stats(&channel, now)).unwrap();
                let names: Vec<_> = present.keys().map(|client| &**client).collect();
                format!("{}/{} {}", stats.clients, stats.users, names.join(","))
            }
            "got" => self.delivered(),
            verb => panic!("no such verb: {verb}"),
        }
    }
}
