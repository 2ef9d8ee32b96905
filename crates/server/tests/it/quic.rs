//! What only QUIC has: tracks, credit, addresses that change, and handshakes that cost.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, ConnectionError, RecvStream, SendStream, TransportConfig};
use serde_json::Value;
use tidegate_server::core::{EndSubscription, Lag, SkipToOldest};
use tidegate_server::protocol::{Centrifuge, Encoding, Options as Protocol};
use tidegate_server::transport_quic::{JSON, Options, WEBTRANSPORT};
use tidegate_server::{Settings, Target};
use tokio::time::timeout;

use crate::site::{Rules, call, push};
use crate::ways::{Stage, Way, as_push, frame, read_message, uvarint, within};

/// A native client that reads what the test wants to have read, and nothing else.
struct Native {
    connection: Connection,
    send: SendStream,
    recv: RecvStream,
}

impl Native {
    async fn connect(stage: &Stage, transport: TransportConfig) -> Self {
        let connection = stage.connection(JSON, transport).await.expect("a connection");
        let (send, recv) = within(connection.open_bi()).await.expect("a stream");
        let mut native = Self { connection, send, recv };
        native.say(r#"{"id":1,"connect":{"token":"ada"}}"#).await;
        assert!(native.hear().await.contains("connect"));
        native
    }

    async fn say(&mut self, commands: &str) {
        within(self.send.write_all(&frame(Encoding::Json, commands))).await.expect("a server that listens");
    }

    /// The next message of the control stream.
    async fn hear(&mut self) -> String {
        let message = within(read_message(&mut self.recv, Encoding::Json)).await.expect("a message");
        String::from_utf8(message).unwrap()
    }

    /// Subscribes, and returns the reply and the track.
    async fn subscribe(&mut self, id: u64, channel: &str) -> (Value, RecvStream) {
        self.say(&format!(r#"{{"id":{id},"subscribe":{{"channel":"{channel}"}}}}"#)).await;
        let reply = serde_json::from_str(&self.hear().await).unwrap();
        let mut track = within(self.connection.accept_uni()).await.expect("a track");
        assert_eq!(within(uvarint(&mut track)).await, Some(id));
        (reply, track)
    }
}

async fn next(track: &mut RecvStream) -> Option<String> {
    within(read_message(track, Encoding::Json)).await.map(|message| as_push(Encoding::Json, "", message))
}

/// Windows of a client of which one track can be full while the others are not.
fn narrow() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport.stream_receive_window(4096u32.into());
    transport
}

/// A publication of about 1,000 bytes.
fn large(i: usize) -> String {
    format!("\"{i} {}\"", "x".repeat(1000))
}

fn calm() -> Settings {
    Settings { ping_interval: Duration::ZERO, queue_max_size: 50_000, ..Default::default() }
}

#[tokio::test]
async fn a_track_that_is_not_read_blocks_nobody_and_loses_nothing() {
    let mut rules = Rules::default();
    rules.grant.policy = Arc::new(SkipToOldest);
    let stage = Stage::open(rules, |b| b.settings(calm()));
    let mut ada = Native::connect(&stage, narrow()).await;
    let (_, mut slow) = ada.subscribe(2, "slow").await;
    let (_, mut quick) = ada.subscribe(3, "quick").await;
    for i in 0..100 {
        stage.site.publish("slow", large(i)).await;
        stage.site.publish("quick", i.to_string()).await;
        assert_eq!(next(&mut quick).await, Some(format!(r#"{{"push":{{"pub":{{"data":{i}}}}}}}"#)));
    }
    // Control goes on, too.
    ada.say(r#"{"id":4,"rpc":{"data":1}}"#).await;
    assert_eq!(ada.hear().await, r#"{"id":4,"rpc":{"data":1}}"#);
    for i in 0..100 {
        assert_eq!(next(&mut slow).await, Some(format!(r#"{{"push":{{"pub":{{"data":{}}}}}}}"#, large(i))));
    }
    stage.end().await;
}

#[tokio::test]
async fn a_track_that_falls_too_far_behind_ends_alone() {
    let mut rules = Rules::default();
    rules.grant.policy = Arc::new(EndSubscription { beyond: Lag::bytes(50_000) });
    let settings = Settings { write_timeout: Duration::from_millis(200), ..calm() };
    let stage = Stage::open(rules, |b| b.settings(settings));
    let mut ada = Native::connect(&stage, narrow()).await;
    let (_, mut slow) = ada.subscribe(2, "slow").await;
    let (_, mut quick) = ada.subscribe(3, "quick").await;
    for i in 0..100 {
        stage.site.publish("slow", large(i)).await;
        if i == 10 {
            // From here on the track takes nothing.
            ada.say(r#"{"id":4,"rpc":{"data":1}}"#).await;
            assert_eq!(ada.hear().await, r#"{"id":4,"rpc":{"data":1}}"#);
        }
    }
    let told = push("slow", r#""unsubscribe":{"code":2500,"reason":"insufficient state"}"#);
    assert_eq!(ada.hear().await, told);
    let error = loop {
        match within(slow.read_chunk(4096, true)).await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the track was cut within a message"),
            Err(error) => break error,
        }
    };
    assert_eq!(error, quinn::ReadError::Reset(2500u32.into()));
    stage.site.publish("quick", "1").await;
    assert!(next(&mut quick).await.is_some());
    stage.end().await;
}

#[tokio::test]
async fn a_track_that_takes_nothing_for_long_ends_alone() {
    let mut rules = Rules::default();
    rules.grant.policy = Arc::new(SkipToOldest);
    let settings = Settings { stalled_close_delay: Duration::from_millis(400), ..calm() };
    let stage = Stage::open(rules, |b| b.settings(settings));
    let mut ada = Native::connect(&stage, narrow()).await;
    let (_, _slow) = ada.subscribe(2, "slow").await;
    let (_, mut quick) = ada.subscribe(3, "quick").await;
    for i in 0..10 {
        stage.site.publish("slow", large(i)).await;
    }
    let told = push("slow", r#""unsubscribe":{"code":2500,"reason":"insufficient state"}"#);
    assert_eq!(ada.hear().await, told);
    stage.site.publish("quick", "1").await;
    assert!(next(&mut quick).await.is_some());
    stage.end().await;
}

#[tokio::test]
async fn a_control_stream_that_is_not_read_closes_the_connection_with_3008() {
    let settings = Settings { stalled_close_delay: Duration::from_millis(400), ..calm() };
    let stage = Stage::open(Rules::default(), |b| b.settings(settings));
    let mut ada = Native::connect(&stage, narrow()).await;
    for id in 2..20 {
        ada.say(&format!(r#"{{"id":{id},"rpc":{{"data":{}}}}}"#, large(id))).await;
    }
    match within(ada.connection.closed()).await {
        ConnectionError::ApplicationClosed(closed) => assert_eq!(closed.error_code, 3008u32.into()),
        other => panic!("{other}"),
    }
    stage.end().await;
}

#[tokio::test]
async fn without_credit_a_subscription_stays_on_the_control_stream() {
    let stage = Stage::open(Rules::with_history(100), |b| b);
    for i in 0..3 {
        stage.site.publish("second", i.to_string()).await;
    }
    let mut transport = TransportConfig::default();
    transport.max_concurrent_uni_streams(1u32.into());
    let mut ada = Native::connect(&stage, transport).await;
    let (_, mut first) = ada.subscribe(2, "first").await;
    ada.say(r#"{"id":3,"subscribe":{"channel":"second","recover":true,"offset":1}}"#).await;
    let reply: Value = serde_json::from_str(&ada.hear().await).unwrap();
    // What was recovered is in the reply, as over a WebSocket.
    assert_eq!(reply["subscribe"]["publications"].as_array().map(Vec::len), Some(2), "{reply}");
    stage.site.publish("second", "3").await;
    assert_eq!(ada.hear().await, push("second", r#""pub":{"data":3,"offset":4}"#));
    stage.site.publish("first", "1").await;
    assert!(next(&mut first).await.is_some());
    // The credit comes back, and the next subscription has a track; the one that has none stays.
    ada.say(r#"{"id":4,"unsubscribe":{"channel":"first"}}"#).await;
    assert_eq!(ada.hear().await, r#"{"id":4,"unsubscribe":{}}"#);
    drop(first);
    let again = async {
        for id in 5.. {
            ada.say(&format!(r#"{{"id":{id},"subscribe":{{"channel":"third"}}}}"#)).await;
            ada.hear().await;
            if timeout(Duration::from_millis(100), ada.connection.accept_uni()).await.is_ok() {
                return;
            }
            ada.say(&format!(r#"{{"id":{},"unsubscribe":{{"channel":"third"}}}}"#, id + 1000)).await;
            ada.hear().await;
        }
    };
    within(again).await;
    stage.site.publish("second", "4").await;
    assert_eq!(ada.hear().await, push("second", r#""pub":{"data":4,"offset":5}"#));
    stage.end().await;
}

#[tokio::test]
async fn a_client_that_stops_a_track_has_unsubscribed() {
    let stage = Stage::open(Rules::default(), |b| b);
    let mut ada = Native::connect(&stage, TransportConfig::default()).await;
    let (_, mut news) = ada.subscribe(2, "news").await;
    news.stop(7u32.into()).unwrap();
    let told = async {
        loop {
            stage.site.publish("news", "1").await;
            if let Ok(message) = timeout(Duration::from_millis(20), ada.hear()).await {
                return message;
            }
        }
    };
    let expected = push("news", r#""unsubscribe":{"code":2000,"reason":"unsubscribed by the client"}"#);
    assert_eq!(within(told).await, expected);
    assert_eq!(stage.site.handle.channels(), []);
    stage.end().await;
}

#[tokio::test]
async fn how_a_track_ends_says_who_ended_it() {
    let stage = Stage::open(Rules::default(), |b| b);
    let mut ada = Native::connect(&stage, TransportConfig::default()).await;
    let (_, mut news) = ada.subscribe(2, "news").await;
    stage.site.publish("news", "1").await;
    let me = Target { user: "ada".into(), ..Target::default() };
    stage.site.handle.unsubscribe(&me, &"news".into(), None);
    assert_eq!(
        ada.hear().await,
        push("news", r#""unsubscribe":{"code":2000,"reason":"server unsubscribe"}"#)
    );
    // All that was published before can be read, up to the end.
    assert!(next(&mut news).await.is_some());
    assert_eq!(next(&mut news).await, None);
    let (_, mut news) = ada.subscribe(3, "news").await;
    ada.say(r#"{"id":4,"unsubscribe":{"channel":"news"}}"#).await;
    assert_eq!(ada.hear().await, r#"{"id":4,"unsubscribe":{}}"#);
    let error = within(news.read_chunk(4096, true)).await.unwrap_err();
    assert_eq!(error, quinn::ReadError::Reset(0u32.into()));
    stage.end().await;
}

#[tokio::test]
async fn a_server_side_subscription_has_no_track() {
    let stage = Stage::open(Rules { channels: vec!["personal"], ..Rules::default() }, |b| b);
    let mut ada = Native::connect(&stage, TransportConfig::default()).await;
    stage.site.publish("personal", "1").await;
    assert_eq!(ada.hear().await, push("personal", r#""pub":{"data":1}"#));
    let me = Target { user: "ada".into(), ..Target::default() };
    stage.site.handle.subscribe(&me, call("news"));
    assert_eq!(ada.hear().await, push("news", r#""subscribe":{}"#));
    stage.end().await;
}

#[tokio::test]
async fn a_client_that_begins_no_stream_is_stale() {
    let options = Options { handshake_timeout: Duration::from_millis(300), ..Options::default() };
    let stage = Stage::open_with(Rules::default(), options, |b| b);
    // A native one, and one that asks for WebTransport but never sends its CONNECT.
    for alpn in [JSON, WEBTRANSPORT] {
        let connection = stage.connection(alpn, TransportConfig::default()).await.expect("a connection");
        match within(connection.closed()).await {
            ConnectionError::ApplicationClosed(closed) => assert_eq!(closed.error_code, 3502u32.into()),
            other => panic!("{other}"),
        }
    }
    assert_eq!(stage.site.handle.holdings().permits, 0);
    stage.end().await;
}

#[tokio::test]
async fn a_client_that_sends_a_part_of_a_message_is_stale() {
    let protocol =
        Centrifuge::new(Protocol { stale_close_delay: Duration::from_millis(300), ..Protocol::default() });
    let stage = Stage::open(Rules::default(), |b| b.protocol(protocol));
    let connection = stage.connection(JSON, TransportConfig::default()).await.expect("a connection");
    let (mut send, _recv) = within(connection.open_bi()).await.unwrap();
    send.write_all(br#"{"id":1,"conn"#).await.unwrap();
    match within(connection.closed()).await {
        ConnectionError::ApplicationClosed(closed) => assert_eq!(closed.error_code, 3502u32.into()),
        other => panic!("{other}"),
    }
    stage.end().await;
}

#[tokio::test]
async fn a_message_that_is_too_large_is_a_bad_request() {
    let options = Options { message_size_limit: 1000, ..Options::default() };
    let stage = Stage::open_with(Rules::default(), options, |b| b);
    let mut ada = Native::connect(&stage, TransportConfig::default()).await;
    ada.say(&format!(r#"{{"id":2,"rpc":{{"data":{}}}}}"#, large(1))).await;
    match within(ada.connection.closed()).await {
        ConnectionError::ApplicationClosed(closed) => assert_eq!(closed.error_code, 3501u32.into()),
        other => panic!("{other}"),
    }
    stage.end().await;
}

#[tokio::test]
async fn an_alpn_that_nobody_speaks_is_refused() {
    let stage = Stage::open(Rules::default(), |b| b);
    assert!(stage.connection("other", TransportConfig::default()).await.is_err());
    stage.end().await;
}

#[tokio::test]
async fn a_server_that_stops_refuses_newcomers_at_once() {
    let stage = Stage::open(Rules::default(), |b| b);
    let mut ada = stage.client(Way::QuicJson, "ada").await;
    // Keeps the drain going.
    ada.say(r#"{"id":2,"rpc":{"method":"slow","data":1}}"#);
    ada.hear().await;
    let config = stage.config(JSON, TransportConfig::default());
    let Stage { site, udp, endpoint, .. } = stage;
    let _reader = site.client("memory").await;
    let stopping = site.stop();
    let refused = within(endpoint.connect_with(config, udp, "localhost").unwrap()).await;
    match refused.map(|_| ()) {
        Err(ConnectionError::ConnectionClosed(_)) => {}
        other => panic!("expected to be refused, got {other:?}"),
    }
    within(stopping.wait()).await;
}

#[tokio::test]
async fn a_client_that_changes_its_address_keeps_its_subscriptions() {
    let stage = Stage::open(Rules::default(), |b| b);
    let mut ada = Native::connect(&stage, TransportConfig::default()).await;
    let (_, mut news) = ada.subscribe(2, "news").await;
    let before = stage.endpoint.local_addr().unwrap();
    let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    stage.endpoint.rebind(socket).unwrap();
    assert_ne!(stage.endpoint.local_addr().unwrap(), before);
    ada.say(r#"{"id":3,"rpc":{"data":1}}"#).await;
    assert_eq!(ada.hear().await, r#"{"id":3,"rpc":{"data":1}}"#);
    stage.site.publish("news", "1").await;
    assert!(next(&mut news).await.is_some());
    assert_eq!(stage.site.handle.holdings().permits, 1);
    stage.end().await;
}

#[tokio::test]
async fn what_may_get_lost_comes_in_datagrams_and_the_rest_on_the_track() {
    let mut rules = Rules::default();
    rules.grant.datagrams = true;
    rules.grant.announce = true;
    rules.grant.join_leave = true;
    let stage = Stage::open(rules, |b| b);
    let mut ada = Native::connect(&stage, TransportConfig::default()).await;
    let (_, mut news) = ada.subscribe(300, "news").await;
    assert!(next(&mut news).await.unwrap().contains("join"));
    for i in 0..20 {
        stage.site.publish("news", i.to_string()).await;
    }
    for i in 0..20 {
        let datagram = within(ada.connection.read_datagram()).await.expect("a datagram");
        // 300 as uvarint.
        let message = datagram.strip_prefix(&[0xac, 0x02]).expect("the id of the command");
        assert_eq!(message, format!("{{\"pub\":{{\"data\":{i}}}}}\n").as_bytes());
    }
    // Too large for one.
    let data = format!("\"{}\"", "x".repeat(5000));
    stage.site.publish("news", data.clone()).await;
    assert_eq!(next(&mut news).await, Some(format!(r#"{{"push":{{"pub":{{"data":{data}}}}}}}"#)));
    let _bob = stage.client(Way::Memory, "bob").await.subscribe("news").await;
    assert!(next(&mut news).await.unwrap().contains("join"));
    // A client that takes no datagrams gets all on the track.
    let mut transport = TransportConfig::default();
    transport.datagram_receive_buffer_size(None);
    let mut eve = Native::connect(&stage, transport).await;
    let (_, mut news) = eve.subscribe(2, "news").await;
    assert!(next(&mut news).await.unwrap().contains("join"));
    stage.site.publish("news", "1").await;
    assert_eq!(next(&mut news).await, Some(r#"{"push":{"pub":{"data":1}}}"#.into()));
    stage.end().await;
}

#[tokio::test]
async fn a_channel_with_history_has_no_datagrams() {
    let mut rules = Rules::with_history(10);
    rules.grant.datagrams = true;
    let stage = Stage::open(rules, |b| b);
    let mut ada = Native::connect(&stage, TransportConfig::default()).await;
    let (_, mut news) = ada.subscribe(2, "news").await;
    stage.site.publish("news", "1").await;
    assert!(next(&mut news).await.unwrap().contains(r#""data":1"#));
    stage.end().await;
}

/// Passes packets on, and counts those of the server that ask for a proof of the address.
async fn retries(stage: &Stage) -> (SocketAddr, Arc<std::sync::atomic::AtomicUsize>) {
    let front = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let back = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    back.connect(stage.udp).await.unwrap();
    let (address, count) = (front.local_addr().unwrap(), Arc::new(std::sync::atomic::AtomicUsize::new(0)));
    tokio::spawn({
        let count = count.clone();
        async move {
            let (mut up, mut down, mut client) = ([0; 2048], [0; 2048], None);
            loop {
                tokio::select! {
                    Ok((n, from)) = front.recv_from(&mut up) => {
                        client = Some(from);
                        let _ = back.send(&up[..n]).await;
                    }
                    Ok(n) = back.recv(&mut down) => {
                        // A long header whose type is 3 (RFC 9000 §17.2.5).
                        if down[0] & 0xb0 == 0xb0 {
                            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        }
                        if let Some(client) = client {
                            let _ = front.send_to(&down[..n], client).await;
                        }
                    }
                }
            }
        }
    });
    (address, count)
}

#[tokio::test]
async fn under_load_addresses_are_proven_and_tokens_spare_it() {
    let relaxed = std::sync::atomic::Ordering::Relaxed;
    for (threshold, expected) in [(1, 0), (0, 1)] {
        let options = Options { retry_threshold: threshold, ..Options::default() };
        let stage = Stage::open_with(Rules::default(), options, |b| b);
        let (address, count) = retries(&stage).await;
        let config = stage.config(JSON, TransportConfig::default());
        for round in 0..2 {
            // The same configuration: it keeps the tokens that the server gave.
            let connecting = stage.endpoint.connect_with(config.clone(), address, "localhost").unwrap();
            let connection = within(connecting).await.expect("a connection");
            let (mut send, mut recv) = within(connection.open_bi()).await.unwrap();
            send.write_all(&frame(Encoding::Json, r#"{"id":1,"connect":{"token":"ada"}}"#)).await.unwrap();
            assert!(within(read_message(&mut recv, Encoding::Json)).await.is_some());
            assert_eq!(count.load(relaxed), expected, "threshold {threshold}, round {round}");
            connection.close(0u32.into(), b"");
        }
        stage.end().await;
    }
}

#[tokio::test]
async fn nothing_is_taken_before_the_handshake_is_over() {
    let stage = Stage::open(Rules::default(), |b| b);
    let config = stage.config(JSON, TransportConfig::default());
    for round in 0..2 {
        // The same configuration: it keeps the tickets that the server gave, with which it would say something early.
        let connecting = stage.endpoint.connect_with(config.clone(), stage.udp, "localhost").unwrap();
        let Err(connecting) = connecting.into_0rtt() else { panic!("round {round}: may be said early") };
        let connection = within(connecting).await.expect("a connection");
        let (mut send, mut recv) = within(connection.open_bi()).await.unwrap();
        send.write_all(&frame(Encoding::Json, r#"{"id":1,"connect":{"token":"ada"}}"#)).await.unwrap();
        assert!(within(read_message(&mut recv, Encoding::Json)).await.is_some());
        connection.close(0u32.into(), b"");
    }
    stage.end().await;
}
