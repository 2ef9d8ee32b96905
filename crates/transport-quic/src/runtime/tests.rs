use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use quinn::Runtime;
use tokio::task::yield_now;

use super::{PortRuntime, READS, Task};

type Turns = Arc<Mutex<Vec<&'static str>>>;

/// A task that has something to do for so many turns, and writes each down.
fn busy(name: &'static str, count: usize, turns: &Turns) -> Task {
    let (turns, mut had) = (turns.clone(), 0);
    Box::pin(poll_fn(move |cx| {
        turns.lock().unwrap().push(name);
        had += 1;
        if had == count {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }))
}

#[tokio::test]
async fn who_reads_has_many_turns_in_one_and_others_have_theirs_between() {
    let (runtime, turns) = (PortRuntime::default(), Turns::default());
    runtime.spawn(busy("reader", READS + 1, &turns));
    runtime.spawn(busy("other", 2, &turns));
    while turns.lock().unwrap().len() < READS + 3 {
        yield_now().await;
    }
    let expected: Vec<_> = std::iter::repeat_n("reader", READS).chain(["other", "reader", "other"]).collect();
    assert_eq!(*turns.lock().unwrap(), expected);
}

#[tokio::test]
async fn who_reads_is_woken_from_outside() {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let (told, heard) = tokio::sync::oneshot::channel();
    PortRuntime::default().spawn(Box::pin(async move {
        let word: u8 = receiver.await.expect("it is sent");
        told.send(word).expect("it is waited for");
    }));
    yield_now().await;
    sender.send(7).expect("it is waited for");
    assert_eq!(heard.await, Ok(7));
}
