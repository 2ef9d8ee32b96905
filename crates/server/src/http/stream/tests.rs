use std::task::Waker;

use super::super::Sessions;
use super::*;

/// Both ends of a connection that writes lines.
fn ends() -> (Arc<Sessions>, Stream, Body) {
    let sessions = Arc::<Sessions>::default();
    let (stream, body) = pair(Framing::LINES, false, sessions.open("s1".into(), true), None);
    (sessions, stream, body)
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// Writes messages of these sizes; how many bytes were taken, `None` for nothing.
fn write(stream: &mut Stream, sizes: &[usize]) -> Option<usize> {
    let mut batch = Batch::new();
    batch.begin(stream.framing());
    for size in sizes {
        batch.message(&vec![b'x'; *size].into());
    }
    match stream.poll_write(&mut cx(), &batch) {
        Poll::Ready(taken) => Some(taken.expect("read by somebody")),
        Poll::Pending => None,
    }
}

/// What the body has now: `n` bytes, `nothing`, `end` or `cut`.
fn read(body: &mut Body) -> String {
    match Pin::new(body).poll_frame(&mut cx()) {
        Poll::Pending => "nothing".into(),
        Poll::Ready(None) => "end".into(),
        Poll::Ready(Some(Err(_))) => "cut".into(),
        Poll::Ready(Some(Ok(frame))) => frame.into_data().expect("data").len().to_string(),
    }
}

#[test]
fn what_the_body_does_not_take_is_not_taken_from_the_batch() {
    let (_sessions, mut stream, mut body) = ends();
    assert_eq!(write(&mut stream, &[10, 10]), Some(22));
    assert_eq!(write(&mut stream, &[100_000]), Some(CAPACITY - 22));
    assert_eq!(write(&mut stream, &[10]), None);
    assert!(stream.poll_writable(&mut cx()).is_pending());
    assert_eq!(read(&mut body), CAPACITY.to_string());
    assert!(stream.poll_writable(&mut cx()).is_ready());
    assert_eq!(read(&mut body), "nothing");
    assert_eq!(write(&mut stream, &[10]), Some(11));
}

#[test]
fn a_connection_that_closes_is_read_to_its_end_and_one_that_goes_is_cut() {
    let (_sessions, mut stream, mut body) = ends();
    write(&mut stream, &[10]);
    assert!(stream.poll_shutdown(&mut cx()).is_ready());
    drop(stream);
    assert_eq!([read(&mut body), read(&mut body)], ["11", "end"]);
    let (_sessions, mut stream, mut body) = ends();
    write(&mut stream, &[10]);
    drop(stream);
    assert_eq!([read(&mut body), read(&mut body)], ["11", "cut"]);
}

#[test]
fn a_body_that_nobody_reads_any_more_is_the_clients_end() {
    let (_sessions, mut stream, body) = ends();
    assert!(stream.poll_receive(&mut cx()).is_pending());
    drop(body);
    assert!(matches!(stream.poll_receive(&mut cx()), Poll::Ready(Ok(Received::Closed(None)))));
    let mut batch = Batch::new();
    batch.begin(stream.framing());
    batch.message(&Bytes::from_static(b"x"));
    assert!(matches!(stream.poll_write(&mut cx(), &batch), Poll::Ready(Err(_))));
    assert!(matches!(stream.poll_writable(&mut cx()), Poll::Ready(Err(_))));
}

#[test]
fn what_is_posted_is_bounded_and_comes_in_order() {
    let (sessions, mut stream, _body) = ends();
    let pipe = sessions.pipe(stream.session().expect("a session")).expect("it is open");
    let large = Bytes::from(vec![b'a'; 1000]);
    // The first is taken, however large it is.
    assert_eq!(pipe.post(large.clone(), 100), Ok(()));
    assert_eq!(pipe.post(Bytes::from_static(b"b"), 100), Err(Full));
    assert_eq!(pipe.post(Bytes::from_static(b"b"), 2000), Ok(()));
    assert_eq!(pipe.post(large.clone(), 2000), Err(Full));
    let mut received = || match stream.poll_receive(&mut cx()) {
        Poll::Ready(Ok(Received::Message(message))) => Some(message),
        _ => None,
    };
    assert_eq!([received(), received(), received()], [Some(large.clone()), Some("b".into()), None]);
    assert_eq!(pipe.post(large, 100), Ok(()));
}

#[test]
fn a_session_is_found_as_long_as_its_connection_lives() {
    let (sessions, stream, _body) = ends();
    let id = stream.session().expect("a session").to_owned();
    assert!(sessions.pipe(&id).is_some());
    assert_eq!(sessions.client(&id), None);
    sessions.connected(&id, &"c".into());
    assert_eq!(sessions.client(&id).as_deref(), Some("c"));
    drop(stream);
    assert!(sessions.pipe(&id).is_none() && sessions.client(&id).is_none());
    // One that only reads has no place to post to.
    let (stream, _body) = pair(Framing::LINES, false, sessions.open("s2".into(), false), None);
    assert!(sessions.pipe(stream.session().expect("a session")).is_none());
}

#[tokio::test]
async fn how_it_began_is_told_once() {
    let (_sessions, mut stream, _body) = ends();
    let pipe = stream.pipe.clone();
    let waiting = tokio::spawn(async move { pipe.began().await });
    tokio::task::yield_now().await;
    stream.refused(109);
    stream.farewell(&Disconnect::new(3005, "connection expired"));
    write(&mut stream, &[10]);
    assert_eq!(waiting.await.unwrap(), Began::Refused(109));
    let (_sessions, mut stream, _body) = ends();
    write(&mut stream, &[10]);
    stream.farewell(&Disconnect::new(3001, "shutdown"));
    assert_eq!(stream.pipe.began().await, Began::Open);
}
