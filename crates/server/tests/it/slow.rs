//! One client's slowness is its own.

use std::sync::Arc;
use std::time::Duration;

use tidegate_server::core::broker::PublishOptions;
use tidegate_server::core::{
    Backpressure, Channel, CloseConnection, EndSubscription, ExactRouter, Lag, LatestPerKey, Publication,
    SkipToLatest, SkipToOldest, Window,
};
use tidegate_server::{PublishError, Settings};
use tokio::time::{Instant, sleep, timeout};

use crate::site::{Rules, Site, farewell, push, settle};

/// Twenty publications of 2,000 bytes: more than a policy of [`LAG`] tolerates.
async fn flood(site: &Site, channel: &str) {
    for i in 0..20 {
        site.publish(channel, format!("\"{i} {}\"", "x".repeat(2000))).await;
    }
}

const LAG: Lag = Lag::bytes(20_000);

fn calm() -> Settings {
    Settings { ping_interval: Duration::ZERO, queue_max_size: 20_000, ..Default::default() }
}

/// How long it takes until nobody subscribes to `channel`, at most five seconds.
async fn deserted(site: &Site, channel: &str) -> Option<Duration> {
    let since = Instant::now();
    while site.handle.channels().iter().any(|(name, _)| name.as_str() == channel) {
        if since.elapsed() > Duration::from_secs(5) {
            return None;
        }
        sleep(Duration::from_millis(10)).await;
    }
    Some(since.elapsed())
}

/// A stalled subscriber under `policy` falls too far behind at a moment when nothing is written to it, whatever
/// the moment; is judged within a second where the policy ends something; and then reads `expected`.
async fn check_stalled(policy: impl Backpressure + 'static, ends: bool, expected: &[&str]) {
    let policy: Arc<dyn Backpressure> = Arc::new(policy);
    for after in [0, 50, 333, 950, 1999] {
        let rules = Rules { policies: vec![("news", policy.clone())], ..Default::default() };
        let keyed = |_: &Channel| Window { keys: 9, key_bytes: 1 << 20, ..Window::default() };
        let site = Site::start(rules, |b| {
            b.settings(calm()).router(move |fanout, budget| ExactRouter::new(Box::new(keyed), fanout, budget))
        });
        let mut guest = site.client("ada").await;
        guest.subscribe("news").await;
        // Fills the pipe: from here on nothing is taken.
        for _ in 0..3 {
            site.publish("news", format!("\"first {}\"", "x".repeat(2000))).await;
        }
        settle().await;
        sleep(Duration::from_millis(after)).await;
        flood(&site, "news").await;
        let judged = deserted(&site, "news").await;
        match judged {
            Some(time) => assert!(ends && time <= Duration::from_secs(1), "{} {time:?}", policy.name()),
            None => assert!(!ends, "{} is not judged", policy.name()),
        }
        let heard = guest.hear_all().await;
        let told: Vec<&str> = heard
            .iter()
            .filter(|message| !message.contains("first "))
            .map(|message| message.split(" xx").next().unwrap_or_default())
            .collect();
        assert_eq!(told, expected, "{} after {after} ms", policy.name());
        site.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stalled_subscriber_is_judged_within_a_second() {
    let unsubscribed = push("news", r#""unsubscribe":{"code":2500,"reason":"insufficient state"}"#);
    check_stalled(EndSubscription { beyond: LAG }, true, &[&unsubscribed]).await;
    let [disconnect, end] = farewell(3008, "slow");
    check_stalled(CloseConnection::slow(LAG), true, &[&disconnect, &end]).await;
    let last = r#"{"push":{"channel":"news","pub":{"data":"19"#;
    check_stalled(SkipToLatest { beyond: LAG }, false, &[last]).await;
    check_stalled(LatestPerKey { beyond: LAG }, false, &[last]).await;
    let all: Vec<_> =
        (0..20).map(|i| format!(r#"{{"push":{{"channel":"news","pub":{{"data":"{i}"#)).collect();
    check_stalled(SkipToOldest, false, &all.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

#[tokio::test(start_paused = true)]
async fn of_two_subscriptions_one_ends_and_the_other_goes_on() {
    let policies: Vec<(&str, Arc<dyn Backpressure>)> =
        vec![("ends", Arc::new(EndSubscription { beyond: LAG })), ("stays", Arc::new(SkipToOldest))];
    let site = Site::start(Rules { policies, ..Default::default() }, |b| b.settings(calm()));
    let mut guest = site.client("ada").await;
    guest.subscribe("ends").await;
    guest.subscribe("stays").await;
    flood(&site, "stays").await;
    flood(&site, "ends").await;
    assert!(deserted(&site, "ends").await.is_some());
    site.publish("stays", "\"last\"").await;
    let heard = guest.hear_all().await;
    let unsubscribed = push("ends", r#""unsubscribe":{"code":2500,"reason":"insufficient state"}"#);
    assert_eq!(heard.iter().filter(|message| **message == unsubscribed).count(), 1, "{heard:?}");
    let stays = heard.iter().filter(|message| message.contains(r#""channel":"stays""#)).count();
    assert_eq!(stays, 21);
    assert_eq!(heard.last(), Some(&push("stays", r#""pub":{"data":"last"}"#)));
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_judged_by_all_its_subscriptions() {
    let settings = Settings { connection_behind: Lag::bytes(60_000), queue_max_size: 1 << 20, ..calm() };
    let policies: Vec<(&str, Arc<dyn Backpressure>)> = ["quiet", "a", "b"]
        .map(|name| -> (_, Arc<dyn Backpressure>) {
            (name, Arc::new(EndSubscription { beyond: Lag::bytes(1 << 20) }))
        })
        .into();
    let site = Site::start(Rules { policies, ..Default::default() }, |b| b.settings(settings));
    let mut guest = site.client("ada").await;
    for channel in ["quiet", "a", "b"] {
        guest.subscribe(channel).await;
    }
    site.publish("quiet", "\"1\"").await;
    flood(&site, "a").await;
    settle().await;
    assert_eq!(site.handle.channels().len(), 3, "each alone may be so far behind");
    flood(&site, "b").await;
    flood(&site, "b").await;
    assert!(deserted(&site, "b").await.is_some_and(|time| time <= Duration::from_secs(1)));
    assert_eq!(site.handle.channels().len(), 2, "the others stay");
    let heard = guest.hear_all().await;
    assert_eq!(heard.iter().filter(|message| message.contains(r#""channel":"a","pub""#)).count(), 20);
    assert_eq!(heard.iter().filter(|message| message.contains(r#""channel":"quiet","pub""#)).count(), 1);
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_asks_waits_for_room() {
    let site = Site::start(Rules::default(), |b| b.settings(calm()));
    let publish = |wait: Option<Duration>| {
        let (handle, options) = (site.handle.clone(), PublishOptions { wait, ..Default::default() });
        async move {
            let publication = Publication::new(format!("\"{}\"", "x".repeat(2000)));
            let since = Instant::now();
            (handle.publish_with(&"news".into(), publication, &options).await, since.elapsed())
        }
    };
    let second = Duration::from_secs(1);
    assert_eq!(publish(Some(second)).await.1, Duration::ZERO, "nobody reads");
    let mut guest = site.client("ada").await;
    guest.subscribe("news").await;
    let mut count = 0;
    // It does not read; there is room as long as the policy would not end it.
    while publish(Some(second)).await.0.is_ok() {
        count += 1;
        assert!(count < 30, "there is room without end");
        tokio::task::yield_now().await;
    }
    let (outcome, waited) = publish(Some(3 * second)).await;
    assert_eq!((outcome, waited), (Err(PublishError::NoRoom { waited: 3 * second }), 3 * second));
    let (outcome, waited) = publish(Some(Duration::ZERO)).await;
    assert_eq!((outcome, waited), (Err(PublishError::NoRoom { waited: Duration::ZERO }), Duration::ZERO));
    // However long it would wait, no longer than the server lets it.
    assert_eq!(publish(Some(1000 * second)).await.1, 10 * second);
    // Two wait, one gives up, the client reads: the other publishes at once, and nobody else was held up.
    let waits = tokio::spawn(publish(Some(9 * second)));
    assert!(timeout(second, publish(Some(9 * second))).await.is_err());
    site.publish("other", "1").await;
    assert!(!waits.is_finished());
    let heard = guest.hear_all().await;
    assert_eq!(heard.len(), count + 1);
    let (outcome, waited) = waits.await.unwrap();
    assert!(outcome.is_ok() && waited < 2 * second, "{outcome:?} {waited:?}");
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_stalled_neighbour_costs_nobody_a_moment() {
    let settings = Settings { ping_interval: Duration::ZERO, ..Default::default() };
    let site = Site::start(Rules::default(), |b| b.settings(settings));
    let mut stalled = Vec::new();
    for _ in 0..20 {
        let mut guest = site.client("stalled").await;
        guest.subscribe("news").await;
        stalled.push(guest);
    }
    let mut guest = site.client("ada").await;
    guest.subscribe("news").await;
    let since = Instant::now();
    for i in 0..100 {
        let data = format!("\"{i} {}\"", "x".repeat(2000));
        site.publish("news", data.clone()).await;
        guest.hears(&[&push("news", &format!(r#""pub":{{"data":{data}}}"#))]).await;
    }
    assert_eq!(since.elapsed(), Duration::ZERO);
    // Twenty cursors, one window.
    let used = site.handle.hub().budget().used();
    assert!(used < 100 * 2600, "{used}");
    // They wake up, and have missed nothing.
    for guest in &mut stalled {
        for i in 0..100 {
            let message = guest.hear().await;
            assert!(message.contains(&format!("\"{i} xx")), "{i}: {message}");
        }
    }
    settle().await;
    assert_eq!(site.handle.hub().budget().used(), 0);
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_its_replies_is_not_read_either() {
    let settings = Settings { ping_interval: Duration::ZERO, ..Default::default() };
    let site = Site::start(Rules::default(), |b| b.settings(settings));
    let mut guest = site.client("ada").await;
    let rpc = format!(r#"{{"id":2,"rpc":{{"data":"{}"}}}}"#, "x".repeat(1000));
    let mut taken = 0;
    while let Ok(sent) = tokio::time::timeout(Duration::from_secs(1), guest.wire.send(rpc.clone())).await {
        sent.unwrap();
        taken += 1;
        assert!(taken < 200, "the server takes requests without end");
    }
    // 64 KiB of replies, and what is under way in each direction.
    assert!(taken >= 64, "{taken}");
    let mut replies = 0;
    while replies < taken {
        assert_eq!(guest.hear().await.len(), rpc.len());
        replies += 1;
    }
    site.end().await;
}
