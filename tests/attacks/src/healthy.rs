//! Clients that do nothing wrong, and what they notice of an attack.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Deserialize;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::Failure;
use crate::http::{Http, Response, api};
use crate::socket::{Frame, Socket};

/// Clients that read one channel, to which something is published at a steady rate.
#[derive(Debug)]
pub(crate) struct Healthy {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
    publisher: JoinHandle<()>,
}

/// How many, and how often they hear of something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    pub(crate) clients: usize,
    /// Publications in a second.
    pub(crate) rate: u32,
    /// Bytes by which each is larger than it need be.
    pub(crate) padding: usize,
}

impl Default for Crowd {
    fn default() -> Self {
        Self { clients: 200, rate: 20, padding: 0 }
    }
}

/// A part of a run, whose latencies are counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Before = 0,
    During = 1,
}

#[derive(Debug)]
struct Shared {
    begin: Instant,
    /// Publications that the server has taken.
    published: AtomicU64,
    /// Publications that each client has got.
    received: Vec<AtomicU64>,
    part: AtomicUsize,
    latencies: [Mutex<Histogram<u64>>; 2],
    stop: AtomicBool,
    trouble: Mutex<Vec<String>>,
    /// How the server ended clients, by code.
    ends: Mutex<BTreeMap<u16, usize>>,
}

impl Healthy {
    /// Connects and subscribes them, and begins to publish.
    ///
    /// # Errors
    /// One of them is not let in.
    pub(crate) async fn gather(address: SocketAddr, crowd: Crowd) -> Result<Self, Failure> {
        let histogram = || {
            let bounds = Histogram::new_with_bounds(1, LONGEST.as_micros() as u64, 3);
            Mutex::new(bounds.expect("bounds of a minute and three digits are allowed"))
        };
        let shared = Arc::new(Shared {
            begin: Instant::now(),
            published: AtomicU64::new(0),
            received: (0..crowd.clients).map(|_| AtomicU64::new(0)).collect(),
            part: AtomicUsize::new(Part::Before as usize),
            latencies: [histogram(), histogram()],
            stop: AtomicBool::new(false),
            trouble: Mutex::default(),
            ends: Mutex::default(),
        });
        let mut clients = JoinSet::new();
        for index in 0..crowd.clients {
            let mut socket = Socket::connected(address).await?;
            socket.subscribe(CHANNEL).await?;
            clients.spawn(read(socket, index, shared.clone()));
        }
        let http = Http::open(address).await?;
        let publisher = tokio::spawn(publish(address, http, crowd, shared.clone()));
        Ok(Self { shared, clients, publisher })
    }

    /// From now on, latencies are counted here.
    pub(crate) fn enter(&self, part: Part) {
        self.shared.part.store(part as usize, Ordering::Relaxed);
    }

    /// A quantile of the latencies of a part, in milliseconds.
    pub(crate) fn latency(&self, part: Part, quantile: f64) -> f64 {
        self.shared.latencies[part as usize].lock().expect("nobody panics").value_at_quantile(quantile) as f64
            / 1000.0
    }

    /// Publications so far.
    pub(crate) fn published(&self) -> u64 {
        self.shared.published.load(Ordering::Relaxed)
    }

    /// Waits until `more` publications have been made from now on.
    pub(crate) async fn after(&self, more: u64) {
        let until = self.published() + more;
        let begin = Instant::now();
        while self.published() < until && begin.elapsed() < ALL_READ {
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// How the server has ended clients, by code.
    pub(crate) fn ends(&self) -> BTreeMap<u16, usize> {
        self.shared.ends.lock().expect("nobody panics").clone()
    }

    /// Publishes no more, waits until everybody has read everything, lets them go, and returns what was wrong.
    pub(crate) async fn finish(mut self) -> Vec<String> {
        self.shared.stop.store(true, Ordering::Relaxed);
        if (&mut self.publisher).await.is_err() {
            self.shared.complain("the publisher failed");
        }
        let published = self.published();
        let missing =
            || self.shared.received.iter().filter(|n| n.load(Ordering::Relaxed) < published).count();
        let begin = Instant::now();
        while missing() > 0 && begin.elapsed() < ALL_READ {
            sleep(Duration::from_millis(5)).await;
        }
        let missing = missing();
        if missing > 0 {
            self.shared.complain(format!(
                "{missing} healthy clients have not got all {published} publications after {ALL_READ:?}"
            ));
        }
        self.clients.shutdown().await;
        std::mem::take(&mut *self.shared.trouble.lock().expect("nobody panics"))
    }
}

impl Shared {
    fn complain(&self, what: impl Into<String>) {
        self.trouble.lock().expect("nobody panics").push(what.into());
    }

    fn now(&self) -> u64 {
        self.begin.elapsed().as_micros() as u64
    }
}

/// Publishes until told to stop, or until the server takes no more because it stops.
async fn publish(address: SocketAddr, mut http: Http, crowd: Crowd, shared: Arc<Shared>) {
    let padding = "p".repeat(crowd.padding);
    let mut ticks = interval(Duration::from_secs(1) / crowd.rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for n in 1u64.. {
        ticks.tick().await;
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let body =
            format!(r#"{{"channel":"{CHANNEL}","data":{{"n":{n},"at":{},"p":"{padding}"}}}}"#, shared.now());
        let call = api("publish", &body);
        let mut answered = ask(&mut http, &call).await;
        // A server short of descriptors may close what is silent, as between two publications.
        if answered.is_err()
            && let Ok(again) = Http::open(address).await
        {
            http = again;
            answered = ask(&mut http, &call).await;
        }
        match answered {
            Ok(response) if response.text().starts_with("{\"result\"") => {
                shared.published.store(n, Ordering::Relaxed);
            }
            // 108: it stops, and has said so.
            Ok(response) if response.text().contains("108") => return,
            Ok(response) => return shared.complain(format!("publication {n}: {response:?}")),
            Err(error) if shared.stop.load(Ordering::Relaxed) => {
                let _ = error;
                return;
            }
            Err(error) => return shared.complain(format!("publication {n}: {error}")),
        }
    }
}

async fn ask(http: &mut Http, call: &str) -> std::io::Result<Response> {
    http.write(call).await?;
    http.response().await
}

/// Reads, answers pings, and checks that nothing is missing, doubled or out of order.
async fn read(mut socket: Socket, index: usize, shared: Arc<Shared>) {
    #[derive(Deserialize)]
    struct Reply {
        push: Option<Push>,
    }
    #[derive(Deserialize)]
    struct Push {
        r#pub: Option<Publication>,
    }
    #[derive(Deserialize)]
    struct Publication {
        data: Data,
    }
    #[derive(Deserialize)]
    struct Data {
        n: u64,
        at: u64,
    }

    let mut expected = 1;
    loop {
        let text = match socket.next().await {
            Ok(Frame::Text(text)) => text,
            Ok(Frame::Close(code, _)) => {
                *shared.ends.lock().expect("nobody panics").entry(code).or_default() += 1;
                // 3001: it stops, and everything was read; whether that is so, the count tells.
                return if code != 3001 {
                    shared.complain(format!("client {index} was closed: {code}"))
                };
            }
            Ok(_) => continue,
            Err(error) => return shared.complain(format!("client {index} has lost its connection: {error}")),
        };
        if text == b"{}" {
            if socket.text("{}").await.is_err() {
                return shared.complain(format!("client {index} cannot answer a ping"));
            }
            continue;
        }
        match serde_json::from_slice::<Reply>(&text) {
            Ok(Reply { push: Some(Push { r#pub: Some(Publication { data }) }) }) => {
                let latency = shared.now().saturating_sub(data.at);
                let part = &shared.latencies[shared.part.load(Ordering::Relaxed)];
                // Saturating: what lasts longer than a histogram goes counts as its longest.
                part.lock().expect("nobody panics").saturating_record(latency);
                if data.n != expected {
                    shared
                        .complain(format!("client {index}: expected publication {expected}, got {}", data.n));
                }
                expected = data.n + 1;
                shared.received[index].store(data.n, Ordering::Relaxed);
            }
            _ => shared.complain(format!("client {index} got {}", String::from_utf8_lossy(&text))),
        }
    }
}

/// What they read.
pub(crate) const CHANNEL: &str = "healthy";
/// The longest latency that is told from others.
const LONGEST: Duration = Duration::from_secs(60);
/// How long they may take to read everything.
const ALL_READ: Duration = Duration::from_secs(10);
