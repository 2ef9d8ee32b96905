//! A WebSocket server that says what it hears, text as text and binary as binary. The conformance suite talks
//! to it: `cargo xtask autobahn`.
//!
//! `cargo run -p tidegate-transport-ws --example echo -- 127.0.0.1:9001`; port 0 takes a free one. It prints
//! where it listens.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use tidegate_core::Disconnect;
use tidegate_core::outbox::{Batch, Limits, Outbox};
use tidegate_core::transport::{Connection, Incoming, Listener, Received};
use tidegate_transport_ws::{Options, WebSocket, WsListener};

/// The largest message of the suite.
const LIMIT: usize = 16 << 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address: SocketAddr = std::env::args().nth(1).unwrap_or("127.0.0.1:0".to_owned()).parse()?;
    // Nothing here is the suite's business: it sends messages in as many fragments as it likes.
    let options = Options { message_size_limit: LIMIT, max_fragments: u32::MAX, ..Default::default() };
    let mut listener = WsListener::bind(address, options)?;
    println!("{}", listener.local_address()?);
    while let Some(incoming) = listener.accept().await {
        tokio::spawn(async move {
            match incoming.handshake().await {
                Ok((socket, _)) => echo(socket).await,
                Err(error) => eprintln!("handshake: {error}"),
            }
        });
    }
    Ok(())
}

/// Serves one client to its end.
async fn echo(mut socket: WebSocket) {
    let mut outbox = Outbox::new(Limits::default());
    let why = loop {
        match poll_fn(|cx| socket.poll_receive(cx)).await {
            Ok(Received::Message(message)) => {
                socket.set_binary(!socket.received_text());
                outbox.reply(message, None);
            }
            Ok(Received::Answer(pong)) => outbox.answer(pong),
            Ok(Received::Pong) => continue,
            // What came is said back (RFC 6455 §5.5.1); a close frame without a code is 1005 to its reader.
            Ok(Received::Closed(code)) => break Disconnect { code: code.unwrap_or(1005), reason: "".into() },
            Err(error) => match error.close() {
                Some(why) => break why.clone(),
                None => return,
            },
        }
        if poll_fn(|cx| poll_write(&mut socket, &mut outbox, cx)).await.is_err() {
            return;
        }
    };
    let farewell: Bytes = socket.farewell(&why);
    outbox.framed(farewell);
    let _ = poll_fn(|cx| poll_write(&mut socket, &mut outbox, cx)).await;
    let _ = poll_fn(|cx| socket.poll_shutdown(cx)).await;
    poll_fn(|cx| socket.poll_drain(cx)).await;
}

/// Writes what the outbox holds.
fn poll_write(socket: &mut WebSocket, outbox: &mut Outbox, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    let mut batch = Batch::new();
    while !outbox.control_is_empty() {
        batch.begin(socket.framing());
        // The control lane is all there is, and it is not empty.
        if outbox.poll_fill(&mut Context::from_waker(Waker::noop()), 64 * 1024, &mut batch).is_pending() {
            break;
        }
        let written = socket.poll_write(cx, &batch);
        let taken = if let Poll::Ready(Ok(taken)) = written { taken } else { 0 };
        outbox.unread(&mut batch, taken);
        ready!(written)?;
    }
    Poll::Ready(Ok(()))
}
