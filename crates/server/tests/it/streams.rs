//! Connections that are the bodies of HTTP responses, over real sockets.

mod door;

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use tidegate_server::core::{Caps, Disconnect};
use tidegate_server::http::{Limits, StreamOptions};
use tidegate_server::{Settings, Shutdown, Target};

use crate::port::within;
use crate::site::Rules;
use door::{Door, Stream};

const CONNECT: &str = r#"{"id":1,"connect":{"token":"ada"}}"#;

/// What is read without what is another each time: ids of client, session and node.
fn plain(message: &str) -> String {
    let mut message: serde_json::Value = serde_json::from_str(message).expect("a JSON message");
    for key in ["client", "session", "node", "version"] {
        for place in ["/connect", "/push/pub/info"] {
            if let Some(serde_json::Value::Object(connect)) = message.pointer_mut(place) {
                connect.remove(key);
            }
        }
    }
    message.to_string()
}

#[tokio::test]
async fn commands_are_posted_and_answered_on_the_stream() {
    let door = Door::open(Rules::default(), |b| b);
    let first = format!("{CONNECT}\n{}", r#"{"id":2,"subscribe":{"channel":"news"}}"#);
    let mut stream = door.post("/http_stream", "", &first).await;
    assert_eq!(stream.status, 200);
    for header in [
        "content-type: application/json",
        "cache-control: no-store, no-transform",
        "x-accel-buffering: no",
        "connection: close",
        "transfer-encoding: chunked",
    ] {
        assert!(stream.head.contains(&format!("\r\n{header}\r\n")), "{header}: {}", stream.head);
    }
    assert_eq!(plain(&stream.line().await), r#"{"connect":{"ping":25,"pong":true},"id":1}"#);
    assert_eq!(stream.line().await, r#"{"id":2,"subscribe":{}}"#);
    let published = r#"{"id":3,"publish":{"channel":"news","data":{"a":1}}}"#;
    assert_eq!(door.emulate(&stream, published).await, 204);
    let push = r#"{"push":{"channel":"news","pub":{"data":{"a":1},"info":{"user":"ada"}}}}"#;
    assert_eq!(plain(&stream.line().await), push);
    assert_eq!(stream.line().await, r#"{"id":3,"publish":{}}"#);
    // A frame of several commands.
    let two = r#"{"id":4,"rpc":{"method":"m","data":[1]}}
{"id":5,"rpc":{"method":"m","data":[2]}}"#;
    assert_eq!(door.emulate(&stream, two).await, 204);
    assert_eq!(stream.line().await, r#"{"id":4,"rpc":{"data":[1]}}"#);
    assert_eq!(stream.line().await, r#"{"id":5,"rpc":{"data":[2]}}"#);
    drop(stream);
    door.end().await;
}

#[tokio::test]
async fn events_have_their_first_command_in_the_url_or_in_the_body() {
    let door = Door::open(Rules::default(), |b| b);
    let query = "/sse?cf_connect=%7B%22id%22%3A1%2C%22connect%22%3A%7B%22token%22%3A%22ada%22%7D%7D";
    for mut stream in [door.get(query).await, door.post("/sse", "", CONNECT).await] {
        assert_eq!(stream.status, 200);
        assert!(
            stream.head.contains("\r\ncontent-type: text/event-stream; charset=utf-8\r\n"),
            "{}",
            stream.head
        );
        let event = stream.event().await;
        assert_eq!(plain(&event), r#"{"connect":{"ping":25,"pong":true},"id":1}"#);
        stream.note(&event);
        assert_eq!(door.emulate(&stream, r#"{"id":2,"subscribe":{"channel":"news"}}"#).await, 204);
        assert_eq!(stream.event().await, r#"{"id":2,"subscribe":{}}"#);
    }
    // To an event stream a carriage return is the end of a line, too.
    let mut stream = door.post("/sse", "", CONNECT).await;
    let connected = stream.event().await;
    stream.note(&connected);
    let [subscribe, publish] = [
        r#"{"id":2,"subscribe":{"channel":"crlf"}}"#,
        "{\"id\":3,\"publish\":{\"channel\":\"crlf\",\"data\":{\r\"a\": \r\r\"\\r\"}}}",
    ];
    assert_eq!(door.emulate(&stream, &format!("{subscribe}\n{publish}")).await, 204);
    assert_eq!(stream.event().await, r#"{"id":2,"subscribe":{}}"#);
    let event = stream.event().await;
    assert!(event.contains(r#""pub":{"data":{ "a":   "\r"}"#), "{event:?}");
    assert_eq!(door.get("/sse").await.status, 400);
    assert_eq!(door.get("/sse?cf_connect=").await.status, 400);
    assert_eq!(door.get("/http_stream").await.status, 405);
    // What cannot be read closes, and says so on the stream.
    let mut stream = door.get("/sse?cf_connect=%7B").await;
    let why = r#"{"push":{"disconnect":{"code":3501,"reason":"bad request"}}}"#;
    assert_eq!(stream.event().await, why);
    assert_eq!(stream.rest().await, "");
    let mut stream = door.post("/http_stream", "", "").await;
    assert_eq!((stream.status, &*stream.line().await), (200, why));
    assert_eq!(stream.rest().await, "");
    door.end().await;
}

#[tokio::test]
async fn what_is_posted_for_nobody_is_told_apart() {
    let settings = Settings { read_ahead: 1024, ..Settings::default() };
    let rules = Rules { delay: Duration::from_secs(600), ..Rules::default() };
    let door = Door::open(rules, |b| b.settings(settings));
    let mut stream = door.post("/http_stream", "", CONNECT).await;
    stream.line().await;
    let post = |session: &str, node: &str| {
        let body = serde_json::json!({"session": session, "node": node, "data": "{\"id\":2,\"ping\":{}}"});
        door.post_text("/emulation", "", body.to_string())
    };
    let (session, node) = (stream.session.clone(), stream.node.clone());
    assert_eq!(post(&session, "another").await.status, 404);
    assert_eq!(post("gone", &node).await.status, 204);
    assert_eq!(door.post("/emulation", "", r#"{"session":"a","node":"b","data":{}}"#).await.status, 404);
    for malformed in ["", "x", "[]", r#"{"session":1}"#] {
        assert_eq!(door.post("/emulation", "", malformed).await.status, 400, "{malformed}");
    }
    assert_eq!(door.get("/emulation").await.status, 405);
    assert_eq!(door.post_text("/emulation", "", " ".repeat(65_537)).await.status, 413);
    let foreign = door.post("/emulation", "Origin: https://b.example\r\n", "{}").await;
    assert_eq!(foreign.status, 403);
    // A request that is not done holds up what follows: of that, only so much waits.
    assert_eq!(door.emulate(&stream, r#"{"id":3,"rpc":{"method":"slow"}}"#).await, 204);
    let large = format!(r#"{{"id":4,"rpc":{{"data":"{}"}}}}"#, "x".repeat(700));
    let mut statuses = Vec::new();
    for _ in 0..12 {
        statuses.push(door.emulate(&stream, &large).await);
    }
    let taken = statuses.iter().take_while(|status| **status == 204).count();
    assert!(
        (1..=6).contains(&taken) && statuses[taken..].iter().all(|status| *status == 503),
        "{statuses:?}"
    );
    // That it is not read is no reason not to see it go.
    let began = Instant::now();
    drop(stream);
    door.gone(0).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    door.end().await;
}

#[tokio::test]
async fn pages_of_allowed_origins_only() {
    let door = Door::open(Rules::default(), |b| b);
    let allowed = "Origin: https://a.example\r\n";
    for path in ["/http_stream", "/sse", "/emulation", "/uni_sse", "/uni_http_stream"] {
        let asks = format!("{allowed}Access-Control-Request-Method: POST\r\n");
        let preflight = door.request("OPTIONS", path, &asks, "").await;
        assert_eq!(preflight.status, 204, "{path}");
        assert!(
            preflight.head.contains("access-control-allow-origin: https://a.example\r\n"),
            "{}",
            preflight.head
        );
        assert!(preflight.head.contains("access-control-allow-methods: "), "{}", preflight.head);
        for origin in ["https://b.example", "null", "https://a.example.b.example"] {
            let origin = format!("Origin: {origin}\r\nAccess-Control-Request-Method: POST\r\n");
            assert_eq!(door.request("OPTIONS", path, &origin, "").await.status, 403, "{path}");
            assert_eq!(door.post(path, &origin, CONNECT).await.status, 403, "{path}");
        }
    }
    let stream = door.post("/http_stream", allowed, CONNECT).await;
    assert!(stream.head.contains("access-control-allow-credentials: true\r\n"), "{}", stream.head);
    drop(stream);
    door.gone(0).await;
    door.end().await;
}

/// A permit is taken before anything else, and is free soon after the request has gone.
#[tokio::test]
async fn streams_are_clients_and_give_their_place_back() {
    let caps = Caps { total: Some(2), ..Caps::default() };
    let door = Door::open(Rules::default(), |b| b.caps(caps));
    for (path, first) in
        [("/http_stream", CONNECT), ("/sse", CONNECT), ("/uni_sse", "{}"), ("/uni_http_stream", "")]
    {
        let streams = [door.post(path, "", first).await, door.post(path, "", first).await];
        assert_eq!(streams.each_ref().map(|stream| stream.status), [200, 200], "{path}");
        let refused = door.post(path, "", first).await;
        assert_eq!(refused.status, 503, "{path}");
        assert!(refused.head.contains("retry-after: 5\r\n"), "{}", refused.head);
        let began = Instant::now();
        drop(streams);
        door.gone(0).await;
        assert!(began.elapsed() < Duration::from_secs(2), "{path}: {:?}", began.elapsed());
    }
    door.end().await;
}

/// Streams are no requests that take too long: who says nothing does not take their place, nor they others'.
#[tokio::test]
async fn streams_hold_no_place_of_the_port() {
    let http = Limits { connections: Some(2), ..Limits::default() };
    let door = Door::open(Rules::default(), |b| b.settings(Settings { http, ..Settings::default() }));
    let mut streams = Vec::new();
    for _ in 0..5 {
        let mut stream = door.post("/http_stream", "", CONNECT).await;
        stream.line().await;
        streams.push(stream);
    }
    let _silent: Vec<_> = [door.silent().await, door.silent().await, door.silent().await].into();
    assert_eq!(door.get("/health").await.status, 200);
    for stream in &mut streams {
        assert_eq!(door.emulate(stream, r#"{"id":2,"rpc":{"method":"m","data":1}}"#).await, 204);
        assert_eq!(stream.line().await, r#"{"id":2,"rpc":{"data":1}}"#);
    }
    drop(streams);
    door.gone(0).await;
    door.end().await;
}

/// Who does not read is judged by the rules that hold for sockets, and costs bounded memory; when it is closed,
/// its HTTP connection goes, too, whatever it has not read.
#[tokio::test]
async fn a_stream_that_is_not_read_is_closed() {
    let settings = Settings {
        stalled_close_delay: Duration::from_secs(1),
        write_timeout: Duration::from_millis(500),
        close_timeout: Duration::from_millis(300),
        queue_max_size: usize::MAX,
        ..Settings::default()
    };
    let rules = Rules::default();
    let diary = rules.diary.clone();
    let door = Door::open(rules, |b| b.settings(settings));
    let first = format!("{CONNECT}\n{}", r#"{"id":2,"subscribe":{"channel":"news"}}"#);
    let mut stream = door.post_narrow("/http_stream", &first).await;
    let mut healthy = door.post("/http_stream", "", &first).await;
    healthy.line().await;
    healthy.line().await;
    let large = format!("\"{}\"", "x".repeat(16 * 1024));
    for _ in 0..60 {
        door.site.handle.publish("news", large.clone()).await.expect("taken");
        healthy.line().await;
    }
    // One of two is left.
    door.gone(1).await;
    assert!(diary.read().contains(&"ada disconnected 3008".to_owned()), "{:?}", diary.read());
    let began = Instant::now();
    stream.broken().await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    drop(healthy);
    door.gone(0).await;
    door.end().await;
}

#[tokio::test]
async fn streams_are_told_that_the_server_stops_and_cut_if_they_do_not_read() {
    let shutdown = Shutdown { timeout: Duration::from_secs(1), ..Shutdown::default() };
    let door = Door::open(Rules::default(), |b| b.shutdown(shutdown));
    let first = format!("{CONNECT}\n{}", r#"{"id":2,"subscribe":{"channel":"news"}}"#);
    let mut stream = door.post("/http_stream", "", &first).await;
    stream.line().await;
    stream.line().await;
    let stalled = door.post_narrow("/http_stream", &first).await;
    let large = format!("\"{}\"", "x".repeat(16 * 1024));
    for _ in 0..30 {
        door.site.handle.publish("news", large.clone()).await.expect("taken");
        stream.line().await;
    }
    let stopping = door.site.stop();
    let why = r#"{"push":{"disconnect":{"code":3001,"reason":"shutdown"}}}"#;
    assert_eq!(stream.line().await, why);
    assert_eq!(stream.rest().await, "");
    let (stopped, took) = within(stopping.wait()).await;
    assert_eq!(stopped.cut, 1);
    assert!(took < Duration::from_secs(5), "{took:?}");
    drop(stalled);
}

#[tokio::test]
async fn who_only_reads_gets_pushes_alone() {
    let rules = Rules { channels: vec!["news"], ..Rules::default() };
    let door = Door::open(rules, |b| b);
    let url = "/uni_sse?cf_connect=%7B%22token%22%3A%22ada%22%7D";
    let mut events = [door.get(url).await, door.post("/uni_sse", "", r#"{"token":"ada"}"#).await];
    let mut lines = door.post("/uni_http_stream", "", r#"{"token":"ada"}"#).await;
    for stream in &mut events {
        assert_eq!(plain(&stream.event().await), r#"{"connect":{"ping":25,"subs":{"news":{}}}}"#);
    }
    let hello = lines.line().await;
    assert_eq!(plain(&hello), r#"{"connect":{"ping":25,"subs":{"news":{}}}}"#);
    door.site.publish("news", r#"{"a":"\n"}"#).await;
    let publication = r#"{"channel":"news","pub":{"data":{"a":"\n"}}}"#;
    for stream in &mut events {
        assert_eq!(stream.event().await, publication);
    }
    assert_eq!(lines.line().await, publication);
    // Its session names it to the application, and nobody can write by it.
    assert!(!lines.session.is_empty() && lines.node.is_empty());
    let target = Target { session: lines.session.clone(), ..Target::default() };
    let body = serde_json::json!({
        "session": lines.session, "node": door.site.handle.info().node.id, "data": "nonsense"
    });
    assert_eq!(door.post_text("/emulation", "", body.to_string()).await.status, 204);
    assert_eq!(door.site.handle.send(&target, "1"), 1);
    assert_eq!(lines.line().await, r#"{"message":{"data":1}}"#);
    assert_eq!(door.site.handle.disconnect(&target, Some(Disconnect::new(4500, "enough"))), 1);
    assert_eq!(lines.line().await, r#"{"disconnect":{"code":4500,"reason":"enough"}}"#);
    assert_eq!(lines.rest().await, "");
    assert_eq!(door.site.handle.disconnect(&target, None), 0);
    // Who says nothing is nobody.
    assert_eq!(
        plain(&door.get("/uni_sse").await.event().await),
        r#"{"connect":{"ping":25,"subs":{"news":{}}}}"#
    );
    drop(events);
    door.gone(0).await;
    door.end().await;
}

#[tokio::test]
async fn a_refused_connect_request_may_be_an_http_status() {
    let refusals = [
        (109, (StatusCode::UNAUTHORIZED, "log in again".to_owned())),
        (3500, (StatusCode::FORBIDDEN, String::new())),
    ];
    let options = StreamOptions { refusals: refusals.into(), ..Door::options() };
    let door = Door::open_with(Rules::default(), options, |b| b);
    let ask = async |token: &str| {
        let stream = door.post("/uni_http_stream", "", &format!(r#"{{"token":"{token}"}}"#)).await;
        let status = stream.status;
        (status, if status == 200 { String::new() } else { stream.rest().await })
    };
    assert_eq!(ask("refused").await, (401, "log in again".to_owned()));
    assert_eq!(ask("invalid").await, (403, String::new()));
    assert_eq!(ask("ada").await, (200, String::new()));
    // What is no connect request, there and in a URL; it has no code.
    for bad in ["x", "[]", r#"{"token":1}"#] {
        assert_eq!(door.post("/uni_http_stream", "", bad).await.status, 400, "{bad}");
    }
    assert_eq!(door.get("/uni_sse?cf_connect=x").await.status, 400);
    drop(door.get("/uni_sse?cf_connect=").await);
    door.gone(0).await;
    door.end().await;
    // Without such a list the stream says it.
    let door = Door::open(Rules::default(), |b| b);
    let mut stream = door.post("/uni_http_stream", "", r#"{"token":"refused"}"#).await;
    assert_eq!(stream.status, 200);
    let why = r#"{"disconnect":{"code":3005,"reason":"connection expired"}}"#;
    assert_eq!(stream.line().await, why);
    assert_eq!(stream.rest().await, "");
    door.end().await;
}

#[tokio::test]
async fn a_body_that_does_not_come_holds_no_place_for_long() {
    let options = StreamOptions { request_timeout: Duration::from_millis(200), ..Door::options() };
    let door = Door::open_with(Rules::default(), options, |b| b);
    let stream =
        Stream::ask(door.address, "POST /http_stream HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n{")
            .await;
    assert_eq!(stream.status, 408);
    door.gone(0).await;
    door.end().await;
}
