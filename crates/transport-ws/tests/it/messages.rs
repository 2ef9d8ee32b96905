use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tidegate_core::transport::Connection;
use tidegate_transport_ws::{Io, Options, WebSocket};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::support::{Client, Driver, MOUNTS, Server, within};

async fn echo_all<S>(mut client: WebSocketStream<S>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    for len in [0, 1, 125, 126, 4095, 4096, 4097, 16_384, 65_535, 65_536] {
        let text = "x".repeat(len);
        client.send(Message::text(text.clone())).await.expect("open");
        let reply = within(client.next()).await.expect("open").expect("a frame");
        assert_eq!(reply, Message::text(text), "{len}");
    }
    for i in 0..500 {
        client.feed(Message::text(i.to_string())).await.expect("open");
    }
    client.flush().await.expect("open");
    for i in 0..500 {
        assert_eq!(
            within(client.next()).await.expect("open").expect("a frame"),
            Message::text(i.to_string())
        );
    }
    client.send(Message::Ping("are you there".into())).await.expect("open");
    let answer = within(client.next()).await.expect("open").expect("a frame");
    assert_eq!(answer, Message::Pong("are you there".into()));
    client.send(Message::Pong(Bytes::new())).await.expect("open");
    assert_eq!(within(client.next()).await.expect("open").expect("a frame"), Message::text("pong"));
    client.close(None).await.expect("open");
    assert!(matches!(within(client.next()).await, Some(Ok(Message::Close(None)))));
    assert!(within(client.next()).await.is_none());
}

#[tokio::test]
async fn messages_are_echoed() {
    for mount in MOUNTS {
        let (ws, client) = Server::pair(mount, Options::default()).await;
        assert!(ws.is_tcp(), "{mount:?}: the bare socket");
        let serving = tokio::spawn(Driver::new(ws).echo());
        echo_all(client).await;
        assert_eq!(within(serving).await.expect("no panic").0.code, 1005);
    }
}

#[tokio::test]
async fn text_is_told_from_binary() {
    let (mut ws, mut client) = Server::pair(MOUNTS[0], Options::default()).await;
    let messages = [Message::text("t"), Message::binary("b"), Message::Ping("p".into()), Message::text("")];
    for message in messages {
        client.send(message.clone()).await.expect("open");
        within(std::future::poll_fn(|cx| ws.poll_receive(cx))).await.expect("a frame");
        // A ping between messages is of neither kind.
        assert_eq!(ws.received_text(), message.is_text(), "{message:?}");
    }
}

#[tokio::test]
async fn messages_are_echoed_over_any_stream() {
    let (client, server) = tokio::io::duplex(777);
    let ws = WebSocket::new(Io::other(tokio::io::BufWriter::new(server)), &Options::default());
    let serving = tokio::spawn(Driver::new(ws).echo());
    echo_all(WebSocketStream::from_raw_socket(client, Role::Client, None).await).await;
    assert_eq!(within(serving).await.expect("no panic").0.code, 1005);
}

/// Message `i` of a stream that every reader can check.
fn message(i: usize) -> Bytes {
    let len = [10, 300, 5000, 60_000, 4096, 4097, 20_000][i % 7] + i;
    Bytes::from(i.to_string().into_bytes().into_iter().cycle().take(len).collect::<Vec<u8>>())
}

async fn read_slowly(mut client: Client, messages: usize) {
    for i in 0..messages {
        if i % 20 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let got = within(client.next()).await.expect("open").expect("a frame");
        assert_eq!(got.into_data(), message(i), "message {i}");
    }
}

#[tokio::test]
async fn a_slow_reader_gets_everything_in_order() {
    const MESSAGES: usize = 500;
    for mount in MOUNTS {
        let (mut ws, client) = Server::pair(mount, Options::default()).await;
        ws.set_binary(true);
        let mut driver = Driver::new(ws);
        let mut bytes = 0;
        for i in 0..MESSAGES {
            bytes += message(i).len();
            driver.outbox.reply(message(i), None);
        }
        let reading = tokio::spawn(read_slowly(client, MESSAGES));
        within(driver.flush()).await.expect("open");
        println!("{mount:?}: {bytes} bytes in {} writes", driver.writes);
        within(reading).await.expect("every message");
    }
}

#[tokio::test]
async fn a_stalled_reader_shows_before_much_is_buffered() {
    let (ws, client) = Server::pair(crate::support::Mount::Listener, Options::default()).await;
    let mut driver = Driver::new(ws);
    let mut given = 0;
    for _ in 0..200 {
        driver.outbox.reply(vec![b'x'; 50_000].into(), None);
        given += 50_000;
    }
    let stalled = tokio::time::timeout(Duration::from_millis(500), driver.flush()).await;
    assert!(stalled.is_err(), "nobody reads");
    println!("{} writes before the stall, of {given} bytes", driver.writes);
    drop(client);
    assert!(within(driver.flush()).await.is_err(), "the reader has gone");
}
