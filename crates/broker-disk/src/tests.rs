mod damage;
mod disks;
mod model;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use tempfile::TempDir;
use tidegate_core::broker::{BrokerError, Deliver, PublishOptions, Published};
use tidegate_core::request::{History, HistoryRequest};
use tidegate_core::{Broker, Channel, ClientInfo, HistoryBounds, Kind, MemoryBroker, Publication, Refused};

use crate::segment::Name;
use crate::{Disk, Fsync, OpenError, Options, Report};

/// A broker on a folder.
struct Node {
    broker: MemoryBroker,
    got: Arc<Recorder>,
    report: Report,
    now: Instant,
}

/// What was delivered, by channel and payload.
#[derive(Default)]
struct Recorder(Mutex<Vec<(Channel, String)>>);

impl Deliver for Recorder {
    fn deliver(&self, channel: &Channel, kind: Kind, _: Instant) -> Result<(), Refused> {
        let text = match kind {
            Kind::Publication(publication) => String::from_utf8_lossy(&publication.data).into_owned(),
            kind => format!("{kind:?}"),
        };
        assert_ne!(text, "a router's own panic");
        self.0.lock().unwrap().push((channel.clone(), text));
        Ok(())
    }
}

impl Node {
    fn open(folder: &Path) -> Self {
        Self::with(Options { fsync: Fsync::Never, ..Options::new(folder) })
    }

    fn with(options: Options) -> Self {
        Self::at(options, Instant::now(), SystemTime::now())
    }

    fn at(options: Options, now: Instant, wall: SystemTime) -> Self {
        let opened = Disk::open(options, now, wall).unwrap();
        let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
        let broker = MemoryBroker::journaled(seed, opened.journal, opened.streams, opened.keys, now);
        let got = Arc::new(Recorder::default());
        broker.start(got.clone());
        Self { broker, got, report: opened.report, now }
    }

    async fn publish(&self, channel: &str, data: &str) -> Published {
        self.try_publish(channel, data).await.unwrap()
    }

    async fn try_publish(&self, channel: &str, data: &str) -> Result<Published, BrokerError> {
        let publication = Publication::new(data.to_owned());
        self.broker.publish(&channel.into(), publication, &options(), self.now).await
    }

    async fn history(&self, channel: &str) -> History {
        let request = HistoryRequest { channel: channel.into(), limit: None, since: None, reverse: false };
        self.broker.history(&request, &options().history, self.now).await.unwrap()
    }

    /// `TOP: PAYLOAD@OFFSET …`
    async fn said(&self, channel: &str) -> String {
        let history = self.history(channel).await;
        let mut said = format!("{}:", history.top.offset);
        for publication in &history.publications {
            said += &format!(" {}@{}", String::from_utf8_lossy(&publication.data), publication.offset);
        }
        said
    }
}

/// A hundred publications for a day.
fn options() -> PublishOptions {
    let day = Duration::from_secs(24 * 3600);
    PublishOptions {
        history: HistoryBounds { size: 100, ttl: day, meta_ttl: 30 * day },
        ..PublishOptions::default()
    }
}

/// What `kill -9` would leave of a folder now.
fn killed(folder: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for (name, bytes) in moment(folder) {
        fs::write(copy.path().join(name), bytes).unwrap();
    }
    copy
}

/// A folder's files at one moment, though its journal goes on writing and cleaning up: read until twice the same came.
/// They stood so in between, for files are only appended to, and no name comes again.
fn moment(folder: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let mut last = None;
    loop {
        match read(folder) {
            Some(files) if last.as_ref() == Some(&files) => return files,
            files => last = files,
        }
    }
}

/// A folder's files, one after the other; `None` if one went away meanwhile.
fn read(folder: &Path) -> Option<BTreeMap<OsString, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if !entry.file_type().unwrap().is_file() {
            continue;
        }
        match fs::read(entry.path()) {
            Ok(bytes) => files.insert(entry.file_name(), bytes),
            Err(gone) if gone.kind() == ErrorKind::NotFound => return None,
            Err(error) => panic!("{}: {error}", entry.path().display()),
        };
    }
    Some(files)
}

/// The files of records, oldest first, and their bytes.
fn records(folder: &Path) -> BTreeMap<Name, u64> {
    let name = |name: OsString| Name::parse(name.to_str()?);
    moment(folder).into_iter().filter_map(|(file, bytes)| Some((name(file)?, bytes.len() as u64))).collect()
}

fn logs(folder: &Path) -> Vec<PathBuf> {
    records(folder).keys().map(|name| name.path(folder)).collect()
}

fn folder_bytes(folder: &Path) -> u64 {
    records(folder).values().sum()
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    assert_eq!(node.report.streams, 0);
    let publication = Publication {
        data: "{}".into(),
        info: Some(Arc::new(ClientInfo {
            user: "ann".into(),
            client: "1".into(),
            connection: "c".into(),
            channel: "i".into(),
        })),
        tags: Some(Arc::new([("place".to_owned(), "Zürich".to_owned())].into())),
        key: Some("k".into()),
        version: 7,
        time: 1_700_000_000_000,
        delta: true,
        ..Publication::default()
    };
    let once = PublishOptions {
        idempotency_key: Some("once".into()),
        version_epoch: Some("life".into()),
        ..options()
    };
    let channel = Channel::from("a");
    let first = node.broker.publish(&channel, publication.clone(), &once, node.now).await.unwrap();
    node.publish("a", "two").await;
    node.publish("b", "one").await;
    let before = (node.history("a").await, node.history("b").await);

    let copy = killed(folder.path());
    let again = Node::open(copy.path());
    assert_eq!((again.report.streams, again.report.publications), (2, 3));
    assert_eq!((again.report.damaged, again.report.torn_bytes, again.report.renewed), (0, 0, 0));
    for (channel, before) in [("a", before.0), ("b", before.1)] {
        let after = again.history(channel).await;
        assert_eq!((after.top, after.publications), (before.top, before.publications));
    }
    // The key and the version are known, and the offsets go on.
    let second = again.broker.publish(&channel, publication.clone(), &once, again.now).await.unwrap();
    assert_eq!((second.position, second.suppressed), (first.position, true));
    let older = PublishOptions { idempotency_key: None, ..once };
    assert!(again.broker.publish(&channel, publication, &older, again.now).await.unwrap().suppressed);
    assert_eq!(again.publish("a", "three").await.position.offset, 3);
    assert_eq!(again.got.0.lock().unwrap().len(), 1, "what was there before is not delivered again");
}

#[tokio::test]
async fn closing_and_opening_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for round in 1..=5 {
        let node = Node::open(folder.path());
        assert_eq!(node.publish("a", &format!("{round}")).await.position.offset, round);
        node.broker.close().await;
    }
    let node = Node::open(folder.path());
    assert_eq!(node.said("a").await, "5: 1@1 2@2 3@3 4@4 5@5");
    assert_eq!((node.report.damaged, node.report.renewed, node.report.torn_bytes), (0, 0, 0));
}

#[tokio::test]
async fn a_stream_that_was_only_read_keeps_its_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    let epoch = node.history("a").await.top.epoch;
    node.broker.close().await;
    let again = Node::open(folder.path());
    assert_eq!(again.history("a").await.top.epoch, epoch);
}

#[tokio::test]
async fn removed_history_stays_removed() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    node.publish("a", "x").await;
    node.publish("a", "y").await;
    node.broker.remove_history(&"a".into()).await.unwrap();
    node.publish("a", "z").await;
    assert_eq!(node.said("a").await, "3: z@3");
    assert_eq!(Node::open(killed(folder.path()).path()).said("a").await, "3: z@3");
}

#[tokio::test]
async fn time_goes_on_while_nobody_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (start, wall) = (Instant::now(), SystemTime::now());
    let hour = Duration::from_secs(3600);
    let open = |at: Duration| {
        Node::at(Options { fsync: Fsync::Never, ..Options::new(folder.path()) }, start + at, wall + at)
    };
    let node = open(Duration::ZERO);
    node.publish("a", "x").await;
    node.broker.close().await;
    let node = open(23 * hour);
    assert_eq!(node.said("a").await, "1: x@1");
    let epoch = node.history("a").await.top.epoch;
    node.broker.close().await;
    let node = open(25 * hour);
    assert_eq!(node.said("a").await, "1:");
    assert_eq!(node.history("a").await.top.epoch, epoch);
    node.broker.close().await;
    let node = open(31 * 24 * hour);
    assert_eq!(node.report.streams, 0);
    assert_eq!(node.said("a").await, "0:");
}

/// A publication keeps those before it that have not expired, and none that have, also after a restart.
#[tokio::test]
async fn what_had_expired_stays_so() {
    let folder = tempfile::tempdir().unwrap();
    let day = options().history.ttl;
    let options = Options { fsync: Fsync::Never, ..Options::new(folder.path()) };
    let mut node = Node::with(options);
    let (now, publications) = (node.now, [("a", 0.0), ("b", 2.0), ("c", 2.9), ("d", 3.8)]);
    for (data, days) in publications {
        node.now = now + day.mul_f64(days);
        node.publish("news", data).await;
        assert_eq!(node.said("news").await, said_at(data));
    }
    let copy = killed(folder.path());
    node.broker.close().await;
    let later = Duration::from_secs(60);
    for (folder, days, expected) in
        [(copy.path(), 3.8, said_at("d")), (folder.path(), 4.7, said_at("d")), (copy.path(), 4.9, "4:")]
    {
        let passed = day.mul_f64(days) + later;
        let options = Options { fsync: Fsync::Never, ..Options::new(folder) };
        let node = Node::at(options, now + passed, SystemTime::now() + passed);
        assert_eq!(node.said("news").await, expected, "after {days} days");
        node.broker.close().await;
    }
}

/// What is kept once this was published: a day and more after the one before, or less.
fn said_at(data: &str) -> &'static str {
    match data {
        "a" => "1: a@1",
        "b" => "2: b@2",
        "c" => "3: b@2 c@3",
        _ => "4: b@2 c@3 d@4",
    }
}

#[tokio::test]
async fn two_never_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    let second = Disk::open(Options::new(folder.path()), Instant::now(), SystemTime::now());
    let error = second.unwrap_err();
    assert!(matches!(error, OpenError::InUse(_)), "{error:?}");
    assert!(error.to_string().contains("another process"), "{error}");
    node.broker.close().await;
    Node::open(folder.path());
}

#[tokio::test]
async fn who_gives_up_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    for number in 0..50 {
        let data = format!("{number}");
        let mut publish = Box::pin(node.try_publish("a", &data));
        // Begun, and dropped before the answer, most of the time.
        tokio::select! { biased; _ = &mut publish => {}, () = std::future::ready(()) => {} }
    }
    let last = node.publish("a", "last").await.position.offset;
    let history = node.history("a").await;
    let offsets: Vec<u64> = history.publications.iter().map(|publication| publication.offset).collect();
    assert_eq!(offsets, (1..=last).collect::<Vec<_>>());
    assert_eq!(node.got.0.lock().unwrap().len() as u64, last);
}

#[tokio::test]
async fn keys_decide_once_while_they_are_being_written() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    for round in 0..50 {
        let once = PublishOptions { idempotency_key: Some(format!("{round}").into()), ..options() };
        let channel = Channel::from("a");
        let publish = || node.broker.publish(&channel, Publication::new("x"), &once, node.now);
        let (one, two, three) = tokio::join!(publish(), publish(), publish());
        let all = [one.unwrap(), two.unwrap(), three.unwrap()];
        assert_eq!(all.iter().filter(|published| !published.suppressed).count(), 1);
        assert!(all.iter().all(|published| published.position.offset == round + 1), "{all:?}");
    }
}

#[tokio::test]
async fn a_panic_while_delivering_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    node.publish("a", "one").await;
    node.publish("a", "a router's own panic").await;
    node.publish("a", "three").await;
    assert_eq!(node.said("a").await, "3: one@1 a router's own panic@2 three@3");
    assert_eq!(node.got.0.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn publishers_wait_for_room_in_the_queue() {
    let queue = crate::queue::Queue::new(100);
    let first = queue.room(60).await.unwrap();
    let mut second = Box::pin(queue.room(60));
    assert!(futures_now(&mut second).is_none());
    // Who gives up has taken nothing.
    drop(second);
    let third = queue.room(40).await.unwrap();
    assert_eq!(queue.waiting(), 100);
    drop((first, third));
    // One that is larger than the queue has it for itself.
    let large = queue.room(1000).await.unwrap();
    let mut small = Box::pin(queue.room(1));
    assert!(futures_now(&mut small).is_none());
    drop(large);
    assert!(futures_now(&mut small).is_some());
}

fn futures_now<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(future).poll(&mut cx) {
        std::task::Poll::Ready(value) => Some(value),
        std::task::Poll::Pending => None,
    }
}
