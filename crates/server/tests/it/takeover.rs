//! Several connections of one user.

use std::time::Duration;

use tidegate_server::{DuplicateUser, Settings, Takeover};
use tokio::time::Instant;

use crate::closing::closes;
use crate::site::{Guest, Rules, Site, settle};

fn settings(duplicate_user: DuplicateUser) -> Settings {
    Settings { duplicate_user, ..Default::default() }
}

fn slow(seconds: u64) -> Rules {
    Rules { delay: Duration::from_secs(seconds), ..Rules::default() }
}

const RPC: (&str, &str) = (r#"{"id":2,"rpc":{"data":1}}"#, r#"{"id":2,"rpc":{"data":1}}"#);
const IN_ORDER: [&str; 4] =
    ["missed connected", "missed disconnected 3504", "missed forgotten", "missed connected"];

#[tokio::test(start_paused = true)]
async fn the_end_of_the_old_is_told_before_the_new() {
    let site = Site::start(slow(2), |b| b.settings(settings(DuplicateUser::TakeOver)));
    let mut old = site.client("missed").await;
    let since = Instant::now();
    let mut new = site.client("missed").await;
    // The client itself waits for nobody.
    assert_eq!(since.elapsed(), Duration::ZERO);
    closes(&mut old, since, 0, 3504, "displaced by a newer connection of the same user").await;
    drop(old);
    new.ask(RPC.0, &[RPC.1]).await;
    assert_eq!(site.rules.diary.read(), IN_ORDER);
    // The same for one that has left by itself, and is still cleaned up behind.
    drop(new);
    settle().await;
    let mut third = site.client("missed").await;
    third.ask(RPC.0, &[RPC.1]).await;
    let expected = ["missed disconnected 3000", "missed forgotten", "missed connected"];
    assert_eq!(site.rules.diary.read()[4..], expected);
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_half_open_old_connection_does_not_lock_its_owner_out() {
    let site = Site::start(slow(0), |b| b.settings(settings(DuplicateUser::TakeOver)));
    // It neither reads nor closes.
    let old = site.client("missed").await;
    let since = Instant::now();
    let mut new = site.client("missed").await;
    assert_eq!(since.elapsed(), Duration::ZERO);
    new.ask(RPC.0, &[RPC.1]).await;
    assert!(since.elapsed() < Duration::from_millis(1_200), "{:?}", since.elapsed());
    assert_eq!(site.rules.diary.read(), IN_ORDER);
    assert_eq!(site.handle.hub().registry().len(), 1);
    drop(old);
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_hangs_holds_up_the_newcomer_for_takeover_timeout_at_most() {
    let site = Site::start(slow(3600), |b| b.settings(settings(DuplicateUser::TakeOver)));
    let old = site.client("missed").await;
    let mut new = site.client("missed").await;
    drop(old);
    let since = Instant::now();
    new.ask(RPC.0, &[RPC.1]).await;
    let took = since.elapsed();
    assert!(took > Duration::from_millis(4_900) && took < Duration::from_millis(5_200), "{took:?}");
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn each_of_many_newcomers_is_told_of_in_order() {
    let takeover = Takeover { limit: 1000, ..Default::default() };
    let settings = Settings { takeover, ..settings(DuplicateUser::TakeOver) };
    let site = Site::start(slow(0), |b| b.settings(settings));
    // All at once: some are displaced before the application was told of them.
    let guests = (0..50).map(|_| async { site.client("ada").await });
    let guests = futures_util::future::join_all(guests).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(site.handle.hub().registry().len(), 1);
    let diary = site.rules.diary.read();
    assert_eq!(diary.len(), 99, "{diary:?}");
    for (i, line) in diary.iter().enumerate() {
        let expected = ["ada connected", "ada disconnected 3504"][i % 2];
        assert_eq!(line, expected, "{i}: {diary:?}");
    }
    drop(guests);
    site.end().await;
}

/// Connects as `user`, and returns the guest if it was let in.
async fn try_as(site: &Site, user: &str) -> Option<Guest> {
    let mut guest = site.knock();
    guest.say(&format!(r#"{{"id":1,"connect":{{"token":"{user}"}}}}"#)).await;
    let reply = guest.hear().await;
    if reply.contains("client") {
        return Some(guest);
    }
    assert!(reply.contains(r#""code":3013,"reason":"too many takeovers of this user""#), "{reply}");
    guest.hears(&["end 3013 too many takeovers of this user"]).await;
    None
}

/// Answers pings, until the connection ends.
fn awake(mut guest: Guest) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move { while !guest.hear_awake().await.starts_with("end") {} })
}

#[tokio::test(start_paused = true)]
async fn two_devices_that_evict_each_other_back_off() {
    let site = Site::start(slow(0), |b| b.settings(settings(DuplicateUser::TakeOver)));
    let mut connected = awake(site.client("ada").await);
    let since = Instant::now();
    let mut takeovers = Vec::new();
    while since.elapsed() < Duration::from_secs(400) {
        tokio::time::sleep(Duration::from_millis(500)).await;
        if let Some(guest) = try_as(&site, "ada").await {
            takeovers.push(since.elapsed().as_secs());
            // The other one has been displaced.
            connected.await.unwrap();
            connected = awake(guest);
        }
    }
    // Five are free; then after 1, 2, 4, 8, 16, 32 s, and once a minute.
    assert_eq!(takeovers.len(), 16, "{takeovers:?}");
    assert!(takeovers[4] < 5 && takeovers[15] - takeovers[14] >= 60, "{takeovers:?}");
    // Another user is not concerned; neither is one whose connection has gone.
    let _other = [site.client("bob").await, site.client("bob").await];
    connected.abort();
    settle().await;
    let again = try_as(&site, "ada").await;
    assert!(again.is_some());
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn where_newcomers_are_refused_a_dead_connection_is_found_out_at_once() {
    let site = Site::start(slow(0), |b| b.settings(settings(DuplicateUser::Refuse)));
    let dead = site.client("ada").await;
    let since = Instant::now();
    for _ in 0..3 {
        let mut refused = site.knock();
        refused.say(r#"{"id":1,"connect":{"token":"ada"}}"#).await;
        while !refused.hear().await.starts_with("end 3504") {}
    }
    tokio::time::sleep(Duration::from_millis(9_300) - since.elapsed()).await;
    // Pinged when the first was refused, and not answered for 8 s.
    let mut let_in = site.client("ada").await;
    // One that lives answers, and stays.
    let mut refused = site.knock();
    refused.say(r#"{"id":1,"connect":{"token":"ada"}}"#).await;
    while !refused.hear().await.starts_with("end 3504") {}
    let since = Instant::now();
    let_in.hears(&["{}"]).await;
    assert!(since.elapsed() < Duration::from_millis(200), "{:?}", since.elapsed());
    let_in.say("{}").await;
    tokio::time::sleep(Duration::from_secs(9)).await;
    let_in.ask(RPC.0, &[RPC.1]).await;
    drop((dead, refused));
    site.end().await;
}
