//! Damaged files: bytes flipped, lengths cut, blocks and files gone.

use super::*;
use crate::frame;
use crate::mark::MarkFile;
use crate::record::{self, stream};

/// A folder as a kill has left it, and what was answered.
struct Scene {
    folder: TempDir,
    /// By channel: what was published, and the stream's epoch.
    truth: Vec<(String, String, Arc<str>)>,
}

const CHANNELS: [&str; 3] = ["a", "b", "c"];

impl Scene {
    /// Three streams of four publications, taking turns; in two files if `restarted`.
    async fn new(restarted: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut node = Node::open(folder.path());
        for round in 1..=4 {
            for channel in CHANNELS {
                node.publish(channel, &format!("{channel}{round}{}", "x".repeat(round * round))).await;
            }
            if restarted && round == 2 {
                node.broker.close().await;
                node = Node::open(folder.path());
            }
        }
        let mut truth = Vec::new();
        for channel in CHANNELS {
            truth.push((channel.to_owned(), node.said(channel).await, node.history(channel).await.top.epoch));
        }
        let killed = killed(folder.path());
        Self { folder: killed, truth }
    }

    /// Opens a copy in which `change` was done, and says how each stream fared: whole, holed, renewed or bare
    /// (not known any more).
    async fn after(&self, change: impl FnOnce(&Path)) -> (Vec<(&str, Fate)>, Report) {
        let copy = killed(self.folder.path());
        change(copy.path());
        let node = Node::open(copy.path());
        let mut fates = Vec::new();
        for (channel, said, epoch) in &self.truth {
            let now = node.history(channel).await;
            let new = node.said(channel).await;
            let shown = new.split_once(':').unwrap().1.to_owned();
            let fate = if now.top.epoch == *epoch {
                // The same epoch promises everything behind what it shows.
                assert!(said.ends_with(&shown), "{channel}: {new} of {said}");
                assert_eq!(now.top.offset, 4, "{channel} went back: {new}");
                if new == *said { Fate::Whole } else { Fate::Holed }
            } else if now.top.offset == 0 {
                Fate::Bare
            } else {
                assert!(said.contains(shown.trim()), "{channel}: {new} of {said}");
                Fate::Renewed
            };
            fates.push((channel.as_str(), fate));
        }
        // What was found is written down: another start finds it in order.
        let report = node.report.clone();
        node.broker.close().await;
        let again = Node::open(copy.path());
        let clean = (again.report.damaged, again.report.renewed, again.report.torn_bytes) == (0, 0, 0);
        assert!(clean, "{report:?}, and then {:?}", again.report);
        (fates, report)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Whole,
    Holed,
    Renewed,
    Bare,
}

fn flip(path: &Path, at: usize) {
    let mut data = fs::read(path).unwrap();
    data[at] ^= 0x55;
    fs::write(path, data).unwrap();
}

/// Whose record each byte of a file is, and whether it is its body's.
fn owners(scene: &Scene, path: &Path) -> Vec<(Option<String>, bool)> {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let salt = u32::from_str_radix(name.split_once('-').unwrap().1, 16).unwrap();
    let data = fs::read(path).unwrap();
    let (mut at, mut owners) = (0, Vec::new());
    while let Some((found, next)) = frame::next(salt, &data, at) {
        let [frame::Found::Record(label, body)] = found[..] else { panic!("{found:?}") };
        let of = |(channel, _, epoch): &&(String, String, Arc<str>)| {
            stream(&channel.as_str().into(), epoch) == label.stream
        };
        let owner = scene.truth.iter().find(of).map(|(channel, ..)| channel.clone());
        let edge = (next - at - body.len()) / 2;
        owners.extend((at..next).map(|byte| (owner.clone(), byte >= at + edge && byte < next - edge)));
        at = next;
    }
    owners
}

#[tokio::test]
async fn a_flipped_byte_costs_its_record_alone() {
    for restarted in [false, true] {
        let scene = Scene::new(restarted).await;
        for path in logs(scene.folder.path()) {
            let name = path.file_name().unwrap().to_owned();
            // Records have many lengths: every field is met.
            let stride = if restarted { 17 } else { 5 };
            for (at, (owner, in_body)) in owners(&scene, &path).into_iter().enumerate().step_by(stride) {
                let (fates, report) = scene.after(|folder| flip(&folder.join(&name), at)).await;
                for (channel, fate) in fates {
                    let hurt = in_body && owner.as_deref() == Some(channel);
                    let expected = if hurt { Fate::Holed } else { Fate::Whole };
                    assert_eq!(fate, expected, "{name:?}, byte {at}, {channel}: {report:?}");
                }
                assert_eq!(report.damaged > 0, in_body, "{name:?}, byte {at}: {report:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_file_cut_anywhere_is_never_taken_for_whole() {
    for restarted in [false, true] {
        let scene = Scene::new(restarted).await;
        for path in logs(scene.folder.path()) {
            let len = fs::metadata(&path).unwrap().len();
            let name = path.file_name().unwrap().to_owned();
            for to in (0..len).step_by(if restarted { 17 } else { 5 }).chain([len - 1]) {
                let cut = |folder: &Path| {
                    fs::OpenOptions::new().write(true).open(folder.join(&name)).unwrap().set_len(to).unwrap();
                };
                // `after` holds every stream that keeps its epoch to its top and what is behind what it shows.
                let (fates, report) = scene.after(cut).await;
                assert!(report.damaged > 0, "{name:?} cut to {to}: {report:?}, {fates:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_write_that_was_cut_off_costs_nobody_anything() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    for channel in ["a", "b", "a"] {
        node.publish(channel, "answered").await;
    }
    let before = killed(folder.path());
    node.publish("a", "unanswered").await;
    let path = logs(folder.path()).pop().unwrap();
    let name = path.file_name().unwrap().to_owned();
    let (short, long) = (fs::read(before.path().join(&name)).unwrap().len(), fs::read(&path).unwrap());
    for len in short..=long.len() {
        let copy = killed(before.path());
        fs::write(copy.path().join(&name), &long[..len]).unwrap();
        let node = Node::open(copy.path());
        let report = &node.report;
        assert_eq!((report.damaged, report.renewed, report.holed), (0, 0, 0), "{len}: {report:?}");
        let said = node.said("a").await;
        if len == long.len() {
            assert_eq!(said, "3: answered@1 answered@2 unanswered@3");
        } else {
            assert_eq!(report.torn_bytes, (len - short) as u64);
            assert_eq!(said, "2: answered@1 answered@2");
            assert_eq!(node.publish("a", "next").await.position.offset, 3);
        }
        assert_eq!(node.said("b").await, "1: answered@1");
    }
}

#[tokio::test]
async fn a_hole_in_the_middle_ends_recovery_across_it() {
    let scene = Scene::new(false).await;
    let path = logs(scene.folder.path()).remove(0);
    let body = owners(&scene, &path);
    // In the second publication of `b`.
    let of_b: Vec<usize> =
        (0..body.len()).filter(|&at| body[at].1 && body[at].0.as_deref() == Some("b")).collect();
    let second = of_b.iter().zip(&of_b[1..]).find(|(one, two)| **two > **one + 1).unwrap().1;
    flip(&path, *second);
    let node = Node::open(scene.folder.path());
    assert_eq!(node.said("b").await, format!("4: b3{}@3 b4{}@4", "x".repeat(9), "x".repeat(16)));
    assert_eq!(node.said("a").await, scene.truth[0].1);
    assert_eq!((node.report.damaged, node.report.holed, node.report.renewed), (1, 1, 0));
    assert!(node.report.places[0].contains("the record at byte"), "{:?}", node.report);
    assert!(scene.folder.path().join("damaged").is_dir(), "what is damaged is put aside");
}

#[tokio::test]
async fn lost_blocks_renew_only_who_may_have_lost_something() {
    let scene = Scene::new(false).await;
    let path = logs(scene.folder.path()).remove(0);
    let len = fs::metadata(&path).unwrap().len() as usize;
    let mut renewed = 0;
    for at in (0..len).step_by(97) {
        let (fates, report) = scene
            .after(|folder| {
                let path = logs(folder).remove(0);
                let mut data = fs::read(&path).unwrap();
                let to = (at + 300).min(data.len());
                data[at..to].fill(0);
                fs::write(path, data).unwrap();
            })
            .await;
        assert!(report.damaged > 0, "{at}");
        renewed += fates.iter().filter(|(_, fate)| *fate == Fate::Renewed).count();
        if at < len / 2 {
            // Later records prove that these have lost nothing newer.
            assert!(
                fates.iter().all(|(_, fate)| matches!(fate, Fate::Whole | Fate::Holed)),
                "{at}: {fates:?}"
            );
        }
    }
    assert!(renewed > 0, "blocks at the end hide whose records they held");
}

#[tokio::test]
async fn lost_files_are_noticed() {
    let scene = Scene::new(true).await;
    let count = logs(scene.folder.path()).len();
    assert_eq!(count, 2);
    for lost in 0..count {
        let (fates, report) = scene.after(|folder| fs::remove_file(&logs(folder)[lost]).unwrap()).await;
        if lost == 0 {
            // The oldest file may have been cleaned out: what is left begins behind it, and reaches the top.
            assert!(fates.iter().all(|(_, fate)| *fate == Fate::Holed), "{fates:?}");
        } else {
            assert!(report.damaged > 0 && fates.iter().all(|(_, fate)| *fate == Fate::Renewed), "{fates:?}");
        }
    }
}

#[tokio::test]
async fn a_damaged_mark_is_read_from_its_copy() {
    let scene = Scene::new(false).await;
    let mark = scene.folder.path().join("mark");
    for at in 0..fs::metadata(&mark).unwrap().len() as usize {
        let (fates, report) = scene.after(|folder| flip(&folder.join("mark"), at)).await;
        assert!(fates.iter().all(|(_, fate)| *fate == Fate::Whole), "{at}: {fates:?}");
        assert_eq!(report.renewed, 0);
    }
    let (fates, _) = scene.after(|folder| fs::remove_file(folder.join("mark")).unwrap()).await;
    assert!(
        fates.iter().all(|(_, fate)| *fate == Fate::Renewed),
        "nobody knows what was answered: {fates:?}"
    );
}

#[tokio::test]
async fn a_power_failure_renews_epochs_unless_each_was_synced() {
    let interval = Fsync::Interval(Duration::from_secs(3600));
    for (fsync, closed, renewed) in [
        (interval, false, 1),
        (Fsync::Never, false, 1),
        (Fsync::Never, true, 1),
        (interval, true, 0),
        (Fsync::Each, false, 0),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let node = Node::with(Options { fsync, ..Options::new(folder.path()) });
        node.publish("a", "x").await;
        let epoch = node.history("a").await.top.epoch;
        if closed {
            node.broker.close().await;
        }
        let copy = killed(folder.path());
        // Another start of the machine.
        let mark = MarkFile::read(copy.path()).unwrap().unwrap();
        MarkFile::forge(copy.path(), crate::mark::Mark { boot: !mark.boot, ..mark });
        let again = Node::with(Options { fsync, ..Options::new(copy.path()) });
        assert_eq!(again.report.renewed, renewed, "{fsync:?}, closed {closed}");
        assert_eq!(again.report.power_lost, renewed > 0);
        assert_eq!(again.said("a").await, "1: x@1");
        assert_eq!(again.history("a").await.top.epoch == epoch, renewed == 0);
    }
}

#[test]
fn payloads_are_never_taken_for_records() {
    // A record within a payload, of a publisher who does not know the salt; the header before it is damaged.
    let mut inner = Vec::new();
    frame::write(1, frame::Label { kind: record::PUBLISH, stream: 9, offset: 9 }, b"forged", &mut inner);
    let mut file = Vec::new();
    frame::write(2, frame::Label { kind: record::PUBLISH, stream: 1, offset: 1 }, &inner, &mut file);
    let (_, end) = frame::next(2, &file, 0).unwrap();
    assert_eq!(end, file.len());
    file[3] ^= 1;
    let (found, _) = frame::next(2, &file, 0).unwrap();
    assert!(
        matches!(&found[..], [frame::Found::Record(label, body)] if label.stream == 1 && **body == inner[..])
    );
    let last = file.len() - 1;
    file[last] ^= 1;
    let (found, _) = frame::next(2, &file, 0).unwrap();
    assert_eq!(found, [frame::Found::Unknown(0..file.len())]);
}
