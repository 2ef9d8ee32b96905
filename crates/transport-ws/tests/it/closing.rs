use futures_util::{SinkExt, StreamExt};
use tidegate_core::Disconnect;
use tidegate_transport_ws::Options;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::support::{Driver, MOUNTS, Server, within};

#[tokio::test]
async fn the_server_says_why_it_closes() {
    for mount in MOUNTS {
        let (ws, mut client) = Server::pair(mount, Options::default()).await;
        let driver = Driver::new(ws);
        let handle = driver.handle();
        let serving = tokio::spawn(driver.echo());
        handle.close(Disconnect::new(3001, "shutdown")).expect("open");
        let Some(Ok(Message::Close(Some(close)))) = within(client.next()).await else {
            panic!("a close frame")
        };
        assert_eq!((u16::from(close.code), &*close.reason), (3001, "shutdown"));
        assert_eq!(within(serving).await.expect("no panic").0.code, 3001);
    }
}

#[tokio::test]
async fn the_clients_close_is_echoed() {
    for mount in MOUNTS {
        let (ws, mut client) = Server::pair(mount, Options::default()).await;
        let serving = tokio::spawn(Driver::new(ws).echo());
        let close = CloseFrame { code: CloseCode::Library(4321), reason: "enough".into() };
        client.send(Message::Close(Some(close))).await.expect("open");
        let Some(Ok(Message::Close(Some(echo)))) = within(client.next()).await else {
            panic!("a close frame")
        };
        assert_eq!(u16::from(echo.code), 4321);
        assert!(within(client.next()).await.is_none());
        assert_eq!(within(serving).await.expect("no panic").0.code, 4321);
    }
}

#[tokio::test]
async fn a_client_that_is_gone_is_noticed() {
    for mount in MOUNTS {
        let (ws, client) = Server::pair(mount, Options::default()).await;
        let serving = tokio::spawn(Driver::new(ws).echo());
        drop(client);
        let (why, _) = within(serving).await.expect("no panic");
        assert!(matches!(why.code, 1005 | 1006), "{why}");
    }
}

/// What the server closes with when it is sent these bytes after the handshake.
async fn check(bytes: &[u8], expected: &str) {
    for mount in MOUNTS {
        let (ws, client) = Server::pair(mount, Options::default()).await;
        let serving = tokio::spawn(Driver::new(ws).echo());
        let mut stream = client.into_inner();
        // Byte by byte is the decoder's tests' matter.
        stream.write_all(bytes).await.expect("open");
        let mut frame = Vec::new();
        within(stream.read_to_end(&mut frame)).await.expect("closed in order");
        assert_eq!(frame[0], 0x88, "a close frame");
        let code = u16::from_be_bytes([frame[2], frame[3]]);
        let reason = str::from_utf8(&frame[4..]).expect("text");
        assert_eq!(format!("{code} {reason}"), expected);
        within(serving).await.expect("no panic");
    }
}

#[tokio::test]
async fn broken_rules_close_with_their_code() {
    check(b"\x81\x01x", "1002 bad MASK").await;
    check(b"\x81\x81\0\0\0\0\xff", "1007 text not UTF-8").await;
    check(b"\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0", "1009 ").await;
    check(b"\x82\xff\0\0\0\0\0\x01\0\x01\0\0\0\0", "1009 ").await;
    let empty = [&b"\x01\x80\0\0\0\0"[..], &b"\0\x80\0\0\0\0".repeat(128)].concat();
    check(&empty, "1008 too many fragments").await;
}

#[tokio::test]
async fn a_large_message_is_refused_to_a_client_of_the_library() {
    let (ws, mut client) = Server::pair(MOUNTS[0], Options::default()).await;
    let serving = tokio::spawn(Driver::new(ws).echo());
    let sent = client.send(Message::text("x".repeat(65_537))).await;
    match within(client.next()).await {
        Some(Ok(Message::Close(Some(close)))) => {
            assert_eq!((u16::from(close.code), &*close.reason), (1009, ""));
        }
        // The server has closed over unread bytes: the connection may be reset before its frame is read.
        Some(Err(Error::Io(_) | Error::Protocol(_))) => {}
        other => panic!("{sent:?}, {other:?}"),
    }
    assert_eq!(within(serving).await.expect("no panic").0.code, 1009);
}
