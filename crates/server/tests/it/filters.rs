//! Subscribers that want a part of a channel, and what it costs the others.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_server::Settings;
use tidegate_server::core::{ExactRouter, Publication, SkipToOldest, SubscribeGrant, Window};

use crate::site::{Dice, Guest, Rules, Site, settle};

/// Tags filters are allowed, and nobody is too slow.
fn rules(history: usize) -> Rules {
    let rules = if history > 0 { Rules::with_history(history) } else { Rules::default() };
    let grant = SubscribeGrant { filter: true, policy: Arc::new(SkipToOldest), ..rules.grant.clone() };
    Rules { grant, ..rules }
}

fn tagged(data: u64, kind: &str) -> Publication {
    let tags = BTreeMap::from([("kind".to_owned(), kind.to_owned())]);
    Publication { tags: Some(Arc::new(tags)), ..Publication::new(data.to_string()) }
}

async fn publish(site: &Site, publication: Publication) {
    site.handle.publish_with(&"news".into(), publication, &site.rules.options()).await.expect("it is taken");
}

/// Subscribes to publications of a kind, from `recover` on, and returns the result.
async fn subscribe(guest: &mut Guest, kind: &str, recover: &str) -> Value {
    let tf = format!(r#"{{"key":"kind","cmp":"eq","val":"{kind}"}}"#);
    guest.say(&format!(r#"{{"id":2,"subscribe":{{"channel":"news","tf":{tf}{recover}}}}}"#)).await;
    let reply = guest.hear().await;
    serde_json::from_str::<Value>(&reply).expect("JSON")["subscribe"].take()
}

fn payload(message: &str) -> Option<u64> {
    let message: Value = serde_json::from_str(message).ok()?;
    message["push"]["pub"]["data"].as_u64()
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_is_not_woken_for_what_it_does_not_want() {
    let site = Site::start(rules(0), |b| b);
    let mut guest = site.client("ada").await;
    subscribe(&mut guest, "a", "").await;
    settle().await;
    let figures = || site.handle.channels()[0].1;
    for i in 0..100 {
        publish(&site, tagged(i, "b")).await;
        // Nobody has become one who has something to read.
        assert_eq!((figures().subscribers, figures().behind, figures().entries), (1, 0, 0));
    }
    publish(&site, tagged(100, "a")).await;
    assert_eq!(figures().behind, 1);
    assert_eq!(payload(&guest.hear().await), Some(100));
    settle().await;
    assert_eq!((figures().behind, figures().head.publications), (0, 1));
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn filters_of_one_channel_count_as_one_and_go_with_their_readers() {
    let site = Site::start(rules(0), |b| b);
    let mut guests = Vec::new();
    for kind in ["a", "a", "b"] {
        let mut guest = site.client("ada").await;
        subscribe(&mut guest, kind, "").await;
        guests.push(guest);
    }
    let mut plain = site.client("bob").await;
    plain.subscribe("news").await;
    let channels =
        || site.handle.channels().iter().map(|(_, figures)| figures.subscribers).collect::<Vec<_>>();
    assert_eq!(channels(), [4]);
    for guest in &mut guests {
        guest.ask(r#"{"id":3,"unsubscribe":{"channel":"news"}}"#, &[r#"{"id":3,"unsubscribe":{}}"#]).await;
    }
    assert_eq!(channels(), [1]);
    drop(plain);
    settle().await;
    assert_eq!(channels(), [0; 0]);
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_gap_counts_what_was_wanted() {
    let window = Window { entries: 4, ..Window::default() };
    for (logs, missed) in [(8, 6), (0, 16)] {
        let site = Site::start(rules(0), |b| {
            b.router(|fanout, budget| {
                ExactRouter::with_filters(Box::new(move |_| window), fanout, budget, logs)
            })
        });
        let mut guest = site.client_with("ada", "tidegate_notices=true").await;
        subscribe(&mut guest, "a", "").await;
        settle().await;
        // All at once, before the subscriber reads.
        for i in 0..20 {
            publish(&site, tagged(i, if i % 2 == 0 { "a" } else { "b" })).await;
        }
        let notice: Value = serde_json::from_str(&guest.hear().await).unwrap();
        let gap = &notice["push"]["message"]["data"]["tidegate"]["gap"];
        // A subscriber that filters itself knows only the most that it can have been.
        assert_eq!(gap["missed"], json!(missed), "{logs} logs");
        let got: Vec<_> = guest.hear_all().await.iter().filter_map(|message| payload(message)).collect();
        assert_eq!(got, if logs > 0 { vec![12, 14, 16, 18] } else { vec![16, 18] });
        site.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn recovery_brings_what_is_wanted() {
    for logs in [8, 0] {
        let site = Site::start(rules(20), |b| {
            b.router(|fanout, budget| {
                ExactRouter::with_filters(Box::new(|_| Window::default()), fanout, budget, logs)
            })
        });
        for i in 1..=10 {
            publish(&site, tagged(i, if i % 3 == 0 { "a" } else { "b" })).await;
        }
        let epoch = {
            let mut guest = site.client("ada").await;
            subscribe(&mut guest, "a", "").await["epoch"].as_str().expect("an epoch").to_owned()
        };
        for (kind, offset, recovered, at, expected) in [
            ("a", 0, true, 0, vec![3, 6, 9]),
            ("a", 3, true, 3, vec![6, 9]),
            // Nothing of what was missed is wanted: the next time it need not be looked at again.
            ("a", 9, true, 10, vec![]),
            ("none", 2, true, 10, vec![]),
            ("a", 11, false, 10, vec![]),
        ] {
            let mut guest = site.client("bob").await;
            let recover = format!(r#","recover":true,"offset":{offset},"epoch":"{epoch}""#);
            let result = subscribe(&mut guest, kind, &recover).await;
            assert_eq!(result["recovered"] == json!(true), recovered, "{result}");
            assert_eq!(result["offset"].as_u64().unwrap_or_default(), at, "{kind} from {offset}: {result}");
            let offsets = result["publications"].as_array().into_iter().flatten();
            let offsets: Vec<_> =
                offsets.map(|publication| publication["offset"].as_u64().unwrap()).collect();
            assert_eq!(offsets, expected, "{kind} from {offset}");
        }
        site.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn cache_recovery_brings_the_newest_that_is_wanted() {
    let rules = rules(20);
    let grant = SubscribeGrant { cache: true, ..rules.grant.clone() };
    let site = Site::start(Rules { grant, ..rules }, |b| b);
    for (i, kind) in [(1, "a"), (2, "a"), (3, "b"), (4, "c")] {
        publish(&site, tagged(i, kind)).await;
    }
    let mut guest = site.client("ada").await;
    let epoch = subscribe(&mut guest, "a", "").await["epoch"].as_str().expect("an epoch").to_owned();
    for (kind, offset, expected) in
        [("a", 0, Some(2)), ("a", 1, Some(2)), ("a", 2, None), ("c", 3, Some(4)), ("x", 4, None)]
    {
        let mut guest = site.client("bob").await;
        let recover = format!(r#","recover":true,"offset":{offset},"epoch":"{epoch}""#);
        let result = subscribe(&mut guest, kind, &recover).await;
        assert_eq!(result["recovered"], json!(true), "{result}");
        assert_eq!(result["publications"][0]["offset"].as_u64(), expected, "{kind} from {offset}: {result}");
        assert_eq!(result["offset"].as_u64().unwrap_or_default(), offset, "{kind} from {offset}: {result}");
    }
    // Where nothing that is kept is wanted, there was nothing to recover.
    let mut guest = site.client("bob").await;
    let result =
        subscribe(&mut guest, "x", &format!(r#","recover":true,"offset":0,"epoch":"{epoch}""#)).await;
    assert_eq!((&result["recovered"], &result["offset"]), (&json!(null), &json!(4)), "{result}");
    // A place that the stream has not come to is of another life.
    let mut guest = site.client("bob").await;
    let result = subscribe(&mut guest, "c", r#","recover":true,"offset":9"#).await;
    assert_eq!((&result["offset"], &result["publications"][0]["offset"]), (&json!(4), &json!(4)), "{result}");
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_filter_is_refused_where_none_is_allowed() {
    let site = Site::start(Rules::default(), |b| b);
    let mut guest = site.client("ada").await;
    let refused = r#"{"id":2,"error":{"code":107,"message":"bad request"}}"#;
    let tf = r#"{"key":"kind","cmp":"ex"}"#;
    guest.ask(&format!(r#"{{"id":2,"subscribe":{{"channel":"news","tf":{tf}}}}}"#), &[refused]).await;
    // And the channel may be asked for without.
    assert_eq!(guest.subscribe("news").await["subscribe"], json!({}));
    site.end().await;
}

/// A client that comes and goes, recovers, and asserts that it got every publication of its kind once and in
/// order.
async fn follow(site: &Site, kind: &'static str, mut dice: Dice, last: u64, seed: u64) -> Vec<u64> {
    let (mut got, mut offset, mut epoch) = (Vec::new(), 0, String::new());
    while got.last() != Some(&last) {
        let mut guest = site.client("ada").await;
        let recover = format!(r#","recover":true,"offset":{offset},"epoch":"{epoch}""#);
        let result = subscribe(&mut guest, kind, &recover).await;
        assert_eq!(result["recovered"], json!(true), "seed {seed} at {offset}: {result}");
        epoch = result["epoch"].as_str().unwrap().to_owned();
        offset = result["offset"].as_u64().unwrap_or_default();
        for publication in result["publications"].as_array().into_iter().flatten() {
            offset = publication["offset"].as_u64().unwrap();
            got.push(publication["data"].as_u64().unwrap());
        }
        for _ in 0..dice.below(8) {
            if got.last() == Some(&last) {
                break;
            }
            let message: Value = serde_json::from_str(&guest.hear_awake().await).unwrap();
            offset = message["push"]["pub"]["offset"].as_u64().unwrap();
            got.push(message["push"]["pub"]["data"].as_u64().unwrap());
        }
    }
    got
}

#[tokio::test(start_paused = true)]
async fn what_is_wanted_comes_once_and_in_order_however_often_a_client_leaves() {
    for seed in 0..6 {
        let mut dice = Dice::new(seed);
        let site = Site::start(rules(400), |b| {
            b.settings(Settings { recovery_limit: 400, ..Default::default() }).router(|fanout, budget| {
                // The third kind is over the bound.
                ExactRouter::with_filters(Box::new(|_| Window::default()), fanout, budget, 2)
            })
        });
        let kinds = ["a", "b", "c"];
        // The last three are of each kind.
        let published: Vec<_> = (1..=300)
            .map(|i| (i, kinds[if i > 297 { (300 - i) as usize } else { dice.below(3) as usize }]))
            .collect();
        let publisher = async {
            for (i, kind) in &published {
                publish(&site, tagged(*i, kind)).await;
                if i % 7 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        };
        let followers = (0..9).map(|i| {
            let kind = kinds[i % 3];
            let last = published.iter().rfind(|(_, of)| *of == kind).unwrap().0;
            follow(&site, kind, Dice::new(seed * 100 + i as u64), last, seed)
        });
        let (_, got) = futures_util::future::join(publisher, futures_util::future::join_all(followers)).await;
        for (got, kind) in got.iter().zip(kinds.iter().cycle()) {
            let expected: Vec<u64> = published.iter().filter(|(_, of)| of == kind).map(|(i, _)| *i).collect();
            assert_eq!(*got, expected, "seed {seed}, {kind}");
        }
        settle().await;
        site.end().await;
    }
}
