//! One client's slowness is its own.

use std::time::Duration;

use tidegate_server::Settings;
use tokio::time::Instant;

use crate::site::{Rules, Site, push, settle};

#[tokio::test(start_paused = true)]
async fn a_stalled_neighbour_costs_nobody_a_moment() {
    let settings = Settings { ping_interval: Duration::ZERO, ..Default::default() };
    let site = Site::start(Rules::default(), |b| b.settings(settings));
    let mut stalled = Vec::new();
    for _ in 0..20 {
        let mut guest = site.client("stalled").await;
        guest.subscribe("news").await;
        stalled.push(guest);
    }
    let mut guest = site.client("ada").await;
    guest.subscribe("news").await;
    let since = Instant::now();
    for i in 0..100 {
        let data = format!("\"{i} {}\"", "x".repeat(2000));
        site.publish("news", data.clone()).await;
        guest.hears(&[&push("news", &format!(r#""pub":{{"data":{data}}}"#))]).await;
    }
    assert_eq!(since.elapsed(), Duration::ZERO);
    // Twenty cursors, one window.
    let used = site.handle.hub().budget().used();
    assert!(used < 100 * 2600, "{used}");
    // They wake up, and have missed nothing.
    for guest in &mut stalled {
        for i in 0..100 {
            let message = guest.hear().await;
            assert!(message.contains(&format!("\"{i} xx")), "{i}: {message}");
        }
    }
    settle().await;
    assert_eq!(site.handle.hub().budget().used(), 0);
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_its_replies_is_not_read_either() {
    let settings = Settings { ping_interval: Duration::ZERO, ..Default::default() };
    let site = Site::start(Rules::default(), |b| b.settings(settings));
    let mut guest = site.client("ada").await;
    let rpc = format!(r#"{{"id":2,"rpc":{{"data":"{}"}}}}"#, "x".repeat(1000));
    let mut taken = 0;
    while let Ok(sent) = tokio::time::timeout(Duration::from_secs(1), guest.wire.send(rpc.clone())).await {
        sent.unwrap();
        taken += 1;
        assert!(taken < 200, "the server takes requests without end");
    }
    // 64 KiB of replies, and what is under way in each direction.
    assert!(taken >= 64, "{taken}");
    let mut replies = 0;
    while replies < taken {
        assert_eq!(guest.hear().await.len(), rpc.len());
        replies += 1;
    }
    site.end().await;
}
