//! The form of older clients, and errors that are told by the status.

use axum::body::Body;
use axum::http::{Method, Request};
use tower::ServiceExt;

use super::World;
use crate::api::ApiOptions;
use crate::config::ErrorMode;

/// Posts `body` to `/api` and compares the status and the reply, in which every epoch is `E`.
async fn check(world: &World, body: &str, status: u16, expected: &[&str]) {
    let request =
        Request::builder().method(Method::POST).uri("/api").body(Body::from(body.to_owned())).unwrap();
    let response = world.router.clone().oneshot(request).await.expect("a router does not fail");
    assert_eq!(response.status(), status, "{body}");
    let text = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let text = String::from_utf8(text.to_vec()).unwrap();
    if status != 200 {
        return assert!(text.contains(expected[0]), "{body}: {text}");
    }
    let lines: Vec<_> = text
        .lines()
        .map(|line| {
            let mut reply = serde_json::from_str(line).expect("JSON");
            super::hide_epochs(&mut reply);
            reply.to_string()
        })
        .collect();
    assert_eq!(lines, expected, "{body}");
}

#[tokio::test]
async fn commands_in_an_envelope_are_replied_to_line_by_line() {
    let world = World::new();
    let publish = |id: &str| format!(r#"{{{id}"method":"publish","params":{{"channel":"h:1","data":1}}}}"#);
    check(&world, &publish(""), 200, &[r#"{"result":{"epoch":"E","offset":1}}"#]).await;
    check(
        &world,
        &[publish(r#""id":7,"#), publish("").replace("publish", "PUBLISH"), publish("").replace("h:1", "")]
            .join("\n"),
        200,
        &[
            r#"{"id":7,"result":{"epoch":"E","offset":2}}"#,
            r#"{"result":{"epoch":"E","offset":3}}"#,
            r#"{"error":{"code":107,"message":"bad request"}}"#,
        ],
    )
    .await;
    // Who names no method publishes.
    let bad = r#"{"error":{"code":107,"message":"bad request"}}"#;
    let nameless = r#"{"params":{"channel":"h:1","data":1}}"#;
    check(&world, nameless, 200, &[r#"{"result":{"epoch":"E","offset":4}}"#]).await;
    check(&world, r#"{"publish":{"channel":"h:1","data":1}}{}null"#, 200, &[bad, bad, bad]).await;
    // Between two commands there need be nothing, and a mistake in parameters is that command's.
    let stats = r#"{"method":"presence_stats","params":{"channel":"plain"}}"#;
    let wrong = r#"{"id":2,"method":"publish","params":{"channel":5}}"#;
    check(
        &world,
        &format!("{stats}{wrong}"),
        200,
        &[
            r#"{"error":{"code":108,"message":"not available"}}"#,
            r#"{"error":{"code":107,"message":"bad request"},"id":2}"#,
        ],
    )
    .await;
}

#[tokio::test]
async fn a_body_that_is_no_commands_does_nothing() {
    let world = World::new();
    let publish = r#"{"method":"publish","params":{"channel":"h:1","data":1}}"#;
    for (body, expected) in [
        (String::new(), "expected at least one command"),
        (" \n".to_owned(), "expected at least one command"),
        ("[]".to_owned(), "expected an object"),
        (r#"{"method":"nonsense","params":{}}"#.to_owned(), "expected a method, one of publish, broadcast"),
        (r#"{"method":"","params":{}}"#.to_owned(), "expected a method"),
        (format!("{publish}\n{{"), "EOF"),
        (format!("{publish}\n{{\"method\":\"nonsense\"}}"), "expected a method"),
    ] {
        check(&world, &body, 400, &[expected]).await;
    }
    let position = r#"{"method":"history","params":{"channel":"h:1"}}"#;
    check(&world, position, 200, &[r#"{"result":{"epoch":"E","offset":0,"publications":[]}}"#]).await;
}

#[tokio::test]
async fn many_commands_of_one_body_are_done_in_order() {
    let world = World::new();
    let body: String = (1..=1000)
        .map(|i| format!(r#"{{"id":{i},"method":"publish","params":{{"channel":"h:1","data":{i}}}}}"#))
        .collect();
    let expected: Vec<_> =
        (1..=1000).map(|i| format!(r#"{{"id":{i},"result":{{"epoch":"E","offset":{i}}}}}"#)).collect();
    check(&world, &body, 200, &expected.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn errors_are_told_by_the_status_to_whom_wants_it_so() {
    let asks = [("X-Centrifugo-Error-Mode", "transport")];
    let reply = ApiOptions { insecure: true, ..ApiOptions::default() };
    let transport = ApiOptions { errors: ErrorMode::Transport, ..reply.clone() };
    for (options, headers) in [(reply, &asks[..]), (transport, &[])] {
        let world = World::with(options);
        for (method, body, status, expected) in [
            (
                "publish",
                r#"{"channel":"none:1","data":1}"#,
                404,
                r#"{"code":102,"message":"unknown channel"}"#,
            ),
            ("rpc", r#"{"method":"m"}"#, 404, r#"{"code":104,"message":"not found"}"#),
            ("publish", r#"{"channel":"h:1"}"#, 400, r#"{"code":107,"message":"bad request"}"#),
            ("presence", r#"{"channel":"plain"}"#, 400, r#"{"code":108,"message":"not available"}"#),
            (
                "history",
                r#"{"channel":"h:1","limit":1,"since":{"offset":1,"epoch":"x"}}"#,
                416,
                r#"{"code":112,"message":"unrecoverable position"}"#,
            ),
            ("publish", r#"{"channel":"plain","data":1}"#, 200, r#"{"result":{}}"#),
        ] {
            let (found, text) = world.send(Method::POST, method, headers, body).await;
            assert_eq!((found.as_u16(), &*text), (status, expected), "{method} {body}");
        }
        // Of a batch, each has its own.
        let batch = r#"{"commands":[{"publish":{"channel":"none:1","data":1}}]}"#;
        assert_eq!(world.send(Method::POST, "batch", headers, batch).await.0, 200);
    }
    let world = World::new();
    let other = [("X-Centrifugo-Error-Mode", "reply")];
    assert_eq!(world.send(Method::POST, "publish", &other, "{}").await.0, 200);
}
