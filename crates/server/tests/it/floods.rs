//! Clients that do too much of something.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tidegate_server::Bytes;
use tidegate_server::Settings;
use tidegate_server::core::{Channel, Client, Disconnect, Hooks, Publication, Refusal};
use tokio::time::Instant;

use crate::site::{Guest, Rules, Site, empty, push, settle};
use crate::socket::{CLOSE, PING, PONG, Socket, TEXT};

#[tokio::test(start_paused = true)]
async fn a_million_pings_end_with_3013_after_a_second_s_worth() {
    let site = Site::start(Rules::default(), |b| b);
    for opcode in [PING, PONG] {
        let mut socket = Socket::connected(&site, "").await;
        let mut sent = 0;
        while sent < 1_000_000 && socket.frame(0x80 | opcode, b"x").await.is_ok() {
            sent += 1;
            if sent % 1000 == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        // What fits into the pipe, and what was read and forgotten until the client had closed.
        assert!(sent < 100_000, "{sent}");
        let mut pongs = 0;
        let why = loop {
            match socket.receive().await {
                Some((PONG, _)) => pongs += 1,
                Some((CLOSE, why)) => break why,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(why, "3013 too many control frames");
        assert_eq!(pongs, if opcode == PING { 64 } else { 0 });
        assert_eq!(socket.receive().await, None);
    }
    settle().await;
    empty(&site.handle);
    site.end().await;
}

/// Who pings and does not read is owed the answer to its latest ping, and no memory.
#[tokio::test(start_paused = true)]
async fn pings_of_one_that_does_not_read_leave_a_bounded_number_of_pongs() {
    let settings = Settings { control_frame_limit: None, ..Default::default() };
    let site = Site::start(Rules::default(), |b| b.settings(settings));
    let mut socket = Socket::open(&site, "", 4096);
    socket.say(r#"{"id":1,"connect":{"token":"ada"}}"#).await;
    assert_eq!(socket.receive().await.expect("a connect reply").0, TEXT);
    let ping = |number: usize| format!("{number:0125}");
    for number in 0..5000 {
        socket.frame(0x80 | PING, ping(number).as_bytes()).await.unwrap();
    }
    let (mut pongs, mut last) = (0, String::new());
    while last != ping(4999) {
        let (opcode, payload) = socket.receive().await.expect("a pong for the last ping");
        assert_eq!(opcode, PONG);
        assert!(payload > last, "{payload} after {last}");
        (pongs, last) = (pongs + 1, payload);
    }
    // The control lane's 64 KiB, and what pipe and transport had taken.
    assert!((100..1500).contains(&pongs), "{pongs}");
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn native_pings_and_a_client_s_own_are_no_flood() {
    let site = Site::start(Rules::default(), |b| b);
    let mut socket = Socket::connected(&site, "cf_ws_frame_ping_pong=true").await;
    for _ in 0..20 {
        let (opcode, _) = socket.receive().await.expect("a ping");
        assert_eq!(opcode, PING);
        socket.frame(0x80 | PONG, b"").await.unwrap();
        // Its own, ten a second.
        for _ in 0..10 {
            socket.frame(0x80 | PING, b"mine").await.unwrap();
            assert_eq!(socket.receive().await, Some((PONG, "mine".to_owned())));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    drop(socket);
    site.end().await;
}

/// What a stream that is not TCP has taken is sent on, though reading pauses because so much was read ahead.
#[tokio::test(start_paused = true)]
async fn what_was_taken_is_sent_while_a_request_is_done_and_nothing_more_is_read() {
    let rules = Rules { delay: Duration::from_secs(60), ..Rules::default() };
    let settings = Settings { ping_interval: Duration::ZERO, read_ahead: 4096, ..Default::default() };
    let site = Site::start(rules, |b| b.settings(settings));
    let mut socket = Socket::open(&site, "", 4096);
    socket.say(r#"{"id":1,"connect":{"token":"ada"}}"#).await;
    socket.say(r#"{"id":2,"subscribe":{"channel":"news"}}"#).await;
    for _ in 0..2 {
        assert_eq!(socket.receive().await.expect("a reply").0, TEXT);
    }
    for id in 3..8 {
        socket
            .say(&format!(r#"{{"id":{id},"rpc":{{"method":"slow","data":"{}"}}}}"#, "x".repeat(1000)))
            .await;
        settle().await;
    }
    let since = Instant::now();
    // More than the pipe holds, and less than what the transport takes at once.
    for number in 10..20 {
        site.publish("news", format!("\"{number}{}\"", "y".repeat(998))).await;
        settle().await;
    }
    let mut heard = String::new();
    while !heard.contains("\"19y") {
        heard = socket.receive().await.expect("the publications").1;
    }
    assert!(since.elapsed() < Duration::from_secs(5), "after {:?}", since.elapsed());
    drop(socket);
    // Only what it reads next tells that it has gone.
    tokio::time::sleep(Duration::from_secs(60)).await;
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn fragments_of_nothing_and_a_byte_a_second_are_ended() {
    let settings = Settings { ping_interval: Duration::ZERO, ..Default::default() };
    let site = Site::start(Rules::default(), |b| b.settings(settings));
    let mut socket = Socket::connected(&site, "").await;
    socket.frame(0x01, b"").await.unwrap();
    for _ in 0..1000 {
        if socket.frame(0x00, b"").await.is_err() {
            break;
        }
    }
    assert_eq!(socket.receive().await, Some((CLOSE, "1008 too many fragments".to_owned())));
    // A fragment a second, with pings between them: the message's clock goes on.
    let mut socket = Socket::connected(&site, "").await;
    let since = Instant::now();
    socket.frame(0x01, b" ").await.unwrap();
    let why = loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let _ = socket.frame(0x00, b" ").await;
        let _ = socket.frame(0x80 | PING, b"").await;
        match socket.receive().await {
            Some((PONG, _)) => {}
            Some((CLOSE, why)) => break why,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(why, "3008 message took too long");
    assert!(since.elapsed() < Duration::from_secs(32), "{:?}", since.elapsed());
    drop(socket);
    site.end().await;
}

/// Lets everything happen, and counts publications of `flood` that were begun.
#[derive(Clone, Default)]
struct Counting(Arc<AtomicUsize>);

impl Counting {
    /// A site whose connections take much that is not read yet.
    fn site(&self) -> Site {
        let limits = tidegate_server::core::memory::Limits { capacity: 8 << 20, ..Default::default() };
        Site::start_on(limits, Rules::default(), |b| b.hooks(self.clone()))
    }
}

#[async_trait]
impl Hooks for Counting {
    async fn publishing(&self, _: &Client, _: &Channel, what: Publication) -> Result<Publication, Refusal> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(what)
    }

    async fn rpc(&self, _: &Client, _: &str, _: Bytes) -> Result<Bytes, Refusal> {
        Ok(self.0.load(Ordering::Relaxed).to_string().into())
    }

    async fn message(&self, _: &Client, _: Bytes) -> Result<(), Disconnect> {
        Ok(())
    }
}

/// So many clients that have each asked to publish so often already.
async fn floods(site: &Site, clients: usize, each: usize) -> Vec<Guest> {
    let mut floods = Vec::new();
    for _ in 0..clients {
        floods.push(site.client("flood").await);
    }
    for flood in &mut floods {
        for _ in 0..each {
            flood.say(r#"{"id":2,"publish":{"channel":"c","data":1}}"#).await;
        }
    }
    floods
}

/// How many commands of a flooding client are done between two of another one's, which asks again as soon
/// as it is answered.
async fn between(commands: String, frames: usize) -> usize {
    let counting = Counting::default();
    let site = counting.site();
    let mut flood = site.client("flood").await;
    let mut other = site.client("other").await;
    for _ in 0..frames {
        flood.say(&commands).await;
    }
    let total = frames * commands.matches("publish").count();
    // A task like the connections': the test's own is polled once in a while.
    let counting = tokio::spawn(async move {
        let mut counts = Vec::new();
        while counts.last().is_none_or(|count| *count < total) {
            other.say(r#"{"id":2,"rpc":{}}"#).await;
            let reply: serde_json::Value = serde_json::from_str(&other.hear().await).unwrap();
            counts.push(usize::try_from(reply["rpc"]["data"].as_u64().unwrap()).unwrap());
            // Its replies are read, or it is not read any more.
            flood.wire.read_bytes(usize::MAX);
        }
        counts
    });
    let counts = counting.await.unwrap();
    site.end().await;
    counts.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_publish_flood_has_its_turn_like_the_others() {
    let publish = |id: usize, size: usize| {
        format!(r#"{{"id":{id},"publish":{{"channel":"c","data":"{}"}}}}"#, "x".repeat(size))
    };
    // Small messages, large ones, and many commands in each.
    let small = between(publish(2, 10), 2000).await;
    assert!(small <= 256, "{small} between two of another client");
    let large = between(publish(2, 60_000), 100).await;
    assert!(large <= 6, "{large} between two of another client");
    let many: Vec<String> = (2..1002).map(|id| publish(id, 10)).collect();
    let many = between(many.join("\n"), 10).await;
    assert!(many <= 256, "{many} between two of another client");
}

/// A publication to a large channel is with all subscribers a few rounds of turns later, and not a round for each
/// slice of them that is woken.
#[tokio::test(start_paused = true)]
async fn a_flood_does_not_hold_up_a_large_channel() {
    let counting = Counting::default();
    let site = counting.site();
    let mut readers = Vec::new();
    for _ in 0..1000 {
        let mut reader = site.client("ada").await;
        reader.subscribe("news").await;
        readers.push(reader);
    }
    let floods = floods(&site, 20, 2000).await;
    let begun = move || counting.0.load(Ordering::Relaxed);
    // A task like the connections'.
    let reading = tokio::spawn(async move {
        while begun() == 0 {
            tokio::task::yield_now().await;
        }
        site.publish("news", "1").await;
        let before = begun();
        for reader in &mut readers {
            reader.hears(&[&push("news", r#""pub":{"data":1}"#)]).await;
        }
        (site, begun() - before)
    });
    let (site, meanwhile) = reading.await.unwrap();
    assert!(meanwhile < 12_000, "{meanwhile} of 40,000 were done before all had it");
    drop(floods);
    site.end().await;
}

/// Many clients that flood have shorter turns than one: a round of them takes no longer than one of a few.
#[tokio::test(start_paused = true)]
async fn many_floods_hold_up_a_small_channel_no_more_than_a_few() {
    let counting = Counting::default();
    let site = counting.site();
    let mut reader = site.client("ada").await;
    reader.subscribe("news").await;
    let floods = floods(&site, 200, 300).await;
    let begun = move || counting.0.load(Ordering::Relaxed);
    // A task like the connections'.
    let reading = tokio::spawn(async move {
        let mut meanwhile = Vec::new();
        while begun() < 20_000 {
            tokio::task::yield_now().await;
        }
        for _ in 0..5 {
            let before = begun();
            site.publish("news", "1").await;
            reader.hears(&[&push("news", r#""pub":{"data":1}"#)]).await;
            meanwhile.push(begun() - before);
        }
        (site, meanwhile)
    });
    let (site, meanwhile) = reading.await.unwrap();
    // A round of 8 that have whole turns is 512.
    assert!(
        meanwhile.iter().all(|count| *count < 3_000),
        "{meanwhile:?} of 60,000 were done before it had it"
    );
    drop(floods);
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn replies_to_the_commands_of_one_message_stay_within_the_lane() {
    let limits = tidegate_server::core::memory::Limits { capacity: 4096, ..Default::default() };
    let settings = Settings { ping_interval: Duration::ZERO, ..Default::default() };
    let counting = Counting::default();
    let site = Site::start_on(limits, Rules::default(), |b| b.settings(settings).hooks(counting.clone()));
    let mut guest = site.client("ada").await;
    let commands: Vec<String> =
        (2..10_002).map(|id| format!(r#"{{"id":{id},"publish":{{"channel":"c","data":1}}}}"#)).collect();
    let saying = tokio::spawn(async move {
        guest.say(&commands.join("\n")).await;
        guest
    });
    let mut guest = saying.await.unwrap();
    settle().await;
    // It reads nothing: no more is done than the lane holds replies.
    let done = counting.0.load(Ordering::Relaxed);
    assert!(done < 2_000, "{done}");
    for id in 2..10_002 {
        guest.hears(&[&format!(r#"{{"id":{id},"publish":{{}}}}"#)]).await;
    }
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn subscribing_and_unsubscribing_without_end_leaves_nothing() {
    let mut rules = Rules::default();
    (rules.grant.presence, rules.grant.announce) = (true, true);
    let limits = tidegate_server::core::memory::Limits { capacity: 1 << 20, ..Default::default() };
    let settings = Settings { ping_interval: Duration::ZERO, ..Default::default() };
    let site = Site::start_on(limits, rules, |b| b.settings(settings));
    let mut guest = site.client("ada").await;
    for round in 0..100 {
        let commands: Vec<String> = (0..100)
            .map(|i| {
                let id = 2 + 2 * i;
                let channel = format!("c{}", round * 100 + i);
                format!(
                    "{{\"id\":{id},\"subscribe\":{{\"channel\":\"{channel}\"}}}}\n\
                     {{\"id\":{},\"unsubscribe\":{{\"channel\":\"{channel}\"}}}}",
                    id + 1
                )
            })
            .collect();
        guest.say(&commands.join("\n")).await;
        for id in 2..202 {
            let reply = guest.hear().await;
            assert!(reply.starts_with(&format!(r#"{{"id":{id},"#)) && !reply.contains("error"), "{reply}");
        }
    }
    // And far more than it may have: the 129th is refused, and the others stand.
    let commands: Vec<String> =
        (2..3002).map(|id| format!(r#"{{"id":{id},"subscribe":{{"channel":"c{id}"}}}}"#)).collect();
    guest.say(&commands.join("\n")).await;
    let mut refused = 0;
    for _ in 2..3002 {
        refused += usize::from(guest.hear().await.contains(r#""error":{"code":106"#));
    }
    assert_eq!(refused, 3000 - 128);
    settle().await;
    assert_eq!(site.handle.channels().len(), 128);
    site.publish("c2", "1").await;
    guest.hears(&[&push("c2", r#""pub":{"data":1}"#)]).await;
    drop(guest);
    settle().await;
    empty(&site.handle);
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_goes_on_sending_after_its_end_is_gone_within_close_timeout() {
    let site = Site::start(Rules::default(), |b| b);
    let mut guest = site.client("ada").await;
    guest.say("}").await;
    let since = Instant::now();
    while guest.wire.send(r#"{"id":2,"publish":{"channel":"c","data":1}}"#).await.is_ok() {
        tokio::task::yield_now().await;
        assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    settle().await;
    empty(&site.handle);
    site.end().await;
}
