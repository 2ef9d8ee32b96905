//! What others want of a connection, and what it says first.

use super::*;

/// Writes one batch, of which the socket takes `taken` bytes; returns the bytes taken.
fn write(outbox: &mut Outbox, taken: usize) -> String {
    let mut batch = Batch::new();
    batch.begin(Framing::LINES);
    let filled = outbox.poll_fill(&mut Context::from_waker(Waker::noop()), 1 << 16, &mut batch);
    assert!(matches!(filled, Poll::Ready(Fill::Batch)), "{filled:?}");
    let all: Vec<u8> = batch.pieces().flatten().copied().collect();
    let taken = taken.min(all.len());
    outbox.unread(&mut batch, taken);
    String::from_utf8_lossy(&all[..taken]).replace('\n', " ")
}

#[test]
fn the_latest_state_goes_before_replies_and_replaces_the_one_before() {
    let mut outbox = Outbox::new(Limits::default());
    outbox.reply("reply".into(), None);
    for state in ["one", "two"] {
        outbox.say_first(state.into());
    }
    assert!(!outbox.control_is_empty());
    assert_eq!(write(&mut outbox, 0), "");
    outbox.say_first("three".into());
    // What the socket has cut is the first thing written, and counts as said.
    assert_eq!(write(&mut outbox, 2), "th");
    outbox.say_first("four".into());
    assert_eq!(write(&mut outbox, 100), "ree four reply ");
    assert!(outbox.control_is_empty());
}

#[test]
fn calls_wait_with_the_handle_while_they_are_held() {
    let mut outbox = Outbox::new(Limits::default());
    let handle = outbox.handle();
    let mut batch = Batch::new();
    let mut cx = Context::from_waker(Waker::noop());
    let call = || handle.call(Call::Message(Bytes::new()));
    outbox.hold_calls(true);
    (0..CALLS).for_each(|_| call().expect("there is room"));
    assert_eq!(call(), Err(super::super::NotTaken::Full));
    assert!(outbox.poll_fill(&mut cx, 1 << 16, &mut batch).is_pending());
    // Everything else passes.
    handle.health(Health::Degraded).unwrap();
    let event = outbox.poll_fill(&mut cx, 1 << 16, &mut batch);
    assert!(matches!(event, Poll::Ready(Fill::Event(Event::Health(Health::Degraded)))), "{event:?}");
    outbox.hold_calls(false);
    let event = outbox.poll_fill(&mut cx, 1 << 16, &mut batch);
    assert!(matches!(event, Poll::Ready(Fill::Event(Event::Call(_)))), "{event:?}");
    call().expect("one was taken");
}

#[test]
fn a_connection_that_cannot_write_answers_about_itself() {
    use crate::call::{Inquiry, Report};
    let mut outbox = Outbox::new(Limits::default());
    let handle = outbox.handle();
    let mut cx = Context::from_waker(Waker::noop());
    let (tell, told) = std::sync::mpsc::channel();
    let ask = || {
        let tell = tell.clone();
        handle.inquire(Inquiry::new(move |report| tell.send(report.stalled).expect("the test listens")))
    };
    (0..super::super::INQUIRIES).for_each(|_| ask().expect("there is room"));
    assert_eq!(ask(), Err(super::super::NotTaken::Full));
    handle.call(Call::Message(Bytes::new())).unwrap();
    for _ in 0..super::super::INQUIRIES {
        let Poll::Ready(Event::Inquiry(inquiry)) = outbox.poll_stalled(&mut cx) else {
            panic!("a question needs no room to write")
        };
        inquiry.answer(Report { stalled: true, ..Report::default() });
        assert!(told.try_recv().expect("an answer"));
    }
    // The call waits while it is held, for it may need room, and health as long as nothing is written.
    handle.health(Health::Degraded).unwrap();
    outbox.hold_calls(true);
    assert!(outbox.poll_stalled(&mut cx).is_pending());
    outbox.hold_calls(false);
    assert!(matches!(outbox.poll_stalled(&mut cx), Poll::Ready(Event::Call(_))));
    assert!(outbox.poll_stalled(&mut cx).is_pending());
    drop(outbox);
    assert_eq!(ask(), Err(super::super::NotTaken::Closed));
}

#[test]
fn who_waits_for_a_connection_to_be_gone_is_woken_when_it_is() {
    let mut outbox = Outbox::new(Limits::default());
    let handle = outbox.handle();
    let rings = Arc::new(Rings::default());
    let waker = Waker::from(rings.clone());
    let mut cx = Context::from_waker(&waker);
    let mut gone = std::pin::pin!(handle.gone());
    assert!(gone.as_mut().poll(&mut cx).is_pending());
    // What else is wanted of it meanwhile does not forget who waits.
    handle.health(Health::Serving).unwrap();
    let filled = outbox.poll_fill(&mut Context::from_waker(Waker::noop()), 1 << 16, &mut Batch::new());
    assert!(filled.is_ready());
    assert_eq!(rings.0.load(Ordering::Relaxed), 0);
    drop(outbox);
    assert_eq!(rings.0.load(Ordering::Relaxed), 1);
    assert!(gone.as_mut().poll(&mut cx).is_ready());
    assert!(std::pin::pin!(handle.gone()).poll(&mut cx).is_ready());
}
