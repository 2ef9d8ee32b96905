//! Connecting, and what ends a connection.

use super::check;

#[tokio::test(start_paused = true)]
async fn who_may_connect() {
    let connected = r#"a< {"id":1,"connect":{"client":"A","ping":25,"pong":true}}"#;
    let connect = r#"a> {"id":1,"connect":{}}"#;
    check("", &format!("{connect}\n a< end 3501 bad request")).await;
    check("client.insecure", &format!("{connect}\n{connected}")).await;
    check("client.allow_anonymous_connect_without_token", &format!("{connect}\n{connected}")).await;
    let with = |claims: &str| format!(r#"a> {{"id":1,"connect":{{"token":"TOKEN({claims})"}}}}"#);
    check("", &format!("{}\n{connected}", with(r#"{"sub":"ann"}"#))).await;
    check("", &format!("{}\n{connected}", with("{}"))).await;
    check(
        "client.disallow_anonymous_connection_tokens",
        &format!("{}\n a< end 3507 permission denied", with("{}")),
    )
    .await;
    check(
        "",
        r#"a> {"id":1,"connect":{"token":"x"}}
                 a< end 3500 invalid token"#,
    )
    .await;
    check("", &format!("{}\n a< end 3500 invalid token", with(r#"{"sub":"ann","channel":"x"}"#))).await;
    for (claims, code, message) in [
        (r#"{"sub":"ann","exp":1}"#, 109, "token expired"),
        (r#"{"sub":"ann","expire_at":1}"#, 110, "expired"),
        (r#"{"sub":"ann","nbf":4000000000}"#, 109, "token expired"),
        (r#"{"sub":"ann","channels":["none:x"]}"#, 102, "unknown channel"),
    ] {
        let error = format!(r#"a< {{"id":1,"error":{{"code":{code},"message":"{message}"}}}}"#);
        // What comes behind it is not done.
        let rest = r#"{"id":2,"subscribe":{"channel":"x"}}"#;
        check("", &format!("{} {rest}\n{error}\n a< -", with(claims))).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_ends_a_connection() {
    for first in [
        r#"{"id":1,"subscribe":{"channel":"x"}}"#,
        r#"{"id":1,"rpc":{}}"#,
        r#"{"id":1}"#,
        r#"{"connect":{}}"#,
        r#"{"id":1,"ping":{}}"#,
        r#"{"id":1,"connect":{"subs":{"x":{"delta":"other"}}}}"#,
    ] {
        check("client.insecure", &format!("a> {first}\n a< end 3501 bad request")).await;
    }
    for later in [
        r#"{"id":2,"connect":{}}"#,
        r#"{"id":2}"#,
        r#"{"id":2,"ping":{}}"#,
        // A pong that nobody asked for.
        "{}",
        r#"{"subscribe":{"channel":"x"}}"#,
        r#"{"id":2,"subscribe":{"channel":""}}"#,
        r#"{"id":2,"subscribe":{"channel":"x","delta":"other"}}"#,
        r#"{"id":2,"unsubscribe":{}}"#,
        r#"{"id":2,"publish":{"data":1}}"#,
        r#"{"id":2,"presence":{}}"#,
        r#"{"id":2,"presence_stats":{}}"#,
        r#"{"id":2,"history":{}}"#,
        r#"{"id":2,"sub_refresh":{"token":"x"}}"#,
        r#"{"id":2,"refresh":{}}"#,
    ] {
        // What came before it is done.
        check(
            "client.insecure",
            &format!(
                r#"a: -
                   a> {{"id":9,"subscribe":{{"channel":"y"}}}} {later} {{"id":3,"rpc":{{}}}}
                   a< {{"id":9,"subscribe":{{}}}}
                   a< end 3501 bad request"#
            ),
        )
        .await;
    }
    check("client.insecure", "a: -\n a> {\"send\":{\"data\":1}}\n a< end 3508 not available").await;
}

#[tokio::test(start_paused = true)]
async fn refreshing() {
    let refresh =
        |claims: &str| format!("a: ann\n a> {{\"id\":2,\"refresh\":{{\"token\":\"TOKEN({claims})\"}}}}\n");
    let check_refresh = async |claims: &str, expected: &str| {
        check("", &format!("{}{expected}", refresh(claims))).await;
    };
    check_refresh(r#"{"sub":"ann"}"#, r#"a< {"id":2,"refresh":{}}"#).await;
    check_refresh(r#"{"sub":"bob"}"#, "a< end 3500 invalid token").await;
    check_refresh(r#"{"sub":"ann","channel":"x"}"#, "a< end 3500 invalid token").await;
    check_refresh(r#"{"sub":"ann","exp":1}"#, "a< end 3005 connection expired").await;
    check_refresh(
        r#"{"sub":"ann","expire_at":1}"#,
        r#"a< {"id":2,"error":{"code":110,"message":"expired"}}"#,
    )
    .await;
    check("", "a: ann\n a> {\"id\":2,\"refresh\":{\"token\":\"x\"}}\n a< end 3500 invalid token").await;
}

#[tokio::test(start_paused = true)]
async fn the_api_closes_connections() {
    check(
        "",
        r#"a: ann
           b: ann
           c: bob
           api disconnect {"user":"ann","whitelist":["A"]} => {"result":{}}
           b< end 3503 force disconnect
           a< -
           api disconnect {"user":"ann","client":"A","disconnect":{"code":4501,"reason":"go away"}} => {"result":{}}
           a< end 4501 go away
           api disconnect {"user":"nobody"} => {"result":{}}
           api refresh {"user":"bob"} => {"result":{}}
           c< {"push":{"refresh":{}}}
           api refresh {"user":"bob","expired":true} => {"result":{}}
           c< end 3005 connection expired
           d: bob
           api refresh {"user":"bob","expire_at":1} => {"result":{}}
           d< end 3005 connection expired"#,
    )
    .await;
}
