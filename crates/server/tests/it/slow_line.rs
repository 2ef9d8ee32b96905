//! A large snapshot on a slow line that loses packets, and what it does to what is live.

use std::net::SocketAddr;
use std::time::Duration;

use quinn::TransportConfig;
use serde_json::Value;
use tidegate_server::protocol::Encoding;
use tidegate_server::transport_quic::JSON;
use tokio::net::UdpSocket;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{Instant, sleep, sleep_until};

use crate::site::{Dice, Rules};
use crate::ways::{Stage, frame, read_message, uvarint, within};

/// A line between a client and a server.
#[derive(Clone, Copy)]
struct Line {
    /// Bytes a second, down.
    rate: f64,
    /// One way.
    delay: Duration,
    /// One packet in so many is lost, down.
    loss: u64,
    /// Bytes that wait at its bottleneck; more are lost.
    queue: f64,
}

impl Line {
    /// Opens it towards `server`: where a client connects.
    async fn open(self, server: SocketAddr, seed: u64) -> SocketAddr {
        let front = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let back = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        back.connect(server).await.unwrap();
        let address = front.local_addr().unwrap();
        tokio::spawn(async move {
            let mut dice = Dice::new(seed);
            let (up, mut ups) = unbounded_channel::<(Instant, Vec<u8>)>();
            let (down, mut downs) = unbounded_channel::<(Instant, Vec<u8>)>();
            let (mut from_client, mut from_server) = ([0; 2048], [0; 2048]);
            let (mut client, mut free) = (None, Instant::now());
            let (mut next_up, mut next_down) = (None, None);
            loop {
                tokio::select! {
                    Ok((n, from)) = front.recv_from(&mut from_client) => {
                        client = Some(from);
                        let _ = up.send((Instant::now() + self.delay, from_client[..n].to_vec()));
                    }
                    Ok(n) = back.recv(&mut from_server) => {
                        let now = Instant::now();
                        free = free.max(now);
                        let waiting = (free - now).as_secs_f64() * self.rate;
                        if waiting > self.queue || dice.below(self.loss) == 0 {
                            continue;
                        }
                        free += Duration::from_secs_f64(n as f64 / self.rate);
                        let _ = down.send((free + self.delay, from_server[..n].to_vec()));
                    }
                    Some(packet) = ups.recv(), if next_up.is_none() => next_up = Some(packet),
                    Some(packet) = downs.recv(), if next_down.is_none() => next_down = Some(packet),
                    () = at(&next_up), if next_up.is_some() => {
                        let _ = back.send(&next_up.take().unwrap().1).await;
                    }
                    () = at(&next_down), if next_down.is_some() => {
                        if let (Some((_, packet)), Some(client)) = (next_down.take(), client) {
                            let _ = front.send_to(&packet, client).await;
                        }
                    }
                }
            }
        });
        address
    }
}

async fn at(packet: &Option<(Instant, Vec<u8>)>) {
    sleep_until(packet.as_ref().map_or_else(Instant::now, |(at, _)| *at)).await;
}

/// What a client saw while its snapshot came.
struct Seen {
    /// Live updates that were published by then.
    published: usize,
    /// Those of them that had come.
    received: usize,
    /// How late the middle one was.
    median: Duration,
}

/// Recovers a snapshot of 1.2 MB while another channel is live, with so much stream credit.
async fn watch(credit: u32) -> Seen {
    let seed = 7;
    println!("seed {seed}");
    let rules = Rules::with_history(100);
    let stage = Stage::open(rules, |b| b);
    let data = format!("\"{}\"", "x".repeat(12_000));
    for _ in 0..100 {
        stage.site.publish("snapshot", data.clone()).await;
    }
    let line = Line { rate: 500_000.0, delay: Duration::from_millis(10), loss: 100, queue: 32_000.0 };
    let address = line.open(stage.udp, seed).await;
    let mut transport = TransportConfig::default();
    transport.max_concurrent_uni_streams(credit.into());
    let config = stage.config(JSON, transport);
    let connection =
        within(stage.endpoint.connect_with(config, address, "localhost").unwrap()).await.unwrap();
    let (mut send, mut recv) = within(connection.open_bi()).await.unwrap();
    let commands = [
        r#"{"id":1,"connect":{"token":"ada"}}"#,
        r#"{"id":2,"subscribe":{"channel":"live"}}"#,
        r#"{"id":3,"subscribe":{"channel":"snapshot","recover":true,"offset":0}}"#,
    ];
    send.write_all(&frame(Encoding::Json, &commands.join("\n"))).await.unwrap();

    let (heard, mut hears) = unbounded_channel::<(u64, Instant, Vec<u8>)>();
    let control = tokio::spawn({
        let heard = heard.clone();
        async move {
            while let Some(message) = read_message(&mut recv, Encoding::Json).await {
                let _ = heard.send((0, Instant::now(), message));
            }
        }
    });
    let tracks = tokio::spawn({
        let connection = connection.clone();
        async move {
            while let Ok(mut track) = connection.accept_uni().await {
                let heard = heard.clone();
                tokio::spawn(async move {
                    let name = uvarint(&mut track).await.unwrap();
                    while let Some(message) = read_message(&mut track, Encoding::Json).await {
                        let _ = heard.send((name, Instant::now(), message));
                    }
                });
            }
        }
    });
    let began = Instant::now();
    let publishing = tokio::spawn({
        let handle = stage.site.handle.clone();
        async move {
            loop {
                let data = format!(r#"{{"at":{}}}"#, began.elapsed().as_micros());
                handle.publish("live", data).await.unwrap();
                sleep(Duration::from_millis(20)).await;
            }
        }
    });
    let (mut brought, mut late) = (0, Vec::new());
    while brought < 100 {
        let (name, came, message) = within(hears.recv()).await.expect("a message");
        let message: Value = serde_json::from_slice(&message).unwrap();
        brought += message["subscribe"]["publications"].as_array().map_or(0, Vec::len);
        let push = if name == 0 { &message["push"] } else { &message };
        let data = &push["pub"]["data"];
        if let Some(at) = data["at"].as_u64() {
            late.push((came - began).saturating_sub(Duration::from_micros(at)));
        } else if data.is_string() {
            brought += 1;
        }
    }
    let published = (began.elapsed().as_millis() / 20) as usize;
    publishing.abort();
    control.abort();
    tracks.abort();
    connection.close(0u32.into(), b"");
    stage.end().await;
    late.sort();
    let median = late.get(late.len() / 2).copied().unwrap_or_default();
    Seen { published, received: late.len(), median }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_snapshot_does_not_delay_what_is_live() {
    let apart = watch(100).await;
    let together = watch(0).await;
    for (name, Seen { published, received, median }) in [("apart", &apart), ("together", &together)] {
        println!(
            "{name}: {received} of about {published} live updates came before the snapshot, half of them within {median:?}"
        );
    }
    // Three quarters: a packet that is lost holds up those behind it for a moment, on their own stream, too.
    assert!(apart.received * 4 >= apart.published * 3, "{} of {}", apart.received, apart.published);
    assert!(together.received * 4 <= together.published, "{} of {}", together.received, together.published);
}
