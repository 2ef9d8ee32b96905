use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidegate_client::{ClientEvent, Event, Health, TokenError};
use tokio::time::Instant;

use crate::site::{Rules, Site, data, event, live, next, quick, until};

/// Tokens that count: t1, t2, …
fn tokens() -> (Arc<AtomicUsize>, impl Fn() -> std::future::Ready<Result<String, TokenError>> + Clone) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    (count, move || {
        let n = counted.fetch_add(1, Ordering::Relaxed) + 1;
        std::future::ready(Ok(format!("t{n}")))
    })
}

#[tokio::test(start_paused = true)]
async fn tokens_are_refreshed_while_everything_goes_on() {
    let site = Site::start(Rules { life: 10, ..Rules::default() });
    let (count, source) = tokens();
    let client = quick(&site.url()).token_source(source).connect().unwrap();
    let mut news = client.subscribe("news").unwrap();
    live(&mut news).await;
    let begun = Instant::now();
    until(|| site.rules.refreshed.lock().unwrap().len() >= 3).await;
    assert!(begun.elapsed() >= Duration::from_secs(24), "{:?}", begun.elapsed());
    assert_eq!(site.rules.refreshed.lock().unwrap()[..3], ["t2", "t3", "t4"]);
    assert!(count.load(Ordering::Relaxed) >= 4);
    site.publish("news", "1").await;
    assert!(matches!(next(&mut news).await, Event::Publication(_)), "the same subscription as before");
}

#[tokio::test(start_paused = true)]
async fn subscription_tokens_are_refreshed_too() {
    let site = Site::start(Rules { life: 10, ..Rules::default() });
    let (_, source) = tokens();
    let client = quick(&site.url()).token_source(source.clone()).connect().unwrap();
    let mut private =
        client.subscription("private").token("expired").token_source(source).subscribe().unwrap();
    live(&mut private).await;
    // Of two connections and subscriptions, each token is counted once.
    until(|| site.rules.refreshed.lock().unwrap().len() >= 4).await;
    site.publish("private", "1").await;
    assert!(matches!(next(&mut private).await, Event::Publication(_)), "the same subscription as before");
}

#[tokio::test]
async fn an_expired_token_is_replaced() {
    let site = Site::start(Rules::default());
    let (count, source) = tokens();
    let client = quick(&site.url()).token("expired").token_source(source).connect().unwrap();
    client.connected().await.unwrap();
    assert_eq!(count.load(Ordering::Relaxed), 1);
    site.stop().await;
}

#[tokio::test(start_paused = true)]
async fn pings_keep_the_connection_for_hours() {
    let site = Site::start(Rules::default());
    let client = site.client();
    let mut events = client.events();
    client.connected().await.unwrap();
    tokio::time::sleep(Duration::from_secs(4 * 3600)).await;
    client.rpc("echo", "1").await.unwrap();
    client.disconnect().await;
    let mut states = Vec::new();
    while let Some(event) = events.next().await {
        states.push(event);
    }
    let words: Vec<_> =
        states.iter().map(|event| format!("{event:?}").split('(').next().unwrap().to_owned()).collect();
    assert!(!words[1..].contains(&"Connecting".to_owned()), "{words:?}");
}

#[tokio::test]
async fn health_and_the_drain_are_told() {
    let site = Site::start(Rules::default());
    let client = site.client();
    let mut events = client.events();
    client.connected().await.unwrap();
    site.handle.broadcast_health(tidegate_server::core::Health::Degraded);
    let health = |event| match event {
        ClientEvent::Health(health) => Some(health),
        _ => None,
    };
    while event(&mut events, health).await != Health::Degraded {}
    let (_, draining) = tokio::join!(site.stop(), async {
        while event(&mut events, health).await != Health::Draining {}
        let connecting = |event| match event {
            ClientEvent::Connecting(why) => Some(why.code),
            _ => None,
        };
        event(&mut events, connecting).await
    });
    assert_eq!(draining, 3001);
}

#[tokio::test]
async fn what_the_server_subscribes_to_comes_as_events_of_the_client() {
    let site = Site::start(Rules { channels: vec!["mine"], ..Rules::with_history(10) });
    let client = site.client();
    let mut events = client.events();
    let mine = |event| match event {
        ClientEvent::Channel { channel, event } => {
            assert_eq!(channel, "mine");
            Some(event)
        }
        _ => None,
    };
    assert!(matches!(event(&mut events, mine).await, Event::Subscribed(how) if how.recoverable));
    site.publish("mine", "1").await;
    assert!(
        matches!(event(&mut events, mine).await, Event::Publication(publication) if publication.offset == 1)
    );
    site.stop().await;
}

#[tokio::test]
async fn patches_filters_and_presence_are_for_who_asks() {
    let mut rules = Rules::with_history(100);
    rules.grant.delta = true;
    rules.grant.announce = true;
    rules.grant.join_leave = true;
    let site = Site::start(rules);
    for encoding in crate::site::ENCODINGS {
        let channel = format!("{encoding:?}");
        let client = quick(&site.url()).encoding(encoding).connect().unwrap();
        let mut news = client.subscription(&channel).delta().join_leave().subscribe().unwrap();
        live(&mut news).await;
        let text = |n: u32| format!(r#"{{"long":"{}","n":{n}}}"#, "abcdefghijklmnopqrstuvwxyz".repeat(8));
        for n in 0..10 {
            site.publish(&channel, text(n)).await;
        }
        for n in 0..10 {
            assert_eq!(data(&mut news).await, text(n), "{encoding:?}");
        }
        let other = quick(&site.url()).token("bob").connect().unwrap();
        let others = other.subscribe(&channel).unwrap();
        let who = loop {
            if let Event::Join(info) = next(&mut news).await {
                break info.user;
            }
        };
        assert_eq!(who, "bob", "the own join came before the publications");
        drop((others, other));
        while !matches!(next(&mut news).await, Event::Leave(_)) {}
    }
    site.stop().await;
}
