use std::time::Duration;

use super::*;

/// Asks for a subscription, and compares what comes of this answer.
async fn check(answer: &str, expected: &str) {
    let backend = Backend::saying(answer).await;
    let subscribed =
        proxy(&backend, |_| {}).subscribe(&client(None), &crate::rules::subscribe_to("news")).await;
    let subscribed = subscribed.map(|answer| {
        let Subscribed { expire_at, info, data, overrides } = answer;
        format!("{expire_at} {info:?} {data:?} {:?}", overrides.presence)
    });
    assert_eq!(said(subscribed).replace('\\', "").trim_matches('"'), expected, "{answer}");
}

const FAILED: &str = "error 100 internal server error, temporary";

#[tokio::test]
async fn one_of_three() {
    check(r#"{"result":{}}"#, r#"0 b"" b"" None"#).await;
    check(
        r#"{"result":{"info":{"a": 1},"data":"x","expire_at":7,"unknown":1}}"#,
        r#"7 b"{"a": 1}" b""x"" None"#,
    )
    .await;
    check(
        r#"{"result":{"b64info":"AQ==","info":"passed over","override":{"presence":{"value":true}}}}"#,
        r#"0 b"x01" b"" Some(true)"#,
    )
    .await;
    // What PHP makes of an empty object, and what Go makes of an empty list.
    check(r#"{"result":[],"error":null}"#, r#"0 b"" b"" None"#).await;
    check(r#"{"error":{"code":403,"message":"no"}}"#, "error 403 no").await;
    check(r#"{"error":{"code":403}}"#, "error 403 ").await;
    check(r#"{"error":{"code":1999,"message":"later","temporary":true}}"#, "error 1999 later, temporary")
        .await;
    check(r#"{"error":{"code":103,"message":"permission denied"}}"#, "error 103 permission denied").await;
    check(r#"{"disconnect":{"code":4501,"reason":"go"}}"#, "disconnect 4501 go").await;
    check(r#"{"disconnect":{"code":4501}}"#, "disconnect 4501 disconnected by the application").await;
    check(r#"{"result":{},"error":{"code":403,"message":"no"}}"#, "error 403 no").await;
    let long = format!(r#"{{"disconnect":{{"code":4000,"reason":"{}"}}}}"#, "ä".repeat(100));
    check(&long, &format!("disconnect 4000 {}", "ä".repeat(61))).await;
}

#[tokio::test]
async fn what_makes_no_sense_is_a_failure() {
    for answer in [
        "",
        "null",
        "{}",
        "[]",
        "it works!",
        r#"{"result":null}"#,
        r#"{"result":{"expire_at":"soon"}}"#,
        r#"{"result":{"b64info":"?"}}"#,
        r#"{"result":{"override":{"presence":true}}}"#,
        r#"{"error":{"code":0}}"#,
        r#"{"error":{"code":399}}"#,
        r#"{"error":{"code":2000}}"#,
        r#"{"error":"no"}"#,
        r#"{"disconnect":{"code":1000}}"#,
        r#"{"disconnect":{"code":5000}}"#,
        r#"{"disconnect":{"code":99999}}"#,
        r#"{"result":{}} trailing"#,
        &"[".repeat(200_000),
    ] {
        check(answer, FAILED).await;
    }
}

#[tokio::test]
async fn statuses_are_what_the_configuration_makes_of_them() {
    for (status, expected) in [
        ("403 Forbidden", "error 403 no"),
        ("410 Gone", "disconnect 4410 gone"),
        ("404 Not Found", FAILED),
        ("500 Oops", FAILED),
        ("204 No Content", FAILED),
    ] {
        let backend = Backend::writing(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")).await;
        let proxy = proxy(&backend, |options| {
            options.http.status_to_code_transforms = vec![
                json!({"status_code": 403, "to_error": {"code": 403, "message": "no"}}),
                json!({"status_code": 403, "to_error": {"code": 499, "message": "too late"}}),
                json!({"status_code": 410, "to_disconnect": {"code": 4410, "reason": "gone"}}),
            ];
        });
        assert_eq!(said(proxy.rpc(&client(None), "sum", &"1".into()).await), expected, "{status}");
    }
}

#[tokio::test]
async fn nobody_else_is_asked() {
    let elsewhere = Backend::saying(r#"{"result":{}}"#).await;
    let away = format!("HTTP/1.1 307 Moved\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", elsewhere.url);
    let backend = Backend::writing(away).await;
    assert_eq!(said(proxy(&backend, |_| {}).rpc(&client(None), "sum", &"1".into()).await), FAILED);
    assert!(elsewhere.asked().is_empty());
}

#[tokio::test]
async fn a_reply_is_bounded() {
    let body = format!(r#"{{"result":{{"data":"{}"}}}}"#, "x".repeat(1000));
    for (limit, expected) in [(body.len(), true), (body.len() - 1, false)] {
        let chunked = format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        );
        for backend in [Backend::saying(&body).await, Backend::writing(chunked).await] {
            let proxy = proxy(&backend, |options| options.response_size_limit = limit);
            let outcome = proxy.rpc(&client(None), "sum", &"1".into()).await;
            assert_eq!(outcome.is_ok(), expected, "{limit}");
        }
    }
}

#[tokio::test]
async fn a_backend_that_hangs_costs_its_timeout_and_its_turns() {
    let hanging = Backend::writing(String::new()).await;
    let slow = proxy(&hanging, |options| {
        options.timeout = Duration::from_millis(200);
        options.call_limit = std::num::NonZero::new(2);
    });
    let (client, data) = (client(None), "1".into());
    let calls = (0..10).map(|_| slow.rpc(&client, "sum", &data));
    for outcome in futures_util::future::join_all(calls).await {
        assert_eq!(said(outcome), FAILED);
    }
    let asked = hanging.asked().len();
    assert!((2..10).contains(&asked), "waiting for a turn takes of the timeout, too: {asked}");
    // Who gave up has given back: the next one is asked again.
    assert_eq!(said(slow.rpc(&client, "sum", &data).await), FAILED);
    assert!(hanging.asked().len() > asked);
}

#[tokio::test]
async fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    drop(listener);
    let proxy = Proxy::new("rpc.proxy", &options(&url, |_| {})).expect("sound options");
    assert_eq!(said(proxy.rpc(&client(None), "sum", &"1".into()).await), FAILED);
}

#[tokio::test]
async fn publications_are_as_the_backend_wants_them() {
    let backend = Backend::saying(
        r#"{"result":{"data":{"b": 2},"skip_history":true,"tags":{"a":"b"},"idempotency_key":"k","delta":true,
            "version":3,"version_epoch":"e"}}"#,
    )
    .await;
    let published = proxy(&backend, |_| {}).publish(&client(None), &"news".into(), &"1".into()).await;
    assert_eq!(
        said(published).replace('\\', ""),
        r#"Published { data: Some(b"{"b": 2}"), skip_history: true, tags: Some({"a": "b"}), idempotency_key: Some("k"), delta: true, version: 3, version_epoch: Some("e") }"#
    );
}

#[tokio::test]
async fn lives_go_on_while_the_backend_fails() {
    /// What is said of the life of a connection, and of a subscription.
    async fn check_life(answer: &str, connection: &str, subscription: &str) {
        let backend = Backend::saying(answer).await;
        let (proxy, client) = (proxy(&backend, |_| {}), client(None));
        for (outcome, expected) in [
            (proxy.refresh(&client, NOW).await, connection),
            (proxy.sub_refresh(&client, &"news".into(), NOW).await, subscription),
        ] {
            let life = outcome.map(|life| match life.expired {
                true => "over".to_owned(),
                false => format!("{} {:?} {:?}", life.expire_at - NOW, life.info, life.meta),
            });
            assert_eq!(said(life).replace(['\\', '"'], ""), expected, "{answer}");
        }
    }
    let later = NOW + 5;
    check_life(&format!(r#"{{"result":{{"expire_at":{later}}}}}"#), "5 None None", "5 None None").await;
    let with = format!(r#"{{"result":{{"expire_at":{later},"info":1,"meta":{{}}}}}}"#);
    check_life(&with, "5 Some(b1) Some(b{})", "5 Some(b1) Some(b{})").await;
    check_life(r#"{"result":{"expired":true}}"#, "over", "over").await;
    check_life(&format!(r#"{{"result":{{"expire_at":{NOW}}}}}"#), "over", "over").await;
    // As in v6: a connection needs an end, a subscription does not.
    check_life(r#"{"result":{}}"#, "over", &format!("-{NOW} None None")).await;
    check_life(r#"{"error":{"code":403}}"#, "over", "over").await;
    check_life(r#"{"disconnect":{"code":4001,"reason":"go"}}"#, "disconnect 4001 go", "disconnect 4001 go")
        .await;
    check_life("oops", "60 None None", "60 None None").await;
}
