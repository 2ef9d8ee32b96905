//! Permits and registrations come back, however a connection ends.

use std::time::Duration;

use tidegate_server::core::Caps;
use tidegate_server::core::transport::Peer;
use tidegate_server::{Settings, Target};

use crate::site::{Rules, Site, empty, free, settle};

#[tokio::test(start_paused = true)]
async fn a_permit_comes_back_however_a_connection_ends() {
    let rules = Rules { delay: Duration::from_secs(3), ..Rules::default() };
    let caps = Caps { total: Some(2), ..Caps::default() };
    let site = Site::start(rules, |b| b.caps(caps));
    let ends = [
        "vanish",
        "vanish unconnected",
        "close",
        "invalid",
        "refused",
        "stale",
        "bad",
        "panic in connect",
        "panic in rpc",
        "panic in subscribe",
        "disconnect",
        "vanish in connect",
        "vanish in rpc",
        "vanish in subscribe",
        "half a message",
    ];
    for end in ends {
        let mut guest = site.knock();
        settle().await;
        free(&site.handle, 1);
        if !matches!(
            end,
            "vanish unconnected" | "invalid" | "refused" | "stale" | "panic in connect" | "vanish in connect"
        ) {
            guest.connect("ada").await;
            guest.subscribe("news").await;
        }
        match end {
            "close" => guest.wire.close(),
            "invalid" => guest.say(r#"{"id":1,"connect":{"token":"invalid"}}"#).await,
            "refused" => guest.say(r#"{"id":1,"connect":{"token":"refused"}}"#).await,
            "bad" => guest.say("{").await,
            "panic in connect" => guest.say(r#"{"id":1,"connect":{"token":"panic"}}"#).await,
            "panic in rpc" => guest.say(r#"{"id":3,"rpc":{"method":"panic"}}"#).await,
            "panic in subscribe" => guest.say(r#"{"id":3,"subscribe":{"channel":"panic"}}"#).await,
            "disconnect" => {
                site.handle.disconnect(&Target { user: "ada".into(), ..Default::default() }, None);
            }
            "vanish in connect" => guest.say(r#"{"id":1,"connect":{"token":"slow"}}"#).await,
            "vanish in rpc" => guest.say(r#"{"id":3,"rpc":{"method":"slow"}}"#).await,
            "vanish in subscribe" => guest.say(r#"{"id":3,"subscribe":{"channel":"slow"}}"#).await,
            "half a message" => guest.wire.send_raw("\0\0\0\x10{".into()).await.unwrap(),
            _ => {}
        }
        settle().await;
        if end.starts_with("vanish") || end.starts_with("half") {
            drop(guest);
        } else {
            while !guest.hear().await.starts_with("end") {}
        }
        tokio::time::sleep(Duration::from_secs(4)).await;
        empty(&site.handle);
        free(&site.handle, 2);
        println!("{end}: all is back");
    }
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_hangs_keeps_no_place() {
    let rules = Rules { delay: Duration::from_secs(8), ..Rules::default() };
    let site = Site::start(rules, |b| b.caps(Caps { total: Some(1), ..Caps::default() }));
    let mut guest = site.knock();
    guest.connect("missed").await;
    free(&site.handle, 0);
    drop(guest);
    settle().await;
    // Its clean-up goes on, and it is still counted.
    assert_eq!(site.rules.diary.read().len(), 2);
    free(&site.handle, 0);
    tokio::time::sleep(Duration::from_secs(1)).await;
    free(&site.handle, 1);
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn caps_hold_and_who_is_turned_away_reads_nothing() {
    let caps = Caps { total: Some(3), per_network: Some(2), ..Caps::default() };
    let site = Site::start(Rules::default(), |b| b.caps(caps));
    let from = |address: &str| Peer { address: Some(address.parse().unwrap()), ..Default::default() };
    let one = site.address.connect_as(from("10.0.0.1:1")).unwrap();
    let _two = site.address.connect_as(from("10.0.0.1:2")).unwrap();
    let mut three = site.address.connect_as(from("10.0.0.1:3")).unwrap();
    assert_eq!(three.recv().await, None, "the network has its share");
    let _four = site.address.connect_as(from("10.0.0.2:1")).unwrap();
    let mut five = site.address.connect_as(from("10.0.0.3:1")).unwrap();
    assert_eq!(five.recv().await, None, "the server is full");
    drop(one);
    settle().await;
    let mut six = site.address.connect_as(from("10.0.0.1:4")).unwrap();
    six.send(r#"{"id":1,"connect":{}}"#).await.unwrap();
    assert!(six.recv().await.unwrap().starts_with(b"{\"id\":1,\"connect\""));
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn who_was_never_connected_is_never_disconnected() {
    let mut rules = Rules { channels: vec!["news", "forbidden"], ..Rules::default() };
    let site = Site::start(rules.clone(), |b| b);
    let mut guest = site.knock();
    let error = r#"{"id":1,"error":{"code":103,"message":"permission denied"}}"#;
    guest.ask(r#"{"id":1,"connect":{"token":"ada"}}"#, &[error, "end"]).await;
    settle().await;
    assert_eq!(rules.diary.read(), Vec::<String>::new());
    site.end().await;

    rules.channels = vec!["a", "b", "c"];
    let settings = Settings { channel_limit: 2, ..Default::default() };
    let site = Site::start(rules.clone(), |b| b.settings(settings));
    let mut guest = site.knock();
    guest.say(r#"{"id":1,"connect":{"token":"ada"}}"#).await;
    while !guest.hear().await.starts_with("end 3505") {}
    drop(guest);
    settle().await;
    assert_eq!(rules.diary.read(), Vec::<String>::new());
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_told_of_before_its_end_is() {
    let site = Site::start(Rules::default(), |b| b);
    for end in ["}", r#"{"id":2,"subscribe":{"channel":"news"}}"#, r#"{"id":2,"rpc":{}}"#] {
        let mut guest = site.knock();
        guest.say(&format!("{}\n{end}", r#"{"id":1,"connect":{"token":"ada"}}"#)).await;
        guest.hear().await;
        drop(guest);
        settle().await;
    }
    let diary = site.rules.diary.read();
    assert_eq!(diary.len(), 6, "{diary:?}");
    for pair in diary.chunks(2) {
        assert_eq!(pair[0], "ada connected", "{diary:?}");
        assert!(pair[1].starts_with("ada disconnected"), "{diary:?}");
    }
    site.end().await;
}
