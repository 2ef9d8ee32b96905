use std::sync::{Arc, Mutex};

use tokio::task::{JoinSet, yield_now};

use super::{RANK, Ranks};

#[tokio::test]
async fn between_two_ranks_all_others_have_their_turn() {
    let ranks = Arc::new(Ranks::default());
    let turns = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = JoinSet::new();
    let calling = ranks.clone();
    tasks.spawn(async move { calling.run().await });
    yield_now().await;
    for _ in 0..3 * RANK {
        let (ranks, turns) = (ranks.clone(), turns.clone());
        tasks.spawn(async move {
            ranks.turn().await;
            turns.lock().unwrap().push("new");
        });
    }
    let seen = turns.clone();
    tasks.spawn(async move {
        while seen.lock().unwrap().iter().filter(|who| **who == "new").count() < 3 * RANK {
            seen.lock().unwrap().push("there");
            // To the end of the queue.
            super::all_others().await;
        }
    });
    while Arc::strong_count(&turns) > 1 {
        yield_now().await;
    }
    let turns = turns.lock().unwrap();
    let longest = turns.split(|who| *who == "there").map(<[_]>::len).max();
    assert!(longest <= Some(RANK), "{turns:?}");
}

#[tokio::test]
async fn where_nobody_calls_them_nobody_waits() {
    let ranks = Arc::new(Ranks::default());
    let calling = ranks.clone();
    let caller = tokio::spawn(async move { calling.run().await });
    yield_now().await;
    for _ in 0..RANK {
        ranks.turn().await;
    }
    let late = ranks.clone();
    let late = tokio::spawn(async move { late.turn().await });
    caller.abort();
    late.await.unwrap();
    for _ in 0..10 * RANK {
        ranks.turn().await;
    }
}
