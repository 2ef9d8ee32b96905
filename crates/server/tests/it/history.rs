//! Positions, recovery, and no gap or duplicate between history and what is live.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_server::Settings;
use tidegate_server::core::{ExactRouter, SkipToOldest, Window};

use crate::late::Late;
use crate::site::{Dice, Guest, Rules, Site, settle};

/// Subscribes to `news`, from `recover` on, and returns the result with the epoch checked and taken out.
async fn subscribe(guest: &mut Guest, recover: &str) -> Value {
    guest.say(&format!(r#"{{"id":2,"subscribe":{{"channel":"news"{recover}}}}}"#)).await;
    let reply = loop {
        let message = guest.hear().await;
        if message.starts_with(r#"{"id":2"#) {
            break message;
        }
    };
    let mut reply: Value = serde_json::from_str(&reply).unwrap();
    reply["subscribe"].take()
}

#[track_caller]
fn check(mut result: Value, epoch: &str, expected: Value) {
    let object = result.as_object_mut().expect("a result");
    assert_eq!(object.remove("epoch"), Some(json!(epoch)));
    assert_eq!(object.remove("recoverable"), Some(json!(true)));
    assert_eq!(object.remove("positioned"), Some(json!(true)));
    assert_eq!(result, expected);
}

#[tokio::test(start_paused = true)]
async fn recovery_succeeds_when_all_that_was_missed_is_kept() {
    let site = Site::start(Rules::with_history(5), |b| b);
    let mut guest = site.client("ada").await;
    let first = subscribe(&mut guest, "").await;
    let epoch = first["epoch"].as_str().expect("an epoch").to_owned();
    check(first, &epoch, json!({}));
    for i in 1..=8 {
        site.publish("news", i.to_string()).await;
    }
    let publications =
        |from: u64| -> Vec<Value> { (from..=8).map(|i| json!({"data": i, "offset": i})).collect() };
    // Kept: 4 to 8.
    for (offset, of, expected) in [
        (8, &*epoch, json!({"recovered": true, "was_recovering": true, "offset": 8})),
        (
            7,
            &*epoch,
            json!({"recovered": true, "was_recovering": true, "offset": 7, "publications": publications(8)}),
        ),
        (
            3,
            &*epoch,
            json!({"recovered": true, "was_recovering": true, "offset": 3, "publications": publications(4)}),
        ),
        (
            3,
            "",
            json!({"recovered": true, "was_recovering": true, "offset": 3, "publications": publications(4)}),
        ),
        (2, &*epoch, json!({"was_recovering": true, "offset": 8})),
        (9, &*epoch, json!({"was_recovering": true, "offset": 8})),
        (8, "other", json!({"was_recovering": true, "offset": 8})),
        (0, &*epoch, json!({"was_recovering": true, "offset": 8})),
    ] {
        let mut guest = site.client("bob").await;
        let recover = format!(r#","recover":true,"offset":{offset},"epoch":"{of}""#);
        let result = subscribe(&mut guest, &recover).await;
        println!("offset {offset} of {of:?}: {result}");
        check(result, &epoch, expected);
        // What comes next is next, whatever was recovered.
        site.handle.hub().broker().ready().await.unwrap();
    }
    // Without recovery, the reply says where the stream is.
    let mut guest = site.client("eve").await;
    check(subscribe(&mut guest, "").await, &epoch, json!({"offset": 8}));
    site.publish("news", "9").await;
    let push: Value = serde_json::from_str(&guest.hear().await).unwrap();
    assert_eq!(push["push"]["pub"], json!({"data": 9, "offset": 9}));
    // Refused where the client would rather know.
    let mut guest = site.client("dan").await;
    guest
        .ask(
            r#"{"id":3,"subscribe":{"channel":"news","recover":true,"offset":1,"flag":2}}"#,
            &[r#"{"id":3,"error":{"code":112,"message":"unrecoverable position"}}"#],
        )
        .await;
    // And may be tried again.
    check(subscribe(&mut guest, "").await, &epoch, json!({"offset": 9}));
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn no_more_is_recovered_than_may_be() {
    let settings = Settings { recovery_limit: 3, ..Default::default() };
    let site = Site::start(Rules::with_history(10), |b| b.settings(settings));
    for i in 1..=6 {
        site.publish("news", i.to_string()).await;
    }
    for (offset, recovered) in [(6, true), (3, true), (2, false), (0, false)] {
        let mut guest = site.client("ada").await;
        let result = subscribe(&mut guest, &format!(r#","recover":true,"offset":{offset}"#)).await;
        assert_eq!(result["recovered"] == json!(true), recovered, "{offset}: {result}");
        assert_eq!(
            result["publications"].as_array().map_or(0, Vec::len),
            if recovered { 6 - offset } else { 0 }
        );
    }
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_history_page_is_bounded() {
    let settings = Settings { history_limit: 3, ..Default::default() };
    let site = Site::start(Rules::with_history(10), |b| b.settings(settings));
    for i in 1..=6 {
        site.publish("news", i.to_string()).await;
    }
    let mut guest = site.client("ada").await;
    for (request, offsets) in [
        ("", vec![]),
        (r#","limit":2"#, vec![1, 2]),
        (r#","limit":-1"#, vec![1, 2, 3]),
        (r#","limit":100"#, vec![1, 2, 3]),
        (r#","limit":2,"since":{"offset":4}"#, vec![5, 6]),
        (r#","limit":2,"reverse":true"#, vec![6, 5]),
        (r#","limit":2,"reverse":true,"since":{"offset":4}"#, vec![3, 2]),
        (r#","limit":2,"reverse":true,"since":{"offset":7}"#, vec![6, 5]),
        // The stream has not come to where the page would begin.
        (r#","limit":2,"reverse":true,"since":{"offset":8}"#, vec![]),
    ] {
        guest.say(&format!(r#"{{"id":5,"history":{{"channel":"news"{request}}}}}"#)).await;
        let reply: Value = serde_json::from_str(&guest.hear().await).unwrap();
        let got: Vec<_> = reply["history"]["publications"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["offset"].clone())
            .collect();
        assert_eq!(got, offsets, "{request}");
        assert_eq!(reply["history"]["offset"], 6);
    }
    guest
        .ask(
            r#"{"id":6,"history":{"channel":"news","limit":1,"since":{"offset":1,"epoch":"other"}}}"#,
            &[r#"{"id":6,"error":{"code":112,"message":"unrecoverable position"}}"#],
        )
        .await;
    guest
        .ask(
            r#"{"id":7,"history":{"channel":"news","limit":1,"since":{},"reverse":true}}"#,
            &[r#"{"id":7,"error":{"code":107,"message":"bad request"}}"#],
        )
        .await;
    site.end().await;
}

/// A client that comes and goes, recovers, and asserts that it got every offset once and in order.
async fn follow(site: &Site, mut dice: Dice, last: u64, seed: u64) -> BTreeMap<u64, u64> {
    let mut got = BTreeMap::new();
    let mut offset = 0;
    let mut epoch = String::new();
    while offset < last {
        let mut guest = site.client(&format!("user {}", dice.below(5))).await;
        let recover = format!(r#","recover":true,"offset":{offset},"epoch":"{epoch}""#);
        let result = subscribe(&mut guest, &recover).await;
        assert_eq!(result["recovered"], json!(true), "seed {seed} at {offset}: {result}");
        epoch = result["epoch"].as_str().unwrap().to_owned();
        let take = |publication: &Value, offset: &mut u64, got: &mut BTreeMap<u64, u64>| {
            let at = publication["offset"].as_u64().unwrap();
            assert_eq!(at, *offset + 1, "seed {seed}: {publication} after {offset}");
            *offset = at;
            got.insert(at, publication["data"].as_u64().unwrap());
        };
        for publication in result["publications"].as_array().into_iter().flatten() {
            take(publication, &mut offset, &mut got);
        }
        for _ in 0..dice.below(20) {
            if offset >= last {
                break;
            }
            let message: Value = serde_json::from_str(&guest.hear_awake().await).unwrap();
            take(&message["push"]["pub"], &mut offset, &mut got);
        }
        if dice.below(3) == 0 {
            tokio::time::sleep(Duration::from_millis(dice.below(30))).await;
        }
    }
    got
}

/// Publishes 1..=400 while clients come, go and recover.
async fn check_continuity(seed: u64) {
    println!("seed {seed}");
    let mut dice = Dice::new(seed);
    let site = Site::start(Rules::with_history(400), |b| {
        b.broker(Late::new(seed)).settings(Settings { recovery_limit: 400, ..Default::default() })
    });
    let publisher = {
        let (handle, options) = (site.handle.clone(), site.rules.options());
        let mut dice = Dice::new(seed + 7777);
        async move {
            for i in 1..=400 {
                let publication = tidegate_server::core::Publication::new(i.to_string());
                handle.publish_with(&"news".into(), publication, &options).await.unwrap();
                match dice.below(4) {
                    0 => tokio::time::sleep(Duration::from_millis(dice.below(10))).await,
                    1 => tokio::task::yield_now().await,
                    _ => {}
                }
            }
        }
    };
    let followers = async {
        let followers =
            (0..10).map(|i| follow(&site, Dice::new(seed * 100 + dice.below(1000) + i), 400, seed));
        futures_util::future::join_all(followers).await
    };
    let (_, followed) = futures_util::future::join(publisher, followers).await;
    for got in followed {
        assert_eq!(got.len(), 400, "seed {seed}");
        assert!(got.iter().all(|(offset, data)| offset == data), "seed {seed}");
    }
    settle().await;
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn history_and_live_meet_without_gap_or_duplicate() {
    for seed in 0..15 {
        check_continuity(seed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_reply_stood_for_is_not_missed() {
    let mut rules = Rules::with_history(10);
    (rules.grant.recoverable, rules.grant.positioned) = (false, false);
    rules.grant.policy = Arc::new(SkipToOldest);
    let window = Window { entries: 4, ..Window::default() };
    let site = Site::start(rules, |b| {
        let router = |fanout, budget| ExactRouter::new(Box::new(move |_: &_| window), fanout, budget);
        b.router(router).broker(Late::new(1))
    });
    let mut guest = site.client_with("ada", "tidegate_notices=true").await;
    guest.say(r#"{"id":2,"subscribe":{"channel":"news"}}"#).await;
    tokio::time::sleep(Duration::from_millis(2)).await;
    for i in 1..=2 {
        site.publish("news", i.to_string()).await;
    }
    // Who does not rely on offsets does not wait for the history, either: nothing was stood for by the reply.
    assert_eq!(guest.hear().await, r#"{"id":2,"subscribe":{}}"#);
    for i in 1..=2 {
        let push: Value = serde_json::from_str(&guest.hear().await).unwrap();
        assert_eq!(push["push"]["pub"]["data"], json!(i));
    }
    // More than the window holds, before the subscriber reads.
    for i in 3..=8 {
        site.publish("news", i.to_string()).await;
    }
    let notice: Value = serde_json::from_str(&guest.hear().await).unwrap();
    assert_eq!(notice["push"]["message"]["data"]["tidegate"]["gap"]["missed"], json!(2), "{notice}");
    for i in 5..=8 {
        let push: Value = serde_json::from_str(&guest.hear().await).unwrap();
        assert_eq!(push["push"]["pub"]["data"], json!(i));
    }
    site.end().await;
}

/// The push of a subscription cannot carry publications: they follow it.
#[tokio::test(start_paused = true)]
async fn what_a_call_recovers_comes_as_pushes() {
    let site = Site::start(Rules::with_history(10), |b| b);
    for i in 1..=4 {
        site.publish("news", i.to_string()).await;
    }
    let mut guest = site.client("ada").await;
    let target = tidegate_server::Target { user: "ada".into(), ..Default::default() };
    let mut call = crate::site::call("news");
    call.recover_since = Some((2, "".into()));
    site.handle.subscribe(&target, call);
    let subscribed: Value = serde_json::from_str(&guest.hear().await).unwrap();
    assert_eq!(subscribed["push"]["subscribe"]["offset"], json!(2), "{subscribed}");
    site.publish("news", "5").await;
    for i in 3..=5 {
        let push: Value = serde_json::from_str(&guest.hear().await).unwrap();
        assert_eq!(push["push"]["pub"], json!({"data": i, "offset": i}));
    }
    site.end().await;
}
