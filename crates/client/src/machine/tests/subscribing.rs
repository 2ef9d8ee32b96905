use std::time::Duration;

use tidegate_protocol::{Encoding, delta};

use super::world::{SUB, World, config, since};
use crate::TokenError;
use crate::machine::{Config, Lost, SubId, SubOptions};

/// After a publication at offset 11 the connection is lost; the subscribe reply to the next command says this.
#[track_caller]
fn check_recovery(result: &str, expected: &[&str]) {
    let mut world = World::subscribed(config(), SubOptions::default());
    world.hear(r#"{"push":{"channel":"news","pub":{"data":1,"offset":11}}}"#);
    world.expect(&["sub 1: 1 at 11"]);
    world.reopen();
    world.expect(&[
        "connecting 1",
        "close",
        "sub 1: subscribing 1",
        "open",
        r#"send {"id":3,"connect":{}}"#,
        r#"send {"id":4,"subscribe":{"channel":"news","recover":true,"epoch":"e","offset":11}}"#,
    ]);
    world.hear(r#"{"id":3,"connect":{"client":"c"}}"#);
    world.skip();
    world.hear(format!(r#"{{"id":4,"subscribe":{result}}}"#));
    world.expect(expected);
}

#[test]
fn what_was_missed_is_recovered_or_counted() {
    check_recovery(
        r#"{"recoverable":true,"epoch":"e","offset":11,"was_recovering":true,"recovered":true,
            "publications":[{"data":2,"offset":12},{"data":3,"offset":13}]}"#
            .replace('\n', "")
            .as_str(),
        &["sub 1: subscribed at 11:e, recovered", "sub 1: 2 at 12", "sub 1: 3 at 13"],
    );
    check_recovery(
        r#"{"recoverable":true,"epoch":"e","offset":500,"was_recovering":true}"#,
        &["sub 1: subscribed at 500:e", "sub 1: gap Some(489) Unrecoverable"],
    );
    check_recovery(
        r#"{"recoverable":true,"epoch":"f","offset":3,"was_recovering":true}"#,
        &["sub 1: subscribed at 3:f", "sub 1: gap None Unrecoverable"],
    );
    // Another server, which keeps nothing.
    check_recovery("{}", &["sub 1: subscribed", "sub 1: gap None Away"]);
}

#[test]
fn recovery_goes_on_from_what_was_recovered() {
    let mut world = World::subscribed(config(), SubOptions::default());
    world.reopen();
    world.hear(r#"{"id":3,"connect":{"client":"c"}}"#);
    world.hear(
        r#"{"id":4,"subscribe":{"recoverable":true,"epoch":"e","offset":10,"recovered":true,"publications":[{"data":1,"offset":11}]}}"#,
    );
    world.reopen();
    let asked = r#"send {"id":6,"subscribe":{"channel":"news","recover":true,"epoch":"e","offset":11}}"#;
    assert!(world.told().contains(&asked.to_owned()));
}

#[test]
fn a_subscription_without_history_tells_that_something_may_be_missing() {
    let mut world = World::connected(config());
    world.subscribe(SUB, SubOptions::default());
    world.hear(r#"{"id":2,"subscribe":{}}"#);
    world.skip();
    world.reopen();
    world.skip();
    world.hear("{\"id\":3,\"connect\":{\"client\":\"c\"}}\n{\"id\":4,\"subscribe\":{}}");
    world.expect(&["connected c", "sub 1: subscribed", "sub 1: gap None Away"]);
}

#[test]
fn a_subscription_may_begin_at_a_position() {
    let mut world = World::connected(config());
    world.subscribe(SUB, since(5));
    world.expect(&[
        "sub 1: subscribing 0",
        r#"send {"id":2,"subscribe":{"channel":"news","recover":true,"epoch":"e","offset":5}}"#,
    ]);
    world.hear(r#"{"id":2,"subscribe":{"epoch":"e","offset":9,"was_recovering":true,"recoverable":true}}"#);
    world.expect(&["sub 1: subscribed at 9:e", "sub 1: gap Some(4) Unrecoverable"]);
}

#[test]
fn wishes_go_with_the_command() {
    let mut world = World::connected(config());
    let filter = crate::Filter::equals("a", "b").into_node();
    world.subscribe(
        SUB,
        SubOptions {
            token: "t".to_owned(),
            data: "{}".into(),
            positioned: true,
            recoverable: true,
            join_leave: true,
            delta: true,
            filter: Some(filter),
            ..Default::default()
        },
    );
    world.expect(&[
        "sub 1: subscribing 0",
        r#"send {"id":2,"subscribe":{"channel":"news","token":"t","data":{},"positioned":true,"recoverable":true,"join_leave":true,"delta":"fossil","tf":{"key":"a","cmp":"eq","val":"b"}}}"#,
    ]);
}

#[test]
fn the_server_ends_a_subscription_or_wants_it_anew() {
    let mut world = World::subscribed(config(), SubOptions::default());
    world.hear(r#"{"push":{"channel":"news","unsubscribe":{"code":2500,"reason":"insufficient state"}}}"#);
    world.expect(&[
        "sub 1: subscribing 2500",
        r#"send {"id":3,"subscribe":{"channel":"news","recover":true,"epoch":"e","offset":10}}"#,
    ]);
    // For the one before: it comes late.
    world.hear(r#"{"push":{"channel":"news","unsubscribe":{"code":2000,"reason":"server unsubscribe"}}}"#);
    world.hear(r#"{"push":{"channel":"news","pub":{"data":1,"offset":11}}}"#);
    world.expect(&[]);
    world.hear(r#"{"id":3,"subscribe":{"recoverable":true,"epoch":"e","offset":10,"recovered":true}}"#);
    world.skip();
    world.hear(r#"{"push":{"channel":"news","unsubscribe":{"code":2000,"reason":"server unsubscribe"}}}"#);
    world.expect(&["sub 1: unsubscribed 2000"]);
    world.hear(r#"{"push":{"channel":"news","pub":{"data":1,"offset":11}}}"#);
    world.reopen();
    world.expect(&["connecting 1", "close", "open", r#"send {"id":4,"connect":{}}"#]);
}

#[test]
fn what_the_server_declares_void_is_not_recovered_in_silence() {
    let mut world = World::subscribed(config(), SubOptions::default());
    world.hear(r#"{"push":{"channel":"news","unsubscribe":{"code":2502,"reason":"state invalidated"}}}"#);
    world.expect(&[
        "sub 1: subscribing 2502",
        r#"send {"id":3,"subscribe":{"channel":"news","recover":true,"epoch":"_"}}"#,
    ]);
    world.hear(r#"{"id":3,"subscribe":{"recoverable":true,"epoch":"e","offset":12,"was_recovering":true}}"#);
    world.expect(&["sub 1: subscribed at 12:e", "sub 1: gap None Unrecoverable"]);
    world.close(3014);
    world.wait();
    world.open();
    let asked = r#"send {"id":5,"subscribe":{"channel":"news","recover":true,"epoch":"_"}}"#;
    assert!(world.told().contains(&asked.to_owned()));
}

#[test]
fn a_refusal_is_final_unless_it_is_temporary() {
    let mut world = World::connected(config());
    world.subscribe(SUB, SubOptions::default());
    world.hear(r#"{"id":2,"error":{"code":100,"message":"oh","temporary":true}}"#);
    world.skip();
    let pause = world.wait();
    assert!(pause >= Duration::from_millis(500) && pause <= Duration::from_secs(1), "{pause:?}");
    world.expect(&[r#"send {"id":3,"subscribe":{"channel":"news"}}"#]);
    world.hear(r#"{"id":3,"error":{"code":103,"message":"permission denied"}}"#);
    world.expect(&["sub 1: unsubscribed 103"]);
}

#[test]
fn a_subscribe_command_without_an_answer_costs_the_connection() {
    let mut world = World::connected(config());
    world.subscribe(SUB, SubOptions::default());
    world.skip();
    assert_eq!(world.wait(), Duration::from_secs(5));
    world.expect(&["connecting 3", "close"]);
}

#[test]
fn who_leaves_hears_no_more_and_another_may_come() {
    let mut world = World::subscribed(config(), SubOptions::default());
    world.machine.unsubscribe(SUB, world.now);
    world.subscribe(SubId(2), SubOptions::default());
    world.expect(&[
        r#"send {"id":3,"unsubscribe":{"channel":"news"}}"#,
        "sub 2: subscribing 0",
        r#"send {"id":4,"subscribe":{"channel":"news"}}"#,
    ]);
    world.hear(r#"{"push":{"channel":"news","pub":{"data":1,"offset":11}}}"#);
    world.hear("{\"id\":3,\"unsubscribe\":{}}\n{\"id\":4,\"subscribe\":{}}");
    world.expect(&["sub 2: subscribed"]);
    // The first has gone already.
    world.machine.unsubscribe(SUB, world.now);
    world.hear(r#"{"push":{"channel":"news","pub":{"data":2}}}"#);
    world.expect(&["sub 2: 2 at 0"]);
}

#[test]
fn who_leaves_before_the_answer_leaves_for_good() {
    let mut world = World::connected(config());
    world.subscribe(SUB, SubOptions::default());
    world.machine.unsubscribe(SUB, world.now);
    world.expect(&[
        "sub 1: subscribing 0",
        r#"send {"id":2,"subscribe":{"channel":"news"}}"#,
        r#"send {"id":3,"unsubscribe":{"channel":"news"}}"#,
    ]);
    world.hear("{\"id\":2,\"subscribe\":{}}\n{\"id\":3,\"unsubscribe\":{}}");
    world.expect(&[]);
    assert_eq!(world.wait(), Duration::from_secs(35), "nothing but the ping is waited for");
}

#[test]
fn a_token_is_fetched_refreshed_and_fetched_again() {
    let mut world = World::connected(config());
    world.subscribe(SUB, SubOptions { token_source: true, ..Default::default() });
    world.expect(&["sub 1: subscribing 0", "sub 1: token?"]);
    world.sub_token(Ok("t1"));
    world.expect(&[r#"send {"id":2,"subscribe":{"channel":"news","token":"t1"}}"#]);
    world.hear(r#"{"id":2,"error":{"code":109,"message":"token expired"}}"#);
    world.skip();
    world.wait();
    world.expect(&["sub 1: token?"]);
    world.sub_token(Ok("t2"));
    world.hear(r#"{"id":3,"subscribe":{"expires":true,"ttl":20}}"#);
    world.skip();
    assert_eq!(world.wait(), Duration::from_secs(20));
    world.expect(&["sub 1: token?"]);
    world.sub_token(Ok("t3"));
    world.expect(&[r#"send {"id":4,"sub_refresh":{"channel":"news","token":"t3"}}"#]);
    world.hear(r#"{"id":4,"sub_refresh":{"expires":true,"ttl":10}}"#);
    assert_eq!(world.wait(), Duration::from_secs(10));
    world.expect(&["sub 1: token?"]);
    world.sub_token(Err(TokenError::unavailable("busy")));
    world.expect(&[r#"trouble: subscribing to "news" failed: busy"#]);
    assert!(world.wait() >= Duration::from_secs(10));
    world.expect(&["sub 1: token?"]);
    world.sub_token(Err(TokenError::Unauthorized));
    world.expect(&[r#"send {"id":5,"unsubscribe":{"channel":"news"}}"#, "sub 1: unsubscribed 1"]);
}

#[test]
fn an_expired_token_without_a_source_is_final() {
    let mut world = World::connected(config());
    world.subscribe(SUB, SubOptions { token: "t".to_owned(), ..Default::default() });
    world.skip();
    world.hear(r#"{"id":2,"error":{"code":109,"message":"token expired"}}"#);
    world.expect(&["sub 1: unsubscribed 109"]);
}

#[test]
fn who_does_not_read_leaves_and_comes_back_for_the_rest() {
    let mut world = World::subscribed(config(), SubOptions::default());
    assert!(world.machine.hold(SUB, world.now));
    world.expect(&[r#"send {"id":3,"unsubscribe":{"channel":"news"}}"#, "sub 1: subscribing 50"]);
    world.hear(r#"{"push":{"channel":"news","pub":{"data":1,"offset":11}}}"#);
    world.expect(&[]);
    // A new connection does not end it.
    world.reopen();
    world.hear(r#"{"id":4,"connect":{"client":"c"}}"#);
    world.skip();
    world.machine.resume(SUB, world.now);
    world.expect(&[r#"send {"id":5,"subscribe":{"channel":"news","recover":true,"epoch":"e","offset":10}}"#]);
}

#[test]
fn who_could_not_come_back_is_not_made_to_leave() {
    let mut world = World::connected(config());
    world.subscribe(SUB, SubOptions::default());
    world.hear(r#"{"id":2,"subscribe":{}}"#);
    world.skip();
    assert!(!world.machine.hold(SUB, world.now));
    world.expect(&[]);
}

const LONG: &str = r#"{"a":"0123456789012345678901234567890123456789","b":1}"#;
const OTHER: &str = r#"{"a":"0123456789012345678901234567890123456789","b":2}"#;

fn push(encoding: Encoding, data: &[u8], patch: bool, offset: u64) -> bytes::Bytes {
    let data = match encoding {
        Encoding::Json => serde_json::to_vec(str::from_utf8(data).unwrap()).unwrap().into(),
        Encoding::Protobuf => bytes::Bytes::copy_from_slice(data),
    };
    let publication = tidegate_protocol::Publication { data, delta: patch, offset, ..Default::default() };
    encoding.publication_push("news", &publication).unwrap()
}

#[test]
fn patches_are_applied() {
    for encoding in [Encoding::Json, Encoding::Protobuf] {
        let mut world = World::connected(Config { encoding: Encoding::Json, ..config() });
        world.subscribe(SUB, SubOptions { delta: true, ..Default::default() });
        world.hear(r#"{"id":2,"subscribe":{"recoverable":true,"epoch":"e","delta":true}}"#);
        world.skip();
        world.machine.config.encoding = encoding;
        let patch = delta::create(LONG.as_bytes(), OTHER.as_bytes()).expect("a patch");
        let told = |world: &mut World, data: &[u8], patch, offset| {
            let push = push(encoding, data, patch, offset);
            for reply in encoding.replies(&push) {
                world.machine.received(reply.unwrap(), world.now);
            }
            world.told()
        };
        assert_eq!(told(&mut world, LONG.as_bytes(), false, 1), [format!("sub 1: {LONG} at 1")]);
        assert_eq!(told(&mut world, &patch, true, 2), [format!("sub 1: {OTHER} at 2")]);
        // Taken up again from the last that is whole.
        assert_eq!(
            told(&mut world, b"no patch", true, 3),
            [r#"send {"id":3,"unsubscribe":{"channel":"news"}}"#, "sub 1: subscribing 51"]
        );
        world.wait();
        world.expect(&[
            r#"send {"id":4,"subscribe":{"channel":"news","recover":true,"epoch":"e","offset":2,"delta":"fossil"}}"#,
        ]);
    }
}

#[test]
fn gaps_that_the_server_tells_stand_in_their_place() {
    let mut world = World::subscribed(config(), SubOptions::default());
    world.hear(
        r#"{"push":{"message":{"data":{"tidegate":{"gap":{"channel":"news","missed":3,"cause":"skipped"}}}}}}"#,
    );
    world.expect(&[r#"sub 1: gap Some(3) Server("skipped")"#]);
    world.hear(r#"{"push":{"message":{"data":{"tidegate":{"health":"draining"}}}}}"#);
    world.expect(&["Health(Draining)"]);
    world.hear(r#"{"push":{"message":{"data":{"tidegate":{"else":1}}}}}"#);
    world.expect(&[r#"message {"tidegate":{"else":1}}"#]);
}

#[test]
fn joins_and_leaves_are_told() {
    let mut world = World::subscribed(config(), SubOptions::default());
    world.hear(r#"{"push":{"channel":"news","join":{"info":{"client":"a","user":"u"}}}}"#);
    world.hear(r#"{"push":{"channel":"news","leave":{"info":{"client":"a","user":"u"}}}}"#);
    world.expect(&["sub 1: join a", "sub 1: leave a"]);
}

#[test]
fn an_unsubscribe_command_that_fails_costs_the_connection() {
    let mut world = World::subscribed(config(), SubOptions::default());
    world.machine.unsubscribe(SUB, world.now);
    world.skip();
    world.hear(r#"{"id":3,"error":{"code":100,"message":"oh","temporary":true}}"#);
    world.expect(&["connecting 4", "close"]);
    world.machine.lost(Lost::Failed("again".to_owned()), world.now);
    world.expect(&[]);
}

#[test]
fn what_a_stream_brings_is_its_subscriptions_as_long_as_that_is_live() {
    let push = |offset| {
        let publication = tidegate_protocol::Publication { data: "1".into(), offset, ..Default::default() };
        tidegate_protocol::Push { publication: Some(publication), ..Default::default() }
    };
    let mut world = World::subscribed(config(), SubOptions::default());
    world.machine.received_in(2, push(11), world.now);
    world.machine.received_in(3, push(12), world.now);
    world.expect(&["sub 1: 1 at 11"]);
    world.hear(r#"{"push":{"channel":"news","unsubscribe":{"code":2500,"reason":"insufficient state"}}}"#);
    world.skip();
    world.machine.received_in(2, push(12), world.now);
    world.expect(&[]);
    world.hear(r#"{"id":3,"subscribe":{"recoverable":true,"epoch":"e","offset":11,"recovered":true}}"#);
    world.skip();
    world.machine.received_in(2, push(12), world.now);
    world.machine.received_in(3, push(12), world.now);
    world.expect(&["sub 1: 1 at 12"]);
}
