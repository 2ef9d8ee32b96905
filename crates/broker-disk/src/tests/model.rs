//! Random operations: what a broker with a journal answers, delivers and shows is what one in memory does, whenever
//! it is killed or closed and opened again.

use std::collections::HashMap;

use super::*;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % sides
    }
}

/// A broker, and the names of its epochs in the order in which they were seen.
#[derive(Default)]
struct Names(HashMap<Arc<str>, usize>);

impl Names {
    fn of(&mut self, epoch: &Arc<str>) -> usize {
        let next = self.0.len();
        *self.0.entry(epoch.clone()).or_insert(next)
    }
}

async fn run(seed: u64) {
    let mut dice = Dice(seed);
    let folder = tempfile::tempdir().unwrap();
    let mut kept = Vec::new();
    let (start, wall) = (Instant::now(), SystemTime::now());
    let mut passed = Duration::ZERO;
    let small = |path: &Path| Options {
        // The smallest that there are: cleaning goes on all the time.
        segment_bytes: 1,
        fsync: Fsync::Never,
        ..Options::new(path)
    };
    let model = MemoryBroker::new(seed);
    let heard = Arc::new(Recorder::default());
    model.start(heard.clone());
    let mut node = Node::at(small(folder.path()), start, wall);
    let mut path = folder.path().to_owned();
    let mut delivered = Vec::new();
    let (mut names, mut model_names) = (Names::default(), Names::default());
    for step in 0..600 {
        passed += Duration::from_millis(dice.roll(200));
        let now = start + passed;
        let channel = Channel::from(format!("c{}", dice.roll(4)).as_str());
        let size = 1 + dice.roll(8) as usize;
        let history =
            HistoryBounds { size, ttl: Duration::from_secs(20), meta_ttl: Duration::from_secs(86400) };
        let place = format!("seed {seed}, step {step}");
        match dice.roll(20) {
            0 => {
                let (one, two) =
                    (node.broker.remove_history(&channel).await, model.remove_history(&channel).await);
                assert_eq!(one, two, "{place}");
            }
            1 => {
                node.broker.sweep(now).await;
                model.sweep(now).await;
            }
            2 | 3 if dice.roll(3) == 0 => {
                delivered.append(&mut node.got.0.lock().unwrap());
                if dice.roll(2) == 0 {
                    let copy = killed(&path);
                    path = copy.path().to_owned();
                    kept.push(copy);
                } else {
                    node.broker.close().await;
                }
                drop(node);
                node = Node::at(small(&path), now, wall + passed);
                let report = &node.report;
                assert_eq!((report.damaged, report.renewed, report.torn_bytes), (0, 0, 0), "{place}");
            }
            4..8 => {
                let request = HistoryRequest {
                    channel,
                    limit: (dice.roll(2) == 0).then(|| dice.roll(5) as usize),
                    since: None,
                    reverse: dice.roll(2) == 0,
                };
                let one = node.broker.history(&request, &history, now).await.unwrap();
                let two = model.history(&request, &history, now).await.unwrap();
                assert_eq!(one.top.offset, two.top.offset, "{place}");
                assert_eq!(names.of(&one.top.epoch), model_names.of(&two.top.epoch), "{place}");
                let shown = |history: &History| -> Vec<_> {
                    let of = |publication: &Publication| (publication.offset, publication.data.clone());
                    history.publications.iter().map(of).collect()
                };
                assert_eq!(shown(&one), shown(&two), "{place}");
            }
            _ => {
                let options = PublishOptions {
                    history,
                    idempotency_key: (dice.roll(3) == 0).then(|| format!("{}", dice.roll(40)).into()),
                    idempotent_for: Duration::from_secs(1 + dice.roll(20)),
                    version_epoch: (dice.roll(2) == 0).then(|| "v".into()),
                    ..PublishOptions::default()
                };
                let publication = Publication {
                    // Not both: a key whose publication was suppressed by its version is not written.
                    version: if options.idempotency_key.is_none() { dice.roll(step as u64 + 1) } else { 0 },
                    ..Publication::new(format!("{step} {}", "x".repeat(dice.roll(2000) as usize)))
                };
                let one = node.broker.publish(&channel, publication.clone(), &options, now).await.unwrap();
                let two = model.publish(&channel, publication, &options, now).await.unwrap();
                assert_eq!(
                    (one.position.offset, one.suppressed),
                    (two.position.offset, two.suppressed),
                    "{place}"
                );
                assert_eq!(names.of(&one.position.epoch), model_names.of(&two.position.epoch), "{place}");
            }
        }
    }
    delivered.append(&mut node.got.0.lock().unwrap());
    assert_eq!(delivered, *heard.0.lock().unwrap(), "seed {seed}: not delivered in order, once");
}

#[tokio::test]
async fn a_journal_changes_nothing_but_what_a_restart_leaves() {
    for seed in 0..12 {
        run(seed).await;
    }
}
