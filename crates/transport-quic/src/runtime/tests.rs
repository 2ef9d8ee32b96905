use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use quinn::Runtime;
use tokio::sync::oneshot;
use tokio::task::yield_now;

use super::{PortRuntime, READS, TURNS, Task};

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

async fn run(turns: &Turns, count: usize) -> Vec<&'static str> {
    while turns.lock().unwrap().len() < count {
        yield_now().await;
    }
    turns.lock().unwrap().clone()
}

#[tokio::test]
async fn who_reads_has_many_turns_in_one_and_others_have_theirs_between() {
    let (runtime, turns) = (PortRuntime::default(), Turns::default());
    runtime.spawn(busy("reader", READS + 1, &turns));
    runtime.spawn(busy("other", 2, &turns));
    let expected = [vec!["reader"; READS], vec!["other", "reader", "other"]].concat();
    assert_eq!(run(&turns, READS + 3).await, expected);
}

#[tokio::test]
async fn connections_let_the_port_be_read_on_between_their_turns() {
    let (runtime, turns) = (PortRuntime::default(), Turns::default());
    runtime.spawn(busy("reader", 2 * READS, &turns));
    for _ in 0..TURNS + 1 {
        runtime.spawn(busy("other", 1, &turns));
    }
    let expected = [vec!["reader"; READS], vec!["other"; TURNS], vec!["reader"; READS], vec!["other"]];
    assert_eq!(run(&turns, 2 * READS + TURNS + 1).await, expected.concat());
}

#[tokio::test]
async fn who_reads_is_woken_from_outside_and_ends() {
    let (sender, receiver) = oneshot::channel();
    let (told, heard) = oneshot::channel();
    let runtime = PortRuntime::default();
    runtime.spawn(Box::pin(async move {
        let word: u8 = receiver.await.expect("it is sent");
        told.send(word).expect("it is waited for");
    }));
    yield_now().await;
    sender.send(7).expect("it is waited for");
    assert_eq!(heard.await, Ok(7));
    let turns = Turns::default();
    runtime.spawn(busy("other", 2 * TURNS, &turns));
    assert_eq!(run(&turns, 2 * TURNS).await, vec!["other"; 2 * TURNS]);
}
