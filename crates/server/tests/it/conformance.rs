//! What a client is promised, over every transport. The server runs on real sockets and in real time here; what
//! takes its time is tested over memory, under a virtual clock, in the other modules.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_server::core::{Caps, Disconnect};
use tidegate_server::protocol::{Centrifuge, Options};
use tidegate_server::{DuplicateUser, Settings, Target};

use crate::site::{Rules, empty, farewell, free, push};
use crate::ways::{Stage, Visitor, Way, within};

/// What a client hears when it is closed, and then nothing.
async fn closes(visitor: &mut Visitor, way: Way, code: u16, reason: &str) {
    let told = format!(r#"{{"push":{{"disconnect":{{"code":{code},"reason":"{reason}"}}}}}}"#);
    if way != Way::WebSocket {
        assert_eq!(visitor.hear().await, told, "{way:?}");
    }
    assert_eq!(visitor.hear().await, format!("end {code} {reason}"), "{way:?}");
}

/// Takes the offsets of publications in `news` from what was heard.
fn offsets(heard: &[String]) -> Vec<u64> {
    let offset = |message: &String| {
        let message: Value = serde_json::from_str(message).ok()?;
        message["push"]["pub"]["offset"].as_u64()
    };
    heard.iter().filter_map(offset).collect()
}

#[tokio::test]
async fn publications_come_in_order_until_the_client_unsubscribes() {
    for way in Way::ALL {
        let stage = Stage::open(Rules::default(), |b| b);
        let mut ada = stage.client(way, "ada").await;
        ada.ask(r#"{"id":2,"subscribe":{"channel":"news"}}"#, &[r#"{"id":2,"subscribe":{}}"#]).await;
        let mut expected = Vec::new();
        for i in 0..200 {
            let data = format!("\"{i} {}\"", "x".repeat(i * 7 % 5000));
            stage.site.publish("news", data.clone()).await;
            expected.push(push("news", &format!(r#""pub":{{"data":{data}}}"#)));
        }
        for expected in &expected {
            assert_eq!(ada.hear().await, *expected, "{way:?}");
        }
        ada.ask(r#"{"id":3,"unsubscribe":{"channel":"news"}}"#, &[r#"{"id":3,"unsubscribe":{}}"#]).await;
        stage.site.publish("news", "1").await;
        ada.ask(r#"{"id":4,"rpc":{"data":1}}"#, &[r#"{"id":4,"rpc":{"data":1}}"#]).await;
        assert_eq!(ada.hear_all().await, Vec::<String>::new(), "{way:?}");
        // Again, under another id.
        ada.ask(r#"{"id":5,"subscribe":{"channel":"news"}}"#, &[r#"{"id":5,"subscribe":{}}"#]).await;
        stage.site.publish("news", "2").await;
        ada.hears(&[&push("news", r#""pub":{"data":2}"#)]).await;
        stage.end().await;
    }
}

#[tokio::test]
async fn commands_are_done_in_order_and_refused_one_by_one() {
    for way in Way::ALL {
        let stage = Stage::open(Rules::default(), |b| b);
        let mut ada = stage.knock(way).await.unwrap();
        ada.say(concat!(
            r#"{"id":1,"connect":{"token":"ada"}}"#,
            "\n",
            r#"{"id":2,"subscribe":{"channel":"forbidden"}}"#,
            "\n",
            r#"{"id":3,"rpc":{"data":3}}"#,
            "\n",
            r#"{"id":4,"subscribe":{"channel":"news"}}"#,
            "\n",
            r#"{"id":5,"subscribe":{"channel":"news"}}"#,
            "\n",
            r#"{"id":6,"rpc":{"data":6}}"#,
        ));
        assert!(ada.hear().await.starts_with(r#"{"id":1,"connect":{"client":""#), "{way:?}");
        ada.hears(&[
            r#"{"id":2,"error":{"code":103,"message":"permission denied"}}"#,
            r#"{"id":3,"rpc":{"data":3}}"#,
            r#"{"id":4,"subscribe":{}}"#,
            r#"{"id":5,"error":{"code":105,"message":"already subscribed"}}"#,
            r#"{"id":6,"rpc":{"data":6}}"#,
        ])
        .await;
        stage.site.publish("news", "1").await;
        ada.hears(&[&push("news", r#""pub":{"data":1}"#)]).await;
        stage.end().await;
    }
}

#[tokio::test]
async fn clients_of_all_transports_reach_each_other() {
    let stage = Stage::open(Rules::default(), |b| b);
    let mut clients = Vec::new();
    for way in Way::ALL {
        let mut client = stage.client(way, &format!("{way:?}")).await;
        client.ask(r#"{"id":2,"subscribe":{"channel":"news"}}"#, &[r#"{"id":2,"subscribe":{}}"#]).await;
        clients.push(client);
    }
    for from in 0..clients.len() {
        clients[from].say(&format!(r#"{{"id":{},"publish":{{"channel":"news","data":{from}}}}}"#, from + 10));
        let way = Way::ALL[from];
        for (to, client) in clients.iter_mut().enumerate() {
            let mut heard = vec![client.hear().await];
            if to == from {
                heard.push(client.hear().await);
                if !way.has_tracks() {
                    assert!(heard[0].contains("push"), "the own push comes first: {heard:?}");
                }
                heard.retain(|message| *message != format!(r#"{{"id":{},"publish":{{}}}}"#, from + 10));
            }
            let [heard] = &heard[..] else { panic!("{way:?}: {heard:?}") };
            let who = format!(r#""pub":{{"data":{from},"info":{{"user":"{way:?}","client":""#);
            assert!(heard.starts_with(&format!(r#"{{"push":{{"channel":"news",{who}"#)), "{heard}");
        }
    }
    stage.end().await;
}

#[tokio::test]
async fn what_was_missed_is_recovered_without_gap_or_duplicate() {
    for way in Way::ALL {
        let rules = Rules::with_history(1000);
        let stage = Stage::open(rules, |b| b);
        stage.site.publish("news", "0").await;
        let mut ada = stage.client(way, "ada").await;
        ada.say(r#"{"id":2,"subscribe":{"channel":"news"}}"#);
        let first: Value = serde_json::from_str(&ada.hear().await).unwrap();
        let epoch = first["subscribe"]["epoch"].as_str().unwrap().to_owned();
        ada.hang_up();
        for i in 1..=100 {
            stage.site.publish("news", i.to_string()).await;
        }
        let mut ada = stage.client(way, "ada").await;
        let publishing = tokio::spawn({
            let (handle, options) = (stage.site.handle.clone(), stage.site.rules.options());
            async move {
                for i in 101..=200 {
                    let publication = tidegate_server::core::Publication::new(i.to_string());
                    handle.publish_with(&"news".into(), publication, &options).await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
        });
        ada.say(&format!(
            r#"{{"id":7,"subscribe":{{"channel":"news","recover":true,"offset":1,"epoch":"{epoch}"}}}}"#
        ));
        publishing.await.unwrap();
        let mut got = Vec::new();
        let mut told = Value::Null;
        while got.len() < 200 {
            let message = ada.hear().await;
            got.extend(offsets(std::slice::from_ref(&message)));
            let mut message: Value = serde_json::from_str(&message).unwrap();
            if message["id"] == 7 {
                told = message["subscribe"].take();
                let brought = told["publications"].take();
                assert_eq!(brought.is_null(), way.has_tracks(), "{way:?}");
                let brought = brought.as_array().into_iter().flatten();
                got.extend(brought.map(|publication| publication["offset"].as_u64().unwrap()));
            }
        }
        got.sort_unstable_by_key(|offset| (!way.has_tracks()).then_some(*offset));
        assert_eq!(got, (2..=201).collect::<Vec<_>>(), "{way:?}");
        if told.is_null() {
            // Over QUIC the stream may have overtaken it.
            told = serde_json::from_str::<Value>(&ada.hear().await).unwrap()["subscribe"].take();
        }
        assert_eq!(told["recovered"], json!(true), "{way:?}: {told}");
        assert_eq!(told["offset"], json!(1), "{way:?}: {told}");
        stage.end().await;
    }
}

#[tokio::test]
async fn joins_and_leaves_are_told() {
    for way in Way::ALL {
        let mut rules = Rules::default();
        rules.grant.announce = true;
        rules.grant.join_leave = true;
        let stage = Stage::open(rules, |b| b);
        let mut ada = stage.client(way, "ada").await;
        ada.say(r#"{"id":2,"subscribe":{"channel":"news","join_leave":true}}"#);
        let mut heard = [ada.hear().await, ada.hear().await];
        heard.sort();
        assert_eq!(heard[0], r#"{"id":2,"subscribe":{}}"#, "{way:?}");
        assert!(heard[1].starts_with(&push("news", r#""join":{"info":{"user":"ada"#)[..50]), "{heard:?}");
        let mut bob = stage.client(way, "bob").await;
        bob.say(r#"{"id":2,"subscribe":{"channel":"news"}}"#);
        assert!(ada.hear().await.contains(r#""join":{"info":{"user":"bob""#), "{way:?}");
        bob.hang_up();
        assert!(ada.hear().await.contains(r#""leave":{"info":{"user":"bob""#), "{way:?}");
        stage.end().await;
    }
}

#[tokio::test]
async fn a_server_side_subscription_needs_no_command() {
    for way in Way::ALL {
        let rules = Rules { channels: vec!["personal"], ..Rules::default() };
        let stage = Stage::open(rules, |b| b);
        let mut ada = stage.client(way, "ada").await;
        stage.site.publish("personal", "1").await;
        ada.hears(&[&push("personal", r#""pub":{"data":1}"#)]).await;
        let me = Target { user: "ada".into(), ..Target::default() };
        stage.site.handle.subscribe(&me, crate::site::call("news"));
        assert_eq!(ada.hear().await, push("news", r#""subscribe":{}"#), "{way:?}");
        stage.site.publish("news", "2").await;
        ada.hears(&[&push("news", r#""pub":{"data":2}"#)]).await;
        stage.end().await;
    }
}

#[tokio::test]
async fn the_server_ends_a_subscription_and_the_connection() {
    for way in Way::ALL {
        let stage = Stage::open(Rules::default(), |b| b);
        let mut ada = stage.client(way, "ada").await;
        ada.ask(r#"{"id":2,"subscribe":{"channel":"news"}}"#, &[r#"{"id":2,"subscribe":{}}"#]).await;
        ada.ask(r#"{"id":3,"subscribe":{"channel":"other"}}"#, &[r#"{"id":3,"subscribe":{}}"#]).await;
        let me = Target { user: "ada".into(), ..Target::default() };
        stage.site.handle.unsubscribe(&me, &"news".into(), Some(Disconnect::new(2002, "enough")));
        let told = push("news", r#""unsubscribe":{"code":2002,"reason":"enough"}"#);
        assert_eq!(ada.hear().await, told, "{way:?}");
        stage.site.publish("news", "1").await;
        stage.site.publish("other", "2").await;
        ada.hears(&[&push("other", r#""pub":{"data":2}"#)]).await;
        stage.site.handle.disconnect(&me, Some(Disconnect::new(4242, "come again")));
        closes(&mut ada, way, 4242, "come again").await;
        stage.end().await;
    }
}

#[tokio::test]
async fn code_3000_is_an_end_without_a_word() {
    for way in Way::ALL {
        let stage = Stage::open(Rules::default(), |b| b);
        let mut ada = stage.client(way, "ada").await;
        let me = Target { user: "ada".into(), ..Target::default() };
        stage.site.handle.disconnect(&me, Some(Disconnect::new(3000, "come again")));
        // Only where the transport itself cannot end without a code there is one.
        let end = if matches!(way, Way::Memory | Way::WebSocket) { "end" } else { "end 3000 come again" };
        assert_eq!(ada.hear().await, end, "{way:?}");
        stage.end().await;
    }
}

#[tokio::test]
async fn nonsense_is_a_bad_request() {
    for way in Way::ALL {
        let stage = Stage::open(Rules::default(), |b| b);
        for (connected, nonsense) in [
            (false, r#"{"id":1,"subscribe":{"channel":"news"}}"#),
            (false, "nonsense"),
            (true, "nonsense"),
            (true, ""),
            (true, r#"{"id":9,"connect":{}}"#),
        ] {
            let mut ada = stage.knock(way).await.unwrap();
            if connected {
                ada.connect("ada").await;
            }
            ada.say(nonsense);
            closes(&mut ada, way, 3501, "bad request").await;
        }
        stage.end().await;
    }
}

#[tokio::test]
async fn who_does_not_connect_or_answer_pings_is_closed() {
    for way in Way::ALL {
        let settings = Settings {
            ping_interval: Duration::from_millis(400),
            pong_timeout: Duration::from_millis(300),
            ..Settings::default()
        };
        let options = Options { stale_close_delay: Duration::from_millis(300), ..Options::default() };
        let stage =
            Stage::open(Rules::default(), |b| b.settings(settings).protocol(Centrifuge::new(options)));
        let mut silent = stage.client(way, "silent").await;
        let mut awake = stage.client(way, "awake").await;
        for _ in 0..3 {
            awake.hears(&["{}"]).await;
            awake.say("{}");
        }
        silent.hears(&["{}"]).await;
        closes(&mut silent, way, 3012, "no pong").await;
        let mut stale = stage.knock(way).await.unwrap();
        // Over QUIC a stream is not seen before something comes on it: see there.
        if matches!(way, Way::Memory | Way::WebSocket) {
            closes(&mut stale, way, 3502, "stale").await;
        } else {
            stale.hang_up();
        }
        stage.end().await;
    }
}

#[tokio::test]
async fn a_refused_connect_is_answered() {
    for way in Way::ALL {
        let stage = Stage::open(Rules::default(), |b| b);
        let mut ada = stage.knock(way).await.unwrap();
        ada.ask(
            r#"{"id":1,"connect":{"token":"refused"}}"#,
            &[r#"{"id":1,"error":{"code":109,"message":"token expired"}}"#],
        )
        .await;
        ada.hang_up();
        let mut bob = stage.knock(way).await.unwrap();
        bob.say(r#"{"id":1,"connect":{"token":"invalid"}}"#);
        closes(&mut bob, way, 3500, "invalid token").await;
        stage.end().await;
    }
}

#[tokio::test]
async fn a_cap_holds_and_a_place_is_free_again() {
    for way in Way::ALL {
        let caps = Caps { total: Some(2), ..Caps::default() };
        let stage = Stage::open(Rules::default(), |b| b.caps(caps));
        let mut ada = stage.client(way, "ada").await;
        let _bob = stage.client(way, "bob").await;
        if way == Way::WebSocket {
            assert!(stage.site.handle.admit(None).is_err(), "{way:?}");
        } else if way == Way::Memory {
            let mut third = stage.knock(way).await.unwrap();
            third.hears(&["end"]).await;
        } else {
            assert!(stage.knock(way).await.is_none(), "{way:?}");
        }
        ada.hang_up();
        within(async {
            while stage.site.handle.admit(None).is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        free(&stage.site.handle, 1);
        let mut third = stage.client(way, "third").await;
        third.ask(r#"{"id":4,"rpc":{"data":1}}"#, &[r#"{"id":4,"rpc":{"data":1}}"#]).await;
        stage.end().await;
    }
}

#[tokio::test]
async fn the_newest_connection_of_a_user_takes_over() {
    for way in Way::ALL {
        let settings = Settings { duplicate_user: DuplicateUser::TakeOver, ..Settings::default() };
        let stage = Stage::open(Rules::default(), |b| b.settings(settings));
        let mut old = stage.client(way, "ada").await;
        let mut new = stage.client(way, "ada").await;
        closes(&mut old, way, 3504, "displaced by a newer connection of the same user").await;
        new.ask(r#"{"id":4,"rpc":{"data":1}}"#, &[r#"{"id":4,"rpc":{"data":1}}"#]).await;
        stage.end().await;
    }
}

#[tokio::test]
async fn a_server_that_stops_lets_everybody_read_to_the_head() {
    for way in Way::ALL {
        let stage = Stage::open(Rules::default(), |b| b);
        let mut clients = Vec::new();
        for user in ["ada", "bob", "eve"] {
            let mut client = stage.client(way, user).await;
            client.ask(r#"{"id":2,"subscribe":{"channel":"news"}}"#, &[r#"{"id":2,"subscribe":{}}"#]).await;
            clients.push(client);
        }
        let data = format!("\"{}\"", "x".repeat(3000));
        for _ in 0..100 {
            stage.site.publish("news", data.clone()).await;
        }
        let handle = stage.site.handle.clone();
        let Stage { site, endpoint, .. } = stage;
        let stopping = site.stop();
        let pushed = push("news", &format!(r#""pub":{{"data":{data}}}"#));
        for mut client in clients {
            let mut heard = Vec::new();
            while !heard.last().is_some_and(|last: &String| last.starts_with("end")) {
                heard.push(client.hear().await);
            }
            assert_eq!(heard.iter().filter(|message| **message == pushed).count(), 100, "{way:?}");
            // What is said last may overtake what is on a track, but not the end itself.
            let [told, end] = farewell(3001, "shutdown");
            heard.retain(|message| *message != pushed);
            let expected = if way == Way::WebSocket { vec![end] } else { vec![told, end] };
            assert_eq!(heard, expected, "{way:?}");
        }
        let (stopped, _) = within(stopping.wait()).await;
        assert_eq!(stopped.cut, 0, "{way:?}");
        empty(&handle);
        endpoint.close(0u32.into(), b"");
    }
}
