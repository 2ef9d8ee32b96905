//! The node's health reaches every client that asks for it.

use std::time::Duration;

use tidegate_server::Settings;
use tidegate_server::core::Health;
use tokio::time::Instant;

use crate::site::{Guest, Rules, Site, settle};

const ASKS: &str = "tidegate_notices=true";

fn told(health: &str) -> String {
    format!(r#"{{"push":{{"message":{{"data":{{"tidegate":{{"health":"{health}"}}}}}}}}}}"#)
}

#[tokio::test(start_paused = true)]
async fn a_thousand_watchers_of_which_ten_have_stalled() {
    let settings = Settings { ping_interval: Duration::ZERO, ..Default::default() };
    let site = Site::start(Rules::default(), |b| b.settings(settings));
    let mut watchers = Vec::new();
    for i in 0..1000 {
        watchers.push(site.client_with(&format!("user {i}"), ASKS).await);
    }
    let mut stalled = watchers.split_off(990);
    for guest in &mut stalled {
        guest.subscribe("news").await;
    }
    for _ in 0..10 {
        site.publish("news", format!("\"{}\"", "x".repeat(2000))).await;
    }
    settle().await;
    // They are owed replies, too: health goes before these.
    for guest in &mut stalled {
        guest.say(r#"{"id":7,"rpc":{"data":1}}"#).await;
    }
    settle().await;
    let since = Instant::now();
    let states =
        [(Health::Degraded, "degraded"), (Health::Serving, "serving"), (Health::Draining, "draining")];
    for (health, name) in states {
        site.handle.broadcast_health(health);
        for guest in &mut watchers {
            guest.hears(&[&told(name)]).await;
        }
    }
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    for guest in &mut stalled {
        let heard = guest.hear_all().await;
        let health = heard.iter().position(|message| message.contains("health")).expect("a notice");
        let reply = heard.iter().position(|message| message.contains(r#""id":7"#)).expect("a reply");
        // Before it: what the socket had taken, and the rest of what that cut.
        assert!(health <= 2 && health < reply, "{health} {reply}");
        assert_eq!(heard[health], told("draining"));
        assert_eq!(heard.iter().filter(|message| message.contains("health")).count(), 1);
        assert_eq!(heard.len(), 12);
    }
    // The same again is no news; who connects now is told with the connect reply.
    site.handle.broadcast_health(Health::Draining);
    assert_eq!(watchers[0].hear_all().await, Vec::<String>::new());
    site.client_with("late", ASKS).await.hears(&[&told("draining")]).await;
    site.end().await;
}

/// Who is connecting is told after its connect reply, whenever the state changes.
#[tokio::test(start_paused = true)]
async fn who_is_sent_away_at_once_hears_why_first() {
    let site = Site::start(Rules::default(), |b| b);
    let mut watcher = site.client_with("ada", ASKS).await;
    let stopping = site.stop();
    watcher.hears(&[&told("draining"), r#"{"push":{"disconnect":{"code":3001,"reason":"shutdown"}}}"#]).await;
    drop(watcher);
    stopping.wait().await;
}

#[tokio::test(start_paused = true)]
async fn no_notice_comes_before_the_connect_reply() {
    let rules = Rules { channels: vec!["slow"], delay: Duration::from_secs(1), ..Rules::default() };
    let site = Site::start(rules, |b| b);
    let mut guest = site.knock_with(ASKS);
    guest.say(r#"{"id":1,"connect":{"token":"ada"}}"#).await;
    settle().await;
    for health in [Health::Draining, Health::Degraded] {
        site.handle.broadcast_health(health);
        settle().await;
    }
    assert!(guest.hear().await.starts_with(r#"{"id":1,"connect""#));
    guest.hears(&[&told("degraded")]).await;
    assert_eq!(guest.hear_all().await, Vec::<String>::new());
    site.end().await;
}

/// Broadcasters may race: what every client hears last is what holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_latest_state_wins_whoever_broadcasts() {
    let site = Site::start(Rules::default(), |b| b);
    let mut watchers = Vec::new();
    for i in 0..20 {
        watchers.push(site.client_with(&format!("user {i}"), ASKS).await);
    }
    let reading = watchers.into_iter().map(|guest| tokio::spawn(last(guest)));
    let reading: Vec<_> = reading.collect();
    let threads = [Health::Degraded, Health::Serving].map(|health| {
        let handle = site.handle.clone();
        std::thread::spawn(move || (0..300).for_each(|_| handle.broadcast_health(health)))
    });
    for thread in threads {
        thread.join().unwrap();
    }
    let holds = match site.handle.hub().health() {
        Health::Serving => "serving",
        Health::Degraded => "degraded",
        Health::Draining => "draining",
    };
    for i in 0..20 {
        let target = tidegate_server::Target { user: format!("user {i}"), ..Default::default() };
        assert_eq!(site.handle.send(&target, "\"last\""), 1);
    }
    for guest in reading {
        let (guest, last) = guest.await.unwrap();
        assert_eq!(last, told(holds));
        drop(guest);
    }
    site.end().await;
}

/// The state that was heard last before the last message.
async fn last(mut guest: Guest) -> (Guest, String) {
    let mut last = told("serving");
    loop {
        match guest.hear().await {
            message if message.contains("health") => last = message,
            message if message.contains("last") => return (guest, last),
            _ => {}
        }
    }
}
