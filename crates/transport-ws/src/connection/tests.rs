use std::pin::pin;

use futures_util::future::poll_fn;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::*;

async fn pair(options: &Options) -> (WebSocket, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    (WebSocket::new(server.expect("accepted").0, options), client.expect("connected"))
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u16).to_be_bytes();
    [&[0x82, 0xfe, len[0], len[1], 0, 0, 0, 0], payload].concat()
}

async fn receive(ws: &mut WebSocket) -> Received {
    poll_fn(|cx| ws.poll_receive(cx)).await.expect("a good frame")
}

#[test]
fn a_connection_is_small() {
    let size = size_of::<WebSocket>();
    println!("size_of::<WebSocket>() = {size}");
    assert!(size <= 160, "{size}");
}

#[tokio::test]
async fn an_idle_connection_holds_no_buffer() {
    let (mut ws, mut client) = pair(&Options::default()).await;
    let frames = [frame(&[1; 5000]), frame(&[2; 300]), frame(b""), frame(b"last")[..10].to_vec()].concat();
    client.write_all(&frames).await.expect("written");
    for len in [5000, 300, 0] {
        let Received::Message(message) = receive(&mut ws).await else { panic!("a message") };
        assert_eq!(message.len(), len);
    }
    let pending = poll_fn(|cx| Poll::Ready(ws.poll_receive(cx).is_pending())).await;
    assert!(pending);
    // Only what is there of the last frame is kept, not the read that it came with.
    assert_eq!((ws.unfinished(), ws.buffer.as_ref().map(|buffer| buffer.capacity())), (10, Some(10)));
    client.write_all(&frame(b"last")[10..]).await.expect("written");
    assert_eq!(receive(&mut ws).await, Received::Message("last".into()));
    assert_eq!((ws.unfinished(), ws.buffer.is_none()), (0, true));
}

#[tokio::test]
async fn bytes_behind_the_handshake_come_first() {
    let (ws, mut client) = pair(&Options::default()).await;
    let bytes = [frame(b"ahead"), frame(b"split")].concat();
    let mut ws = WebSocket { buffer: Some(Box::new(BytesMut::from(&bytes[..16]))), ..ws };
    client.write_all(&bytes[16..]).await.expect("written");
    assert_eq!(receive(&mut ws).await, Received::Message("ahead".into()));
    assert_eq!(receive(&mut ws).await, Received::Message("split".into()));
    drop(client);
    assert_eq!(receive(&mut ws).await, Received::Closed(None));
}

#[tokio::test]
async fn a_large_message_lets_others_run() {
    let options = Options { message_size_limit: 1 << 20, ..Options::default() };
    let (mut ws, mut client) = pair(&options).await;
    let first = [&[0x82, 0xff][..], &(1_000_000_u64).to_be_bytes(), &[0; 4]].concat();
    let body = vec![7; 1_000_000];
    let mut polls = 0;
    let mut receiving = pin!(poll_fn(|cx| {
        polls += 1;
        ws.poll_receive(cx)
    }));
    let writing = async {
        client.write_all(&first).await.expect("written");
        client.write_all(&body).await.expect("written");
    };
    let (received, ()) = tokio::join!(&mut receiving, writing);
    assert_eq!(received.expect("within the limit"), Received::Message(body.clone().into()));
    assert!(polls >= body.len() / (Scratch::LEN * READS), "{polls} polls");
}

#[tokio::test]
async fn frames_are_binary_when_asked_for() {
    let (mut ws, _client) = pair(&Options::default()).await;
    let first = |ws: &WebSocket| {
        let mut out = [0; tidegate_core::outbox::HEADER];
        (ws.framing().header)(1, &mut out);
        out[0]
    };
    assert_eq!(first(&ws), 0x81);
    ws.set_binary(true);
    assert_eq!(first(&ws), 0x82);
    assert_eq!(ws.ping().as_deref(), Some(&[0x89, 0][..]));
    assert!(ws.is_tcp());
}
