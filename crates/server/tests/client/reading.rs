use std::time::Duration;

use tidegate_client::{CallError, Event, GapCause, Overflow};

use crate::site::{Rules, Site, data, live, next};

#[tokio::test]
async fn of_a_slow_reader_the_oldest_go_and_are_counted() {
    let site = Site::start(Rules::default());
    let client = site.client();
    let mut news = client.subscription("news").buffer(10, 1 << 20).subscribe().unwrap();
    live(&mut news).await;
    for n in 0..100 {
        client.publish("news", n.to_string()).await.unwrap();
    }
    let Event::Gap(gap) = next(&mut news).await else { panic!("a gap") };
    assert_eq!((gap.missed, gap.cause), (Some(90), GapCause::SlowReader));
    for n in 90..100 {
        assert_eq!(data(&mut news).await, n.to_string());
    }
    site.stop().await;
}

#[tokio::test]
async fn a_slow_reader_that_recovers_loses_nothing_and_holds_up_nobody() {
    let site = Site::start(Rules::with_history(1000));
    let client = site.client();
    let slow = client.subscription("news").buffer(10, 1 << 20).overflow(Overflow::Recover);
    let mut slow = slow.subscribe().unwrap();
    live(&mut slow).await;
    for n in 0..200 {
        // Answered although the queue is full.
        client.publish("news", n.to_string()).await.unwrap();
    }
    let mut left = 0;
    let mut expected = 0;
    while expected < 200 {
        match next(&mut slow).await {
            Event::Publication(publication) => {
                assert_eq!(publication.data, expected.to_string());
                expected += 1;
            }
            Event::Subscribing(why) => {
                assert_eq!(why.code, 50);
                left += 1;
            }
            Event::Subscribed(subscribed) => assert!(subscribed.recovered),
            other => panic!("{other:?}"),
        }
    }
    assert!(left >= 1, "the buffer is smaller than what was published");
    site.stop().await;
}

#[tokio::test]
async fn without_history_there_is_nothing_to_recover_and_the_oldest_go() {
    let site = Site::start(Rules::default());
    let client = site.client();
    let news = client.subscription("news").buffer(10, 1 << 20).overflow(Overflow::Recover);
    let mut news = news.subscribe().unwrap();
    live(&mut news).await;
    for n in 0..50 {
        client.publish("news", n.to_string()).await.unwrap();
    }
    let Event::Gap(gap) = next(&mut news).await else { panic!("a gap") };
    assert_eq!(gap.missed, Some(40));
    site.stop().await;
}

#[tokio::test(start_paused = true)]
async fn who_is_waited_for_holds_up_the_connection_until_it_reads() {
    let site = Site::start(Rules::with_history(1000));
    let client = site.client();
    let news = client.subscription("news").buffer(10, 1 << 20).overflow(Overflow::Wait);
    let mut news = news.subscribe().unwrap();
    live(&mut news).await;
    for n in 0..50 {
        site.publish("news", n.to_string()).await;
    }
    let stuck = client.rpc("echo", "1").await;
    assert_eq!(stuck, Err(CallError::Timeout), "its answer stands behind what is not read");
    for n in 0..50 {
        assert_eq!(data(&mut news).await, n.to_string());
    }
    client.rpc("echo", "1").await.expect("it goes on");
}

#[tokio::test]
async fn a_dropped_read_loses_nothing() {
    let site = Site::start(Rules::default());
    let client = site.client();
    let mut news = client.subscribe("news").unwrap();
    live(&mut news).await;
    let mut expected = 0;
    for n in 0..300_u32 {
        client.publish("news", n.to_string()).await.unwrap();
        // Cut at another moment each time.
        let read = async {
            tokio::time::sleep(Duration::from_micros(u64::from(n % 5))).await;
            next(&mut news).await
        };
        tokio::select! {
            biased;
            event = read => {
                let Event::Publication(publication) = event else { panic!("{event:?}") };
                assert_eq!(publication.data, expected.to_string());
                expected += 1;
            }
            () = tokio::task::yield_now() => {}
        }
    }
    while expected < 300 {
        assert_eq!(data(&mut news).await, expected.to_string());
        expected += 1;
    }
    site.stop().await;
}
