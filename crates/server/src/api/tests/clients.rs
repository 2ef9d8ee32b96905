//! What is asked of clients, and told of them.

use axum::http::Method;
use serde_json::Value;

use super::{BAD_REQUEST, DONE, INTERNAL, NOT_AVAILABLE, UNKNOWN, World};

#[tokio::test]
async fn whom_and_what_must_be_said() {
    let world = World::new();
    for (method, body, expected) in [
        ("subscribe", r#"{"channel":"n:1"}"#, DONE),
        ("subscribe", r#"{"user":"u"}"#, BAD_REQUEST),
        ("subscribe", r#"{"user":"u","channel":"none:1"}"#, UNKNOWN),
        ("subscribe", r#"{"user":"u","channel":"n:1","b64info":"?"}"#, BAD_REQUEST),
        ("subscribe", r#"{"user":"nobody","channel":"n:1"}"#, DONE),
        (
            "subscribe",
            r#"{"user":"u","channel":"n:1","info":{},"data":[1],"client":"c","session":"s","expire_at":5,
                "recover_since":{"offset":1,"epoch":"E"},
                "override":{"presence":{"value":true},"join_leave":null,"force_recovery":{}}}"#,
            DONE,
        ),
        // Without a user: the anonymous ones.
        ("unsubscribe", r#"{"channel":"n:1"}"#, DONE),
        ("unsubscribe", r#"{"user":"u","channel":""}"#, DONE),
        ("unsubscribe", r#"{"user":"u"}"#, DONE),
        ("unsubscribe", "{}", DONE),
        ("unsubscribe", r#"{"user":"u","channel":"none:1"}"#, UNKNOWN),
        ("unsubscribe", r#"{"user":"u","channel":"n:1"}"#, DONE),
        ("disconnect", "{}", DONE),
        ("disconnect", r#"{"user":"u"}"#, DONE),
        ("disconnect", r#"{"user":"u","disconnect":{"code":0}}"#, BAD_REQUEST),
        ("disconnect", r#"{"user":"u","disconnect":{"code":5000,"reason":"x"}}"#, BAD_REQUEST),
        ("disconnect", r#"{"user":"u","disconnect":{"code":4000,"reason":"{\"a\":1}"}}"#, BAD_REQUEST),
        ("refresh", "{}", DONE),
        ("refresh", r#"{"user":"u","expired":true,"expire_at":5,"info":{"a":1}}"#, DONE),
    ] {
        world.check(method, body, 200, expected).await;
    }
    let long = format!(r#"{{"user":"u","disconnect":{{"code":4000,"reason":"{}"}}}}"#, "x".repeat(124));
    world.check("disconnect", &long, 200, BAD_REQUEST).await;
}

#[tokio::test]
async fn what_would_have_expired_is_not_begun() {
    let mut world = World::new();
    world.start();
    let mut ada = world.connect("ada").await;
    let subscribe = |user: &str, at: i64| format!(r#"{{"user":"{user}","channel":"n:1","expire_at":{at}}}"#);
    world.check("subscribe", &subscribe("ada", 5), 200, INTERNAL).await;
    world.check("subscribe", &subscribe("nobody", 5), 200, DONE).await;
    world.check("subscribe", &subscribe("ada", 1 << 40), 200, DONE).await;
    assert_eq!(ada.next().await, r#"{"push":{"channel":"n:1","subscribe":{}}}"#);
}

#[tokio::test]
async fn a_client_is_subscribed_published_to_and_unsubscribed() {
    let mut world = World::new();
    world.start();
    let mut ann = world.connect("ann").await;
    let mut other = world.connect("ann").await;
    let (id, other_id) = (ann.id.clone(), other.id.clone());

    // With an empty user, the client's id is enough; with another one, it is not.
    let body = |user: &str| {
        format!(
            r#"{{"user":"{user}","client":"{id}","channel":"p:1","info":{{"i":1}},"b64data":"eyJkIjoxfQ=="}}"#
        )
    };
    world.check("subscribe", &body("bob"), 200, DONE).await;
    world.check("subscribe", &body(""), 200, DONE).await;
    assert_eq!(ann.next().await, r#"{"push":{"channel":"p:1","subscribe":{"data":{"d":1}}}}"#);

    world.check("publish", r#"{"channel":"p:1","data":{"a" : 1},"tags":{"k":"v"}}"#, 200, DONE).await;
    let push = r#"{"push":{"channel":"p:1","pub":{"data":{"a" : 1},"tags":{"k":"v"}}}}"#;
    assert_eq!(ann.next().await, push);

    let presence = format!(
        r#"{{"result":{{"presence":{{"{id}":{{"user":"ann","client":"{id}","conn_info":{{"n":1}},
            "chan_info":{{"i":1}}}}}}}}}}"#
    );
    world.check("presence", r#"{"channel":"p:1"}"#, 200, &presence).await;
    let stats = r#"{"result":{"num_clients":1,"num_users":1}}"#;
    world.check("presence_stats", r#"{"channel":"p:1"}"#, 200, stats).await;
    let listed = r#"{"result":{"channels":{"p:1":{"num_clients":1}}}}"#;
    for (pattern, expected) in
        [("", listed), ("p:*", listed), ("x*", r#"{"result":{"channels":{}}}"#), ("[", INTERNAL)]
    {
        world.check("channels", &format!(r#"{{"pattern":"{pattern}"}}"#), 200, expected).await;
    }

    // The session is nobody's: nobody is unsubscribed.
    world.check("unsubscribe", r#"{"user":"ann","channel":"p:1","session":"s"}"#, 200, DONE).await;
    world.check("channels", "{}", 200, listed).await;
    world.check("unsubscribe", r#"{"user":"ann","channel":"p:1"}"#, 200, DONE).await;
    let push = ann.next().await;
    assert!(push.contains(r#""unsubscribe":{"code":2000,"#), "{push}");

    let spare = format!(r#"{{"user":"ann","whitelist":["{other_id}"]}}"#);
    world.check("disconnect", &spare, 200, DONE).await;
    assert_eq!(ann.closed().await, "3503 force disconnect");
    let custom = r#"{"user":"ann","disconnect":{"code":4000,"reason":"bye"}}"#;
    world.check("disconnect", custom, 200, DONE).await;
    assert_eq!(other.closed().await, "4000 bye");
    // SDKs reconnect where there is no reason: for a code after which they must not, there is one.
    for (code, expected) in [(4000, "4000 "), (4500, "4500 disconnected by the application")] {
        let mut ann = world.connect("ann").await;
        let why = format!(r#"{{"user":"ann","disconnect":{{"code":{code}}}}}"#);
        world.check("disconnect", &why, 200, DONE).await;
        assert_eq!(ann.closed().await, expected);
    }
}

#[tokio::test]
async fn an_expired_client_is_closed() {
    let mut world = World::new();
    world.start();
    let mut ann = world.connect("ann").await;
    world.check("refresh", r#"{"user":"ann","expired":true}"#, 200, DONE).await;
    assert_eq!(ann.closed().await, "3005 connection expired");
}

#[tokio::test]
async fn presence_that_is_not_kept_is_not_available() {
    let world = World::new();
    for method in ["presence", "presence_stats"] {
        world.check(method, r#"{"channel":"plain"}"#, 200, NOT_AVAILABLE).await;
        world.check(method, r#"{"channel":"none:1"}"#, 200, UNKNOWN).await;
        world.check(method, "{}", 200, BAD_REQUEST).await;
    }
    world.check("presence", r#"{"channel":"p:1"}"#, 200, r#"{"result":{"presence":{}}}"#).await;
    world.check("channels", "{}", 200, r#"{"result":{"channels":{}}}"#).await;
}

#[tokio::test]
async fn info_tells_of_the_node() {
    let mut world = World::new();
    world.start();
    let _ann = world.connect("ann").await;
    let (_, text) = world.send(Method::POST, "info", &[], "{}").await;
    let reply: Value = serde_json::from_str(&text).expect("JSON");
    let node = &reply["result"]["nodes"][0];
    let figures = ["num_clients", "num_users", "num_subs", "num_channels", "uptime"].map(|name| &node[name]);
    assert_eq!(figures, [1, 1, 0, 0, 0], "{text}");
    assert_eq!(node["version"], env!("CARGO_PKG_VERSION"));
    for name in ["uid", "name"] {
        assert!(node[name].as_str().is_some_and(|text| !text.is_empty()), "{text}");
    }
}
