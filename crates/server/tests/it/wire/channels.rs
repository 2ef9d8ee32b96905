//! Channels that clients subscribe to: permissions, errors, presence, publications.

use super::check;

/// Asks for everything that there is of a channel, one after the other, and compares codes; 0 is no error.
async fn codes(flags: &str, user: &str, channel: &str, expected: [u32; 5]) {
    let mut script = format!("a: {user}\n");
    let [presence, stats, history, publish, subscribe] = expected;
    let zero = |of: &str| {
        match of {
            "presence" => r#""presence":{"presence":{}}"#,
            "presence_stats" => r#""presence_stats":{"num_clients":0,"num_users":0}"#,
            "history" => r#""history":{"publications":[],"epoch":"E","offset":0}"#,
            "publish" => r#""publish":{}"#,
            _ => unreachable!("{of}"),
        }
        .to_owned()
    };
    for (of, fields, code) in [
        ("presence", "", presence),
        ("presence_stats", "", stats),
        ("history", "", history),
        ("publish", r#","data":1"#, publish),
    ] {
        let reply = if code == 0 { zero(of) } else { error(code) };
        script += &format!(
            "a> {{\"id\":2,\"{of}\":{{\"channel\":\"{channel}\"{fields}}}}}\n a< {{\"id\":2,{reply}}}\n"
        );
    }
    script += &format!(
        "a> {{\"id\":3,\"subscribe\":{{\"channel\":\"{channel}\"}}}} {{\"id\":4,\"unsubscribe\":{{\"channel\":\"{channel}\"}}}}\n"
    );
    let reply = if subscribe == 0 { r#""subscribe":{}"#.to_owned() } else { error(subscribe) };
    script += &format!("a< {{\"id\":3,{reply}}}\n a< {{\"id\":4,\"unsubscribe\":{{}}}}\n");
    check(flags, &script).await;
}

fn error(code: u32) -> String {
    let message = match code {
        102 => "unknown channel",
        103 => "permission denied",
        107 => "bad request",
        108 => "not available",
        _ => unreachable!("{code}"),
    };
    format!(r#""error":{{"code":{code},"message":"{message}"}}"#)
}

#[tokio::test(start_paused = true)]
async fn permissions() {
    codes("", "ann", "x", [108, 108, 108, 103, 103]).await;
    // Where a thing is there, it is the permission that is missing.
    let history = "+history_size=10 +history_ttl=60s";
    codes(&format!("+presence {history}"), "ann", "x", [103, 103, 103, 103, 103]).await;
    codes("", "ann", "none:x", [102; 5]).await;
    codes("+allow_publish_for_client +allow_subscribe_for_client", "ann", "ä", [107; 5]).await;
    let long = "x".repeat(256);
    codes("+allow_publish_for_client +allow_subscribe_for_client", "ann", &long, [108, 108, 108, 0, 107])
        .await;
    codes("+presence +allow_presence_for_client", "ann", "x", [0, 0, 108, 103, 103]).await;
    codes("+presence +allow_presence_for_client", "?", "x", [103, 103, 108, 103, 103]).await;
    codes(
        "+presence +allow_presence_for_client +allow_presence_for_anonymous",
        "?",
        "x",
        [0, 0, 108, 103, 103],
    )
    .await;
    // That anonymous users may is not enough.
    codes("+presence +allow_presence_for_anonymous", "?", "x", [103, 103, 108, 103, 103]).await;
    // What subscribers may, others may not.
    let subscribers = "+presence +allow_presence_for_subscriber +allow_publish_for_subscriber";
    codes(subscribers, "ann", "x", [103, 103, 108, 103, 103]).await;
    codes("+allow_publish_for_client +allow_subscribe_for_client", "ann", "x", [108, 108, 108, 0, 0]).await;
    codes("+allow_publish_for_client +allow_subscribe_for_client", "ann", "$x", [108, 108, 108, 0, 103])
        .await;
    codes("client.insecure", "?", "x", [108, 108, 108, 0, 0]).await;
    codes("client.insecure", "?", "$x", [108, 108, 108, 0, 103]).await;
    let limited = "+allow_user_limited_channels +allow_subscribe_for_client";
    codes(limited, "ann", "x#ann,bob", [108, 108, 108, 103, 0]).await;
    codes(limited, "ann", "x#bob", [108, 108, 108, 103, 103]).await;
    codes("ns+presence ns+allow_presence_for_client", "ann", "ns:x", [0, 0, 108, 103, 103]).await;
    codes("ns+presence ns+allow_presence_for_client", "ann", "x", [108, 108, 108, 103, 103]).await;
}

#[tokio::test(start_paused = true)]
async fn what_subscribers_may() {
    let flags = "+allow_subscribe_for_client +allow_publish_for_subscriber +allow_presence_for_subscriber \
                 +allow_history_for_subscriber +presence +history_size=10 +history_ttl=60s";
    check(
        flags,
        r#"a: ann
           a> {"id":2,"subscribe":{"channel":"x"}} {"id":3,"publish":{"channel":"x","data":{"n":1}}}
           a< {"id":2,"subscribe":{}}
           a< {"push":{"channel":"x","pub":{"data":{"n":1},"info":{"user":"ann","client":"A"},"offset":1,"epoch":"E"}}}
           a< {"id":3,"publish":{}}
           a> {"id":4,"presence":{"channel":"x"}} {"id":5,"presence_stats":{"channel":"x"}}
           a< {"id":4,"presence":{"presence":{"A":{"user":"ann","client":"A"}}}}
           a< {"id":5,"presence_stats":{"num_clients":1,"num_users":1}}
           a> {"id":6,"history":{"channel":"x","limit":10}}
           a< {"id":6,"history":{"publications":[{"data":{"n":1},"info":{"user":"ann","client":"A"},"offset":1,"epoch":"E"}],"epoch":"E","offset":1}}
           a> {"id":7,"unsubscribe":{"channel":"x"}} {"id":8,"publish":{"channel":"x","data":1}}
           a< {"id":7,"unsubscribe":{}}
           a< {"id":8,"error":{"code":103,"message":"permission denied"}}"#,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn subscribing_twice_and_again() {
    check(
        "client.insecure +presence",
        r#"a: -
           a> {"id":2,"subscribe":{"channel":"x"}} {"id":3,"subscribe":{"channel":"x"}}
           a< {"id":2,"subscribe":{}}
           a< {"id":3,"error":{"code":105,"message":"already subscribed"}}
           a> {"id":4,"unsubscribe":{"channel":"x"}} {"id":5,"presence_stats":{"channel":"x"}} {"id":6,"unsubscribe":{"channel":"x"}}
           a< {"id":4,"unsubscribe":{}}
           a< {"id":5,"presence_stats":{"num_clients":0,"num_users":0}}
           a< {"id":6,"unsubscribe":{}}
           a> {"id":7,"subscribe":{"channel":"x"}} {"id":8,"unsubscribe":{"channel":"x"}} {"id":9,"subscribe":{"channel":"x"}} {"id":10,"presence_stats":{"channel":"x"}}
           a< {"id":7,"subscribe":{}}
           a< {"id":8,"unsubscribe":{}}
           a< {"id":9,"subscribe":{}}
           a< {"id":10,"presence_stats":{"num_clients":1,"num_users":1}}
           api publish {"channel":"x","data":5} => {"result":{}}
           a< {"push":{"channel":"x","pub":{"data":5}}}
           a< -"#,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn there_are_streams_only() {
    let refused = r#""error":{"code":103,"message":"permission denied"}"#;
    check(
        "client.insecure",
        &format!(
            r#"a: -
               a> {{"id":2,"subscribe":{{"channel":"x","type":1}}}} {{"id":3,"publish":{{"channel":"x","type":1,"key":"k","data":1}}}}
               a< {{"id":2,{refused}}}
               a< {{"id":3,{refused}}}
               a> {{"id":4,"subscribe":{{"channel":"x"}}}}
               a< {{"id":4,"subscribe":{{}}}}"#
        ),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_channel_too_many() {
    let mut script = "a: -\n".to_owned();
    for i in 0..128 {
        script += &format!(
            "a> {{\"id\":2,\"subscribe\":{{\"channel\":\"x{i}\"}}}}\n a< {{\"id\":2,\"subscribe\":{{}}}}\n"
        );
    }
    script += "a> {\"id\":3,\"subscribe\":{\"channel\":\"y\"}}\n a< {\"id\":3,\"error\":{\"code\":106,\"message\":\"limit exceeded\"}}\n";
    // One that is there already is told so.
    script += "a> {\"id\":4,\"subscribe\":{\"channel\":\"x0\"}}\n a< {\"id\":4,\"error\":{\"code\":105,\"message\":\"already subscribed\"}}\n";
    script += "api subscribe {\"user\":\"\",\"client\":\"A\",\"channel\":\"z\"} => {\"result\":{}}\n a< end 3505 channel limit\n";
    check("client.insecure", &script).await;
}

#[tokio::test(start_paused = true)]
async fn joins_and_leaves_come_in_order() {
    check(
        "+allow_subscribe_for_client +presence +join_leave +force_push_join_leave",
        r#"a: ann
           b: bob
           a> {"id":2,"subscribe":{"channel":"x"}}
           a< {"id":2,"subscribe":{}}
           a< {"push":{"channel":"x","join":{"info":{"user":"ann","client":"A"}}}}
           b> {"id":2,"subscribe":{"channel":"x"}}
           b< {"id":2,"subscribe":{}}
           b< {"push":{"channel":"x","join":{"info":{"user":"bob","client":"B"}}}}
           a< {"push":{"channel":"x","join":{"info":{"user":"bob","client":"B"}}}}
           b> {"id":3,"unsubscribe":{"channel":"x"}}
           b< {"id":3,"unsubscribe":{}}
           a< {"push":{"channel":"x","leave":{"info":{"user":"bob","client":"B"}}}}
           b< -
           b> {"id":4,"subscribe":{"channel":"x"}}
           b< {"id":4,"subscribe":{}}
           b< {"push":{"channel":"x","join":{"info":{"user":"bob","client":"B"}}}}
           a< {"push":{"channel":"x","join":{"info":{"user":"bob","client":"B"}}}}
           api disconnect {"user":"bob"} => {"result":{}}
           b< end 3503 force disconnect
           a< {"push":{"channel":"x","leave":{"info":{"user":"bob","client":"B"}}}}"#,
    )
    .await;
    // Who does not ask for them hears none, unless all do; asking needs the permission to see who is there.
    for (flags, asks, hears) in [
        ("", true, false),
        ("+allow_presence_for_subscriber", false, false),
        ("+allow_presence_for_subscriber", true, true),
    ] {
        let join = r#"a< {"push":{"channel":"x","join":{"info":{"user":"ann","client":"A"}}}}"#;
        check(
            &format!("+allow_subscribe_for_client +join_leave {flags}"),
            &format!(
                "a: ann\n a> {{\"id\":2,\"subscribe\":{{\"channel\":\"x\",\"join_leave\":{asks}}}}}\n \
                 a< {{\"id\":2,\"subscribe\":{{}}}}\n {}",
                if hears { join } else { "a< -" }
            ),
        )
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_published() {
    check(
        "client.insecure +presence",
        r#"a: -
           a> {"id":2,"subscribe":{"channel":"x"}}
           a< {"id":2,"subscribe":{}}
           a> {"id":3,"publish":{"channel":"x"}} {"id":4,"publish":{"channel":"x","data":null}} {"id":5,"publish":{"channel":"x","data":"ä"}}
           a< {"id":3,"error":{"code":107,"message":"bad request"}}
           a< {"push":{"channel":"x","pub":{"data":null,"info":{"user":"","client":"A"}}}}
           a< {"id":4,"publish":{}}
           a< {"push":{"channel":"x","pub":{"data":"ä","info":{"user":"","client":"A"}}}}
           a< {"id":5,"publish":{}}
           api publish {"channel":"x","data":{"a":[1,2]},"tags":{"k":"v"}} => {"result":{}}
           a< {"push":{"channel":"x","pub":{"data":{"a":[1,2]},"tags":{"k":"v"}}}}
           api broadcast {"channels":["x","y"],"data":1} => {"result":{"responses":[{"result":{}},{"result":{}}]}}
           a< {"push":{"channel":"x","pub":{"data":1}}}"#,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn data_has_a_format() {
    let publish = |data: &str, fails: bool| {
        let api = format!("api publish {{\"channel\":\"x\"{data}}} => ");
        let client = format!("a> {{\"id\":2,\"publish\":{{\"channel\":\"x\"{data}}}}}\n a< ");
        if fails {
            let error = r#""error":{"code":107,"message":"bad request"}"#;
            format!("{api}{{{error}}}\n {client}{{\"id\":2,{error}}}\n")
        } else {
            format!("{api}{{\"result\":{{}}}}\n {client}{{\"id\":2,\"publish\":{{}}}}\n")
        }
    };
    for (format, refused) in [
        ("", [true, false, false, false]),
        ("json", [true, false, false, false]),
        ("json_object", [true, true, true, false]),
        ("binary", [false, false, false, false]),
    ] {
        let data = ["", r#","data":"t""#, r#","data":[1]"#, r#","data":{"a":1}"#];
        let script: String = data.iter().zip(refused).map(|(data, fails)| publish(data, fails)).collect();
        let key = "publication_data_format";
        check(&format!("client.insecure +{key}={format}"), &format!("a: -\n{script}")).await;
        check(&format!("client.insecure channel.{key}={format}"), &format!("a: -\n{script}")).await;
        // The namespace's own counts.
        check(
            &format!("client.insecure channel.{key}=json_object +{key}={format}"),
            &format!("a: -\n{}", if format.is_empty() { String::new() } else { script }),
        )
        .await;
    }
    // What is no JSON, in base64: "x".
    let flags = "client.insecure json+publication_data_format=json any+presence";
    check(
        flags,
        r#"api publish {"channel":"json:1","b64data":"eA=="} => {"error":{"code":107,"message":"bad request"}}
           api publish {"channel":"any:1","b64data":"eA=="} => {"result":{}}
           api broadcast {"channels":["json:1","any:1"],"b64data":"eA=="} => {"result":{"responses":[{"error":{"code":107,"message":"bad request"}},{"result":{}}]}}
           api broadcast {"channels":["json:1","any:1"]} => {"result":{"responses":[{"error":{"code":107,"message":"bad request"}},{"error":{"code":107,"message":"bad request"}}]}}"#,
    )
    .await;
    // Too much for the window, whether somebody is subscribed or not.
    let large = "x".repeat(1100);
    let refused = format!(
        r#"api publish {{"channel":"x","data":"{large}"}} => {{"error":{{"code":107,"message":"bad request"}}}}
           a> {{"id":3,"publish":{{"channel":"x","data":"{large}"}}}}
           a< {{"id":3,"error":{{"code":106,"message":"limit exceeded"}}}}"#
    );
    check(
        "client.insecure client.queue_max_size=4096 +window_bytes=4096",
        &format!(
            r#"a: -
               {refused}
               a> {{"id":2,"subscribe":{{"channel":"x"}}}}
               a< {{"id":2,"subscribe":{{}}}}
               {refused}"#
        ),
    )
    .await;
    // An empty publication has no data.
    check(
        "client.insecure +publication_data_format=binary",
        r#"a: -
           a> {"id":2,"subscribe":{"channel":"x"}}
           a< {"id":2,"subscribe":{}}
           api publish {"channel":"x"} => {"result":{}}
           a< {"push":{"channel":"x","pub":{}}}"#,
    )
    .await;
}
