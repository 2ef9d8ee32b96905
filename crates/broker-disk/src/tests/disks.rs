//! Full, failing and small disks.

use std::sync::atomic::Ordering;

use super::*;
use crate::faults;

#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let disk = faults::inject(folder.path());
    let retry = Duration::from_millis(5);
    let node = Node::with(Options { retry, ..Options::new(folder.path()) });
    node.publish("a", "one").await;
    node.publish("b", "one").await;
    for _ in 0..3 {
        disk.full.store(true, Ordering::SeqCst);
        let many = (0..20).map(|number| {
            let node = &node;
            async move { node.try_publish(if number % 2 == 0 { "a" } else { "b" }, "lost").await }
        });
        for refused in futures(many).await {
            let Err(BrokerError::Unavailable(why)) = refused else { panic!("{refused:?}") };
            assert!(why.contains("cannot be written"), "{why}");
        }
        assert!(node.broker.ready().await.is_err());
        // Nothing of it was seen, and what was there still is.
        assert!(!node.got.0.lock().unwrap().iter().any(|(_, data)| data == "lost"));
        // A kill in the middle of it takes nothing either; what was refused may be there, once.
        let copy = killed(folder.path());
        let other = Node::open(copy.path());
        assert!(other.said("a").await.contains("one@1"), "{}", other.said("a").await);
        disk.full.store(false, Ordering::SeqCst);
        while node.broker.ready().await.is_err() {
            tokio::time::sleep(retry).await;
        }
        node.publish("a", "more").await;
    }
    assert_eq!(node.said("a").await, "4: one@1 more@2 more@3 more@4");
    assert_eq!(node.said("b").await, "1: one@1");
    let after = Node::open(killed(folder.path()).path());
    assert_eq!(after.report.damaged, 0, "{:?}", after.report);
    assert_eq!(after.said("a").await, "4: one@1 more@2 more@3 more@4");
    assert_eq!(after.said("b").await, "1: one@1");
}

#[tokio::test]
async fn what_could_not_be_synced_is_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let disk = faults::inject(folder.path());
    let retry = Duration::from_millis(5);
    let node = Node::with(Options { retry, fsync: Fsync::Each, ..Options::new(folder.path()) });
    node.publish("a", "one").await;
    let first = logs(folder.path())[0].clone();
    disk.unsynced.store(true, Ordering::SeqCst);
    assert!(matches!(node.try_publish("a", "lost").await, Err(BrokerError::Unavailable(_))));
    disk.unsynced.store(false, Ordering::SeqCst);
    while node.broker.ready().await.is_err() {
        tokio::time::sleep(retry).await;
    }
    node.publish("a", "two").await;
    for _ in 0..100 {
        // Cleaning goes on when something is written.
        node.publish("b", "x").await;
    }
    assert!(!first.exists(), "what could not be synced still stands where it was");
    assert_eq!(Node::open(killed(folder.path()).path()).said("a").await, "2: one@1 two@2");
}

#[tokio::test]
async fn files_are_cleaned_out() {
    let folder = tempfile::tempdir().unwrap();
    let small = Options { segment_bytes: 64 << 10, fsync: Fsync::Never, ..Options::new(folder.path()) };
    let node = Node::with(small.clone());
    let payload = "x".repeat(1000);
    node.publish("idle", "kept").await;
    let keys = PublishOptions { idempotency_key: Some("k".into()), ..options() };
    node.broker.publish(&"keyed".into(), Publication::new("once"), &keys, node.now).await.unwrap();
    node.broker.remove_history(&"keyed".into()).await.unwrap();
    for number in 0..3000 {
        node.publish(&format!("c{}", number % 3), &payload).await;
    }
    // 3 MB were written; 300 KB are kept.
    assert!(folder_bytes(folder.path()) < 1 << 20, "{}", folder_bytes(folder.path()));
    let before = (node.said("c0").await, node.said("idle").await);
    let again = Node::with(Options { path: killed(folder.path()).keep(), ..small });
    assert_eq!((again.said("c0").await, again.said("idle").await), before);
    assert_eq!(again.report.damaged, 0);
    assert_eq!(again.said("keyed").await, "1:");
    let second =
        again.broker.publish(&"keyed".into(), Publication::new("once"), &keys, again.now).await.unwrap();
    assert!(second.suppressed, "the key outlives its publication");
}

#[tokio::test]
async fn over_the_limit_the_oldest_go() {
    let folder = tempfile::tempdir().unwrap();
    let limit_bytes = 1 << 20;
    let options = Options { limit_bytes, fsync: Fsync::Never, ..Options::new(folder.path()) };
    let node = Node::with(options.clone());
    let payload = "x".repeat(1000);
    // 100 publications of each are kept: 10 MB in all.
    for number in 0..5000 {
        node.publish(&format!("c{}", number / 50), &payload).await;
    }
    assert!(folder_bytes(folder.path()) < limit_bytes + (256 << 10), "{}", folder_bytes(folder.path()));
    assert_eq!(node.said("c0").await, "50:", "given up, but the offsets go on");
    let newest = node.history("c99").await;
    assert_eq!(newest.publications.len(), 50);
    assert!(node.broker.figures().publications > 100, "{:?}", node.broker.figures());
    let again = Node::with(Options { path: killed(folder.path()).keep(), ..options });
    assert_eq!(again.said("c0").await, "50:");
    assert_eq!(again.history("c99").await.publications.len(), 50);
    assert_eq!(again.report.publications, node.broker.figures().publications);
}

#[tokio::test]
async fn small_files_of_many_starts_are_put_together() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..110 {
        let limit = 1 << 20;
        let options = Options {
            fsync: Fsync::Never,
            limit_bytes: limit,
            segment_bytes: limit / 8,
            ..Options::new(folder.path())
        };
        let node = Node::with(options);
        if round % 10 == 0 {
            node.publish("a", "x").await;
        }
        drop(node);
    }
    assert!(logs(folder.path()).len() <= 66, "{}", logs(folder.path()).len());
    let node = Node::open(folder.path());
    assert_eq!(node.history("a").await.publications.len(), 11);
}

/// Runs futures side by side.
async fn futures<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut pinned: Vec<_> = futures.map(Box::pin).collect();
    let mut done: Vec<Option<T>> = pinned.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (future, done) in pinned.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(cx)
            {
                *done = Some(value);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}
