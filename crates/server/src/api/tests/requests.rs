//! What is a request, and whose.

use axum::body::{Body, Bytes};
use axum::http::{Method, Request, StatusCode};
use tower::ServiceExt;

use super::{BAD_REQUEST, DONE, World};
use crate::api::ApiOptions;

#[tokio::test]
async fn what_is_no_request_has_a_status() {
    let world = World::new();
    for (method, body, status, expected) in [
        ("publish", "", 400, "the body: EOF"),
        ("info", "", 400, "the body: EOF"),
        ("publish", "{", 400, "line 1 column 1"),
        ("publish", "[]", 400, "expected an object"),
        ("publish", "5", 400, "expected an object"),
        ("publish", "null", 200, BAD_REQUEST),
        ("publish", r#"{"channel":"plain","data":1} x"#, 400, "trailing characters"),
        ("publish", r#"{"channel":5,"data":1}"#, 400, "invalid type: integer `5`, expected a string"),
        ("publish", r#"{"channel":"plain","data":{"a"}}"#, 400, "column"),
        ("publish", r#"{"channel":"plain","data":1,"version":-1}"#, 400, "u64"),
        ("publish", r#"{"channel":"plain","data":1,"tags":{"a":1}}"#, 400, "expected a string"),
        ("publish", r#"{"channel":"plain","data":1,"skip_history":"yes"}"#, 400, "expected a boolean"),
        ("broadcast", r#"{"channels":"plain","data":1}"#, 400, "expected a sequence"),
        ("history", r#"{"channel":"h:1","since":[1,"E"]}"#, 400, "expected an object"),
        ("history", r#"{"channel":"h:1","limit":"1"}"#, 400, "expected i32"),
        ("disconnect", r#"{"user":"u","disconnect":{"code":70000}}"#, 400, "u16"),
        ("subscribe", r#"{"user":"u","channel":"n:1","override":{"presence":true}}"#, 400, "an object"),
        ("batch", r#"{"commands":{}}"#, 400, "expected a sequence"),
        ("nonsense", "{}", 404, ""),
        ("", "{}", 404, ""),
    ] {
        world.check(method, body, status, expected).await;
    }
    for verb in [Method::GET, Method::PUT, Method::DELETE] {
        assert_eq!(world.send(verb, "info", &[], "{}").await.0, 405);
    }
}

#[tokio::test]
async fn unknown_fields_are_ignored_and_null_is_absent() {
    let world = World::new();
    let body = r#"{"channel":"plain","data":1,"tags":null,"version":null,"b64data":null,"new":[{}]}"#;
    world.check("publish", body, 200, DONE).await;
    world.check("publish", r#"{"channel":"plain","data":1,"tags":{"a":null,"b":"c"}}"#, 200, DONE).await;
    let refused =
        r#"{"result":{"responses":[{"result":{}},{"error":{"code":107,"message":"bad request"}}]}}"#;
    world.check("broadcast", r#"{"channels":["plain",null],"data":1}"#, 200, refused).await;
    world.check("disconnect", r#"{"user":"nobody","whitelist":[null,"c"]}"#, 200, DONE).await;
    world.check("publish", r#"{"channel":null,"data":1}"#, 200, BAD_REQUEST).await;
    world.check("publish", r#"{"channel":"plain","data":null}"#, 200, DONE).await;
    world.check("publish", r#"{"channel":"plain"}"#, 200, BAD_REQUEST).await;
}

#[tokio::test]
async fn the_key_is_asked_for() {
    let world = World::with(ApiOptions { key: "secret".into(), ..Default::default() });
    for (headers, status) in [
        (&[][..], 401),
        (&[("X-API-Key", "secret")], 200),
        (&[("x-api-key", "secret")], 200),
        (&[("X-API-Key", "secres")], 401),
        (&[("X-API-Key", "secret2")], 401),
        (&[("X-API-Key", "")], 401),
        (&[("Authorization", "apikey secret")], 200),
        (&[("Authorization", "ApiKey secret")], 200),
        (&[("Authorization", "Bearer secret")], 401),
        (&[("Authorization", "apikey")], 401),
        (&[("Authorization", "secret")], 401),
        (&[("Authorization", "é")], 401),
    ] {
        for (method, body) in [("info", "{}"), ("batch", r#"{"commands":[]}"#)] {
            assert_eq!(world.send(Method::POST, method, headers, body).await.0, status, "{headers:?}");
        }
    }
    // A key in the query is as good; `Authorization` counts only where there is no `X-API-Key`.
    let (right, wrong) = (("Authorization", "apikey secret"), ("X-API-Key", "wrong"));
    for (method, headers, status) in [
        ("info?api_key=secret", &[][..], 200),
        ("info?a=b&api_key=s%65cret", &[], 200),
        ("info?api_key=secret", &[wrong], 200),
        ("info?api_key=wrong", &[], 401),
        ("info?api_key=", &[], 401),
        ("info?api_key=wrong", &[right], 200),
        ("info", &[right, wrong], 401),
        ("info", &[right, ("X-API-Key", "")], 200),
    ] {
        let found = world.send(Method::POST, method, headers, "{}").await.0;
        assert_eq!(found, status, "{method} {headers:?}");
    }
    // Without the key, nothing is said of the body.
    assert_eq!(world.send(Method::POST, "info", &[], "{").await.0, 401);
    let shown = format!("{:?}", ApiOptions { key: "secret".into(), ..Default::default() });
    assert!(!shown.contains("secret"), "{shown}");
}

#[tokio::test]
async fn an_empty_key_is_nobodys() {
    let world = World::with(ApiOptions::default());
    for headers in [&[][..], &[("X-API-Key", "")], &[("Authorization", "apikey ")], &[("X-API-Key", "k")]] {
        assert_eq!(world.send(Method::POST, "info", headers, "{}").await.0, 401, "{headers:?}");
        assert_eq!(world.send(Method::POST, "info?api_key=", headers, "{}").await.0, 401, "{headers:?}");
    }
}

#[tokio::test]
async fn a_body_has_a_limit() {
    let world = World::with(ApiOptions { insecure: true, body_limit: 100, ..Default::default() });
    let body = |bytes: usize| format!(r#"{{"channel":"plain","data":"{}"}}"#, "x".repeat(bytes));
    world.check("publish", &body(50), 200, DONE).await;
    world.check("publish", &body(100), 413, "at most 100 bytes").await;
    world.check("batch", &body(100), 413, "at most 100 bytes").await;
}

#[tokio::test]
async fn the_prefix_may_be_written_with_or_without_slashes() {
    for (prefix, path) in [("", "/info"), ("/", "/info"), ("v/api/", "/v/api/info"), ("/api", "/api/info")] {
        let server = crate::Server::builder(super::Permissive).build();
        let options = ApiOptions { prefix: prefix.to_owned(), insecure: true, ..Default::default() };
        let router = crate::api::router(server.handle(), options);
        let request = axum::http::Request::post(path).body("{}".to_owned()).expect("a request");
        let response = router.oneshot(request).await.expect("a router does not fail");
        assert_eq!(response.status(), 200, "{prefix}");
        assert_eq!(response.headers()["content-type"], "application/json");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let world = World::new();
    let body = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
    let request = Request::builder().method(Method::POST).uri("/api/publish").body(body).expect("a request");
    let asked = tokio::time::Instant::now();
    let response = world.router.clone().oneshot(request).await.expect("a router does not fail");
    assert_eq!((response.status(), asked.elapsed().as_secs()), (StatusCode::REQUEST_TIMEOUT, 30));
}
