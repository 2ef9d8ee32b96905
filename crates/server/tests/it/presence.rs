//! Joins, leaves and presence, by an authenticator that grants them.

use std::time::Duration;

use tidegate_server::core::SubscribeGrant;

use crate::site::{Rules, Site, push, settle};

fn rules() -> Rules {
    let grant = SubscribeGrant {
        presence: true,
        announce: true,
        join_leave: true,
        info: "7".into(),
        ..Default::default()
    };
    Rules { grant, ..Rules::default() }
}

#[tokio::test(start_paused = true)]
async fn joins_and_leaves_come_in_order() {
    let site = Site::start(rules(), |b| b);
    let mut ada = site.client("ada").await;
    let info =
        |user: &str, id: &str| format!(r#"{{"info":{{"user":"{user}","client":"{id}","chan_info":7}}}}"#);
    let own = push("news", &format!(r#""join":{}"#, info("ada", "ME")));
    // The own join comes after the reply.
    ada.ask(r#"{"id":2,"subscribe":{"channel":"news"}}"#, &[r#"{"id":2,"subscribe":{}}"#, &own]).await;
    let mut bob = site.client("bob").await;
    bob.say(r#"{"id":2,"subscribe":{"channel":"news"}}"#).await;
    let joined = push("news", &format!(r#""join":{}"#, info("bob", &bob.id)));
    ada.hears(&[&joined]).await;
    bob.hear().await;
    bob.hear().await;
    // The own leave does not come; the other's does, by command, by the server and by vanishing.
    let left = push("news", &format!(r#""leave":{}"#, info("bob", &bob.id)));
    bob.ask(r#"{"id":3,"unsubscribe":{"channel":"news"}}"#, &[r#"{"id":3,"unsubscribe":{}}"#]).await;
    assert_eq!(bob.hear_all().await, Vec::<String>::new());
    ada.hears(&[&left]).await;
    bob.subscribe("news").await;
    ada.hears(&[&joined]).await;
    let target = tidegate_server::Target { user: "bob".into(), ..Default::default() };
    site.handle.unsubscribe(&target, &"news".into(), None);
    ada.hears(&[&left]).await;
    bob.hear_all().await;
    bob.subscribe("news").await;
    ada.hears(&[&joined]).await;
    drop(bob);
    ada.hears(&[&left]).await;
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn presence_lists_who_is_there_for_as_long_as_they_are() {
    let site = Site::start(rules(), |b| b);
    let mut ada = site.client("ada").await;
    let mut also = site.client("ada").await;
    ada.subscribe("news").await;
    also.subscribe("news").await;
    settle().await;
    ada.hear_all().await;
    let stats = r#"{"id":3,"presence_stats":{"channel":"news"}}"#;
    ada.ask(stats, &[r#"{"id":3,"presence_stats":{"num_clients":2,"num_users":1}}"#]).await;
    ada.say(r#"{"id":4,"presence":{"channel":"news"}}"#).await;
    let reply: serde_json::Value = serde_json::from_str(&ada.hear().await).unwrap();
    let present = &reply["presence"]["presence"];
    assert_eq!(present["ME"], serde_json::json!({"user": "ada", "client": "ME", "chan_info": 7}));
    assert_eq!(present[&also.id]["client"], also.id);
    // Told again in time: an hour later they are still listed.
    let reading = tokio::spawn(async move { while also.hear_awake().await.contains("push") {} });
    let until = tokio::time::Instant::now() + Duration::from_secs(600);
    while tokio::time::Instant::now() < until {
        let ping = ada.hear().await;
        assert_eq!(ping, "{}");
        ada.say("{}").await;
    }
    ada.ask(stats, &[r#"{"id":3,"presence_stats":{"num_clients":2,"num_users":1}}"#]).await;
    reading.abort();
    let _ = reading.await;
    settle().await;
    ada.hear_all().await;
    ada.ask(stats, &[r#"{"id":3,"presence_stats":{"num_clients":1,"num_users":1}}"#]).await;
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn who_is_sent_away_for_its_position_leaves() {
    let mut rules = rules();
    rules.channels = vec!["news"];
    rules.grant.positioned = true;
    rules.grant.policy = std::sync::Arc::new(tidegate_server::core::EndSubscription {
        beyond: tidegate_server::core::Lag::bytes(1000),
    });
    let site = Site::start(rules, |b| b);
    let mut ada = site.client("ada").await;
    ada.hear_all().await;
    let present = async || {
        let now = tokio::time::Instant::now().into_std();
        site.handle.hub().broker().presence(&"news".into(), now).await.unwrap().len()
    };
    assert_eq!(present().await, 1);
    for _ in 0..2 {
        site.publish("news", format!("\"{}\"", "x".repeat(600))).await;
    }
    assert_eq!(ada.hear_all().await.last().unwrap(), "end 3010 insufficient state");
    settle().await;
    assert_eq!(present().await, 0);
    drop(ada);
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn who_has_not_joined_does_not_leave() {
    let mut rules = Rules { channels: vec!["news", "slow"], ..rules() };
    rules.delay = Duration::from_secs(3);
    let site = Site::start(rules, |b| b);
    let mut ada = site.client("ada").await;
    ada.hear_all().await;
    // It is subscribed to the first channel, and sent away before it is to the second.
    let mut bob = site.knock();
    bob.say(r#"{"id":1,"connect":{"token":"bob"}}"#).await;
    settle().await;
    let target = tidegate_server::Target { user: "bob".into(), ..Default::default() };
    assert_eq!(site.handle.disconnect(&target, None), 1);
    bob.hear_all().await;
    assert_eq!(ada.hear_all().await, Vec::<String>::new());
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(ada.hear_all().await, Vec::<String>::new());
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn who_is_subscribed_publishes_as_it_is_known_in_the_channel() {
    let grant = SubscribeGrant { info: "7".into(), ..Default::default() };
    let site = Site::start(Rules { grant, ..Rules::default() }, |b| b);
    let mut ada = site.client("ada").await;
    let publish = r#"{"id":3,"publish":{"channel":"news","data":1}}"#;
    let reply = r#"{"id":3,"publish":{}}"#;
    ada.subscribe("news").await;
    let own = push("news", r#""pub":{"data":1,"info":{"user":"ada","client":"ME","chan_info":7}}"#);
    ada.ask(publish, &[&own, reply]).await;
    // Who is not subscribed has no info of the channel's.
    let mut bob = site.client("bob").await;
    bob.ask(publish, &[reply]).await;
    let info = format!(r#""pub":{{"data":1,"info":{{"user":"bob","client":"{}"}}}}"#, bob.id);
    ada.hears(&[&push("news", &info)]).await;
    site.end().await;
}
