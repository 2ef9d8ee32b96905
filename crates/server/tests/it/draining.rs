//! How a server stops.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tidegate_server::core::memory::{Connection, Limits, pair};
use tidegate_server::core::transport::{Incoming, Listener, Peer};
use tidegate_server::{PublishError, Settings, Shutdown};

use crate::site::{Dice, Rules, Site, farewell, push};

#[tokio::test(start_paused = true)]
async fn every_client_reads_to_the_head_and_is_told() {
    let site = Site::start(Rules::default(), |b| b);
    let mut guests = Vec::new();
    for i in 0..20 {
        let mut guest = site.client(&format!("user {i}")).await;
        guest.subscribe("news").await;
        guests.push(guest);
    }
    let data = format!("\"{}\"", "x".repeat(2000));
    for _ in 0..10 {
        site.publish("news", data.clone()).await;
    }
    let stopping = site.stop();
    let handle = stopping.handle.clone();
    let reading = guests.into_iter().map(|mut guest| {
        tokio::spawn(async move {
            let mut heard = Vec::new();
            while !heard.last().is_some_and(|last: &String| last.starts_with("end")) {
                // They take their time.
                tokio::time::sleep(Duration::from_millis(200)).await;
                heard.push(guest.hear().await);
            }
            heard
        })
    });
    let reading: Vec<_> = reading.collect();
    let pushed = push("news", &format!(r#""pub":{{"data":{data}}}"#));
    let [told, end] = farewell(3001, "shutdown");
    for heard in reading {
        let heard = heard.await.unwrap();
        assert_eq!(heard.len(), 12);
        assert!(heard[..10].iter().all(|message| *message == pushed));
        assert_eq!(heard[10..], [told.clone(), end.clone()]);
    }
    assert_eq!(handle.publish("news", "1").await, Err(PublishError::Stopping));
    assert!(handle.ready().await.is_err());
    let (stopped, took) = stopping.wait().await;
    assert_eq!(stopped.cut, 0);
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_is_cut_at_the_timeout_and_counted() {
    let shutdown = Shutdown { timeout: Duration::from_secs(7), ..Default::default() };
    let site = Site::start(Rules::default(), |b| b.shutdown(shutdown));
    let mut stalled = Vec::new();
    for user in ["ada", "bob"] {
        let mut guest = site.client(user).await;
        guest.subscribe("news").await;
        stalled.push(guest);
    }
    let _others = [site.client("eve").await, site.client("dan").await];
    for _ in 0..10 {
        site.publish("news", format!("\"{}\"", "x".repeat(2000))).await;
    }
    let (stopped, took) = site.stop().wait().await;
    assert_eq!(stopped.cut, 2);
    assert!(took >= Duration::from_secs(7) && took < Duration::from_millis(7_100), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_waited_for_may_still_leave_by_itself() {
    let site = Site::start(Rules::default(), |b| b);
    let mut guest = site.client("ada").await;
    guest.subscribe("news").await;
    for _ in 0..10 {
        site.publish("news", format!("\"{}\"", "x".repeat(2000))).await;
    }
    let stopping = site.stop();
    tokio::time::sleep(Duration::from_secs(3)).await;
    drop(guest);
    let (stopped, took) = stopping.wait().await;
    assert_eq!(stopped.cut, 0);
    assert!(took < Duration::from_millis(3_100), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn who_has_not_connected_delays_nothing() {
    let delay = Duration::from_secs(60);
    let site = Site::start(Rules { delay, ..Rules::default() }, |b| b);
    let mut silent = site.knock();
    let mut authenticating = site.knock();
    authenticating.say(r#"{"id":1,"connect":{"token":"slow"}}"#).await;
    let mut refused = site.knock();
    refused.say(r#"{"id":1,"connect":{"token":"refused"}}"#).await;
    crate::site::settle().await;
    let stopping = site.stop();
    let [told, end] = farewell(3001, "shutdown");
    silent.hears(&[&told, &end]).await;
    authenticating.hears(&[&told, &end]).await;
    let (stopped, took) = stopping.wait().await;
    assert_eq!(stopped.cut, 0);
    assert!(took < Duration::from_millis(1_200), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn who_knocks_while_the_server_stops_is_turned_away() {
    let site = Site::start(Rules::default(), |b| b);
    let mut guest = site.client("ada").await;
    guest.subscribe("news").await;
    for _ in 0..10 {
        site.publish("news", format!("\"{}\"", "x".repeat(2000))).await;
    }
    let address = site.address.clone();
    let stopping = site.stop();
    crate::site::settle().await;
    let mut late = address.connect().unwrap();
    assert_eq!(late.recv().await, None);
    drop(guest);
    stopping.wait().await;
}

/// Brings one peer, whose handshake takes a second.
struct Slow(Option<Connection>);
struct Shaking(Connection);

impl Listener for Slow {
    type Incoming = Shaking;

    async fn accept(&mut self) -> Option<Shaking> {
        match self.0.take() {
            Some(connection) => Some(Shaking(connection)),
            None => std::future::pending().await,
        }
    }
}

impl Incoming for Shaking {
    type Connection = Connection;

    fn address(&self) -> Option<SocketAddr> {
        None
    }

    async fn handshake(self) -> io::Result<(Connection, Peer)> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok((self.0, Peer { transport: "memory", ..Default::default() }))
    }

    async fn refuse(self) {}
}

#[tokio::test(start_paused = true)]
async fn who_is_shaking_hands_when_the_server_stops_delays_nothing_more() {
    let (mut client, connection) = pair(Limits::default());
    let site = Site::start(Rules::default(), |b| b.listen(Slow(Some(connection))));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let stopping = site.stop();
    while client.recv().await.is_some() {}
    assert_eq!(client.closed().map(|why| why.code), Some(3001));
    let (stopped, took) = stopping.wait().await;
    assert_eq!(stopped.cut, 0);
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn clients_are_sent_away_over_the_spread() {
    let shutdown = Shutdown { spread: Duration::from_secs(10), ..Default::default() };
    let site = Site::start(Rules::default(), |b| b.shutdown(shutdown));
    let mut guests = Vec::new();
    for i in 0..50 {
        guests.push(site.client(&format!("user {i}")).await);
    }
    let stopping = site.stop();
    let since = tokio::time::Instant::now();
    let leaving = guests.into_iter().map(|mut guest| {
        tokio::spawn(async move {
            while !guest.hear_awake().await.starts_with("end 3001") {}
            since.elapsed()
        })
    });
    let mut left = Vec::new();
    for guest in leaving.collect::<Vec<_>>() {
        left.push(guest.await.unwrap());
    }
    left.sort();
    for (i, at) in left.iter().enumerate() {
        let due = Duration::from_millis(200) * i as u32;
        let late = at.saturating_sub(due);
        assert!(*at + Duration::from_millis(300) >= due && late < Duration::from_millis(400), "{i}: {at:?}");
    }
    stopping.wait().await;
}

#[tokio::test(start_paused = true)]
async fn who_leaves_before_its_turn_is_not_waited_for() {
    let shutdown = Shutdown { spread: Duration::from_secs(20), ..Default::default() };
    let site = Site::start(Rules::default(), |b| b.shutdown(shutdown));
    let guests = [site.client("ada").await, site.client("bob").await, site.client("eve").await];
    let stopping = site.stop();
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(guests);
    let (stopped, took) = stopping.wait().await;
    assert_eq!(stopped.cut, 0);
    assert!(took < Duration::from_millis(1_200), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_spread_beyond_the_timeout_still_tells_everybody() {
    let shutdown = Shutdown { spread: Duration::from_secs(60), timeout: Duration::from_secs(8) };
    let site = Site::start(Rules::default(), |b| b.shutdown(shutdown));
    let mut guests = Vec::new();
    for i in 0..20 {
        guests.push(site.client(&format!("user {i}")).await);
    }
    let stopping = site.stop();
    let [told, end] = farewell(3001, "shutdown");
    for guest in &mut guests {
        guest.hears(&[&told, &end]).await;
    }
    let (stopped, took) = stopping.wait().await;
    assert_eq!(stopped.cut, 0);
    assert!(took > Duration::from_secs(5) && took < Duration::from_secs(8), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_closes_delays_nobody() {
    let site = Site::start(Rules::default(), |b| b);
    // They read nothing, and do not close.
    let guests = [site.client("ada").await, site.client("bob").await];
    let (stopped, took) = site.stop().wait().await;
    assert_eq!(stopped.cut, 0);
    assert!(took < Duration::from_millis(1_200), "{took:?}");
    drop(guests);
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_while_draining_is_refused_with_108() {
    let site = Site::start(Rules::default(), |b| b);
    let mut guest = site.client("ada").await;
    guest.subscribe("news").await;
    for _ in 0..10 {
        site.publish("news", format!("\"{}\"", "x".repeat(2000))).await;
    }
    let stopping = site.stop();
    crate::site::settle().await;
    for (id, what) in [(3, "publish"), (4, "subscribe"), (5, "history")] {
        guest.say(&format!(r#"{{"id":{id},"{what}":{{"channel":"c","data":1}}}}"#)).await;
    }
    let heard = guest.hear_all().await;
    for id in 3..6 {
        let refused =
            format!(r#"{{"id":{id},"error":{{"code":108,"message":"not available","temporary":true}}}}"#);
        assert!(heard.contains(&refused), "{id}");
    }
    assert_eq!(heard.iter().filter(|message| message.contains(r#""pub""#)).count(), 10);
    assert!(heard.last().unwrap().starts_with("end 3001"));
    drop(guest);
    stopping.wait().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_asks_without_end_is_sent_away_all_the_same() {
    let site = Site::start(Rules::default(), |b| b);
    let mut guest = site.client("ada").await;
    guest.subscribe("news").await;
    let asking = tokio::spawn(async move {
        let ask = r#"{"id":3,"publish":{"channel":"c","data":1}}"#;
        while guest.wire.send(ask).await.is_ok() {
            while guest.wire.read_bytes(usize::MAX) > 0 {}
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    tokio::task::yield_now().await;
    let (stopped, took) = site.stop().wait().await;
    assert_eq!(stopped.cut, 0);
    assert!(took < Duration::from_secs(3), "{took:?}");
    asking.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_request_that_hangs_is_cut_at_the_timeout_and_cancelled() {
    let shutdown = Shutdown { timeout: Duration::from_secs(7), ..Default::default() };
    let rules = Rules { delay: Duration::from_secs(3600), ..Rules::default() };
    let site = Site::start(rules, |b| b.shutdown(shutdown));
    let mut guest = site.client("missed").await;
    guest.say(r#"{"id":2,"rpc":{"method":"slow"}}"#).await;
    crate::site::settle().await;
    let diary = site.rules.diary.clone();
    // Its disconnect hook hangs, too.
    let (stopped, took) = site.stop().wait().await;
    assert_eq!(stopped.cut, 1);
    assert!(took >= Duration::from_secs(7) && took < Duration::from_millis(8_200), "{took:?}");
    assert_eq!(diary.read(), ["missed connected", "cancelled rpc", "missed disconnected 3001"]);
}

/// Brings one peer, which never shakes hands.
struct Mute(Option<Connection>);
struct Silent(Connection);

impl Listener for Mute {
    type Incoming = Silent;

    async fn accept(&mut self) -> Option<Silent> {
        match self.0.take() {
            Some(connection) => Some(Silent(connection)),
            None => std::future::pending().await,
        }
    }
}

impl Incoming for Silent {
    type Connection = Connection;

    fn address(&self) -> Option<SocketAddr> {
        None
    }

    async fn handshake(self) -> io::Result<(Connection, Peer)> {
        let _kept = self.0;
        std::future::pending().await
    }

    async fn refuse(self) {}
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_takes_longer_than_the_timeout_is_cut() {
    let (_client, connection) = pair(Limits::default());
    let shutdown = Shutdown { timeout: Duration::from_secs(3), ..Default::default() };
    let site = Site::start(Rules::default(), |b| b.listen(Mute(Some(connection))).shutdown(shutdown));
    crate::site::settle().await;
    let (stopped, took) = site.stop().wait().await;
    assert_eq!(stopped.cut, 1);
    assert!(took < Duration::from_millis(3_100), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn clients_come_go_and_publish_while_the_server_stops() {
    for seed in 0..12 {
        let mut dice = Dice::new(seed);
        let shutdown = Shutdown { timeout: Duration::from_secs(20), ..Default::default() };
        let settings = Settings {
            ping_interval: Duration::from_secs(2),
            pong_timeout: Duration::from_secs(1),
            ..Default::default()
        };
        let mut rules = Rules::with_history(20);
        (rules.grant.presence, rules.grant.announce, rules.grant.join_leave) = (true, true, true);
        rules.delay = Duration::from_millis(dice.below(500));
        let site = Site::start(rules, |b| b.shutdown(shutdown).settings(settings));
        let mut churning = Vec::new();
        for i in 0..200_u64 {
            let address = site.address.clone();
            let mut dice = Dice::new(seed * 1000 + i);
            churning.push(tokio::spawn(async move {
                loop {
                    tokio::time::sleep(Duration::from_millis(dice.below(300))).await;
                    let Ok(mut wire) = address.connect() else { return };
                    let token = ["slow", "refused", "invalid", "ada", "bob", "eve"][dice.below(6) as usize];
                    let mut send = vec![format!(r#"{{"id":1,"connect":{{"token":"{token}"}}}}"#)];
                    for id in 2..2 + dice.below(6) {
                        let channel = ["a", "b", "slow"][dice.below(3) as usize];
                        send.push(match dice.below(4) {
                            0 | 1 => format!(r#"{{"id":{id},"subscribe":{{"channel":"{channel}"}}}}"#),
                            2 => format!(r#"{{"id":{id},"unsubscribe":{{"channel":"{channel}"}}}}"#),
                            _ => format!(
                                r#"{{"id":{id},"publish":{{"channel":"{channel}","data":"{}"}}}}"#,
                                "x".repeat(500)
                            ),
                        });
                    }
                    let commands = if dice.below(2) == 0 { vec![send.join("\n")] } else { send };
                    for command in commands {
                        if wire.send(command).await.is_err() {
                            break;
                        }
                    }
                    let patience = Duration::from_millis(dice.below(800));
                    let reads = dice.below(4) > 0;
                    if reads {
                        let reading = async { while wire.recv().await.is_some() {} };
                        let _ = tokio::time::timeout(patience, reading).await;
                    } else {
                        tokio::time::sleep(patience).await;
                    }
                    if dice.below(2) == 0 {
                        wire.close();
                    }
                }
            }));
        }
        tokio::time::sleep(Duration::from_millis(500 + dice.below(2000))).await;
        let diary = site.rules.diary.clone();
        let stopping = site.stop();
        let (stopped, took) = stopping.wait().await;
        println!("seed {seed}: {stopped:?} after {took:?}");
        // Stalled clients leave within their own patience.
        assert!(took < Duration::from_secs(5), "seed {seed}: {took:?}");
        for client in churning {
            client.await.unwrap();
        }
        let diary = diary.read();
        let count = |what: &str| diary.iter().filter(|line| line.contains(what)).count();
        assert_eq!(count(" connected"), count(" disconnected"), "seed {seed}");
        assert!(count(" connected") > 50, "seed {seed}");
    }
}
