//! Subscriptions that the server makes: by token, by the API, by what a client asks for when it connects.

use super::check;

#[tokio::test(start_paused = true)]
async fn channels_of_a_token_and_of_a_user() {
    check(
        "client.subscribe_to_user_personal_channel.enabled +presence",
        r##"a> {"id":1,"connect":{"token":"TOKEN({"sub":"ann","subs":{"x":{"info":{"i":1},"data":{"d":1}},"$y":{}}})"}}
            a< {"id":1,"connect":{"client":"A","ping":25,"pong":true,"subs":{"x":{"data":{"d":1}},"$y":{},"#ann":{}}}}
            api presence {"channel":"x"} => {"result":{"presence":{"A":{"user":"ann","client":"A","chan_info":{"i":1}}}}}
            api publish {"channel":"#ann","data":1} => {"result":{}}
            a< {"push":{"channel":"#ann","pub":{"data":1}}}
            a> {"id":2,"unsubscribe":{"channel":"x"}} {"id":3,"subscribe":{"channel":"$y"}}
            a< {"id":2,"unsubscribe":{}}
            a< {"id":3,"error":{"code":105,"message":"already subscribed"}}
            api unsubscribe {"user":"ann","channel":"$y"} => {"result":{}}
            a< {"push":{"channel":"$y","unsubscribe":{"code":2000,"reason":"server unsubscribe"}}}"##,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn channels_that_a_client_wants() {
    let connect = |claims: &str, subs: &str| {
        format!(r#"a> {{"id":1,"connect":{{"token":"TOKEN({claims})","subs":{subs}}}}}"#)
    };
    let connected =
        |subs: &str| format!(r#"a< {{"id":1,"connect":{{"client":"A","ping":25,"pong":true{subs}}}}}"#);
    let ann = r#"{"sub":"ann"}"#;
    let wants = r#"{"x":{},"$y":{},"u#bob":{}}"#;
    check("", &format!("{}\n{}", connect(ann, wants), connected(""))).await;
    check(
        "+allow_subscribe_for_client +allow_user_limited_channels",
        &format!("{}\n{}", connect(ann, wants), connected(r#","subs":{"x":{}}"#)),
    )
    .await;
    check(
        "+allow_subscribe_for_client",
        &format!("{}\n a< end 3501 bad request", connect(ann, r#"{"none:x":{}}"#)),
    )
    .await;
    // They are as good as those that the client subscribes to itself, but the server's.
    let kept = "+allow_subscribe_for_client +history_size=5 +history_ttl=60s +force_recovery";
    check(
        kept,
        &format!(
            r#"api publish {{"channel":"x","data":1}} => {{"result":{{"offset":1,"epoch":"E"}}}}
               {}
               {}
               api publish {{"channel":"x","data":2}} => {{"result":{{"offset":2,"epoch":"E"}}}}
               a< {{"push":{{"channel":"x","pub":{{"data":2,"offset":2}}}}}}"#,
            connect(ann, r#"{"x":{"recover":true}}"#),
            connected(
                r#","subs":{"x":{"recoverable":true,"positioned":true,"epoch":"E","was_recovering":true,"recovered":true,"publications":[{"data":1,"offset":1,"epoch":"E"}]}}"#
            ),
        ),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn deltas_of_the_server_s_own() {
    let text = "a document that is long enough to be worth a patch, and changes in one place only: ";
    let script = |delta: &str, replied: &str| {
        format!(
            r#"a> {{"id":1,"connect":{{"token":"TOKEN({{"sub":"ann","channels":["x"]}})","subs":{{"x":{{"delta":"{delta}"}}}}}}}}
               a< {{"id":1,"connect":{{"client":"A","ping":25,"pong":true,"subs":{{"x":{{{replied}}}}}}}}}
               api publish {{"channel":"x","data":"{text}1"}} => {{"result":{{}}}}
               api publish {{"channel":"x","data":"{text}2"}} => {{"result":{{}}}}"#
        )
    };
    let whole = |n: u8| format!("a< {{\"push\":{{\"channel\":\"x\",\"pub\":{{\"data\":\"{text}{n}\"}}}}}}");
    for (flags, delta) in [("+delta_publish", "fossil"), ("+delta_publish +allowed_delta_types=fossil", "")] {
        check(flags, &format!("{}\n{}\n{}", script(delta, ""), whole(1), whole(2))).await;
    }
    let patched =
        super::patches("+delta_publish +allowed_delta_types=fossil", &script("fossil", r#""delta":true"#))
            .await;
    assert_eq!(patched, [vec![false, true], vec![false, true]]);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_with_other_channels_starts_anew() {
    let first = r#"a> {"id":1,"connect":{"token":"TOKEN({"sub":"ann","channels":["x","y"]})"}}
                   a< {"id":1,"connect":{"client":"A","ping":25,"pong":true,"subs":{"x":{},"y":{}}}}"#;
    let refresh = |claims: &str| format!(r#"a> {{"id":2,"refresh":{{"token":"TOKEN({claims})"}}}}"#);
    let goes_on = r#"a< {"id":2,"refresh":{}}"#;
    let anew = "a< end 3010 insufficient state";
    for (claims, expected) in [
        (r#"{"sub":"ann","channels":["y","x"]}"#, goes_on),
        (r#"{"sub":"ann","subs":{"y":{},"x":{}}}"#, goes_on),
        (r#"{"sub":"ann","channels":["x"]}"#, anew),
        (r#"{"sub":"ann","channels":["x","y","z"]}"#, anew),
        (r#"{"sub":"ann"}"#, anew),
    ] {
        check("", &format!("{first}\n{}\n{expected}", refresh(claims))).await;
    }
    // What somebody else has subscribed to does not count.
    check(
        "client.subscribe_to_user_personal_channel.enabled +allow_subscribe_for_client",
        &format!(
            r##"a> {{"id":1,"connect":{{"token":"TOKEN({{"sub":"ann","channels":["x"]}})","subs":{{"w":{{}}}}}}}}
                a< {{"id":1,"connect":{{"client":"A","ping":25,"pong":true,"subs":{{"x":{{}},"w":{{}},"#ann":{{}}}}}}}}
                api subscribe {{"user":"ann","channel":"api"}} => {{"result":{{}}}}
                a< {{"push":{{"channel":"api","subscribe":{{}}}}}}
                a> {{"id":3,"subscribe":{{"channel":"own"}}}}
                a< {{"id":3,"subscribe":{{}}}}
                {}
                {goes_on}
                {}
                {goes_on}"##,
            refresh(r#"{"sub":"ann","channels":["x"]}"#),
            refresh(r#"{"sub":"ann","channels":["x","own"]}"#),
        ),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_api_subscribes() {
    check(
        "+presence +join_leave",
        r#"a: ann
           b: ann
           api subscribe {"user":"ann","client":"A","channel":"x","info":{"i":1},"data":{"d":1}} => {"result":{}}
           a< {"push":{"channel":"x","subscribe":{"data":{"d":1}}}}
           b< -
           api subscribe {"user":"ann","channel":"x","override":{"force_push_join_leave":{"value":true},"presence":{"value":false}}} => {"result":{}}
           b< {"push":{"channel":"x","subscribe":{}}}
           b< {"push":{"channel":"x","join":{"info":{"user":"ann","client":"B"}}}}
           a< -
           api presence {"channel":"x"} => {"result":{"presence":{"A":{"user":"ann","client":"A","chan_info":{"i":1}}}}}
           api presence_stats {"channel":"x"} => {"result":{"num_clients":1,"num_users":1}}
           api channels {} => {"result":{"channels":{"x":{"num_clients":2}}}}
           api channels {"pattern":"y*"} => {"result":{"channels":{}}}
           api subscribe {"user":"ann","channel":"none:x"} => {"error":{"code":102,"message":"unknown channel"}}
           api unsubscribe {"user":"ann","channel":"none:x"} => {"error":{"code":102,"message":"unknown channel"}}
           api subscribe {"user":"ann","channel":""} => {"error":{"code":107,"message":"bad request"}}"#,
    )
    .await;
    check(
        "client.insecure",
        r#"a: -
           api subscribe {"user":"","channel":"x"} => {"result":{}}
           a< {"push":{"channel":"x","subscribe":{}}}
           api subscribe {"channel":"y"} => {"result":{}}
           a< {"push":{"channel":"y","subscribe":{}}}
           a< -"#,
    )
    .await;
    check(
        "+history_size=5 +history_ttl=60s +force_recovery",
        r#"a: ann
           api publish {"channel":"x","data":1} => {"result":{"offset":1,"epoch":"E"}}
           api subscribe {"user":"ann","channel":"x","recover_since":{"offset":0,"epoch":""}} => {"result":{}}
           a< {"push":{"channel":"x","subscribe":{"recoverable":true,"positioned":true,"epoch":"E"}}}
           a< {"push":{"channel":"x","pub":{"data":1,"offset":1,"epoch":"E"}}}
           api publish {"channel":"x","data":2} => {"result":{"offset":2,"epoch":"E"}}
           a< {"push":{"channel":"x","pub":{"data":2,"offset":2}}}"#,
    )
    .await;
}

/// Whoever asks next, be it in the same batch, finds it done.
#[tokio::test(start_paused = true)]
async fn what_the_api_asks_of_clients_is_done_when_it_answers() {
    check(
        "+presence",
        r#"a: ann
           api batch {"commands":[{"subscribe":{"user":"ann","channel":"x"}},{"publish":{"channel":"x","data":1}},{"presence_stats":{"channel":"x"}},{"unsubscribe":{"user":"ann","channel":"x"}},{"presence_stats":{"channel":"x"}}]} => {"replies":[{"subscribe":{}},{"publish":{}},{"presence_stats":{"num_clients":1,"num_users":1}},{"unsubscribe":{}},{"presence_stats":{"num_clients":0,"num_users":0}}]}
           a< {"push":{"channel":"x","subscribe":{}}}
           a< {"push":{"channel":"x","pub":{"data":1}}}
           a< {"push":{"channel":"x","unsubscribe":{"code":2000,"reason":"server unsubscribe"}}}
           api publish {"channel":"x","data":2} => {"result":{}}
           a< -"#,
    )
    .await;
}

/// A goodbye reaches who is sent away after it.
#[tokio::test(start_paused = true)]
async fn what_was_published_before_somebody_is_closed_is_read() {
    let publish = r#"{"publish":{"channel":"x","data":1}},{"publish":{"channel":"y","data":2}}"#;
    check(
        "",
        &format!(
            r#"a: ann
               api subscribe {{"user":"ann","channel":"x"}} => {{"result":{{}}}}
               a< {{"push":{{"channel":"x","subscribe":{{}}}}}}
               api subscribe {{"user":"ann","channel":"y"}} => {{"result":{{}}}}
               a< {{"push":{{"channel":"y","subscribe":{{}}}}}}
               api batch {{"commands":[{publish},{{"disconnect":{{"user":"ann"}}}}]}} => {{"replies":[{{"publish":{{}}}},{{"publish":{{}}}},{{"disconnect":{{}}}}]}}
               a< {{"push":{{"channel":"x","pub":{{"data":1}}}}}}
               a< {{"push":{{"channel":"y","pub":{{"data":2}}}}}}
               a< end 3503 force disconnect"#
        ),
    )
    .await;
    // And who is closed for something that it says itself.
    check(
        "+allow_subscribe_for_client +allow_publish_for_client",
        r#"a: ann
           a> {"id":2,"subscribe":{"channel":"x"}}
           a< {"id":2,"subscribe":{}}
           a> {"id":3,"publish":{"channel":"x","data":1}} {"id":4,"connect":{}}
           a< {"push":{"channel":"x","pub":{"data":1,"info":{"user":"ann","client":"A"}}}}
           a< {"id":3,"publish":{}}
           a< end 3501 bad request"#,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_told_with_a_new_token_is_told_where_nothing_was() {
    let token = |more: &str| format!(r#"TOKEN({{"sub":"ann","channel":"x","exp":4000000000{more}}})"#);
    check(
        "+allow_publish_for_client",
        &format!(
            r#"a: ann
               a> {{"id":2,"subscribe":{{"channel":"x","token":"{}"}}}}
               a< {{"id":2,"subscribe":{{"expires":true,"ttl":31536000}}}}
               a> {{"id":3,"sub_refresh":{{"channel":"x","token":"{}"}}}}
               a< {{"id":3,"sub_refresh":{{"expires":true,"ttl":31536000}}}}
               a> {{"id":4,"publish":{{"channel":"x","data":1}}}}
               a< {{"push":{{"channel":"x","pub":{{"data":1,"info":{{"user":"ann","client":"A","chan_info":{{"i":1}}}}}}}}}}
               a< {{"id":4,"publish":{{}}}}"#,
            token(""),
            token(r#","info":{"i":1}"#),
        ),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn whoever_may_do_everything_gets_what_it_wants() {
    check(
        "client.insecure",
        r#"a> {"id":1,"connect":{"subs":{"x":{},"$y":{}}}}
           a< {"id":1,"connect":{"client":"A","ping":25,"pong":true,"subs":{"x":{}}}}"#,
    )
    .await;
}
