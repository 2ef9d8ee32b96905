//! A client that goes while something is being done for it.

use std::time::Duration;

use tidegate_server::core::Caps;
use tidegate_server::{Builder, Settings};
use tokio::time::Instant;

use crate::site::{Rules, Site, empty, free, push, settle};

fn slow(seconds: u64) -> Rules {
    Rules { delay: Duration::from_secs(seconds), ..Rules::default() }
}

fn one(builder: Builder) -> Builder {
    builder.caps(Caps { total: Some(1), ..Default::default() })
}

#[tokio::test(start_paused = true)]
async fn a_client_that_vanishes_while_it_is_authenticated_frees_its_place_within_2_s() {
    let site = Site::start(slow(3600), one);
    for closes in [false, true] {
        let mut guest = site.knock();
        guest.say(r#"{"id":1,"connect":{"token":"slow"}}"#).await;
        settle().await;
        free(&site.handle, 0);
        if closes {
            guest.wire.close()
        } else {
            drop(guest)
        }
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        free(&site.handle, 1);
        empty(&site.handle);
    }
    assert_eq!(site.rules.diary.read(), ["cancelled connect", "cancelled connect"]);
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_vanishes_while_a_request_hangs_frees_its_place_within_2_s() {
    for ask in [r#"{"id":2,"rpc":{"method":"slow"}}"#, r#"{"id":2,"subscribe":{"channel":"slow"}}"#] {
        let site = Site::start(slow(3600), one);
        let mut guest = site.client("ada").await;
        guest.say(ask).await;
        settle().await;
        drop(guest);
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        free(&site.handle, 1);
        empty(&site.handle);
        let diary = site.rules.diary.read();
        assert_eq!(diary.first().unwrap(), "ada connected");
        assert_eq!(diary.last().unwrap(), "ada disconnected 3000");
        site.end().await;
    }
}

/// One that has asked for something and closed is a publisher that is done, not one that has vanished.
#[tokio::test(start_paused = true)]
async fn what_was_asked_before_closing_is_done_first_but_not_for_long() {
    for (delay, done) in [(Duration::from_millis(500), true), (Duration::from_secs(5), false)] {
        let site = Site::start(Rules { delay, ..Rules::default() }, |b| b);
        let mut reader = site.client("bob").await;
        reader.subscribe("news").await;
        let mut guest = site.client("ada").await;
        guest.say(r#"{"id":2,"rpc":{"method":"slow"}}"#).await;
        guest.say(r#"{"id":3,"publish":{"channel":"news","data":1}}"#).await;
        guest.wire.close();
        let since = Instant::now();
        while site.handle.hub().registry().len() == 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let took = since.elapsed();
        assert!(took < Duration::from_millis(1_150), "{took:?}");
        assert_eq!(reader.hear_all().await.iter().any(|message| message.contains(r#""data":1"#)), done);
        drop(guest);
        site.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn pongs_are_seen_while_a_request_takes_minutes() {
    let site = Site::start(slow(180), |b| b);
    let mut guest = site.client("ada").await;
    guest.subscribe("news").await;
    guest.say(r#"{"id":3,"rpc":{"method":"slow","data":1}}"#).await;
    guest.say(r#"{"id":4,"rpc":{"data":2}}"#).await;
    settle().await;
    site.publish("news", "7").await;
    guest.hears(&[&push("news", r#""pub":{"data":7}"#)]).await;
    let since = Instant::now();
    assert_eq!(guest.hear_awake().await, r#"{"id":3,"rpc":{"data":1}}"#);
    assert!(since.elapsed() > Duration::from_secs(179));
    guest.hears(&[r#"{"id":4,"rpc":{"data":2}}"#]).await;
    // One that does not answer is noticed meanwhile.
    guest.say(r#"{"id":5,"rpc":{"method":"slow","data":1}}"#).await;
    let since = Instant::now();
    while !guest.hear().await.starts_with("end 3012") {}
    assert!(since.elapsed() < Duration::from_secs(35), "{:?}", since.elapsed());
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_read_ahead_is_bounded_and_stays_in_order() {
    let settings = Settings { ping_interval: Duration::ZERO, read_ahead: 8192, ..Default::default() };
    let site = Site::start(slow(60), |b| b.settings(settings));
    let mut guest = site.client("ada").await;
    guest.say(r#"{"id":2,"rpc":{"method":"slow","data":1}}"#).await;
    let mut sent = 2;
    let next = |id: i32| format!(r#"{{"id":{id},"rpc":{{"data":"{}"}}}}"#, "x".repeat(500));
    while let Ok(said) = tokio::time::timeout(Duration::from_secs(1), guest.wire.send(next(sent + 1))).await {
        said.unwrap();
        sent += 1;
        assert!(sent < 60, "it is read without end");
    }
    // What stands in the transport's own pipe, too.
    assert!(sent > 16, "{sent}");
    let mut reply = guest.hear().await;
    for id in 2..=sent {
        assert!(reply.starts_with(&format!(r#"{{"id":{id},"#)), "{id}: {reply}");
        if id < sent {
            reply = guest.hear().await;
        }
    }
    drop(guest);
    site.end().await;
}

/// Calls of the application wait in their bounded mailbox while a subscription is being made.
#[tokio::test(start_paused = true)]
async fn calls_to_a_busy_client_are_bounded() {
    let site = Site::start(slow(20), |b| b);
    let mut guest = site.client("ada").await;
    guest.say(r#"{"id":2,"subscribe":{"channel":"slow"}}"#).await;
    settle().await;
    let target = tidegate_server::Target { user: "ada".into(), ..Default::default() };
    let mut taken = 0;
    for _ in 0..100 {
        for _ in 0..10 {
            taken += site.handle.send(&target, "1");
        }
        settle().await;
    }
    assert!((1..=129).contains(&taken), "{taken}");
    let mut messages = 0;
    while messages < taken {
        messages += usize::from(guest.hear_awake().await.contains("message"));
    }
    assert_eq!(site.handle.send(&target, "1"), 1);
    site.end().await;
}
