use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use axum::response::Response;
use futures_util::StreamExt;
use serde_json::Value;
use tidegate_core::memory;
use tower::ServiceExt;

use super::door::{Closed, Session};
use super::*;
use crate::open::Open;
use crate::server::Server;

/// A server with clients in memory, and its admin page.
struct World {
    router: Router,
    handle: Handle,
    address: memory::Address,
}

const PASSWORD: &str = r#"{"password":"open sesame"}"#;

fn options() -> Options {
    Options { password: "open sesame".into(), secret: "hush".into(), ..Options::default() }
}

fn world() -> World {
    World::new(options())
}

impl World {
    fn new(options: Options) -> Self {
        let metrics = Metrics::install().expect("nothing else records metrics");
        let (listener, address) = memory::listener(memory::Limits::default());
        let server = Server::builder(Open).listen(listener).build();
        let handle = server.handle();
        let router = router(handle.clone(), metrics, &Desk::default(), options);
        tokio::spawn(server.run(std::future::pending()));
        Self { router, handle, address }
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).expect("a request");
        self.router.clone().oneshot(request).await.expect("a router does not fail")
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let mut headers = headers.to_vec();
        headers.push(("content-type", "application/json"));
        self.ask(Method::POST, path, &headers, body).await
    }

    async fn login(&self) -> String {
        let response = self.post("/admin/login", &[], PASSWORD).await;
        assert_eq!(response.status(), StatusCode::OK);
        cookie(&response)
    }

    async fn json(&self, path: &str, cookie: &str) -> Value {
        let response = self.ask(Method::GET, path, &[("cookie", cookie)], "").await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        serde_json::from_slice(&body(response).await).expect("JSON")
    }

    /// A client that is subscribed to `channel`.
    async fn subscribe(&self, channel: &str) -> (memory::Client, String) {
        let mut client = self.address.connect().expect("the server listens");
        client.send(r#"{"id":1,"connect":{}}"#).await.expect("the connection is open");
        let reply: Value = serde_json::from_slice(&client.recv().await.expect("a reply")).expect("JSON");
        let id = reply["connect"]["client"].as_str().expect("a client id").to_owned();
        let subscribe = serde_json::json!({ "id": 2, "subscribe": { "channel": channel } });
        client.send(subscribe.to_string()).await.expect("the connection is open");
        client.recv().await.expect("a reply");
        (client, id)
    }
}

/// What a browser would send back.
fn cookie(response: &Response) -> String {
    let set = response.headers()[header::SET_COOKIE].to_str().expect("text");
    set.split(';').next().unwrap_or_default().to_owned()
}

async fn body(response: Response) -> Vec<u8> {
    to_bytes(response.into_body(), 1 << 20).await.expect("a whole body").to_vec()
}

#[tokio::test]
async fn nothing_but_the_page_answers_without_a_session() {
    let world = world();
    let open = ["/", "/admin/login", "/admin/logout"];
    let files: Vec<String> = page::FILES.iter().map(|(file, ..)| format!("/admin/{file}")).collect();
    let (mut closed, mut seen) = (0, 0);
    for path in paths("") {
        for method in [Method::GET, Method::POST] {
            for forged in ["", "tidegate_admin=", "tidegate_admin=e30.e30", "tidegate_admin=.;a=b"] {
                let headers = [("cookie", forged), ("content-type", "application/json")];
                let response = world.ask(method.clone(), &path, &headers, "{}").await;
                let status = response.status();
                if files.contains(&path) || path == "/" {
                    seen += usize::from(status == StatusCode::OK);
                    assert_eq!(status == StatusCode::OK, method == Method::GET, "{path}");
                    if status == StatusCode::OK {
                        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
                        assert!(policy.contains("script-src 'self';") && !policy.contains("unsafe"));
                    }
                } else if !open.contains(&&*path) {
                    assert!(
                        matches!(status, StatusCode::UNAUTHORIZED | StatusCode::METHOD_NOT_ALLOWED),
                        "{method} {path} with {forged:?}: {status}"
                    );
                    closed += usize::from(status == StatusCode::UNAUTHORIZED);
                }
            }
        }
    }
    assert!(closed > 60 && seen == 4 * (files.len() + 1), "{closed} {seen}");
}

#[tokio::test]
async fn a_password_opens_a_session_and_leaving_ends_it_for_good() {
    let world = world();
    let response = world.post("/admin/login", &[], PASSWORD).await;
    let set = response.headers()[header::SET_COOKIE].to_str().expect("text").to_owned();
    assert!(
        set.contains("; HttpOnly; SameSite=Strict") && set.contains("Path=/;") && !set.contains("Secure")
    );
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    let cookie = cookie(&response);
    assert_eq!(world.json("/admin/session", &cookie).await["insecure"], false);
    // A signature over something else.
    let (payload, signature) = cookie.split_once('.').expect("two parts");
    for forged in [format!("{payload}A.{signature}"), format!("{payload}."), format!("{payload}.{payload}")] {
        let response = world.ask(Method::GET, "/admin/session", &[("cookie", &forged)], "").await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{forged}");
    }
    let left = world.post("/admin/logout", &[("cookie", &cookie)], "{}").await;
    assert!(left.headers()[header::SET_COOKIE].to_str().unwrap().contains("Max-Age=0"));
    let response = world.ask(Method::GET, "/admin/session", &[("cookie", &cookie)], "").await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "a cookie that was kept is worth nothing");
    // Over TLS, as the browser sees it.
    let headers = [("origin", "https://a.example"), ("host", "a.example")];
    let response = world.post("/admin/login", &headers, PASSWORD).await;
    assert!(response.headers()[header::SET_COOKIE].to_str().unwrap().ends_with("; Secure"));
}

#[tokio::test]
async fn wrong_passwords_are_refused_and_soon_not_even_looked_at() {
    let world = world();
    let router = world.router.clone();
    let attempt = async |host: u8, password: &str| {
        let address = SocketAddr::from(([10, 0, 0, host], 1));
        let request = Request::post("/admin/login")
            .extension(ConnectInfo(address))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(serde_json::json!({ "password": password }).to_string()));
        router.clone().oneshot(request.expect("a request")).await.expect("a router does not fail")
    };
    for wrong in ["", "open", "open sesame ", "OPEN SESAME", "hush", "öpen sesame"] {
        assert_eq!(attempt(1, wrong).await.status(), StatusCode::UNAUTHORIZED, "{wrong:?}");
    }
    let mut refused = 6;
    let response = loop {
        let response = attempt(1, "wrong").await;
        if response.status() != StatusCode::UNAUTHORIZED {
            break response;
        }
        refused += 1;
    };
    assert_eq!((response.status(), refused), (StatusCode::TOO_MANY_REQUESTS, 10));
    assert!(response.headers().contains_key(header::RETRY_AFTER));
    assert_eq!(attempt(1, "open sesame").await.status(), StatusCode::TOO_MANY_REQUESTS, "the right one, too");
    assert_eq!(attempt(2, "open sesame").await.status(), StatusCode::OK, "others are not held up");
    let large = "x".repeat(5000);
    assert_eq!(attempt(2, &large).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn pages_of_other_sites_cannot_ask_anything() {
    let world = world();
    let cookie = world.login().await;
    let check = async |headers: &[(&str, &str)], expected: u16| {
        let mut all = vec![("cookie", &*cookie), ("host", "a.example:8000")];
        all.extend(headers);
        let body = r#"{"channel":"news","data":1}"#;
        let response = world.ask(Method::POST, "/admin/api/publish", &all, body).await;
        assert_eq!(response.status().as_u16(), expected, "{headers:?}");
    };
    let json = ("content-type", "application/json");
    check(&[json], 200).await;
    check(&[json, ("origin", "http://a.example:8000")], 200).await;
    check(&[json, ("origin", "https://a.example:8000"), ("sec-fetch-site", "same-origin")], 200).await;
    check(&[("content-type", "Application/JSON; charset=utf-8")], 200).await;
    // A proxy may have changed the host: what the browser says of the site is enough.
    check(&[json, ("origin", "https://b.example"), ("sec-fetch-site", "same-origin")], 200).await;
    check(&[json, ("origin", "http://b.example:8000")], 403).await;
    check(&[json, ("origin", "null")], 403).await;
    check(&[json, ("sec-fetch-site", "cross-site")], 403).await;
    check(&[json, ("sec-fetch-site", "same-site")], 403).await;
    check(&[json, ("sec-fetch-site", "none")], 403).await;
    check(&[("content-type", "text/plain")], 415).await;
    check(&[], 415).await;
}

#[tokio::test]
async fn what_is_connected_and_subscribed_is_found_page_by_page() {
    let world = world();
    let cookie = world.login().await;
    let mut clients = Vec::new();
    for channel in ["Alpha", "alpine", "beta<script>"] {
        clients.push(world.subscribe(channel).await);
    }
    let (_, id) = &clients[0];
    let channels = world.json("/admin/channels?search=ALP&order=channel", &cookie).await;
    assert_eq!((&channels["total"], &channels["matching"]), (&3.into(), &2.into()));
    let names: Vec<_> = channels["channels"].as_array().unwrap().iter().map(|one| &one["channel"]).collect();
    assert_eq!(names, ["Alpha", "alpine"]);
    let found = world.json(&format!("/admin/connections?search={id}"), &cookie).await;
    assert_eq!((&found["total"], &found["matching"], &found["more"]), (&3.into(), &1.into(), &false.into()));
    let one = &found["connections"][0];
    assert_eq!((&one["client"], &one["transport"]), (&id.as_str().into(), &"memory".into()));
    assert_eq!(one["report"]["subscriptions"][0]["channel"], "Alpha");
    // Pages of two.
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = world.json(&format!("/admin/connections?limit=2&after={after}"), &cookie).await;
        let ids = page["connections"].as_array().unwrap().iter().map(|one| one["client"].as_str().unwrap());
        seen.extend(ids.map(str::to_owned));
        after.clone_from(seen.last().unwrap());
        if page["more"] == false {
            break;
        }
    }
    let mut expected: Vec<_> = clients.iter().map(|(_, id)| id.clone()).collect();
    expected.sort();
    assert_eq!(seen, expected);
    // Its connection is ended through the API behind the door.
    let disconnect = serde_json::json!({ "client": id }).to_string();
    let response = world.post("/admin/api/disconnect", &[("cookie", &cookie)], &disconnect).await;
    assert_eq!(body(response).await, br#"{"result":{}}"#);
    let client = &mut clients[0].0;
    while client.recv().await.is_some() {}
    assert_eq!(client.closed().map(ToString::to_string).unwrap_or_default(), "3503 force disconnect");
}

#[tokio::test]
async fn a_live_view_that_nobody_reads_holds_nothing_up_and_counts_what_it_leaves_out() {
    let world = world();
    let cookie = world.login().await;
    let response = world.ask(Method::GET, "/admin/live?channel=hot", &[("cookie", &cookie)], "").await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    let mut events = response.into_body().into_data_stream();
    // Long before anything is read: more than the queue holds, and more than a window would.
    for n in 0..5000 {
        world.handle.publish("hot", format!("{{\"n\":{n},\"pad\":\"{}\"}}", "x".repeat(1000))).await.unwrap();
        tokio::task::yield_now().await;
    }
    let hot = || world.handle.channels().into_iter().find(|(channel, _)| channel.as_str() == "hot");
    let read = async {
        while hot().expect("the view subscribes").1.behind > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), read).await.expect("the view reads on, whoever reads it");
    assert_eq!(world.handle.hub().budget().used(), 0, "nothing is kept for the view");
    let (mut shown, mut skipped) = (0, 0);
    while shown + skipped < 5000 {
        let event = events.next().await.expect("the stream goes on").expect("it does not break");
        let text = String::from_utf8(event.to_vec()).expect("text");
        shown += u64::from(text.starts_with("event: publication"));
        if text.starts_with("event: skipped") {
            let data = text.split_once("data: ").expect("data").1;
            let data: Value = serde_json::from_str(data.trim()).expect("JSON");
            skipped += data["publications"].as_u64().expect("a number");
        }
    }
    assert_eq!(shown + skipped, 5000);
    assert!((1..=200).contains(&shown), "{shown}");
    // It ends with its session.
    world.post("/admin/logout", &[("cookie", &cookie)], "{}").await;
    while events.next().await.is_some() {}
    while hot().is_some() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn streams_are_bounded_and_free_their_place() {
    let world = world();
    let cookie = world.login().await;
    let open = async || world.ask(Method::GET, "/admin/stats", &[("cookie", &cookie)], "").await;
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let stream = open().await;
        assert_eq!(stream.status(), StatusCode::OK);
        streams.push(stream);
    }
    assert_eq!(open().await.status(), StatusCode::SERVICE_UNAVAILABLE);
    let mut events = streams.pop().expect("a stream").into_body().into_data_stream();
    let event = events.next().await.expect("figures").expect("the stream does not break");
    assert!(event.starts_with(b"event: sample\ndata: {"), "{event:?}");
    drop(events);
    while open().await.status() != StatusCode::OK {
        tokio::task::yield_now().await;
    }
}

/// Sessions at the door of `options`, at seconds since 1970.
#[test]
fn sessions_last_while_they_are_used_but_not_for_ever() {
    let options = options();
    let door = Door::new(&options, Desk::default());
    let here = Some(IpAddr::from([10, 0, 0, 1]));
    let session = door.enter(b"open sesame", false, here, Instant::now(), 1_000_000).expect("the password");
    let carried = |door: &Door, session: &Session, unix: i64| {
        let cookie = door.cookie(Some(session), unix);
        let mut headers = HeaderMap::new();
        let sent = format!("other=1; {}; more=2", cookie.split(';').next().unwrap());
        headers.insert(header::COOKIE, HeaderValue::from_str(&sent).unwrap());
        door.session(&headers, unix)
    };
    assert_eq!(carried(&door, &session, 1_000_000), Some(session.clone()));
    assert_eq!(carried(&door, &session, 1_003_599), Some(session.clone()));
    assert_eq!(carried(&door, &session, 1_003_600), None, "unused for an hour");
    assert_eq!(door.renew(&session, 1_000_900), None, "it lasts long enough");
    let renewed = door.renew(&session, 1_002_000).expect("it is used");
    assert_eq!(renewed.until, 1_005_600);
    let (mut session, mut unix) = (renewed, 1_002_000);
    while let Some(longer) = {
        unix += 1900;
        door.renew(&session, unix)
    } {
        session = longer;
    }
    assert_eq!(session.until, 1_000_000 + 12 * 3600, "twelve hours, and no more");
    // Another password or another secret: nobody's session goes on.
    for other in [
        Options { password: "open barley".into(), ..options.clone() },
        Options { secret: "hus".into(), password: "hopen sesame".into(), ..options.clone() },
    ] {
        let cookie_of = Door::new(&other, Desk::default());
        let cookie = door.cookie(Some(&session), 1_000_000);
        let mut headers = HeaderMap::new();
        let sent = cookie.split(';').next().unwrap();
        headers.insert(header::COOKIE, HeaderValue::from_str(sent).unwrap());
        assert_eq!(cookie_of.session(&headers, 1_000_000), None);
    }
    // Without a password nobody comes in, with an empty one neither.
    let shut = Door::new(&Options { password: "".into(), ..options }, Desk::default());
    assert_eq!(shut.enter(b"", false, here, Instant::now(), 0), Err(Closed::Wrong));
}

#[tokio::test]
async fn the_page_stands_where_it_is_told_to() {
    let world = World::new(Options { prefix: "/ops/".into(), insecure: true, ..Options::default() });
    let moved = world.ask(Method::GET, "/ops", &[], "").await;
    assert_eq!(
        (moved.status(), &moved.headers()[header::LOCATION]),
        (StatusCode::SEE_OTHER, &HeaderValue::from_static("/ops/"))
    );
    assert_eq!(world.ask(Method::GET, "/ops/", &[], "").await.status(), StatusCode::OK);
    assert_eq!(world.ask(Method::GET, "/ops/admin/main.js", &[], "").await.status(), StatusCode::OK);
    // Insecure: nobody is asked for anything, but pages of other sites still are kept out.
    let session = world.ask(Method::GET, "/ops/admin/session", &[], "").await;
    assert_eq!(session.status(), StatusCode::OK);
    let foreign = [("sec-fetch-site", "cross-site")];
    assert_eq!(
        world.ask(Method::GET, "/ops/admin/channels", &foreign, "").await.status(),
        StatusCode::FORBIDDEN
    );
    assert_eq!(home(""), "/");
    assert_eq!(home("ops"), "/ops/");
}
