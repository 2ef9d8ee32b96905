//! Channels with history: positions, recovery, pages, deltas.

use super::check;

const KEPT: &str = "client.insecure +history_size=5 +history_ttl=60s";

/// A client that has subscribed to `x` from a position, after this many publications to a channel that keeps five, and the
/// reply.
async fn recover(published: u64, request: &str, reply: &str) {
    let flags = format!("{KEPT} +force_recovery");
    let mut script = String::new();
    for n in 1..=published {
        script += &format!(
            "api publish {{\"channel\":\"x\",\"data\":{n}}} => {{\"result\":{{\"offset\":{n},\"epoch\":\"E\"}}}}\n"
        );
    }
    script += &format!(
        "a: -\n a> {{\"id\":2,\"subscribe\":{{\"channel\":\"x\"{request}}}}}\n a< {{\"id\":2,{reply}}}\n"
    );
    check(&flags, &script).await;
}

#[tokio::test(start_paused = true)]
async fn recovering() {
    let done = |fields: &str| {
        format!(
            r#""subscribe":{{"recoverable":true,"positioned":true,"epoch":"E","was_recovering":true,"recovered":true{fields}}}"#
        )
    };
    let lost = |offset: u64| {
        format!(
            r#""subscribe":{{"recoverable":true,"positioned":true,"epoch":"E","was_recovering":true,"offset":{offset}}}"#
        )
    };
    recover(0, "", r#""subscribe":{"recoverable":true,"positioned":true,"epoch":"E"}"#).await;
    recover(2, "", r#""subscribe":{"recoverable":true,"positioned":true,"epoch":"E","offset":2}"#).await;
    recover(0, r#","recover":true"#, &done("")).await;
    recover(
        2,
        r#","recover":true"#,
        &done(r#","publications":[{"data":1,"offset":1,"epoch":"E"},{"data":2,"offset":2}]"#),
    )
    .await;
    // The offset is the request's; the client moves on by what it gets.
    recover(
        3,
        r#","recover":true,"offset":1"#,
        &done(r#","offset":1,"publications":[{"data":2,"offset":2},{"data":3,"offset":3}]"#),
    )
    .await;
    recover(3, r#","recover":true,"offset":3"#, &done(r#","offset":3"#)).await;
    recover(3, r#","recover":true,"offset":4"#, &lost(3)).await;
    recover(3, r#","recover":true,"offset":1,"epoch":"other""#, &lost(3)).await;
    recover(7, r#","recover":true,"offset":2"#, &done(r#","offset":2,"publications":[{"data":3,"offset":3},{"data":4,"offset":4},{"data":5,"offset":5},{"data":6,"offset":6},{"data":7,"offset":7}]"#)).await;
    recover(7, r#","recover":true,"offset":1"#, &lost(7)).await;
    // The second bit asks for an error instead, the first one for nothing that there is.
    let refused = r#""error":{"code":112,"message":"unrecoverable position"}"#;
    recover(7, r#","recover":true,"offset":1,"flag":2"#, refused).await;
    recover(7, r#","recover":true,"offset":1,"flag":3"#, refused).await;
    recover(7, r#","recover":true,"offset":1,"flag":1"#, &lost(7)).await;
    recover(7, r#","recover":true,"offset":7,"flag":2"#, &done(r#","offset":7"#)).await;
}

#[tokio::test(start_paused = true)]
async fn the_newest_only() {
    let flags = |more: &str| format!("{KEPT} +force_recovery +force_recovery_mode=cache {more}");
    let top = r#""recoverable":true,"positioned":true,"epoch":"E""#;
    for (more, request, empty, newest) in [
        ("", "", "", r#","offset":2"#),
        (
            "",
            r#","recover":true"#,
            r#","was_recovering":true"#,
            r#","was_recovering":true,"recovered":true,"publications":[{"data":2,"offset":2}]"#,
        ),
        (
            "",
            r#","recover":true,"offset":9,"epoch":"other""#,
            r#","was_recovering":true"#,
            r#","offset":2,"was_recovering":true,"recovered":true,"publications":[{"data":2,"offset":2}]"#,
        ),
        (
            "",
            r#","recover":true,"offset":1,"flag":2"#,
            r#","was_recovering":true"#,
            r#","offset":1,"was_recovering":true,"recovered":true,"publications":[{"data":2,"offset":2}]"#,
        ),
        // To everybody, whether asked for or not.
        (
            "+auto_cache_recover",
            "",
            r#","was_recovering":true"#,
            r#","was_recovering":true,"recovered":true,"publications":[{"data":2,"offset":2}]"#,
        ),
        (
            "+auto_cache_recover",
            r#","flag":2"#,
            r#","was_recovering":true"#,
            r#","was_recovering":true,"recovered":true,"publications":[{"data":2,"offset":2}]"#,
        ),
    ] {
        check(
            &flags(more),
            &format!(
                r#"a: -
                   b: -
                   a> {{"id":2,"subscribe":{{"channel":"x"{request}}}}}
                   a< {{"id":2,"subscribe":{{{top}{empty}}}}}
                   api publish {{"channel":"x","data":1}} => {{"result":{{"offset":1,"epoch":"E"}}}}
                   a< {{"push":{{"channel":"x","pub":{{"data":1,"offset":1,"epoch":"E"}}}}}}
                   api publish {{"channel":"x","data":2}} => {{"result":{{"offset":2,"epoch":"E"}}}}
                   a< {{"push":{{"channel":"x","pub":{{"data":2,"offset":2}}}}}}
                   b> {{"id":2,"subscribe":{{"channel":"x"{request}}}}}
                   b< {{"id":2,"subscribe":{{{top}{newest}}}}}
                   b< -"#
            ),
        )
        .await;
    }
    // Of the server's own, too.
    check(
        &format!("{} +allow_subscribe_for_client", flags("+auto_cache_recover")),
        &format!(
            r#"api publish {{"channel":"x","data":1}} => {{"result":{{"offset":1,"epoch":"E"}}}}
               a> {{"id":1,"connect":{{"token":"TOKEN({{"sub":"ann"}})","subs":{{"x":{{}}}}}}}}
               a< {{"id":1,"connect":{{"client":"A","ping":25,"pong":true,"subs":{{"x":{{{top},"was_recovering":true,"recovered":true,"publications":[{{"data":1,"offset":1,"epoch":"E"}}]}}}}}}}}
               api subscribe {{"user":"ann","channel":"y"}} => {{"result":{{}}}}
               a< {{"push":{{"channel":"y","subscribe":{{{top}}}}}}}"#
        ),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_a_client_may_ask_for() {
    let kept = "+allow_subscribe_for_client +history_size=5 +history_ttl=60s";
    let asks = r#","positioned":true,"recoverable":true"#;
    for (flags, fields, granted) in [
        ("", asks, ""),
        ("+allow_positioning", asks, r#""positioned":true,"epoch":"E""#),
        ("+allow_recovery", asks, r#""recoverable":true,"positioned":true,"epoch":"E""#),
        // Who may read history may rely on it.
        ("+allow_history_for_subscriber", asks, r#""recoverable":true,"positioned":true,"epoch":"E""#),
        ("+force_positioning", "", r#""positioned":true,"epoch":"E""#),
        ("+force_recovery", "", r#""recoverable":true,"positioned":true,"epoch":"E""#),
    ] {
        check(
            &format!("{kept} {flags}"),
            &format!(
                "a: ann\n a> {{\"id\":2,\"subscribe\":{{\"channel\":\"x\"{fields}}}}}\n a< {{\"id\":2,\"subscribe\":{{{granted}}}}}"
            ),
        )
        .await;
    }
    // Without history there is nothing to rely on.
    check(
        "client.insecure +force_positioning",
        &format!("a: -\n a> {{\"id\":2,\"subscribe\":{{\"channel\":\"x\"{asks}}}}}\n a< {{\"id\":2,\"subscribe\":{{}}}}"),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn pages() {
    let mut script = String::new();
    for n in 1..=4 {
        script += &format!(
            "api publish {{\"channel\":\"x\",\"data\":{n}}} => {{\"result\":{{\"offset\":{n},\"epoch\":\"E\"}}}}\n"
        );
    }
    script += "a: -\n";
    for (request, offsets) in [
        ("", &[][..]),
        (r#","limit":0"#, &[]),
        (r#","limit":2"#, &[1, 2]),
        (r#","limit":-1"#, &[1, 2, 3, 4]),
        (r#","limit":100"#, &[1, 2, 3, 4]),
        (r#","limit":2,"reverse":true"#, &[4, 3]),
        (r#","limit":2,"since":{"offset":2}"#, &[3, 4]),
        (r#","limit":2,"since":{"offset":3},"reverse":true"#, &[2, 1]),
        (r#","limit":5,"since":{"offset":4}"#, &[]),
        (r#","limit":5,"since":{"offset":0}"#, &[1, 2, 3, 4]),
    ] {
        let page = |epoch: &str| {
            let publications = offsets
                .iter()
                .map(|n| format!("{{\"data\":{n},\"offset\":{n}{}}}", if *n == 1 { epoch } else { "" }));
            format!(
                "{{\"publications\":[{}],\"epoch\":\"E\",\"offset\":4}}",
                publications.collect::<Vec<_>>().join(",")
            )
        };
        script += &format!(
            "a> {{\"id\":2,\"history\":{{\"channel\":\"x\"{request}}}}}\n a< {{\"id\":2,\"history\":{}}}\n\
             api history {{\"channel\":\"x\"{request}}} => {{\"result\":{}}}\n",
            page(r#","epoch":"E""#),
            page("")
        );
    }
    let wrong = r#","limit":1,"since":{"offset":1,"epoch":"other"}"#;
    let error = r#""error":{"code":112,"message":"unrecoverable position"}"#;
    script += &format!(
        "a> {{\"id\":2,\"history\":{{\"channel\":\"x\"{wrong}}}}}\n a< {{\"id\":2,{error}}}\n\
         api history {{\"channel\":\"x\"{wrong}}} => {{{error}}}\n\
         api history_remove {{\"channel\":\"x\"}} => {{\"result\":{{}}}}\n\
         api history {{\"channel\":\"x\",\"limit\":5}} => {{\"result\":{{\"publications\":[],\"epoch\":\"E\",\"offset\":4}}}}\n\
         api publish {{\"channel\":\"x\",\"data\":5,\"skip_history\":true}} => {{\"result\":{{}}}}\n\
         api publish {{\"channel\":\"x\",\"data\":6}} => {{\"result\":{{\"offset\":5,\"epoch\":\"E\"}}}}\n"
    );
    check(KEPT, &script).await;
}

#[tokio::test(start_paused = true)]
async fn a_filtered_subscriber_reads_all_of_history() {
    // As v6: a filter is of the subscription; a request for history has none.
    check(
        &format!("{KEPT} +allow_tags_filter"),
        r#"a: -
           a> {"id":2,"subscribe":{"channel":"x","tf":{"key":"k","cmp":"eq","val":"v"}}}
           a< {"id":2,"subscribe":{}}
           api publish {"channel":"x","data":1,"tags":{"k":"w"}} => {"result":{"offset":1,"epoch":"E"}}
           api publish {"channel":"x","data":2,"tags":{"k":"v"}} => {"result":{"offset":2,"epoch":"E"}}
           a< {"push":{"channel":"x","pub":{"data":2,"offset":2,"tags":{"k":"v"}}}}
           a> {"id":3,"history":{"channel":"x","limit":5}}
           a< {"id":3,"history":{"publications":[{"data":1,"offset":1,"epoch":"E","tags":{"k":"w"}},{"data":2,"offset":2,"tags":{"k":"v"}}],"epoch":"E","offset":2}}"#,
    )
    .await;
    let refused = r#"a< {"id":2,"error":{"code":107,"message":"bad request"}}"#;
    for (flags, tf) in [
        ("", r#"{"key":"k","cmp":"ex"}"#),
        ("+allow_tags_filter", r#"{"key":"k","cmp":"like","val":"v"}"#),
        ("+allow_tags_filter", r#"{"op":"not","nodes":[]}"#),
        ("+allow_tags_filter", r#"{"key":"k","cmp":"gt","val":"many"}"#),
    ] {
        check(
            &format!("client.insecure {flags}"),
            &format!("a: -\n a> {{\"id\":2,\"subscribe\":{{\"channel\":\"x\",\"tf\":{tf}}}}}\n {refused}"),
        )
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_version_without_an_epoch_is_of_the_one_that_is() {
    check(
        "+history_size=5 +history_ttl=60s",
        r#"api publish {"channel":"x","data":1,"version":5,"version_epoch":"e"} => {"result":{"offset":1,"epoch":"E"}}
           api publish {"channel":"x","data":2,"version":3} => {"result":{"offset":1,"epoch":"E"}}
           api publish {"channel":"x","data":3,"version":3,"version_epoch":"f"} => {"result":{"offset":2,"epoch":"E"}}
           api publish {"channel":"x","data":4,"version":4} => {"result":{"offset":3,"epoch":"E"}}
           api publish {"channel":"x","data":5,"version":9,"version_epoch":"f"} => {"result":{"offset":4,"epoch":"E"}}"#,
    )
    .await;
}

/// Where nothing that is kept is wanted, there is nothing to have recovered.
#[tokio::test(start_paused = true)]
async fn a_cache_without_what_is_wanted_is_not_recovered() {
    check(
        "+history_size=5 +history_ttl=60s +force_recovery +force_recovery_mode=cache +allow_subscribe_for_client +allow_tags_filter",
        r#"api publish {"channel":"x","data":1,"tags":{"k":"a"}} => {"result":{"offset":1,"epoch":"E"}}
           a: ann
           a> {"id":2,"subscribe":{"channel":"x","recover":true,"tf":{"key":"k","cmp":"eq","val":"b"}}}
           a< {"id":2,"subscribe":{"recoverable":true,"positioned":true,"epoch":"E","offset":1,"was_recovering":true}}"#,
    )
    .await;
}

/// A client that got the newest with its reply has what the next is a patch of, though nobody was subscribed before.
#[tokio::test(start_paused = true)]
async fn the_first_publication_after_a_recovered_one_is_a_patch() {
    let text = "a document that is long enough to be worth a patch, and changes in one place only: ";
    for mode in ["", " +force_recovery_mode=cache"] {
        let flags = format!(
            "+history_size=5 +history_ttl=60s +force_recovery +allow_subscribe_for_client +delta_publish \
             +allowed_delta_types=fossil{mode}"
        );
        let publish = |n: u8, offset: u8| {
            format!(
                "api publish {{\"channel\":\"x\",\"data\":\"{text}{n}\"}} => {{\"result\":{{\"offset\":{offset},\"epoch\":\"E\"}}}}"
            )
        };
        let script = format!(
            "{}\na: ann\na> {{\"id\":2,\"subscribe\":{{\"channel\":\"x\",\"recover\":true,\"delta\":\"fossil\"}}}}\nwait\n{}\n{}",
            publish(0, 1),
            publish(1, 2),
            publish(2, 3),
        );
        assert_eq!(super::patches(&flags, &script).await, [[true, true], [true, true]], "{mode}");
    }
}
