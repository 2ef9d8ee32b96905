//! Whether one channel's fan-out uses every core: the server on the in-memory transport, with so many threads.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use tidegate_server::core::memory::{Client, Limits, listener};
use tidegate_server::{Bytes, Handle, Open, Server};
use tokio::sync::{Notify, oneshot};

use crate::Failure;
use crate::distance::Distance;

/// One channel's fan-out with more and more threads.
#[derive(Debug, Default)]
pub(crate) struct Cores {
    pub(crate) rows: Vec<Throughput>,
    /// How far the cores were from each other before and after each measurement with several.
    pub(crate) distances: Vec<Distance>,
}

/// How many deliveries a second there are with so many threads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Throughput {
    pub(crate) threads: usize,
    /// Of all rounds.
    pub(crate) best: f64,
    pub(crate) worst: f64,
}

impl Cores {
    /// Measures with 1, 2, 4 … threads, as far as there are cores, and [`ROUNDS`] times, in turn.
    pub(crate) fn measure() -> Result<Self, Failure> {
        let cores = std::thread::available_parallelism()?.get();
        let counts = (0..).map(|power| 1 << power).take_while(|threads| *threads <= cores);
        let rows = counts.map(|threads| Throughput { threads, best: 0.0, worst: f64::INFINITY }).collect();
        let mut measured = Self { rows, distances: Vec::new() };
        for _ in 0..ROUNDS {
            for row in &mut measured.rows {
                if row.threads > 1 {
                    measured.distances.push(Distance::measure());
                }
                let deliveries = with(row.threads)?;
                row.best = row.best.max(deliveries);
                row.worst = row.worst.min(deliveries);
                if row.threads > 1 {
                    measured.distances.push(Distance::measure());
                }
            }
        }
        Ok(measured)
    }

    /// What more threads than one add at best and at worst, as a part of what one does at best: other load only takes
    /// away from that.
    pub(crate) fn added(&self, row: &Throughput) -> Option<(f64, f64)> {
        let one = self.rows.first().filter(|one| one.threads == 1 && row.threads > 1)?;
        Some((row.best / one.best - 1.0, row.worst / one.best - 1.0))
    }
}

/// What clients have received, and who waits for it.
struct Received {
    /// By those of each worker, which share no cache line with others.
    parts: Vec<Part>,
    wake: Notify,
    stop: AtomicBool,
}

#[derive(Default)]
#[repr(align(128))]
struct Part {
    count: AtomicU64,
    /// The publisher sleeps until there are this many.
    wake_at: AtomicU64,
}

impl Received {
    fn count(&self) -> u64 {
        self.parts.iter().map(|part| part.count.load(Ordering::SeqCst)).sum()
    }
}

fn with(threads: usize) -> Result<f64, Failure> {
    let runtime = tidegate_server::runtime().worker_threads(1).build()?;
    runtime.block_on(async {
        let (listener, address) = listener(Limits::default());
        let server = Server::builder(Open).workers(threads)?.listen(listener).build();
        let (handle, (stop, stopped)) = (server.handle(), oneshot::channel::<()>());
        let running = tokio::spawn(server.run(async move { drop(stopped.await) }));
        let parts = std::iter::repeat_with(Part::default).take(threads).collect();
        let received = Arc::new(Received { parts, wake: Notify::new(), stop: AtomicBool::new(false) });
        let workers = handle.runtimes();
        let mut clients = Vec::new();
        for i in 0..SUBSCRIBERS {
            let mut client = address.connect()?;
            client.send(HELLO).await?;
            for _ in 0..2 {
                let reply = client.recv().await.ok_or("the server closed a connection")?;
                if reply.windows(7).any(|part| part == b"\"error\"") {
                    return Err(format!("the server refused: {}", String::from_utf8_lossy(&reply)).into());
                }
            }
            // Connections are dealt to workers in turn; each client runs beside its own.
            let worker = i as usize % threads;
            clients.push(workers[worker].spawn(read(client, received.clone(), worker)));
        }
        let publisher = workers[0].spawn(publish(handle, received.clone()));
        tokio::time::sleep(WARMUP).await;
        let (begin, before) = (Instant::now(), received.count());
        tokio::time::sleep(MEASURED).await;
        let rate = (received.count() - before) as f64 / begin.elapsed().as_secs_f64();
        received.stop.store(true, Ordering::SeqCst);
        received.wake.notify_one();
        publisher.await??;
        // Dropping a client is its end.
        clients.iter().for_each(|client| client.abort());
        drop(stop);
        running.await?;
        Ok(rate)
    })
}

/// Reads all that comes, and counts it once each time it is woken.
async fn read(mut client: Client, received: Arc<Received>, worker: usize) {
    poll_fn(|cx| {
        let mut came = 0;
        let end = loop {
            match client.poll_recv(cx) {
                Poll::Ready(Some(_)) => came += 1,
                Poll::Ready(None) => break Poll::Ready(()),
                Poll::Pending => break Poll::Pending,
            }
        };
        let Part { count, wake_at } = &received.parts[worker];
        let count = count.fetch_add(came, Ordering::SeqCst) + came;
        if count >= wake_at.load(Ordering::SeqCst) {
            wake_at.store(u64::MAX, Ordering::SeqCst);
            received.wake.notify_one();
        }
        end
    })
    .await;
}

/// Publishes [`AT_ONCE`], waits until all have those before, and so on. With a number in flight instead, twice the
/// threads would deliver sooner and so in smaller writes, and it would be these that are measured; and if it waited for
/// all to have all, each thread would be idle until the last one is done.
async fn publish(handle: Handle, received: Arc<Received>) -> Result<(), Failure> {
    let payload = Bytes::from(format!("\"{}\"", "x".repeat(126)));
    let each = AT_ONCE * SUBSCRIBERS / received.parts.len() as u64;
    let mut before = 0;
    while !received.stop.load(Ordering::SeqCst) {
        for _ in 0..AT_ONCE {
            handle.publish("hot", payload.clone()).await?;
        }
        for Part { count, wake_at } in &received.parts {
            while count.load(Ordering::SeqCst) < before && !received.stop.load(Ordering::SeqCst) {
                wake_at.store(before, Ordering::SeqCst);
                if count.load(Ordering::SeqCst) < before {
                    received.wake.notified().await;
                }
            }
        }
        before += each;
    }
    Ok(())
}

const ROUNDS: usize = 8;
const HELLO: &str = "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"hot\"}}";
/// As many for each thread, whatever power of two their number is.
const SUBSCRIBERS: u64 = 1_024;
const AT_ONCE: u64 = 64;
const WARMUP: Duration = Duration::from_millis(300);
const MEASURED: Duration = Duration::from_millis(1_500);

#[cfg(test)]
mod tests {
    use super::{Cores, Throughput};

    #[test]
    fn what_is_added_is_measured_by_the_best_of_one_thread() {
        let rows = [(1, 100.0, 80.0), (2, 190.0, 130.0)];
        let rows = rows.map(|(threads, best, worst)| Throughput { threads, best, worst }).to_vec();
        let cores = Cores { rows, ..Cores::default() };
        assert_eq!(cores.added(&cores.rows[0]), None);
        let (best, worst) = cores.added(&cores.rows[1]).unwrap();
        assert!((best - 0.9).abs() < 1e-9 && (worst - 0.3).abs() < 1e-9, "{best} {worst}");
    }
}
