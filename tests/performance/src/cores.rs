//! Whether one channel's fan-out uses every core: the server on the in-memory transport, with so many threads.

use std::collections::BTreeMap;
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

/// How many deliveries a second there are with so many threads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Throughput {
    pub(crate) threads: usize,
    pub(crate) deliveries: f64,
    /// How far the cores were from each other meanwhile; `None` with one thread, to which it is the same.
    pub(crate) distance: Option<Distance>,
}

/// Measures with 1, 2, 4 … threads, as far as there are cores, and [`ROUNDS`] times, in turn.
///
/// How far the cores are from each other changes under a virtual machine, and with it what several of them do
/// together: where it changed meanwhile, nothing is said.
pub(crate) fn measure() -> Result<Vec<Throughput>, Failure> {
    let cores = std::thread::available_parallelism()?.get();
    let counts: Vec<usize> = (0..).map(|power| 1 << power).take_while(|threads| *threads <= cores).collect();
    let mut all = Vec::new();
    for _ in 0..ROUNDS {
        for &threads in &counts {
            let before = (threads > 1).then(Distance::measure);
            let deliveries = with(threads)?;
            let after = (threads > 1).then(Distance::measure);
            if before.map(Distance::is_near) == after.map(Distance::is_near) {
                all.push(Throughput { threads, deliveries, distance: before.max(after) });
            }
        }
    }
    Ok(best(&all))
}

/// The best of those with as many threads and cores as near: other load only takes away. In the order of threads,
/// and near before far.
fn best(all: &[Throughput]) -> Vec<Throughput> {
    let mut best: BTreeMap<(usize, bool), Throughput> = BTreeMap::new();
    for some in all {
        let far = some.distance.is_some_and(|distance| !distance.is_near());
        let kept = best.entry((some.threads, far)).or_insert(*some);
        if kept.deliveries < some.deliveries {
            *kept = *some;
        }
    }
    best.into_values().collect()
}

/// What more threads add, as a part of what the first one does by itself.
pub(crate) fn adds(more: &Throughput, measured: &[Throughput]) -> Option<f64> {
    let one = measured.iter().find(|some| some.threads == 1)?;
    Some(more.deliveries / one.deliveries - 1.0)
}

/// What clients have received, and who waits for it.
#[derive(Default)]
struct Received {
    count: AtomicU64,
    /// The publisher sleeps until there are this many.
    wake_at: AtomicU64,
    wake: Notify,
    stop: AtomicBool,
}

fn with(threads: usize) -> Result<f64, Failure> {
    let runtime = tidegate_server::runtime().worker_threads(threads).build()?;
    runtime.block_on(async {
        let (listener, address) = listener(Limits::default());
        let server = Server::builder(Open).listen(listener).build();
        let (handle, (stop, stopped)) = (server.handle(), oneshot::channel::<()>());
        let running = tokio::spawn(server.run(async move { drop(stopped.await) }));
        let received = Arc::new(Received::default());
        let mut clients = Vec::new();
        for _ in 0..SUBSCRIBERS {
            let mut client = address.connect()?;
            client.send(HELLO).await?;
            for _ in 0..2 {
                let reply = client.recv().await.ok_or("the server closed a connection")?;
                if reply.windows(7).any(|part| part == b"\"error\"") {
                    return Err(format!("the server refused: {}", String::from_utf8_lossy(&reply)).into());
                }
            }
            clients.push(tokio::spawn(read(client, received.clone())));
        }
        let publisher = tokio::spawn(publish(handle, received.clone()));
        tokio::time::sleep(WARMUP).await;
        let (begin, before) = (Instant::now(), received.count.load(Ordering::SeqCst));
        tokio::time::sleep(MEASURED).await;
        let deliveries = (received.count.load(Ordering::SeqCst) - before) as f64;
        let rate = deliveries / begin.elapsed().as_secs_f64();
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
async fn read(mut client: Client, received: Arc<Received>) {
    poll_fn(|cx| {
        let mut came = 0;
        let end = loop {
            match client.poll_recv(cx) {
                Poll::Ready(Some(_)) => came += 1,
                Poll::Ready(None) => break Poll::Ready(()),
                Poll::Pending => break Poll::Pending,
            }
        };
        let count = received.count.fetch_add(came, Ordering::SeqCst) + came;
        if count >= received.wake_at.load(Ordering::SeqCst) {
            received.wake_at.store(u64::MAX, Ordering::SeqCst);
            received.wake.notify_one();
        }
        end
    })
    .await;
}

/// Publishes [`AT_ONCE`], waits until all have them, and so on: with a number in flight instead, twice the threads
/// would deliver sooner and so in smaller writes, and it would be these that are measured.
async fn publish(handle: Handle, received: Arc<Received>) -> Result<(), Failure> {
    let payload = Bytes::from(format!("\"{}\"", "x".repeat(126)));
    let mut all = 0;
    while !received.stop.load(Ordering::SeqCst) {
        for _ in 0..AT_ONCE {
            handle.publish("hot", payload.clone()).await?;
        }
        all += AT_ONCE * SUBSCRIBERS;
        while received.count.load(Ordering::SeqCst) < all && !received.stop.load(Ordering::SeqCst) {
            received.wake_at.store(all, Ordering::SeqCst);
            if received.count.load(Ordering::SeqCst) < all {
                received.wake.notified().await;
            }
        }
    }
    Ok(())
}

const ROUNDS: usize = 8;
const HELLO: &str = "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"hot\"}}";
const SUBSCRIBERS: u64 = 1_000;
const AT_ONCE: u64 = 64;
const WARMUP: Duration = Duration::from_millis(300);
const MEASURED: Duration = Duration::from_millis(1_500);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Throughput, adds, best};
    use crate::distance::Distance;

    fn throughput(threads: usize, deliveries: f64, nanoseconds: Option<u64>) -> Throughput {
        let distance = nanoseconds.map(|time| Distance(Duration::from_nanos(time)));
        Throughput { threads, deliveries, distance }
    }

    #[test]
    fn the_best_counts_and_near_cores_are_told_from_far_ones() {
        let all = [
            throughput(1, 90.0, None),
            throughput(2, 120.0, Some(205)),
            throughput(1, 100.0, None),
            throughput(2, 190.0, Some(25)),
            throughput(2, 130.0, Some(190)),
            throughput(2, 170.0, Some(40)),
        ];
        let best = best(&all);
        let found: Vec<(usize, f64)> = best.iter().map(|some| (some.threads, some.deliveries)).collect();
        assert_eq!(found, [(1, 100.0), (2, 190.0), (2, 130.0)]);
        let added: Vec<f64> = best.iter().map(|more| adds(more, &best).unwrap()).collect();
        assert!(added.iter().zip([0.0, 0.9, 0.3]).all(|(found, expected)| (found - expected).abs() < 1e-9));
        assert_eq!(adds(&best[1], &[]), None);
    }
}
