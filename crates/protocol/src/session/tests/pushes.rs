//! What a client is told without having asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tidegate_core::outbox::{Batch, Event, Fill, Framing, Limits, Outbox};
use tidegate_core::protocol::Push;
use tidegate_core::request::StreamPosition;
use tidegate_core::{
    Budget, ClientInfo, Disconnect, Fanout, Health, Kind, Lag, Log, Publication, SkipToLatest, SkipToOldest,
    Window,
};

use super::*;

/// The push on a transport, for a client that asked for `query`; empty for none.
#[track_caller]
fn check_push(transport: &'static str, query: &str, push: Push<'_>, expected: &str) {
    for encoding in BOTH {
        let protocol = if encoding == Encoding::Json { "centrifuge-json" } else { "centrifuge-protobuf" };
        let peer = Peer { transport, protocol: protocol.into(), query: query.into(), ..Default::default() };
        let message = Bench::of(encoding, &peer).session.push(push);
        let message = message.map(|message| text(encoding, &message));
        assert_eq!(message.unwrap_or_default(), expected, "{encoding:?} {push:?}");
    }
}

/// What a subscription ended with, without its figures.
fn name(why: &tidegate_core::End) -> String {
    format!("{why:?}").split('(').next().unwrap_or_default().to_owned()
}

#[test]
fn pushes_are_as_sdks_expect_them() {
    let news = "news".into();
    let data = "1".into();
    let subscribed = Subscribed {
        recoverable: true,
        positioned: true,
        position: StreamPosition { offset: 7, epoch: "e".into() },
        data: "{}".into(),
        ..Default::default()
    };
    let why = Disconnect::new(2500, "insufficient state");
    let second = Some(Duration::from_secs(90));
    for (push, expected) in [
        (
            Push::Unsubscribe(&news, &why),
            r#"{"push":{"channel":"news","unsubscribe":{"code":2500,"reason":"insufficient state"}}}"#,
        ),
        (Push::Subscribe(&news, &Subscribed::default()), r#"{"push":{"channel":"news","subscribe":{}}}"#),
        (
            Push::Subscribe(&news, &subscribed),
            r#"{"push":{"channel":"news","subscribe":{"recoverable":true,"epoch":"e","offset":7,"positioned":true,"data":{}}}}"#,
        ),
        (Push::Refresh(None), r#"{"push":{"refresh":{}}}"#),
        (Push::Refresh(second), r#"{"push":{"refresh":{"expires":true,"ttl":90}}}"#),
        (Push::Message(&data), r#"{"push":{"message":{"data":1}}}"#),
    ] {
        check_push("websocket", "", push, expected);
        check_push("memory", "", push, expected);
    }
}

#[test]
fn a_disconnect_push_comes_where_the_transport_has_no_code() {
    // The code alone tells whether to connect again.
    for code in [3001, 3499, 3500, 3999, 4000, 4499, 4500, 4999] {
        let why = Disconnect::new(code, "why");
        let push = format!(r#"{{"push":{{"disconnect":{{"code":{code},"reason":"why"}}}}}}"#);
        check_push("webtransport", "", Push::Disconnect(&why), &push);
        check_push("websocket", "", Push::Disconnect(&why), "");
    }
}

#[test]
fn health_is_told_to_whom_wants_it() {
    for (health, name) in
        [(Health::Serving, "serving"), (Health::Degraded, "degraded"), (Health::Draining, "draining")]
    {
        let push = format!(r#"{{"push":{{"message":{{"data":{{"tidegate":{{"health":"{name}"}}}}}}}}}}"#);
        check_push("websocket", "tidegate_notices=true", Push::Health(health), &push);
        check_push("websocket", "", Push::Health(health), "");
        check_push("websocket", "tidegate_notices=false", Push::Health(health), "");
    }
}

/// What a subscription made by `subscribed` writes of `entries`, a line each; then why it closes.
fn written(encoding: Encoding, query: &str, subscribed: &Subscribed, entries: &[Kind], skip: bool) -> String {
    let mut bench = Bench::open(encoding, query);
    let log = Log::new("news".into(), Window::default(), Fanout::new(), Budget::new(0));
    let mut outbox = Outbox::new(Limits::default());
    let subscription = bench.session.subscription(&"news".into(), subscribed);
    let policy: Arc<dyn tidegate_core::Backpressure> =
        if skip { Arc::new(SkipToLatest { beyond: Lag::bytes(0) }) } else { Arc::new(SkipToOldest) };
    outbox.subscribe(&log, subscription, policy).unwrap();
    for entry in entries {
        log.append(entry.clone(), bench.now).unwrap();
    }
    let mut lines = Vec::new();
    let mut batch = Batch::new();
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        batch.begin(Framing::NONE);
        match outbox.poll_fill(&mut cx, 65536, &mut batch) {
            Poll::Pending => return lines.join("\n"),
            // The connection reads no further.
            Poll::Ready(Fill::Event(Event::Cut(why))) => {
                lines.push(why.to_string());
                return lines.join("\n");
            }
            Poll::Ready(Fill::Event(Event::Ended(_, why))) => lines.push(name(&why)),
            Poll::Ready(Fill::Event(event)) => panic!("{event:?}"),
            Poll::Ready(Fill::Batch) => {
                let bytes = batch.pieces().collect::<Vec<_>>().concat();
                // JSON messages are one after the other here; each begins with the same words.
                let messages = match encoding {
                    _ if bytes.is_empty() => String::new(),
                    Encoding::Json => String::from_utf8(bytes).unwrap().replace("}{\"push\"", "}\n{\"push\""),
                    Encoding::Protobuf => {
                        let replies = encoding.replies(&bytes).map(Result::unwrap);
                        let json = replies.map(|reply| Encoding::Json.encode_reply(&reply).unwrap());
                        let lines = json.map(|line| String::from_utf8(line.into()).unwrap());
                        lines.collect::<Vec<_>>().join("\n")
                    }
                };
                lines.extend((!messages.is_empty()).then_some(messages));
                let taken = batch.len();
                outbox.unread(&mut batch, taken);
            }
        }
    }
}

#[track_caller]
fn check_written(query: &str, subscribed: &Subscribed, entries: &[Kind], expected: &[&str]) {
    for encoding in BOTH {
        let lines = written(encoding, query, subscribed, entries, false);
        assert_eq!(lines, expected.join("\n"), "{encoding:?}");
    }
}

fn publication(offset: u64) -> Kind {
    let epoch = (offset > 0).then(|| "e".into());
    Kind::Publication(Publication { data: "1".into(), offset, epoch, ..Default::default() })
}

fn info() -> Arc<ClientInfo> {
    Arc::new(ClientInfo {
        user: "ada".into(),
        client: "c1".into(),
        connection: "{}".into(),
        channel: "2".into(),
    })
}

#[test]
fn publications_are_as_sdks_expect_them() {
    let tags = Some(Arc::new(BTreeMap::from([("k".to_owned(), "v".to_owned())])));
    let full = Publication {
        data: "{\n}".into(),
        info: Some(info()),
        offset: 1,
        epoch: Some("e".into()),
        tags,
        version: 3,
        time: 9,
        ..Default::default()
    };
    check_written(
        "",
        &Subscribed::default(),
        &[publication(0), publication(1), publication(2), Kind::Publication(full)],
        &[
            r#"{"push":{"channel":"news","pub":{"data":1}}}"#,
            r#"{"push":{"channel":"news","pub":{"data":1,"offset":1,"epoch":"e"}}}"#,
            r#"{"push":{"channel":"news","pub":{"data":1,"offset":2}}}"#,
            r#"{"push":{"channel":"news","pub":{"data":{},"info":{"user":"ada","client":"c1","conn_info":{},"chan_info":2},"offset":1,"tags":{"k":"v"},"epoch":"e","version":3}}}"#,
        ],
    );
}

#[test]
fn joins_and_leaves_come_to_whom_hears_them() {
    let entries = [Kind::Join(info()), Kind::Leave(info()), publication(0)];
    let publication = r#"{"push":{"channel":"news","pub":{"data":1}}}"#;
    let info = r#"{"info":{"user":"ada","client":"c1","conn_info":{},"chan_info":2}}"#;
    let join = format!(r#"{{"push":{{"channel":"news","join":{info}}}}}"#);
    let leave = format!(r#"{{"push":{{"channel":"news","leave":{info}}}}}"#);
    check_written("", &Subscribed::default(), &entries, &[publication]);
    let hears = Subscribed { join_leave: true, ..Default::default() };
    check_written("", &hears, &entries, &[&join, &leave, publication]);
}

#[test]
fn what_the_reply_brought_does_not_come_again() {
    let at = |offset| StreamPosition { offset, epoch: "e".into() };
    let recovered = |last| {
        let publications = (1..=last).map(|offset| Publication { offset, ..Default::default() }).collect();
        Subscribed { position: at(0), publications, recovered: true, ..Default::default() }
    };
    let fresh = |offset| Subscribed { position: at(offset), ..Default::default() };
    let entries: Vec<_> = (1..=5).map(publication).collect();
    for (subscribed, first) in
        [(fresh(0), 1), (fresh(3), 4), (fresh(5), 6), (recovered(2), 3), (recovered(5), 6)]
    {
        let expected: Vec<_> = (first..=5)
            .map(|offset| {
                let epoch = if offset == 1 { r#","epoch":"e""# } else { "" };
                format!(r#"{{"push":{{"channel":"news","pub":{{"data":1,"offset":{offset}{epoch}}}}}}}"#)
            })
            .collect();
        let expected: Vec<_> = expected.iter().map(String::as_str).collect();
        check_written("", &subscribed, &entries, &expected);
        // Publications that are not kept have no offset, and always come.
        check_written(
            "",
            &subscribed,
            &[publication(0)],
            &[r#"{"push":{"channel":"news","pub":{"data":1}}}"#],
        );
    }
}

#[test]
fn a_publication_that_is_not_json_closes_a_json_client_only() {
    let binary = Kind::Publication(Publication::new(&b"\xff"[..]));
    let entries = [publication(0), binary, publication(0)];
    let first = r#"{"push":{"channel":"news","pub":{"data":1}}}"#;
    let lines = written(Encoding::Json, "", &Subscribed::default(), &entries, false);
    assert_eq!(lines, format!("{first}\n3506 inappropriate protocol"));
    let mut bench = Bench::open(Encoding::Protobuf, "");
    let mut subscription = bench.session.subscription(&"news".into(), &Subscribed::default());
    let mut batch = Batch::new();
    batch.begin(Framing::NONE);
    subscription.write(&tidegate_core::Entry::new(entries[1].clone()), true, &mut batch);
    assert_eq!(batch.contiguous(), Some(&b"\x0d\x22\x0b\x12\x04news\x22\x03\x22\x01\xff"[..]));
}

#[test]
fn gaps_are_told_to_whom_wants_to_know() {
    let entries: Vec<_> = (1..=5).map(publication).collect();
    let last = r#"{"push":{"channel":"news","pub":{"data":1,"offset":5}}}"#;
    let gap = r#"{"push":{"message":{"data":{"tidegate":{"gap":{"channel":"news","missed":4,"cause":"skipped"}}}}}}"#;
    for encoding in BOTH {
        let lines = |query| written(encoding, query, &Subscribed::default(), &entries, true);
        assert_eq!(lines("tidegate_notices=true"), format!("{gap}\n{last}"));
        assert_eq!(lines(""), last);
    }
}

#[test]
fn a_break_ends_whoever_relies_on_offsets() {
    let entries = [publication(1), Kind::Break, publication(1)];
    let push = r#"{"push":{"channel":"news","pub":{"data":1,"offset":1,"epoch":"e"}}}"#;
    check_written("", &Subscribed::default(), &entries, &[push, push]);
    for (positioned, recoverable) in [(true, false), (false, true), (true, true)] {
        let subscribed = Subscribed { positioned, recoverable, ..Default::default() };
        check_written("", &subscribed, &entries, &[push, "Discontinuous"]);
    }
}

#[test]
fn what_a_reply_stood_for_is_copied_to_nobody_and_from_nobody() {
    let reply = |offset| Subscribed {
        positioned: true,
        position: StreamPosition { offset, epoch: "e".into() },
        ..Default::default()
    };
    let line = |offset: u64| match offset {
        0 => r#"{"push":{"channel":"news","pub":{"data":1}}}"#.to_owned(),
        _ => format!(r#"{{"push":{{"channel":"news","pub":{{"data":1,"offset":{offset}}}}}}}"#),
    };
    // Of one thread's connections, one is written after the other.
    for (first, second) in [(2, 4), (4, 2), (2, 2), (4, 4)] {
        let log = Log::new("news".into(), Window::default(), Fanout::new(), Budget::new(0));
        let outboxes = [first, second].map(|floor| {
            let mut bench = Bench::open(Encoding::Json, "");
            let mut outbox = Outbox::new(Limits::default());
            let subscription = bench.session.subscription(&"news".into(), &reply(floor));
            outbox.subscribe(&log, subscription, Arc::new(SkipToOldest)).unwrap();
            (floor, outbox)
        });
        for offset in [0, 3, 4, 0, 5] {
            log.append(publication(offset), std::time::Instant::now()).unwrap();
        }
        let mut batch = Batch::new();
        for (floor, mut outbox) in outboxes {
            batch.begin(Framing::LINES);
            let filled = outbox.poll_fill(&mut Context::from_waker(Waker::noop()), 65536, &mut batch);
            assert!(matches!(filled, Poll::Ready(Fill::Batch)), "{filled:?}");
            let read = String::from_utf8(batch.pieces().collect::<Vec<_>>().concat()).unwrap();
            let expected = [0, 3, 4, 0, 5].into_iter().filter(|offset| *offset == 0 || *offset > floor);
            let expected: Vec<_> = expected.map(line).collect();
            assert_eq!(read.lines().collect::<Vec<_>>(), expected, "{floor} of {first}, {second}");
            let taken = batch.len();
            outbox.unread(&mut batch, taken);
        }
    }
}
