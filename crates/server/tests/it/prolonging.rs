//! Lives that the server prolongs, and clients do not know of.

use std::time::Duration;

use tidegate_server::core::{Disconnect, Refreshed, SubscribeGrant};
use tokio::time::{Instant, sleep};

use crate::site::{Rules, Site, farewell, push, unix_now};

fn until(expire_at: i64) -> Refreshed {
    Refreshed { expire_at, ..Default::default() }
}

#[tokio::test(start_paused = true)]
async fn a_connection_goes_on_for_as_long_as_it_is_said() {
    let grant = SubscribeGrant { presence: true, ..Default::default() };
    let rules = Rules { grant, life: 60, ..Default::default() };
    let info = Refreshed { info: Some("9".into()), ..until(unix_now() + 60) };
    rules.lives.lock().unwrap().extend([Ok(info), Ok(until(unix_now() + 60))]);
    let site = Site::start(rules, |b| b);
    let mut ada = site.knock();
    let connected = ada.connect("ada").await;
    assert!(
        connected["connect"]["expires"].is_null() && connected["connect"]["ttl"].is_null(),
        "{connected}"
    );
    ada.subscribe("news").await;
    let present = |info: &str| {
        format!(r#"{{"id":3,"presence":{{"presence":{{"ME":{{"user":"ada","client":"ME"{info}}}}}}}}}"#)
    };
    let ask = r#"{"id":3,"presence":{"channel":"news"}}"#;
    ada.ask(ask, &[&present("")]).await;
    let begun = Instant::now();
    assert_eq!(ada.hear_awake_until(begun + Duration::from_secs(62)).await, None);
    // Others know of it at once.
    ada.say(ask).await;
    assert_eq!(ada.hear_awake().await, present(r#","conn_info":9"#));
    for end in farewell(3005, "connection expired") {
        assert_eq!(ada.hear_awake().await, end);
    }
    let diary = ["ada connected", "ada refreshed", "ada refreshed", "ada refreshed"];
    assert_eq!(site.rules.diary.read()[..4], diary);
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_question_that_takes_long_holds_nothing_up() {
    let rules = Rules { life: 5, delay: Duration::from_secs(7), ..Default::default() };
    rules.lives.lock().unwrap().push_back(Err(Disconnect::new(4001, "go").into()));
    let site = Site::start(rules, |b| b);
    let mut ada = site.client("ada").await;
    sleep(Duration::from_secs(6)).await;
    assert_eq!(site.rules.diary.read().last().unwrap(), "ada refreshed");
    let asked = Instant::now();
    ada.ask(r#"{"id":3,"rpc":{"data":1}}"#, &[r#"{"id":3,"rpc":{"data":1}}"#]).await;
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    for expected in [r#"{"push":{"disconnect":{"code":4001,"reason":"go"}}}"#, "end 4001 go"] {
        assert_eq!(ada.hear_awake().await, expected);
    }
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_subscription_goes_on_for_as_long_as_it_is_said() {
    // It has expired whenever somebody looks.
    let grant = SubscribeGrant { presence: true, expire_at: 1, ..Default::default() };
    let rules = Rules { grant, ..Default::default() };
    let info = Refreshed { info: Some("8".into()), ..until(1) };
    rules.lives.lock().unwrap().extend([Ok(info), Ok(until(1))]);
    let site = Site::start(rules, |b| b);
    let mut ada = site.client("ada").await;
    let subscribed = ada.subscribe("news").await;
    assert!(subscribed["subscribe"]["expires"].is_null(), "{subscribed}");
    let ended = push("news", r#""unsubscribe":{"code":2501,"reason":"subscription expired"}"#);
    assert_eq!(ada.hear_awake().await, ended);
    let asked = ["ada connected", "ada refreshed in news", "ada refreshed in news", "ada refreshed in news"];
    assert_eq!(site.rules.diary.read(), asked);
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_said_of_a_subscription_that_has_ended_is_not_of_the_next() {
    let grant = SubscribeGrant { expire_at: 1, ..Default::default() };
    let rules = Rules { grant, delay: Duration::from_secs(5), ..Default::default() };
    let site = Site::start(rules, |b| b);
    let mut ada = site.client("ada").await;
    ada.subscribe("news").await;
    while site.rules.diary.read().len() < 2 {
        let soon = Instant::now() + Duration::from_millis(100);
        assert_eq!(ada.hear_awake_until(soon).await, None);
    }
    ada.ask(r#"{"id":4,"unsubscribe":{"channel":"news"}}"#, &[r#"{"id":4,"unsubscribe":{}}"#]).await;
    ada.subscribe("news").await;
    let begun = Instant::now();
    let ended = push("news", r#""unsubscribe":{"code":2501,"reason":"subscription expired"}"#);
    assert_eq!(ada.hear_awake().await, ended);
    assert!(begun.elapsed() > Duration::from_secs(20), "{:?}", begun.elapsed());
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_refresh_ends_that_connection_alone() {
    let site = Site::start(Rules { life: 5, delay: Duration::from_secs(60), ..Default::default() }, |b| b);
    let mut other = site.client("other").await;
    let mut ada = site.client("panics in refresh").await;
    assert_eq!(ada.hear_awake().await, farewell(3004, "internal server error")[0]);
    other.ask(r#"{"id":3,"rpc":{"data":1}}"#, &[r#"{"id":3,"rpc":{"data":1}}"#]).await;
    drop((ada, other));
    site.end().await;
}
