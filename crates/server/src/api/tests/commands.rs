//! What concerns channels, and batches.

use super::{BAD_REQUEST, DONE, NOT_AVAILABLE, NOT_FOUND, UNKNOWN, World};
use crate::api::ApiOptions;

const AT_1: &str = r#"{"result":{"offset":1,"epoch":"E"}}"#;
const AT_2: &str = r#"{"result":{"offset":2,"epoch":"E"}}"#;

#[tokio::test]
async fn publish() {
    let world = World::new();
    for (body, expected) in [
        (r#"{"channel":"plain","data":{"a":1}}"#, DONE),
        (r#"{"channel":"h:1","data":{"a" : 1}}"#, AT_1),
        (r#"{"channel":"h:1","b64data":"ImIi","data":5,"tags":{"k":"v"}}"#, AT_2),
        (r#"{"channel":"h:1","data":3,"skip_history":true}"#, DONE),
        (r#"{"channel":"h:2","data":1,"idempotency_key":"k"}"#, AT_1),
        (r#"{"channel":"h:2","data":2,"idempotency_key":"k"}"#, AT_1),
        (r#"{"channel":"h:2","data":2,"idempotency_key":"other","delta":true}"#, AT_2),
        (r#"{"channel":"h:3","data":1,"version":7}"#, AT_1),
        (r#"{"channel":"h:3","data":2,"version":6}"#, AT_1),
        (r#"{"channel":"h:3","data":3,"version":6,"version_epoch":"next"}"#, AT_2),
        (r#"{"channel":"plain"}"#, BAD_REQUEST),
        (r#"{"channel":"plain","b64data":"?"}"#, BAD_REQUEST),
        (r#"{"channel":"","data":1}"#, BAD_REQUEST),
        (r#"{"data":1}"#, BAD_REQUEST),
        ("{}", BAD_REQUEST),
        (r#"{"channel":"none:1","data":1}"#, UNKNOWN),
    ] {
        world.check("publish", body, 200, expected).await;
    }
    let kept = r#"{"result":{"publications":[{"data":{"a":1},"offset":1},
        {"data":"b","offset":2,"tags":{"k":"v"}}],"epoch":"E","offset":2}}"#;
    world.check("history", r#"{"channel":"h:1","limit":-1}"#, 200, kept).await;
    let (_, text) =
        world.send(axum::http::Method::POST, "history", &[], r#"{"channel":"h:1","limit":1}"#).await;
    assert!(text.contains(r#"{"data":{"a" : 1},"offset":1}"#), "{text}");
}

#[tokio::test]
async fn broadcast() {
    let world = World::new();
    for (body, expected) in [
        (
            r#"{"channels":["h:1","plain","","none:1","h:1"],"data":1}"#,
            r#"{"result":{"responses":[{"result":{"offset":1,"epoch":"E"}},{"result":{}},
                {"error":{"code":107,"message":"bad request"}},
                {"error":{"code":102,"message":"unknown channel"}},
                {"result":{"offset":2,"epoch":"E"}}]}}"#,
        ),
        (r#"{"channels":[],"data":1}"#, BAD_REQUEST),
        (r#"{"data":1}"#, BAD_REQUEST),
        (
            r#"{"channels":["plain","none:1"]}"#,
            r#"{"result":{"responses":[{"error":{"code":107,"message":"bad request"}},
                {"error":{"code":102,"message":"unknown channel"}}]}}"#,
        ),
        (r#"{"channels":["plain"],"b64data":"?"}"#, BAD_REQUEST),
    ] {
        world.check("broadcast", body, 200, expected).await;
    }
    let channels: Vec<String> = (0..1000).map(|i| format!("h:{i}")).collect();
    let body = serde_json::json!({ "channels": channels, "data": 1, "idempotency_key": "once" });
    let responses: Vec<_> = (0..1000)
        .map(|i| serde_json::json!({"result": {"offset": if i == 1 {3} else {1}, "epoch": "E"}}))
        .collect();
    let expected = serde_json::json!({"result": {"responses": responses}}).to_string();
    world.check("broadcast", &body.to_string(), 200, &expected).await;
    world.check("broadcast", &body.to_string(), 200, &expected).await;
}

#[tokio::test]
async fn history() {
    let world = World::new();
    let empty = r#"{"result":{"publications":[],"epoch":"E","offset":0}}"#;
    world.check("history", r#"{"channel":"h:1","limit":10}"#, 200, empty).await;
    for i in 1..=4 {
        world
            .check(
                "publish",
                &format!(r#"{{"channel":"h:1","data":{i},"skip_history":false}}"#),
                200,
                &format!(r#"{{"result":{{"offset":{i},"epoch":"E"}}}}"#),
            )
            .await;
    }
    let page = |offsets: &[u32]| {
        let kept: Vec<_> = offsets.iter().map(|i| serde_json::json!({"data": i, "offset": i})).collect();
        serde_json::json!({"result": {"publications": kept, "epoch": "E", "offset": 4}}).to_string()
    };
    for (body, expected) in [
        (r#"{"channel":"h:1"}"#, page(&[])),
        (r#"{"channel":"h:1","limit":0}"#, page(&[])),
        (r#"{"channel":"h:1","limit":2}"#, page(&[1, 2])),
        (r#"{"channel":"h:1","limit":-1}"#, page(&[1, 2, 3, 4])),
        (r#"{"channel":"h:1","limit":-1,"since":{"offset":2}}"#, page(&[3, 4])),
        (r#"{"channel":"h:1","limit":3,"reverse":true}"#, page(&[4, 3, 2])),
        (r#"{"channel":"h:1","limit":-1,"reverse":true,"since":{"offset":3}}"#, page(&[2, 1])),
        (r#"{"channel":"h:1","limit":-1,"reverse":true,"since":{"offset":5}}"#, page(&[4, 3, 2, 1])),
        (r#"{"channel":"h:1","limit":-1,"reverse":true,"since":{"offset":6}}"#, page(&[])),
        (
            r#"{"channel":"h:1","limit":-1,"reverse":true,"since":{"offset":0}}"#,
            r#"{"error":{"code":100,"message":"internal server error"}}"#.to_owned(),
        ),
        (
            r#"{"channel":"h:1","limit":1,"since":{"offset":1,"epoch":"wrong"}}"#,
            r#"{"error":{"code":112,"message":"unrecoverable position"}}"#.to_owned(),
        ),
        (r#"{"channel":"plain","limit":1}"#, NOT_AVAILABLE.to_owned()),
        (r#"{"channel":"none:1","limit":1}"#, UNKNOWN.to_owned()),
        (r#"{"limit":1}"#, BAD_REQUEST.to_owned()),
    ] {
        world.check("history", body, 200, &expected).await;
    }
    world.check("history_remove", r#"{"channel":"h:1"}"#, 200, DONE).await;
    world.check("history", r#"{"channel":"h:1","limit":-1}"#, 200, &page(&[])).await;
    world.check("history_remove", r#"{"channel":"plain"}"#, 200, NOT_AVAILABLE).await;
    world.check("history_remove", r#"{"channel":"none:1"}"#, 200, UNKNOWN).await;
    world.check("history_remove", "{}", 200, BAD_REQUEST).await;
}

/// The bounds of clients' pages, 300 by default, are not the backend's.
#[tokio::test]
async fn a_page_of_the_backend_has_no_bound() {
    let world = World::new();
    let publish = r#"{"publish":{"channel":"h:1","data":1}}"#;
    let commands = vec![publish; 400].join(",");
    world.send(axum::http::Method::POST, "batch", &[], &format!(r#"{{"commands":[{commands}]}}"#)).await;
    let (_, page) =
        world.send(axum::http::Method::POST, "history", &[], r#"{"channel":"h:1","limit":-1}"#).await;
    assert_eq!(page.matches("\"data\"").count(), 400);
}

#[tokio::test]
async fn bytes_that_are_no_json_come_back_in_base64() {
    let world = World::new();
    world.check("publish", r#"{"channel":"h:1","b64data":"AP8="}"#, 200, AT_1).await;
    let page = r#"{"result":{"publications":[{"data":"AP8=","offset":1}],"epoch":"E","offset":1}}"#;
    world.check("history", r#"{"channel":"h:1","limit":1}"#, 200, page).await;
}

#[tokio::test]
async fn rpc() {
    let world = World::new();
    for (body, expected) in [
        (r#"{"method":"echo","params":{"a":[1]}}"#, r#"{"result":{"data":{"a":[1]}}}"#),
        (r#"{"method":"echo"}"#, DONE),
        (r#"{"method":"binary"}"#, r#"{"result":{"data":"AP8="}}"#),
        (r#"{"method":"own"}"#, r#"{"error":{"code":1000,"message":"out of stock"}}"#),
        (r#"{"method":"none"}"#, NOT_FOUND),
        ("{}", BAD_REQUEST),
    ] {
        world.check("rpc", body, 200, expected).await;
    }
    let without = World::with(ApiOptions { insecure: true, ..Default::default() });
    without.check("rpc", r#"{"method":"echo"}"#, 200, NOT_FOUND).await;
}

#[tokio::test]
async fn batch() {
    let world = World::new();
    for parallel in [false, true] {
        let channel = if parallel { "h:p" } else { "h:s" };
        let body = format!(
            r#"{{"commands":[{{"publish":{{"channel":"{channel}","data":1}}}},{{"publish":{{}}}},
                {{"broadcast":{{"channels":["plain"],"data":1}}}},{{"history":{{"channel":"{channel}"}}}},
                {{}},{{"nonsense":{{}}}},{{"batch":{{}}}},{{"info":null,"presence_stats":{{"channel":"p:1"}}}}],
                "parallel":{parallel}}}"#
        );
        let expected = r#"{"replies":[{"publish":{"offset":1,"epoch":"E"}},
            {"error":{"code":107,"message":"bad request"}},
            {"broadcast":{"responses":[{"result":{}}]}},
            {"history":{"publications":[],"offset":1,"epoch":"E"}},
            {"error":{"code":104,"message":"not found"}},{"error":{"code":104,"message":"not found"}},
            {"error":{"code":104,"message":"not found"}},
            {"presence_stats":{"num_clients":0,"num_users":0}}]}"#;
        world.check("batch", &body, 200, expected).await;
    }
    for (body, expected) in [
        ("{}", "{}"),
        ("null", "{}"),
        (r#"{"commands":[]}"#, "{}"),
        (r#"{"commands":null,"parallel":null}"#, "{}"),
        (r#"{"commands":[null]}"#, r#"{"replies":[{"error":{"code":107,"message":"bad request"}}]}"#),
        // Of several methods the first counts, in an order of the methods.
        (
            r#"{"commands":[{"history":{"channel":"h:1"},"publish":{"channel":"plain","data":1}}]}"#,
            r#"{"replies":[{"publish":{}}]}"#,
        ),
    ] {
        world.check("batch", body, 200, expected).await;
    }
    let many = format!(
        r#"{{"commands":[{}],"parallel":true}}"#,
        vec![r#"{"publish":{"channel":"h:m","data":1}}"#; 1000].join(",")
    );
    let replies: Vec<_> =
        (1..=1000).map(|i| serde_json::json!({"publish": {"offset": i, "epoch": "E"}})).collect();
    world.check("batch", &many, 200, &serde_json::json!({ "replies": replies }).to_string()).await;
}

#[tokio::test]
async fn a_malformed_command_keeps_the_whole_batch_from_being_done() {
    let world = World::new();
    for (second, expected) in [
        (r#"{"publish":{"channel":5}}"#, "commands[1].publish: invalid type: integer `5`, expected a string"),
        (r#"{"publish":[]}"#, "commands[1].publish: invalid type: sequence, expected an object"),
        ("5", "expected a map"),
    ] {
        let body = format!(r#"{{"commands":[{{"publish":{{"channel":"h:1","data":1}}}},{second}]}}"#);
        world.check("batch", &body, 400, expected).await;
    }
    world.check("publish", r#"{"channel":"h:1","data":1}"#, 200, AT_1).await;
}

#[tokio::test]
async fn a_node_that_stops_takes_no_publications() {
    let mut world = World::new();
    world.server.take().expect("not started").run(std::future::ready(())).await;
    world.check("publish", r#"{"channel":"plain","data":1}"#, 200, NOT_AVAILABLE).await;
    let all = r#"{"result":{"responses":[{"error":{"code":108,"message":"not available"}}]}}"#;
    world.check("broadcast", r#"{"channels":["plain"],"data":1}"#, 200, all).await;
}
