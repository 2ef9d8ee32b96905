use std::io::ErrorKind;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tidegate_core::transport::{Incoming, Listener};
use tidegate_transport_ws::{Options, WsListener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::support::{Driver, MOUNTS, Mount, Server, connect, origins, raw, within};

#[tokio::test]
async fn a_peer_is_known_by_its_request() {
    for mount in MOUNTS {
        let mut server = Server::start(mount, Options::default()).await;
        let offered = [("sec-websocket-protocol", "mqtt, centrifuge-protobuf"), ("X-Real-IP", "10.1.2.3")];
        let (client, response) = connect(server.address, &offered).await.expect("a WebSocket");
        assert_eq!(response.headers()["sec-websocket-protocol"], "centrifuge-protobuf");
        let (_ws, peer) = server.accepted.recv().await.expect("running").expect("a WebSocket");
        assert_eq!(peer.address, Some(client.get_ref().local_addr().expect("an address")));
        assert_eq!((peer.transport, &*peer.protocol), ("websocket", "centrifuge-protobuf"));
        assert_eq!(peer.query, "format=json");
        assert_eq!(peer.header("x-real-ip"), Some("10.1.2.3"));

        // A client that is offered nothing it knows goes on without.
        let (_client, response) = connect(server.address, &[]).await.expect("a WebSocket");
        assert!(!response.headers().contains_key("sec-websocket-protocol"));
        let (_ws, peer) = server.accepted.recv().await.expect("running").expect("a WebSocket");
        assert_eq!(peer.protocol, "");
    }
}

async fn status(server: &Server, origin: &str) -> u16 {
    match connect(server.address, &[("origin", origin)]).await {
        Ok((_, response)) => response.status().as_u16(),
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn foreign_origins_are_refused() {
    for mount in MOUNTS {
        let server = Server::start(mount, Options::default()).await;
        assert_eq!(status(&server, &format!("http://{}", server.address)).await, 403);
        assert_eq!(status(&server, "null").await, 403);

        let allowed_origins = origins(&["https://*.example.com"]);
        let server = Server::start(mount, Options { allowed_origins, ..Options::default() }).await;
        assert_eq!(status(&server, "https://a.example.com").await, 101);
        assert_eq!(status(&server, "https://a.example.com.evil.com").await, 403);
        assert_eq!(status(&server, "null").await, 403);
    }
}

const REQUEST: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[tokio::test]
async fn bad_requests_are_answered() {
    for mount in MOUNTS {
        let server = Server::start(mount, Options::default()).await;
        let check = async |from: &str, to: &str, expected: &[&str]| {
            let request = REQUEST.replace(from, to).replace("\r\n\r\n", "\r\nX: close\r\n\r\n");
            // Axum keeps a connection that was not upgraded.
            let request = request.replace("Connection: ", "Connection: close, ");
            let answer = raw(server.address, &request).await.to_lowercase();
            for expected in expected {
                assert!(answer.contains(expected), "{mount:?} {from} -> {to}: {answer}");
            }
        };
        check("GET", "POST", &["http/1.1 405 "]).await;
        check("Upgrade\r\n", "x\r\n", &["http/1.1 400 ", "upgrade: websocket\r\n"]).await;
        check("websocket\r\n", "h2c\r\n", &["http/1.1 400 ", "upgrade: websocket\r\n"]).await;
        check("Version: 13", "Version: 8", &["http/1.1 400 ", "sec-websocket-version: 13\r\n"]).await;
        check("ZQ==", "ZQ", &["http/1.1 400 "]).await;
        check("Sec-WebSocket-Key", "X-Key", &["http/1.1 400 "]).await;
        check("Host: a", "Host", &["http/1.1 400 "]).await;
    }
}

#[tokio::test]
async fn a_listener_may_have_one_path() {
    let options = Options { path: Some("/ws".to_owned()), ..Options::default() };
    let mut server = Server::start(Mount::Listener, options).await;
    let answer = raw(server.address, &REQUEST.replace("/ws", "/other")).await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    assert!(server.accepted.recv().await.expect("running").is_err());
    connect(server.address, &[]).await.expect("a WebSocket");
}

#[tokio::test]
async fn a_router_serves_other_things_beside() {
    let server = Server::start(Mount::Axum, Options::default()).await;
    let answer = raw(server.address, "GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
}

#[tokio::test]
async fn frames_before_the_answer_are_not_lost_behind_a_router() {
    let mut server = Server::start(Mount::Axum, Options::default()).await;
    let mut stream = TcpStream::connect(server.address).await.expect("listening");
    let early = [REQUEST.as_bytes(), b"\x81\x85\0\0\0\0early\x81\x82\0\0\0\0a"].concat();
    stream.write_all(&early).await.expect("open");
    let (ws, _) = server.accepted.recv().await.expect("running").expect("a WebSocket");
    tokio::spawn(Driver::new(ws).echo());
    stream.write_all(b"b").await.expect("open");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\x81\x05early\x81\x02ab") {
        assert_ne!(within(stream.read_buf(&mut answer)).await.expect("open"), 0);
    }
}

#[tokio::test]
async fn slow_handshakes_are_ended() {
    let options = Options { handshake_timeout: Duration::from_millis(300), ..Options::default() };
    for drip in [false, true] {
        let mut server = Server::start(Mount::Listener, options.clone()).await;
        let began = Instant::now();
        let mut stream = TcpStream::connect(server.address).await.expect("listening");
        let client = tokio::spawn(async move {
            for byte in REQUEST.bytes() {
                if !drip || stream.write_all(&[byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let mut end = Vec::new();
            let _ = stream.read_to_end(&mut end).await;
        });
        let error = within(server.accepted.recv()).await.expect("running").expect_err("too slow");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(began.elapsed() < Duration::from_secs(5));
        within(client).await.expect("the socket is closed");
    }
}

#[tokio::test]
async fn those_over_the_limit_are_told() {
    let any = "127.0.0.1:0".parse().expect("an address");
    let options = Options { refusal_timeout: Duration::from_millis(500), ..Options::default() };
    let mut listener = WsListener::bind(any, options).expect("a free port");
    let address = listener.local_address().expect("an address");
    let refusing = tokio::spawn(async move {
        for _ in 0..2 {
            listener.accept().await.expect("never closed").refuse().await;
        }
    });
    let answer = raw(address, REQUEST).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\nretry-after: 5\r\n"), "{answer}");
    // One that sends nothing is turned away as well.
    let mut silent = TcpStream::connect(address).await.expect("listening");
    let _ = within(silent.read_to_end(&mut Vec::new())).await;
    within(refusing).await.expect("no panic");

    let server = Server::start(Mount::Axum, Options::default()).await;
    let Err(Error::Http(response)) = connect(server.address, &[("x-full", "1")]).await else {
        panic!("a response")
    };
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (503, &"5".parse().unwrap())
    );
}

#[tokio::test]
async fn the_reference_client_sees_a_plain_websocket() {
    for mount in MOUNTS {
        let mut server = Server::start(mount, Options::default()).await;
        let (mut client, response) = connect(server.address, &[]).await.expect("a WebSocket");
        assert_eq!(response.status(), 101);
        let (ws, _) = server.accepted.recv().await.expect("running").expect("a WebSocket");
        tokio::spawn(Driver::new(ws).echo());
        client.send(Message::text("hello")).await.expect("open");
        assert_eq!(within(client.next()).await.expect("open").expect("a frame"), Message::text("hello"));
    }
}
