use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::{Client, Connection, Limits, listener, pair};
use crate::Disconnect;
use crate::outbox::{self, Batch, Fill, Outbox};
use crate::transport::{Connection as _, Incoming as _, Listener as _, Peer, ReceiveError, Received};

/// The outcome of a future that needs nobody else.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

fn receive(connection: &mut Connection) -> Option<Result<Received, ReceiveError>> {
    match connection.poll_receive(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(received) => Some(received),
        Poll::Pending => None,
    }
}

/// Writes what `outbox` has, as far as the pipe takes it; `false` when it has taken all.
fn write(outbox: &mut Outbox, connection: &mut Connection) -> io::Result<bool> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut batch = Batch::new();
    batch.begin(connection.framing());
    while let Poll::Ready(Fill::Batch) = outbox.poll_fill(&mut cx, 1 << 16, &mut batch) {
        let poll = connection.poll_write(&mut cx, &batch);
        let taken = match &poll {
            Poll::Ready(Ok(taken)) => *taken,
            _ => 0,
        };
        outbox.unread(&mut batch, taken);
        match poll {
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => return Ok(true),
        }
    }
    Ok(false)
}

fn drained(client: &mut Client) -> Vec<Bytes> {
    std::iter::from_fn(|| now(client.recv()).flatten()).collect()
}

#[test]
fn messages_come_whole_and_in_order_through_any_capacity() {
    for capacity in [1, 2, 3, 5, 64, 10_000, 1 << 20] {
        let (mut client, mut connection) = pair(Limits { capacity, ..Limits::default() });
        let mut outbox = Outbox::new(outbox::Limits::default());
        let sent: Vec<Bytes> =
            [0, 1, 9000, 5, 4096].iter().map(|len| Bytes::from(vec![b'x'; *len])).collect();
        sent.iter().for_each(|message| outbox.reply(message.clone(), None));
        let mut got = Vec::new();
        while write(&mut outbox, &mut connection).expect("the client is there") {
            got.extend(drained(&mut client));
        }
        got.extend(drained(&mut client));
        assert_eq!(got, sent, "capacity {capacity}");
    }
}

#[test]
fn what_a_client_sends_comes_in() {
    let (mut client, mut connection) = pair(Limits::default());
    assert!(receive(&mut connection).is_none());
    now(client.send("one")).expect("there is room").expect("the server is there");
    now(client.send("two")).expect("there is room").expect("the server is there");
    client.close();
    let mut got = || receive(&mut connection).expect("something came").expect("nothing is wrong");
    assert_eq!(got(), Received::Message("one".into()));
    assert_eq!(got(), Received::Message("two".into()));
    assert_eq!(got(), Received::Closed(None));
}

#[test]
fn a_client_waits_for_room() {
    let (mut client, mut connection) = pair(Limits { capacity: 8, ..Limits::default() });
    let mut sending = pin!(client.send("0123456789"));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(sending.as_mut().poll(&mut cx).is_pending());
    assert!(receive(&mut connection).is_none());
    assert_eq!(connection.unfinished(), 8);
    assert!(sending.as_mut().poll(&mut cx).is_ready());
    assert!(matches!(receive(&mut connection), Some(Ok(Received::Message(_)))));
    assert_eq!(connection.unfinished(), 0);
}

#[test]
fn a_stalled_client_reads_later_and_slowly() {
    let (mut client, mut connection) = pair(Limits { capacity: 16, ..Limits::default() });
    let mut outbox = Outbox::new(outbox::Limits::default());
    outbox.reply("0123456789".into(), None);
    outbox.reply("abcdefghij".into(), None);
    assert!(write(&mut outbox, &mut connection).expect("the client is there"));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(connection.poll_writable(&mut cx).is_pending());
    assert_eq!(client.read_bytes(1), 1);
    assert!(connection.poll_writable(&mut cx).is_ready());
    assert!(write(&mut outbox, &mut connection).expect("the client is there"));
    assert_eq!(client.read_bytes(99), 16);
    assert!(!write(&mut outbox, &mut connection).expect("the client is there"));
    assert_eq!(drained(&mut client), ["0123456789", "abcdefghij"]);
}

#[test]
fn who_vanishes_is_noticed() {
    let (client, mut connection) = pair(Limits::default());
    drop(client);
    assert!(matches!(receive(&mut connection), Some(Ok(Received::Closed(None)))));
    let mut outbox = Outbox::new(outbox::Limits::default());
    outbox.reply("x".into(), None);
    let error = write(&mut outbox, &mut connection).expect_err("nobody reads");
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);

    let (mut client, connection) = pair(Limits::default());
    drop(connection);
    assert_eq!(now(client.recv()), Some(None));
    assert!(now(client.send("x")).expect("it does not wait").is_err());
}

#[test]
fn a_farewell_is_read_behind_everything_else() {
    let (mut client, mut connection) = pair(Limits::default());
    let mut outbox = Outbox::new(outbox::Limits::default());
    outbox.reply("x".into(), None);
    let why = Disconnect::new(3001, "shutdown");
    outbox.framed(connection.farewell(&why));
    write(&mut outbox, &mut connection).expect("the client is there");
    assert!(connection.poll_shutdown(&mut Context::from_waker(Waker::noop())).is_ready());
    assert_eq!(drained(&mut client), ["x"]);
    assert_eq!(client.closed(), Some(&why));
}

#[test]
fn too_large_a_message_is_refused_when_it_is_announced() {
    let (mut client, mut connection) = pair(Limits { message: 10, ..Limits::default() });
    now(client.send_raw(Bytes::from_static(&[0, 0, 0, 11])))
        .expect("there is room")
        .expect("the server is there");
    let error = receive(&mut connection).expect("something came").expect_err("it is too large");
    assert_eq!(error.close().map(|why| why.code), Some(1009));
}

#[test]
fn a_listener_brings_who_knocks() {
    let (mut listener, address) = listener(Limits::default());
    assert!(now(listener.accept()).is_none());
    let peer = Peer { protocol: "lines".into(), ..Peer::default() };
    let _client = address.connect_as(peer).expect("it listens");
    let mut turned_away = address.connect().expect("it listens");
    let knock = now(listener.accept()).flatten().expect("somebody knocked");
    let (_connection, peer) = now(knock.handshake()).expect("it does not wait").expect("it cannot fail");
    assert_eq!((peer.transport, &*peer.protocol), ("memory", "lines"));
    now(now(listener.accept()).flatten().expect("another knocked").refuse());
    assert_eq!(now(turned_away.recv()), Some(None));
    let mut waiting = address.connect().expect("it listens");
    drop(listener);
    assert_eq!(now(waiting.recv()), Some(None));
    assert_eq!(address.connect().map(drop).map_err(|e| e.kind()), Err(io::ErrorKind::ConnectionRefused));
}
