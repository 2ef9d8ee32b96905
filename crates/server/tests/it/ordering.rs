//! What comes before what.

use tidegate_server::Target;
use tidegate_server::core::Disconnect;

use crate::site::{Rules, Site, call, empty, farewell, push, settle};

const PUBLISH: &str = r#"{"id":3,"publish":{"channel":"news","data":1}}"#;

#[tokio::test(start_paused = true)]
async fn a_whole_life_in_one_frame_is_done_in_order() {
    let site = Site::start(Rules::default(), |b| b);
    let mut guest = site.client("ada").await;
    let own = push("news", r#""pub":{"data":1,"info":{"user":"ada","client":"ME"}}"#);
    guest
        .ask(
            concat!(
                r#"{"id":2,"subscribe":{"channel":"news"}}"#,
                "\n",
                r#"{"id":3,"publish":{"channel":"news","data":1}}"#,
                "\n",
                r#"{"id":4,"publish":{"channel":"news","data":1}}"#,
                "\n",
                r#"{"id":5,"unsubscribe":{"channel":"news"}}"#,
                "\n",
                r#"{"id":6,"unsubscribe":{"channel":"news"}}"#,
                "\n",
                r#"{"id":7,"publish":{"channel":"news","data":1}}"#,
            ),
            &[
                r#"{"id":2,"subscribe":{}}"#,
                &own,
                r#"{"id":3,"publish":{}}"#,
                &own,
                r#"{"id":4,"publish":{}}"#,
                r#"{"id":5,"unsubscribe":{}}"#,
                r#"{"id":6,"unsubscribe":{}}"#,
                r#"{"id":7,"publish":{}}"#,
            ],
        )
        .await;
    site.publish("news", "2").await;
    assert_eq!(guest.hear_all().await, Vec::<String>::new());
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_understood_is_answered_in_its_turn() {
    let site = Site::start(Rules::default(), |b| b);
    let mut guest = site.client("ada").await;
    guest.subscribe("news").await;
    let own = push("news", r#""pub":{"data":1,"info":{"user":"ada","client":"ME"}}"#);
    let unknown = r#"{"id":4,"subscribe":{"channel":"more","type":1}}"#;
    let publish = PUBLISH.replace('3', "5");
    guest
        .ask(
            &format!("{PUBLISH}\n{unknown}\n{publish}"),
            &[
                &own,
                r#"{"id":3,"publish":{}}"#,
                r#"{"id":4,"error":{"code":103,"message":"permission denied"}}"#,
                &own,
                r#"{"id":5,"publish":{}}"#,
            ],
        )
        .await;
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn connect_and_subscribe_in_one_frame_wait_for_slow_authentication() {
    let delay = std::time::Duration::from_secs(60);
    let site = Site::start(Rules { delay, ..Rules::default() }, |b| b);
    let mut guest = site.knock();
    let since = tokio::time::Instant::now();
    guest
        .say(concat!(
            r#"{"id":1,"connect":{"token":"slow"}}"#,
            "\n",
            r#"{"id":2,"subscribe":{"channel":"news"}}"#
        ))
        .await;
    // Others do not wait.
    let mut other = site.client("bob").await;
    other.subscribe("news").await;
    site.publish("news", "1").await;
    other.hears(&[&push("news", r#""pub":{"data":1}"#)]).await;
    assert!(since.elapsed() < std::time::Duration::from_secs(1));
    assert!(guest.hear().await.contains(r#""connect":{"client":"#));
    assert!(since.elapsed() >= delay);
    guest.hears(&[r#"{"id":2,"subscribe":{}}"#]).await;
    // The hook was told, though a command was waiting behind.
    settle().await;
    assert!(site.rules.diary.read().contains(&"slow connected".to_owned()));
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_hook_does_not_stop_pushes_and_holds_back_only_its_own_client() {
    let delay = std::time::Duration::from_secs(5);
    let site = Site::start(Rules { delay, ..Rules::default() }, |b| b);
    let mut guest = site.client("ada").await;
    guest.subscribe("news").await;
    guest.say(r#"{"id":3,"rpc":{"method":"slow","data":7}}"#).await;
    guest.say(r#"{"id":4,"rpc":{"data":8}}"#).await;
    settle().await;
    for i in 0..20 {
        site.publish("news", i.to_string()).await;
        guest.hears(&[&push("news", &format!(r#""pub":{{"data":{i}}}"#))]).await;
    }
    guest.hears(&[r#"{"id":3,"rpc":{"data":7}}"#, r#"{"id":4,"rpc":{"data":8}}"#]).await;
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_subscribe_reply_comes_before_the_first_push_however_long_it_took() {
    let delay = std::time::Duration::from_secs(5);
    let site = Site::start(Rules { delay, ..Rules::default() }, |b| b);
    let mut guest = site.client("ada").await;
    guest.say(r#"{"id":2,"subscribe":{"channel":"slow"}}"#).await;
    settle().await;
    let publisher = site.handle.clone();
    let publishing = tokio::spawn(async move {
        for i in 0..1000 {
            publisher.publish("slow", i.to_string()).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    });
    guest.hears(&[r#"{"id":2,"subscribe":{}}"#]).await;
    let first = guest.hear().await;
    let first: serde_json::Value = serde_json::from_str(&first).unwrap();
    let first = first["push"]["pub"]["data"].as_u64().unwrap();
    for i in first + 1..1000 {
        guest.hears(&[&push("slow", &format!(r#""pub":{{"data":{i}}}"#))]).await;
    }
    publishing.await.unwrap();
    site.end().await;
}

/// A client that always has more to ask must not keep away what the application asks for.
#[tokio::test(start_paused = true)]
async fn calls_have_their_turn_between_a_client_s_requests() {
    let delay = std::time::Duration::from_secs(1);
    let site = Site::start(Rules { delay, ..Rules::default() }, |b| b);
    let mut guest = site.client("ada").await;
    guest.subscribe("news").await;
    let ask = |id: u32| format!(r#"{{"id":{id},"rpc":{{"method":"slow","data":1}}}}"#);
    let reply = |id: u32| format!(r#"{{"id":{id},"rpc":{{"data":1}}}}"#);
    for id in 3..7 {
        guest.say(&ask(id)).await;
    }
    let target = Target { user: "ada".into(), ..Default::default() };
    for id in 3..20 {
        if id == 5 {
            assert_eq!(site.handle.unsubscribe(&target, &"news".into(), None), 1);
        }
        let heard = guest.hear().await;
        if heard.contains("unsubscribe") {
            assert!(id <= 6, "after {id}");
            guest.hears(&[&reply(id)]).await;
            return site.end().await;
        }
        assert_eq!(heard, reply(id));
        guest.say(&ask(id + 4)).await;
    }
    panic!("it was never done");
}

/// A slow backend must not keep away what the application asks for, either.
#[tokio::test(start_paused = true)]
async fn calls_do_not_wait_for_a_request_that_is_being_done() {
    let delay = std::time::Duration::from_secs(10);
    let site = Site::start(Rules { delay, ..Rules::default() }, |b| b);
    let mut guest = site.client("ada").await;
    guest.subscribe("news").await;
    guest.say(r#"{"id":3,"rpc":{"method":"slow","data":1}}"#).await;
    settle().await;
    let began = tokio::time::Instant::now();
    let target = Target { user: "ada".into(), ..Default::default() };
    site.publish("news", "1").await;
    site.handle.unsubscribe(&target, &"news".into(), None);
    site.handle.subscribe(&target, call("more"));
    site.handle.settled(&target).await;
    site.publish("news", "2").await;
    site.publish("more", "3").await;
    guest
        .hears(&[
            &push("news", r#""pub":{"data":1}"#),
            &push("news", r#""unsubscribe":{"code":2000,"reason":"server unsubscribe"}"#),
            &push("more", r#""subscribe":{}"#),
            &push("more", r#""pub":{"data":3}"#),
        ])
        .await;
    assert!(began.elapsed() < std::time::Duration::from_millis(500), "{:?}", began.elapsed());
    guest.hears(&[r#"{"id":3,"rpc":{"data":1}}"#]).await;
    assert!(began.elapsed() > std::time::Duration::from_secs(9), "{:?}", began.elapsed());
    site.end().await;
}

/// Whoever takes nothing holds up nobody for long, and what it is asked for is done.
#[tokio::test(start_paused = true)]
async fn who_waits_for_a_client_that_takes_nothing_waits_a_second() {
    let site = Site::start(Rules::default(), |b| b);
    let mut guest = site.client("ada").await;
    guest.subscribe("news").await;
    for _ in 0..20 {
        site.publish("news", format!("\"{}\"", "x".repeat(1000))).await;
    }
    settle().await;
    let began = tokio::time::Instant::now();
    let target = Target { user: "ada".into(), ..Default::default() };
    site.handle.unsubscribe(&target, &"news".into(), None);
    site.handle.settled(&target).await;
    assert!(began.elapsed() <= std::time::Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(site.handle.channels(), []);
    drop(guest);
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn refusals_are_answered_and_the_connection_goes_on() {
    let rules = Rules { channels: vec!["own"], ..Rules::default() };
    let settings = tidegate_server::Settings { channel_limit: 2, ..Default::default() };
    let site = Site::start(rules, |b| b.settings(settings));
    let mut guest = site.knock();
    let reply = guest.connect("ada").await;
    assert_eq!(reply["connect"]["subs"], serde_json::json!({"own": {}}));
    for (command, reply) in [
        (r#""subscribe":{"channel":"forbidden"}"#, r#""error":{"code":103,"message":"permission denied"}"#),
        (r#""subscribe":{"channel":"own"}"#, r#""error":{"code":105,"message":"already subscribed"}"#),
        (r#""subscribe":{"channel":"news"}"#, r#""subscribe":{}"#),
        (r#""subscribe":{"channel":"news"}"#, r#""error":{"code":105,"message":"already subscribed"}"#),
        (r#""subscribe":{"channel":"more"}"#, r#""error":{"code":106,"message":"limit exceeded"}"#),
        (r#""refresh":{"token":"t"}"#, r#""error":{"code":108,"message":"not available"}"#),
        (
            r#""sub_refresh":{"channel":"no","token":"t"}"#,
            r#""error":{"code":103,"message":"permission denied"}"#,
        ),
        (r#""publish":{"channel":"news"}"#, r#""error":{"code":107,"message":"bad request"}"#),
    ] {
        guest.ask(&format!(r#"{{"id":9,{command}}}"#), &[&format!(r#"{{"id":9,{reply}}}"#)]).await;
    }
    // A server-side subscription over the limit closes.
    assert_eq!(site.handle.subscribe(&Target { user: "ada".into(), ..Default::default() }, call("more")), 1);
    guest.hears(&farewell(3505, "channel limit").each_ref().map(|s| &**s)).await;
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_application_subscribes_unsubscribes_and_disconnects() {
    let site = Site::start(Rules::default(), |b| b);
    let mut ada = site.client("ada").await;
    let mut bob = site.client("bob").await;
    let user = |user: &str| Target { user: user.into(), ..Default::default() };
    assert_eq!(site.handle.subscribe(&user("ada"), call("news")), 1);
    assert_eq!(site.handle.subscribe(&user("nobody"), call("news")), 0);
    ada.hears(&[&push("news", r#""subscribe":{}"#)]).await;
    site.publish("news", "1").await;
    ada.hears(&[&push("news", r#""pub":{"data":1}"#)]).await;
    assert_eq!(site.handle.subscribe(&user("ada"), call("news")), 1);
    assert_eq!(site.handle.send(&user("ada"), "5"), 1);
    // Subscribing again tells nothing.
    ada.hears(&[r#"{"push":{"message":{"data":5}}}"#]).await;
    assert_eq!(site.handle.unsubscribe(&user("ada"), &"news".into(), None), 1);
    ada.hears(&[&push("news", r#""unsubscribe":{"code":2000,"reason":"server unsubscribe"}"#)]).await;
    site.publish("news", "2").await;
    assert_eq!(ada.hear_all().await, Vec::<String>::new());
    ada.subscribe("other").await;
    let why = Some(Disconnect::new(2500, "insufficient state"));
    site.handle.unsubscribe(&user("ada"), &"other".into(), why);
    ada.hears(&[&push("other", r#""unsubscribe":{"code":2500,"reason":"insufficient state"}"#)]).await;
    // A channel that is removed.
    ada.subscribe("gone").await;
    bob.subscribe("gone").await;
    site.handle.remove(&"gone".into());
    let gone = push("gone", r#""unsubscribe":{"code":2000,"reason":"server unsubscribe"}"#);
    ada.hears(&[&gone]).await;
    bob.hears(&[&gone]).await;
    ada.ask(r#"{"id":8,"subscribe":{"channel":"gone"}}"#, &[r#"{"id":8,"subscribe":{}}"#]).await;
    let except = Target { user: "ada".into(), except: vec![ada.id.clone()], ..Default::default() };
    assert_eq!(site.handle.disconnect(&except, None), 0);
    assert_eq!(site.handle.disconnect(&user("ada"), None), 1);
    ada.hears(&farewell(3503, "force disconnect").each_ref().map(|s| &**s)).await;
    let bobs = Target { client: bob.id.clone(), ..Default::default() };
    assert_eq!(site.handle.disconnect(&bobs, Some(Disconnect::new(4000, "bye"))), 1);
    bob.hears(&farewell(4000, "bye").each_ref().map(|s| &**s)).await;
    drop((ada, bob));
    settle().await;
    empty(&site.handle);
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn own_pushes_come_before_publish_replies_also_when_the_socket_is_narrow() {
    for capacity in [1, 7, 64, 1000] {
        let limits = tidegate_server::core::memory::Limits { capacity, ..Default::default() };
        let site = Site::start_on(limits, Rules::default(), |b| b);
        let mut guest = site.client("ada").await;
        guest.subscribe("news").await;
        for round in 0..30 {
            guest.say(&[PUBLISH; 5].join("\n")).await;
            let mut seen = (0, 0);
            for _ in 0..10 {
                match guest.hear().await {
                    message if message.contains("push") => seen.0 += 1,
                    message => {
                        assert_eq!(message, r#"{"id":3,"publish":{}}"#);
                        seen.1 += 1;
                    }
                }
                assert!(seen.1 <= seen.0, "capacity {capacity}, round {round}: {seen:?}");
            }
        }
        site.end().await;
    }
}

/// Each reply follows its own push, and none overtakes another for that.
#[tokio::test(start_paused = true)]
async fn replies_keep_the_order_of_publications_to_several_channels() {
    let site = Site::start(Rules::default(), |b| b);
    let mut guest = site.client("ada").await;
    guest.subscribe("first").await;
    guest.subscribe("second").await;
    // The second lane is rung before the first, and is read before it.
    site.publish("second", "0").await;
    let publish = |id, channel| format!(r#"{{"id":{id},"publish":{{"channel":"{channel}","data":1}}}}"#);
    guest.say(&[publish(3, "first"), publish(4, "second"), publish(5, "first")].join("\n")).await;
    let replies: Vec<_> = guest.hear_all().await.into_iter().filter(|m| !m.contains("push")).collect();
    let expected = [3, 4, 5].map(|id| format!(r#"{{"id":{id},"publish":{{}}}}"#));
    assert_eq!(replies, expected);
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_follows_the_last_words() {
    let site = Site::start(Rules::default(), |b| b);
    let mut guest = site.client_with("ada", "tidegate_notices=true").await;
    let target = Target { user: "ada".into(), ..Default::default() };
    site.handle.disconnect(&target, None);
    site.handle.send(&target, "1");
    site.handle.broadcast_health(tidegate_server::core::Health::Degraded);
    assert_eq!(guest.hear_all().await, farewell(3503, "force disconnect"));
    site.end().await;
}
