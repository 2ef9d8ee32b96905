//! Who gets in, over real sockets: by a route of an HTTP port, and by a listener.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tidegate_server::core::request::{ConnectRequest, SubscribeRequest};
use tidegate_server::core::transport::Peer;
use tidegate_server::core::{
    Authenticator, Caps, Channel, Client, Identity, PublishGrant, Refusal, SubscribeGrant,
};
use tidegate_server::http::{Limits, Trusted};
use tidegate_server::transport_ws::Options;
use tidegate_server::{Bytes, Open, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::port::{Port, ask, connect, request, text, upgrade, upgrade_at_last, within};

fn total(most: usize) -> Caps {
    Caps { total: Some(most), ..Caps::default() }
}

/// Thousands come at once: the clients themselves never count more than the cap, and everybody gets an
/// answer. First those who get in stay until all are answered; then they go at once, and others get in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_never_exceeds_the_cap() {
    const CAP: usize = 50;
    const CLIENTS: usize = 2000;
    // The other bounds would close some without a word.
    let options = Options { refusal_timeout: Duration::from_secs(30), ..Options::default() };
    let settings = Settings { http: Limits::default(), refusals: CLIENTS, ..Settings::default() };
    let port = Port::open(Open, options, |b| b.caps(total(CAP)).settings(settings));
    for (mount, stay) in port.mounts().into_iter().flat_map(|mount| [(mount, true), (mount, false)]) {
        let all = || (0..CAP).map(|_| port.handle.admit(None)).collect::<Result<Vec<_>, _>>();
        // Those of the round before have gone.
        while all().is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let answered = Arc::new(Barrier::new(if stay { CLIENTS } else { 1 }));
        let inside = Arc::new(AtomicUsize::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (answered, inside, most) = (answered.clone(), inside.clone(), most.clone());
            clients.spawn(async move {
                let mut stream = connect(mount).await;
                let head = ask(&mut stream, &request("")).await;
                if !head.starts_with("HTTP/1.1 101 ") {
                    answered.wait().await;
                    return head;
                }
                // Counted after the server let it in, and no more before it lets go.
                let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(now, Ordering::SeqCst);
                answered.wait().await;
                inside.fetch_sub(1, Ordering::SeqCst);
                head
            });
        }
        let (mut admitted, mut refused) = (0, 0);
        while let Some(head) = within(clients.join_next()).await {
            match &*head.expect("no panic") {
                head if head.starts_with("HTTP/1.1 101 ") => admitted += 1,
                head => {
                    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
                    assert!(head.to_lowercase().contains("\r\nretry-after: "), "{head}");
                    refused += 1;
                }
            }
        }
        let most = most.load(Ordering::SeqCst);
        println!("{mount}: {admitted} admitted, {refused} refused; {most} at once");
        assert!(most <= CAP, "{most} at once");
        assert!(if stay { admitted == CAP } else { admitted >= CAP }, "{admitted} admitted");
        // All of them have gone, and all places are back.
        let mut all = Vec::new();
        for _ in 0..CAP {
            all.push(upgrade_at_last(mount).await.0);
        }
        upgrade(mount).await.expect_err("it is full again");
        drop(all);
    }
    port.close().await;
}

/// Whatever a client does at the end, and however far it came, its place is another's within two seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_is_free_within_two_seconds_of_any_end() {
    let options = Options { handshake_timeout: Duration::from_secs(20), ..Options::default() };
    let port = Port::open(Open, options, |b| b.caps(total(1)));
    for mount in port.mounts() {
        for end in
            ["FIN", "RST", "half", "close", "close and stay", "nonsense", "no answer", "no request", "origin"]
        {
            let mut stream = match end {
                "no answer" | "no request" | "origin" => {
                    let mut stream = connect(mount).await;
                    let all = request(if end == "origin" { "Origin: https://evil.example\r\n" } else { "" });
                    let sent = if end == "no request" { &all[..50] } else { &all[..] };
                    stream.write_all(sent.as_bytes()).await.expect("open");
                    stream
                }
                _ => {
                    let mut stream = upgrade_at_last(mount).await.0;
                    stream.write_all(&text(r#"{"id":1,"connect":{}}"#)).await.expect("open");
                    stream.read_u8().await.expect("a reply");
                    stream
                }
            };
            match end {
                "RST" => stream.set_zero_linger().expect("an option"),
                "half" => stream.shutdown().await.expect("open"),
                // A close frame, whose echo nobody waits for; and one after which the client never closes TCP.
                "close" | "close and stay" => {
                    stream.write_all(&[0x88, 0x82, 0, 0, 0, 0, 3, 0xe8]).await.expect("open");
                }
                // An unmasked frame.
                "nonsense" => stream.write_all(&[0x81, 0x01, b'x']).await.expect("open"),
                _ => {}
            }
            let stays = matches!(end, "half" | "close and stay" | "nonsense").then_some(stream);
            let (next, took) = upgrade_at_last(mount).await;
            println!("{mount} {end}: {took:?}");
            assert!(took < Duration::from_secs(2), "{end}: {took:?}");
            drop((stays, next));
        }
    }
    port.close().await;
}

/// Peers that connect to an HTTP port and say nothing, or too little, do not keep out those that ask, of
/// their own network as of others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_silent_do_not_keep_out_those_who_ask() {
    for (connections, per_network) in [(Some(20), None), (None, Some(20))] {
        let http = Limits { connections, per_network, ..Limits::default() };
        let port =
            Port::open(Open, Options::default(), |b| b.settings(Settings { http, ..Default::default() }));
        let mut old = upgrade(port.http).await.expect("there is room");
        let mut silent = Vec::new();
        for i in 0..300 {
            let mut stream = connect(port.http).await;
            // Some begin a request.
            if i % 2 == 0 {
                let _ = stream.write_all(b"GET /hea").await;
            }
            silent.push(stream);
        }
        let mut asking = connect(port.http).await;
        let head = ask(&mut asking, "GET /health HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head:?}");
        let mut new = upgrade(port.http).await.expect("there is room for a client");
        for stream in [&mut old, &mut new] {
            stream.write_all(&text(r#"{"id":1,"connect":{}}"#)).await.expect("open");
            within(stream.read_u8()).await.expect("clients are not given up");
        }
        // The others were closed, but for as many as there may be.
        let mut open = 0;
        for stream in &silent {
            let mut byte = [0];
            match tokio::time::timeout(Duration::from_millis(20), stream.peek(&mut byte)).await {
                Err(_) => open += 1,
                Ok(end) => assert!(matches!(end, Ok(0) | Err(_)), "{end:?}"),
            }
        }
        assert!(open <= 20, "{open} are open");
        drop((silent, asking, old, new));
        port.close().await;
    }
}

/// Notes where clients connect from.
#[derive(Clone, Default)]
struct Witness(Arc<Mutex<Vec<IpAddr>>>);

#[async_trait]
impl Authenticator for Witness {
    async fn connect(&self, _: &ConnectRequest, peer: &Peer) -> Result<Identity, Refusal> {
        self.0.lock().unwrap().extend(peer.address.map(|address| address.ip()));
        Ok(Identity::default())
    }

    async fn subscribe(&self, _: &Client, _: &SubscribeRequest) -> Result<SubscribeGrant, Refusal> {
        Ok(SubscribeGrant::default())
    }

    async fn publish(&self, _: &Client, _: &Channel, _: &Bytes, _: bool) -> Result<PublishGrant, Refusal> {
        Ok(PublishGrant::default())
    }
}

/// Behind a trusted proxy each client is its own network, and known by its own address; without one, the
/// header is nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_trusted_proxy_clients_have_their_own_addresses() {
    let caps = Caps { per_network: Some(1), ..Caps::default() };
    for (proxies, expected) in [
        (&["127.0.0.0/8"][..], &[101, 101, 503, 101, 503][..]),
        (&["10.0.0.0/8"][..], &[101, 503, 503, 503, 503][..]),
    ] {
        let trusted = Trusted::new(proxies.iter().map(|proxy| proxy.parse().unwrap()));
        // A proxy's own connections have no share of a network's.
        let http = Limits { per_network: Some(3), trusted, ..Limits::default() };
        let witness = Witness::default();
        let settings = Settings { http, ..Default::default() };
        let port = Port::open(witness.clone(), Options::default(), |b| b.caps(caps).settings(settings));
        let mut streams = Vec::new();
        let mut got = Vec::new();
        for client in ["203.0.113.1", "203.0.113.2", "6.6.6.6, 203.0.113.2", "2001:db8::1", "2001:db8::2"] {
            let mut stream = connect(port.http).await;
            let head = ask(&mut stream, &request(&format!("X-Forwarded-For: {client}\r\n"))).await;
            let status: u16 = head.split(' ').nth(1).expect("a status").parse().expect("a number");
            if status == 101 {
                stream.write_all(&text(r#"{"id":1,"connect":{}}"#)).await.expect("open");
                within(stream.read_u8()).await.expect("a reply");
            }
            got.push(status);
            streams.push(stream);
        }
        assert_eq!(got, expected, "{proxies:?}");
        let seen = std::mem::take(&mut *witness.0.lock().unwrap());
        let real = if proxies[0].starts_with("127") {
            vec!["203.0.113.1", "203.0.113.2", "2001:db8::1"]
        } else {
            vec!["127.0.0.1"]
        };
        assert_eq!(seen, real.into_iter().map(|ip| ip.parse().unwrap()).collect::<Vec<IpAddr>>());
        drop(streams);
        port.close().await;
    }
}

async fn refused(address: SocketAddr) {
    let head = upgrade(address).await.expect_err("no room").to_lowercase();
    assert!(head.starts_with("http/1.1 503 ") && head.contains("\r\nretry-after: "), "{head}");
    // The refused one's descriptor is wanted for others.
    assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
}

/// Over its memory the node takes nobody, and takes them again when the limit is raised while it runs.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_its_memory_a_node_takes_nobody() {
    let caps = Caps { memory: Some(1), ..Caps::default() };
    let port = Port::open(Open, Options::default(), |b| b.caps(caps));
    // It is measured within a second of the start.
    while port.handle.admit(None).is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for mount in port.mounts() {
        refused(mount).await;
    }
    port.handle.limit(Caps { memory: Some(usize::MAX), ..Caps::default() });
    for mount in port.mounts() {
        upgrade(mount).await.expect("there is memory");
    }
    port.close().await;
}

/// Newcomers over the rate are refused, and get in later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newcomers_over_the_rate_are_refused() {
    let caps = Caps { per_second: Some(1), ..Caps::default() };
    for by_http in [true, false] {
        let port = Port::open(Open, Options::default(), |b| b.caps(caps));
        let mount = if by_http { port.http } else { port.listener };
        let began = std::time::Instant::now();
        let mut admitted = 0;
        for _ in 0..30 {
            admitted += usize::from(upgrade(mount).await.is_ok());
        }
        let allowed = 1 + began.elapsed().as_secs() as usize + 1;
        assert!((1..=allowed.min(29)).contains(&admitted), "{admitted} of {allowed}");
        upgrade_at_last(mount).await;
        port.close().await;
    }
}

/// Refusals in flight are bounded: over the bound a peer is closed at once, without a word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_in_flight_are_bounded() {
    let options = Options { refusal_timeout: Duration::from_secs(60), ..Options::default() };
    let settings = Settings { refusals: 2, ..Default::default() };
    let port = Port::open(Open, options, |b| b.caps(total(0)).settings(settings));
    let mut waiting = [connect(port.listener).await, connect(port.listener).await];
    // Accepted in order: those two are being refused when this one is.
    let mut third = connect(port.listener).await;
    match within(third.read_u8()).await {
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{error}");
        }
        Ok(byte) => panic!("it was told {byte}"),
    }
    for stream in &mut waiting {
        let head = ask(stream, &request("")).await;
        assert!(head.starts_with("HTTP/1.1 503 "), "{head:?}");
    }
    drop((waiting, third));
    port.close().await;
}
