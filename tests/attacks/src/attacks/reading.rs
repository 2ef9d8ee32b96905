//! Clients that read little or nothing of much.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::io::AsyncReadExt as _;
use tokio::time::{sleep, timeout};

use crate::Failure;
use crate::attack::{Attack, Field};
use crate::http::{Http, api};
use crate::server::Launch;
use crate::socket::{Knock, Socket};

fn hasty(launch: &mut Launch) {
    launch.set("websocket.write_timeout", "200ms");
    launch.set("client.stalled_close_delay", "2s");
    launch.set("client.queue_max_size", 256 << 10);
}

fn stingy() -> Knock {
    Knock { receive_buffer: Some(4096), ..Knock::default() }
}

/// Publishes 4 KiB about 100 times a second until `enough`, for 30 s at most.
async fn busy(field: &Field, mut enough: impl FnMut() -> bool) -> Result<(), Failure> {
    let mut http = Http::open(field.address).await?;
    let body = format!(r#"{{"channel":"busy","data":"{}"}}"#, "x".repeat(4096));
    let begin = Instant::now();
    while !enough() && begin.elapsed() < Duration::from_secs(30) {
        http.write(api("publish", &body)).await?;
        http.response().await?;
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Never reads.
pub(crate) struct Never;

#[async_trait]
impl Attack for Never {
    fn name(&self) -> &'static str {
        "reading-never"
    }

    fn about(&self) -> &'static str {
        "50 subscribers of a busy channel never read"
    }

    fn prepare(&self, launch: &mut Launch) {
        hasty(launch);
    }

    fn memory(&self) -> u64 {
        8 << 10
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let mut sockets = Vec::new();
        for _ in 0..50 {
            let mut socket = Socket::connected_as(field.address, &stingy()).await?;
            socket.subscribe("busy").await?;
            sockets.push(socket);
        }
        let begin = Instant::now();
        busy(field, || begin.elapsed() > Duration::from_secs(4)).await?;
        field.closes(3008, 50, Duration::from_secs(5)).await
    }
}

/// Reads a byte a second.
pub(crate) struct Trickling;

#[async_trait]
impl Attack for Trickling {
    fn name(&self) -> &'static str {
        "reading-trickling"
    }

    fn about(&self) -> &'static str {
        "20 subscribers of a busy channel read a byte a second: that is no progress"
    }

    fn quick(&self) -> bool {
        false
    }

    fn prepare(&self, launch: &mut Launch) {
        hasty(launch);
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let mut readers = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let mut socket = Socket::connected_as(field.address, &stingy()).await?;
            socket.subscribe("busy").await?;
            readers.spawn(async move {
                let mut byte = [0];
                while socket.stream.read(&mut byte).await.is_ok_and(|read| read > 0) {
                    sleep(Duration::from_secs(1)).await;
                }
            });
        }
        let begin = Instant::now();
        busy(field, || begin.elapsed() > Duration::from_secs(8)).await?;
        field.closes(3008, 20, Duration::from_secs(5)).await
    }
}

/// Reads just enough to look alive, on a channel that is quiet enough for it never to be far behind.
pub(crate) struct Barely;

#[async_trait]
impl Attack for Barely {
    fn name(&self) -> &'static str {
        "reading-barely"
    }

    fn about(&self) -> &'static str {
        "20 clients ask for much history, and read 4 KiB of it every half second: no writer may be stuck for it"
    }

    fn quick(&self) -> bool {
        false
    }

    fn prepare(&self, launch: &mut Launch) {
        let namespace = "channel.without_namespace";
        launch.set(&format!("{namespace}.history_size"), 100);
        launch.set(&format!("{namespace}.history_ttl"), "1h");
        launch.set(&format!("{namespace}.allow_history_for_client"), true);
        launch.set(&format!("{namespace}.allow_history_for_anonymous"), true);
    }

    fn memory(&self) -> u64 {
        // For each of the 20 a reply that is being written and one that waits, in buffers of 512 KiB, twice
        // while these grow, and the common bound.
        56 << 10
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let mut http = Http::open(field.address).await?;
        let body = format!(r#"{{"channel":"kept","data":"{}"}}"#, "x".repeat(4096));
        for _ in 0..100 {
            http.write(api("publish", &body)).await?;
            http.response().await?;
        }
        let mut sockets = Vec::new();
        for _ in 0..20 {
            let mut socket = Socket::connected_as(field.address, &stingy()).await?;
            for id in 2..1002 {
                let ask = format!(r#"{{"id":{id},"history":{{"channel":"kept","limit":-1}}}}"#);
                // When the server reads no more, it is right.
                if timeout(Duration::from_millis(200), socket.text(&ask)).await.is_err() {
                    break;
                }
            }
            sockets.push(socket);
        }
        let mut bytes = vec![0; 4096];
        for _ in 0..10 {
            for socket in &mut sockets {
                let _ = timeout(Duration::from_millis(10), socket.stream.read(&mut bytes)).await;
            }
            sleep(Duration::from_millis(500)).await;
        }
        Ok(())
    }
}

/// Never answers a ping.
pub(crate) struct Pongless;

#[async_trait]
impl Attack for Pongless {
    fn name(&self) -> &'static str {
        "pong-never"
    }

    fn about(&self) -> &'static str {
        "100 clients read, and never answer a ping, some of them talking all the time"
    }

    fn prepare(&self, launch: &mut Launch) {
        launch.set("client.ping_interval", "2s");
        launch.set("client.pong_timeout", "500ms");
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let mut clients = tokio::task::JoinSet::new();
        for index in 0..100 {
            let mut socket = Socket::connected(field.address).await?;
            clients.spawn(async move {
                // Other traffic does not stand for a pong.
                if index % 2 == 0 {
                    for id in 2..30 {
                        let ask = format!(r#"{{"id":{id},"rpc":{{}}}}"#);
                        if socket.text(&ask).await.is_err() {
                            break;
                        }
                        sleep(Duration::from_millis(100)).await;
                    }
                }
                socket.end(Duration::from_secs(8)).await
            });
        }
        let ends = clients.join_all().await;
        let right = ends.iter().filter(|end| end.code() == 3012).count();
        field.same("closed with 3012", 100, right);
        field.closes(3012, 100, Duration::from_secs(1)).await
    }
}

/// Is cut off from the network without a word.
pub(crate) struct HalfOpen;

#[async_trait]
impl Attack for HalfOpen {
    fn name(&self) -> &'static str {
        "half-open"
    }

    fn about(&self) -> &'static str {
        "the wire of 100 subscribers is cut: no packet comes or goes, and nobody says so"
    }

    fn network(&self) -> Option<&'static [&'static str]> {
        Some(&["10.9.0.1/32", "10.9.0.2/32"])
    }

    fn prepare(&self, launch: &mut Launch) {
        launch.set("http_server.address", "0.0.0.0");
        launch.set("client.ping_interval", "2s");
        launch.set("client.pong_timeout", "1s");
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let knock = Knock { from: Some([10, 9, 0, 2].into()), ..Knock::default() };
        let mut sockets = Vec::new();
        for _ in 0..100 {
            let mut socket = Socket::connected_as(field.address, &knock).await?;
            socket.subscribe("healthy").await?;
            sockets.push(socket);
        }
        crate::network::cut("10.9.0.2")?;
        field.closes(3012, 100, Duration::from_secs(10)).await
    }
}

/// Pings without end.
pub(crate) struct Pings;

#[async_trait]
impl Attack for Pings {
    fn name(&self) -> &'static str {
        "ping-flood"
    }

    fn about(&self) -> &'static str {
        "1 million WebSocket pings of 125 bytes, from a client that does not read and from one that does"
    }

    fn prepare(&self, launch: &mut Launch) {
        launch.set("client.stalled_close_delay", "3s");
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let pings = crate::socket::frame(crate::socket::PING, true, &[b'p'; 125]).repeat(1000);
        let count = field.times(100, 1000);
        let mut silent = Socket::connected_as(field.address, &stingy()).await?;
        for _ in 0..count {
            if !matches!(timeout(Duration::from_millis(500), silent.raw(&pings)).await, Ok(Ok(()))) {
                break;
            }
        }
        // Over `client.control_frame_limit`: closed, whether it reads that or not.
        field.closes(3013, 1, Duration::from_secs(10)).await?;
        let reading = Socket::connected(field.address).await?;
        let (mut read, mut write) = reading.stream.into_split();
        let answers = tokio::spawn(async move {
            let mut bytes = vec![0; 64 << 10];
            let mut total = 0;
            while let Ok(n @ 1..) = read.read(&mut bytes).await {
                total += n;
            }
            total
        });
        for _ in 0..count {
            if tokio::io::AsyncWriteExt::write_all(&mut write, &pings).await.is_err() {
                break;
            }
        }
        drop(write);
        let answered = timeout(Duration::from_secs(30), answers).await.map_or(0, |total| total.unwrap_or(0));
        field.check("who reads", "pongs, or a close", format!("{answered} bytes"), answered > 0);
        Ok(())
    }
}
