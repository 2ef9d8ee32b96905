//! When and why the server closes a connection.

use std::time::Duration;

use tidegate_server::core::memory::Limits;
use tidegate_server::{Bytes, DuplicateUser, Settings};
use tokio::time::Instant;

use crate::site::{Guest, Rules, Site, empty, farewell, push, settle};

/// Asserts that the client is told `code` and `reason`, `after` that many milliseconds or up to a tick later.
pub(crate) async fn closes(guest: &mut Guest, since: Instant, after: u64, code: u16, reason: &str) {
    for expected in farewell(code, reason) {
        assert_eq!(guest.hear().await, expected);
    }
    let took = since.elapsed();
    let after = Duration::from_millis(after);
    assert!(
        took >= after && took <= after + Duration::from_millis(110),
        "{code} after {took:?}, expected {after:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_connect_is_stale_after_10_s() {
    let site = Site::start(Rules::default(), |b| b);
    let mut guest = site.knock();
    closes(&mut guest, Instant::now(), 10_000, 3502, "stale").await;
    // Also one that is in the middle of its first message.
    let mut guest = site.knock();
    guest.wire.send_raw("\0\0\0\x20{\"id\":1".into()).await.unwrap();
    closes(&mut guest, Instant::now(), 10_000, 3502, "stale").await;
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn pings_come_every_25_s_and_are_answered_within_8() {
    let site = Site::start(Rules::default(), |b| b);
    let mut guest = site.client("ada").await;
    let connected = Instant::now();
    guest.hears(&["{}"]).await;
    let first = connected.elapsed().as_millis();
    assert!((12_500..=25_110).contains(&first), "{first}");
    guest.say("{}").await;
    let mut last = Instant::now();
    for _ in 0..4 {
        guest.hears(&["{}"]).await;
        let interval = last.elapsed().as_millis();
        assert!((24_890..=25_110).contains(&interval), "{interval}");
        last = Instant::now();
        tokio::time::sleep(Duration::from_secs(7)).await;
        guest.say("{}").await;
        settle().await;
    }
    guest.hears(&["{}"]).await;
    let since = Instant::now();
    tokio::time::sleep(Duration::from_secs(4)).await;
    // Other traffic is no pong.
    guest.ask(r#"{"id":2,"rpc":{"data":1}}"#, &[r#"{"id":2,"rpc":{"data":1}}"#]).await;
    closes(&mut guest, since, 8_000, 3012, "no pong").await;
    let mut guest = site.client("ada").await;
    guest.say("{}").await;
    closes(&mut guest, Instant::now(), 0, 3501, "bad request").await;
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_client_may_close_itself_within_5_s() {
    let site = Site::start(Rules::default(), |b| b);
    let mut guest = site.knock();
    let since = Instant::now();
    let error = r#"{"id":1,"error":{"code":109,"message":"token expired"}}"#;
    guest.ask(concat!(r#"{"id":1,"connect":{"token":"refused"}}"#, "\n{}\n{}"), &[error]).await;
    guest.say(r#"{"id":2,"subscribe":{"channel":"a"}}"#).await;
    // No farewell, and no push.
    guest.hears(&["end"]).await;
    let took = since.elapsed().as_millis();
    assert!((5_000..5_120).contains(&took), "{took}");
    let mut guest = site.knock();
    guest.say(r#"{"id":1,"connect":{"token":"invalid"}}"#).await;
    closes(&mut guest, Instant::now(), 0, 3500, "invalid token").await;
    site.end().await;
}

/// No pings: nothing but the stall ends it.
fn quiet() -> Settings {
    Settings { ping_interval: Duration::ZERO, ..Default::default() }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_closed_after_stalled_close_delay() {
    let site = Site::start(Rules::default(), |b| b.settings(quiet()));
    let mut guest = site.client("ada").await;
    guest.subscribe("news").await;
    let data = format!("\"{}\"", "x".repeat(3000));
    for _ in 0..5 {
        site.publish("news", data.clone()).await;
    }
    settle().await;
    assert!(site.handle.hub().budget().used() > 0);
    assert_eq!(site.handle.hub().registry().len(), 1);
    tokio::time::sleep(Duration::from_millis(29_700)).await;
    assert_eq!(site.handle.hub().registry().len(), 1);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    empty(&site.handle);
    assert_eq!(site.rules.diary.read(), ["ada connected", "ada disconnected 3008"]);
    drop(guest);
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_enough_now_and_then_is_not_stalled() {
    let site = Site::start(Rules::default(), |b| b.settings(quiet()));
    let mut guest = site.client("ada").await;
    guest.subscribe("news").await;
    let data = format!("\"{}\"", "x".repeat(3000));
    for _ in 0..5 {
        site.publish("news", data.clone()).await;
    }
    // Within the minute that a window keeps anything.
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_secs(25)).await;
        assert_eq!(guest.wire.read_bytes(4096), 4096);
    }
    let pushed = push("news", &format!(r#""pub":{{"data":{data}}}"#));
    guest.hears(&[&pushed, &pushed, &pushed, &pushed, &pushed]).await;
    assert_eq!(site.handle.hub().budget().used(), 0);
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_a_byte_a_second_is_closed_after_stalled_close_delay() {
    let site = Site::start(Rules::default(), |b| b.settings(quiet()));
    let mut guest = site.client("ada").await;
    guest.subscribe("news").await;
    for _ in 0..5 {
        site.publish("news", format!("\"{}\"", "x".repeat(3000))).await;
    }
    settle().await;
    let since = Instant::now();
    while site.handle.hub().registry().len() == 1 {
        guest.wire.read_bytes(1);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(since.elapsed() < Duration::from_secs(60), "it is kept for ever");
    }
    assert!(since.elapsed() > Duration::from_secs(28), "{:?}", since.elapsed());
    assert_eq!(site.rules.diary.read().last().unwrap(), "ada disconnected 3008");
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_has_message_timeout_from_its_first_byte_to_its_last() {
    let site = Site::start(Rules::default(), |b| b.settings(quiet()));
    let mut guest = site.client("ada").await;
    let mut patient = site.client("bob").await;
    let since = Instant::now();
    let (half, rest) = (&b"\0\0\0\x11{\"id\":2,"[..], &b"\"rpc\":{}}"[..]);
    patient.wire.send_raw(Bytes::from_static(half)).await.unwrap();
    guest.wire.send_raw("\0\0\x01\0".into()).await.unwrap();
    for _ in 0..29 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        guest.wire.send_raw(" ".into()).await.unwrap();
    }
    // Slow, but whole in time; and the next message has its own time.
    for _ in 0..2 {
        patient.wire.send_raw(Bytes::from_static(rest)).await.unwrap();
        settle().await;
        patient.wire.send_raw(Bytes::from_static(half)).await.unwrap();
    }
    closes(&mut guest, since, 30_000, 3008, "message took too long").await;
    drop(patient);
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_too_far_behind_is_closed_within_a_second() {
    let site = Site::start(Rules::default(), |b| b.settings(quiet()));
    let mut guest = site.client("ada").await;
    let mut other = site.client("bob").await;
    guest.subscribe("news").await;
    other.subscribe("news").await;
    let data = format!("\"{}\"", "x".repeat(100_000));
    for _ in 0..12 {
        site.publish("news", data.clone()).await;
        other.hear().await;
    }
    assert!(site.handle.hub().budget().used() > 1 << 20);
    tokio::time::sleep(Duration::from_millis(2_300)).await;
    assert_eq!(site.handle.hub().budget().used(), 0);
    assert!(site.rules.diary.read().contains(&"ada disconnected 3008".to_owned()));
    // Its neighbour lives on.
    other.ask(r#"{"id":7,"rpc":{"data":1}}"#, &[r#"{"id":7,"rpc":{"data":1}}"#]).await;
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_positioned_subscription_that_is_too_far_behind_is_ended_alone() {
    let mut rules = Rules::with_history(10);
    rules.grant.policy = std::sync::Arc::new(tidegate_server::core::EndSubscription {
        beyond: tidegate_server::core::Lag::bytes(50_000),
    });
    let site = Site::start(rules, |b| b.settings(quiet()));
    let mut guest = site.client("ada").await;
    guest.subscribe("big").await;
    guest.subscribe("small").await;
    for _ in 0..10 {
        site.publish("big", format!("\"{}\"", "x".repeat(10_000))).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(site.handle.hub().budget().used(), 0, "the stalled subscription holds nothing");
    site.publish("small", "1").await;
    let heard = guest.hear_all().await;
    let ended = push("big", r#""unsubscribe":{"code":2500,"reason":"insufficient state"}"#);
    assert!(heard.contains(&ended), "{heard:?}");
    let last = heard.last().unwrap();
    assert!(last.contains(r#""channel":"small","pub":{"data":1,"offset":1"#), "{last}");
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn health_is_the_first_thing_that_a_stalled_client_reads() {
    let site = Site::start(Rules::default(), |b| b.settings(quiet()));
    let mut guest = site.client_with("ada", "tidegate_notices=true").await;
    let mut other = site.client("bob").await;
    guest.subscribe("news").await;
    for i in 0..10 {
        site.publish("news", format!("\"{i} {}\"", "x".repeat(3000))).await;
    }
    settle().await;
    for health in [tidegate_server::core::Health::Draining, tidegate_server::core::Health::Degraded] {
        site.handle.broadcast_health(health);
        settle().await;
    }
    let heard: Vec<String> = guest.hear_all().await.iter().map(|m| m.chars().take(60).collect()).collect();
    assert_eq!(heard.len(), 11, "{heard:?}");
    let health = heard.iter().position(|m| m.contains("health")).expect("a notice");
    assert!(heard[health].contains(r#"{"health":"degraded""#), "{heard:?}");
    // What its socket had taken before came first: a message, and the beginning of another.
    assert!(health <= 2, "{heard:?}");
    // Who did not ask is not told.
    assert_eq!(other.hear_all().await, Vec::<String>::new());
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_user_has_as_many_connections_as_it_may_have() {
    let settings = Settings { user_connection_limit: Some(2), ..Default::default() };
    let site = Site::start(Rules::default(), |b| b.settings(settings));
    let first = site.client("ada").await;
    let _second = site.client("ada").await;
    let _other = site.client("bob").await;
    let mut third = site.knock();
    third.say(r#"{"id":1,"connect":{"token":"ada"}}"#).await;
    closes(&mut third, Instant::now(), 0, 3504, "connection limit").await;
    drop(first);
    settle().await;
    site.client("ada").await;
    // Anonymous clients are nobody's.
    let _anonymous = [site.client("").await, site.client("").await, site.client("").await];
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_second_connection_is_refused_or_takes_over() {
    let settings = |duplicate_user| Settings { duplicate_user, ..Default::default() };
    let site = Site::start(Rules::default(), |b| b.settings(settings(DuplicateUser::Refuse)));
    let mut first = site.client("ada").await;
    let mut second = site.knock();
    second.say(r#"{"id":1,"connect":{"token":"ada"}}"#).await;
    closes(&mut second, Instant::now(), 0, 3504, "connection limit").await;
    // Asked whether it is still there.
    first.say(r#"{"id":2,"rpc":{"data":1}}"#).await;
    assert_eq!(first.hear_awake().await, r#"{"id":2,"rpc":{"data":1}}"#);
    site.end().await;

    let site = Site::start(Rules::default(), |b| b.settings(settings(DuplicateUser::TakeOver)));
    let mut first = site.client("ada").await;
    // Who is not let in displaces nobody.
    let mut refused = site.knock();
    refused.say(r#"{"id":1,"connect":{"token":"invalid"}}"#).await;
    settle().await;
    first.ask(r#"{"id":2,"rpc":{"data":1}}"#, &[r#"{"id":2,"rpc":{"data":1}}"#]).await;
    let mut second = site.client("ada").await;
    closes(&mut first, Instant::now(), 0, 3504, "displaced by a newer connection of the same user").await;
    drop(first);
    tokio::time::sleep(Duration::from_secs(3)).await;
    // The late clean-up of the first did not remove the second.
    assert_eq!(site.handle.hub().registry().user("ada").len(), 1);
    assert!(site.handle.hub().registry().client(&second.id).is_some());
    second.ask(r#"{"id":2,"rpc":{"data":1}}"#, &[r#"{"id":2,"rpc":{"data":1}}"#]).await;
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_too_large_closes_with_the_transports_own_code() {
    let site = Site::start_on(Limits { message: 1000, ..Default::default() }, Rules::default(), |b| b);
    let mut guest = site.client("ada").await;
    guest.say(&" ".repeat(1001)).await;
    closes(&mut guest, Instant::now(), 0, 1009, "message too large").await;
    site.end().await;
}
