mod answers;
mod settings;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tidegate_core::request::ConnectRequest;
use tidegate_core::transport::Peer;
use tidegate_core::{Client, ClientContext, ClientInfo, Refusal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::config;

/// Seconds since 1970 at which all tests take place.
const NOW: i64 = 1_800_000_000;

/// A backend that says the same to everyone, and remembers what it was asked.
pub(crate) struct Backend {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Backend {
    /// Answers with status 200 and this body.
    pub(crate) async fn saying(body: &str) -> Self {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        Self::writing(format!("{head}{body}")).await
    }

    /// Answers with these bytes; with none: not at all.
    pub(crate) async fn writing(bytes: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook?secret=1", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, bytes.clone(), seen.clone()));
            }
        });
        Self { url, asked }
    }

    /// The heads, in lower case, and bodies of the requests so far.
    pub(crate) fn asked(&self) -> Vec<(String, Value)> {
        self.asked.lock().expect("no panic while locked").clone()
    }

    fn body(&self) -> Value {
        self.asked().pop().expect("it was asked").1
    }
}

async fn serve(mut socket: TcpStream, answer: String, seen: Arc<Mutex<Vec<(String, Value)>>>) {
    let mut bytes = Vec::new();
    loop {
        let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") else {
            if socket.read_buf(&mut bytes).await.unwrap_or_default() == 0 {
                return;
            }
            continue;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.expect("a length").parse().expect("a number");
        while bytes.len() < end + 4 + length {
            assert!(socket.read_buf(&mut bytes).await.expect("a body") > 0);
        }
        let rest = bytes.split_off(end + 4 + length);
        let body = serde_json::from_slice(&bytes[end + 4..]).expect("JSON");
        seen.lock().expect("no panic while locked").push((head, body));
        bytes = rest;
        if !answer.is_empty() {
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    }
}

fn options(endpoint: &str, change: impl FnOnce(&mut config::Proxy)) -> config::Proxy {
    let mut options = config::Config::default().channel.proxy.subscribe;
    options.endpoint = endpoint.to_owned();
    options.timeout = std::time::Duration::from_secs(20);
    change(&mut options);
    options
}

fn proxy(backend: &Backend, change: impl FnOnce(&mut config::Proxy)) -> Proxy {
    Proxy::new("channel.proxy.subscribe", &options(&backend.url, change)).expect("sound options")
}

/// A client of Ann's, with this origin.
fn client(origin: Option<Origin>) -> Client {
    let info = ClientInfo { user: "ann".into(), client: "c1".into(), ..ClientInfo::default() };
    let context = origin.map(|origin| -> ClientContext { Arc::new(origin) });
    Client {
        id: "c1".into(),
        info: Arc::new(info),
        transport: "websocket",
        address: None,
        meta: "{\"plan\":\"free\"}".into(),
        context,
    }
}

fn peer(protocol: &str, headers: &[(&str, &str)]) -> Peer {
    Peer {
        transport: "websocket",
        protocol: protocol.to_owned(),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..Peer::default()
    }
}

fn said<T: std::fmt::Debug>(outcome: Result<T, Refusal>) -> String {
    match outcome {
        Ok(answer) => format!("{answer:?}"),
        Err(Refusal::Error(error)) => {
            format!("error {error}{}", if error.temporary { ", temporary" } else { "" })
        }
        Err(Refusal::Disconnect(why)) => format!("disconnect {why}"),
    }
}

#[tokio::test]
async fn questions_are_those_of_v6() {
    let backend = Backend::saying("{\"result\":{}}").await;
    let mut proxy = proxy(&backend, |_| {});
    let (client, origin) = (client(None), Origin::default());
    let channel = "news".into();
    let request = ConnectRequest {
        data: "{\"a\": 1}".into(),
        name: "js".into(),
        version: "1.2".into(),
        subs: BTreeMap::from([("news".into(), crate::rules::subscribe_to("news"))]),
        ..ConnectRequest::default()
    };

    proxy.connect("c9", &request, &peer("", &[]), &origin).await.expect("let in");
    let expected = json!({"client": "c9", "transport": "websocket", "protocol": "json", "encoding": "json",
        "name": "js", "version": "1.2", "channels": ["news"], "data": {"a": 1}});
    assert_eq!(backend.body(), expected);

    let about = |more: Value| {
        let mut all = json!({"client": "c1", "transport": "websocket", "protocol": "json", "encoding": "json",
            "user": "ann"});
        all.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        all
    };
    proxy.refresh(&client, NOW).await.expect("an answer");
    assert_eq!(backend.body(), about(json!({})));
    let mut subscribe = crate::rules::subscribe_to("news");
    subscribe.data = "[1]".into();
    proxy.subscribe(&client, &subscribe).await.expect("allowed");
    assert_eq!(backend.body(), about(json!({"channel": "news", "data": [1]})));
    proxy.publish(&client, &channel, &"\"hi\"".into()).await.expect("allowed");
    assert_eq!(backend.body(), about(json!({"channel": "news", "data": "hi"})));
    proxy.sub_refresh(&client, &channel, NOW).await.expect("an answer");
    assert_eq!(backend.body(), about(json!({"channel": "news"})));
    proxy.rpc(&client, "sum", &"[1,2]".into()).await.expect("an answer");
    assert_eq!(backend.body(), about(json!({"method": "sum", "data": [1, 2]})));

    // Binary payloads, the protocol and the meta of the connection, where they are wanted.
    proxy = super::tests::proxy(&backend, |options| {
        options.binary_encoding = true;
        options.include_connection_meta = true;
    });
    let origin = Origin::of(&peer("centrifuge-protobuf", &[]), &BTreeMap::new(), &Wanted::default());
    let client = self::client(Some(origin));
    proxy.rpc(&client, "", &vec![0, 1].into()).await.expect("an answer");
    let expected = json!({"client": "c1", "transport": "websocket", "protocol": "protobuf", "encoding": "binary",
        "user": "ann", "b64data": "AAE=", "meta": {"plan": "free"}});
    assert_eq!(backend.body(), expected);
    assert!(backend.asked()[0].0.starts_with("post /hook?secret=1 http/1.1"));
}

#[tokio::test]
async fn what_is_no_json_is_not_sent_as_json() {
    let backend = Backend::saying("{\"result\":{}}").await;
    let proxy = proxy(&backend, |_| {});
    let outcome = proxy.rpc(&client(None), "sum", &vec![0, 1].into()).await;
    assert_eq!(said(outcome), "error 107 bad request");
    assert!(backend.asked().is_empty());
}

#[tokio::test]
async fn headers_are_passed_on_as_the_configuration_says() {
    let backend = Backend::saying("{\"result\":{}}").await;
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let proxy = proxy(&backend, |options| {
        options.http_headers = list(&["Cookie", "X-Both", "Host", "Content-Length", "x y"]);
        options.emulated_headers = list(&["Authorization", "X-Both", "X-Key"]);
        options.http.static_headers =
            [("X-Key", "own"), ("X-Own", "own")].map(|(name, value)| (name.to_owned(), value.into())).into();
    });
    let headers = [
        ("host", "client.example"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
        ("authorization", "of the request"),
        ("x-both", "of the request"),
        ("x-other", "not wanted"),
        ("content-length", "9"),
    ];
    let emulated = [
        ("Authorization", "Bearer emulated"),
        ("x-both", "emulated"),
        ("Cookie", "emulated"),
        ("X-Key", "forged"),
        ("x-own", "forged"),
    ];
    let emulated = emulated.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let origin = Origin::of(&peer("", &headers), &emulated, proxy.wanted());
    proxy.rpc(&client(Some(origin)), "sum", &"1".into()).await.expect("an answer");
    let head = backend.asked().pop().expect("it was asked").0;
    let mut lines: Vec<_> = head.lines().filter(|line| !line.starts_with("post ")).collect();
    lines.sort_unstable();
    let host = backend.url.strip_prefix("http://").and_then(|url| url.split('/').next()).expect("a host");
    let host = format!("host: {host}");
    let expected = [
        "accept: */*",
        "authorization: bearer emulated",
        "content-length: 112",
        "content-type: application/json",
        "cookie: a=1",
        "cookie: b=2",
        &host,
        concat!("user-agent: tidegate/", env!("CARGO_PKG_VERSION")),
        "x-both: of the request",
        // Wanted of the connect command, though the node has one of its own: the documentation warns of it.
        "x-key: forged",
        "x-own: own",
    ];
    assert_eq!(lines, expected);
}
