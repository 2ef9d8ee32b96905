use tokio::runtime::Builder;

/// The runtime for a server: tokio's, with many threads, as the binary has it. More may be set before it is built.
///
/// A thread of tokio has a queue for 256 tasks that are ready. Those for which there is no room go into one that all
/// share, which a thread by default looks at five thousand times a second: where hundreds of clients flood, each
/// thing that another one does then waits for up to a tenth of a second there. This one takes from both in turn. It
/// costs nothing that can be measured: the common queue is empty nearly always.
///
/// ```no_run
/// # use tidegate_server::{Open, Server};
/// let runtime = tidegate_server::runtime().build()?;
/// runtime.block_on(Server::builder(Open).build().run(std::future::pending()));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn runtime() -> Builder {
    let mut builder = Builder::new_multi_thread();
    builder.enable_all().global_queue_interval(2);
    builder
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Poll;

    use super::runtime;

    /// How long one of so many tasks, all of which are always ready, waits for its turn at most: the turns of others.
    fn longest_wait(tasks: usize) -> usize {
        let turns = Arc::new(AtomicUsize::new(0));
        let one = |turns: Arc<AtomicUsize>| async move {
            let (mut last, mut longest) = (0, 0);
            poll_fn(|cx| {
                let now = turns.fetch_add(1, Ordering::Relaxed);
                // At first, none has had a turn.
                if last > 0 {
                    longest = longest.max(now - last);
                }
                last = now;
                if now > 100 * tasks {
                    return Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
            longest
        };
        let runtime = runtime().worker_threads(1).build().unwrap();
        let all: Vec<_> = (0..tasks).map(|_| runtime.spawn(one(turns.clone()))).collect();
        runtime.block_on(async {
            let mut longest = 0;
            for task in all {
                longest = longest.max(task.await.unwrap());
            }
            longest
        })
    }

    #[test]
    fn nobody_waits_long_where_more_are_ready_than_a_thread_has_room_for() {
        for tasks in [100, 300, 400] {
            let longest = longest_wait(tasks);
            assert!(longest < 4 * tasks, "of {tasks}, one waited for {longest} turns of others");
        }
    }
}
