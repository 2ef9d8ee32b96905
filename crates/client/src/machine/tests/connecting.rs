use std::time::Duration;

use super::world::{SUB, World, config};
use crate::machine::{Config, Lost, SubOptions};
use crate::{CallError, TokenError, Why};

fn with_source() -> Config {
    Config { token_source: true, ..config() }
}

#[test]
fn connect_and_subscribe_go_together() {
    let mut world = World::new(config());
    world.subscribe(SUB, SubOptions::default());
    world.expect(&["connecting 0", "open", "sub 1: subscribing 0"]);
    world.open();
    world.expect(&[r#"send {"id":1,"connect":{}}"#, r#"send {"id":2,"subscribe":{"channel":"news"}}"#]);
    world.hear("{\"id\":1,\"connect\":{\"client\":\"c\"}}\n{\"id\":2,\"subscribe\":{}}");
    world.expect(&["connected c", "sub 1: subscribed"]);
}

#[test]
fn pauses_double_up_to_the_longest_and_are_drawn_at_random() {
    let mut world = World::new(config());
    let mut pauses = Vec::new();
    for attempt in 0..10 {
        world.machine.refused("refused".to_owned(), None, world.now);
        let pause = world.wait();
        let (min, max) = (Duration::from_millis(500), Duration::from_secs(20));
        let most = max.min(min + min * 2_u32.pow(attempt));
        assert!(pause >= min && pause <= most, "attempt {attempt}: {pause:?}, at most {most:?}");
        pauses.push(pause);
    }
    pauses.dedup();
    assert_eq!(pauses.len(), 10, "no two alike");
    assert!(pauses[9] > Duration::from_secs(1), "{pauses:?}");
}

#[test]
fn a_server_that_says_how_long_to_wait_is_heeded() {
    let mut world = World::new(config());
    world.machine.refused("HTTP 503".to_owned(), Some(Duration::from_secs(7)), world.now);
    world.expect(&["connecting 0", "open", "trouble: connecting failed: HTTP 503"]);
    assert_eq!(world.wait(), Duration::from_secs(7));
    world.expect(&["open"]);
    world.machine.refused("HTTP 503".to_owned(), Some(Duration::from_secs(u64::MAX)), world.now);
    assert_eq!(world.wait(), Duration::from_secs(600), "within reason");
}

#[test]
fn pauses_begin_anew_with_each_connection() {
    let mut world = World::connected(config());
    for _ in 0..20 {
        world.machine.lost(Lost::Failed("reset".to_owned()), world.now);
        assert!(world.wait() <= Duration::from_secs(1));
        world.open();
        world.skip();
        let id = world.machine.last_id;
        world.hear(format!(r#"{{"id":{id},"connect":{{"client":"c"}}}}"#));
    }
}

#[test]
fn an_opening_that_takes_too_long_is_given_up() {
    let mut world = World::new(config());
    world.skip();
    assert_eq!(world.wait(), Duration::from_secs(5));
    world.expect(&["close", "trouble: connecting failed: no connection within the time limit"]);
    world.wait();
    world.expect(&["open"]);
    world.open();
    world.skip();
    assert_eq!(world.wait(), Duration::from_secs(5), "the connect reply");
    world.expect(&["trouble: connecting failed: no connect reply within the time limit", "close"]);
}

/// A connection that is closed with this code leaves the client like that.
#[track_caller]
fn check_close(code: u32, expected: &str) {
    let mut world = World::connected(config());
    world.close(code);
    assert_eq!(world.told().last().map(String::as_str), Some(expected), "code {code}");
}

#[test]
fn some_codes_are_final_and_all_others_connect_again() {
    for code in [3500, 3503, 3999, 4500, 4999] {
        check_close(code, &format!("disconnected {code}"));
    }
    for code in [3000, 3001, 3008, 3010, 3012, 3499, 4000, 4499, 5000] {
        let mut world = World::connected(config());
        world.close(code);
        world.expect(&[&format!("connecting {code}"), "close"]);
    }
    check_close(1009, "disconnected 3");
    let mut world = World::connected(config());
    world.close(1001);
    world.expect(&["connecting 1", "close"]);
}

#[test]
fn what_nobody_can_read_is_final() {
    let mut world = World::connected(config());
    world.machine.lost(Lost::Unreadable(Why::new(2, "no message")), world.now);
    world.expect(&["close", "disconnected 2"]);
    assert_eq!(world.machine.deadline(), None);
}

#[test]
fn a_disconnect_push_is_as_good_as_a_close() {
    let mut world = World::connected(config());
    world.hear(r#"{"push":{"disconnect":{"code":3001,"reason":"shutdown"}}}"#);
    world.expect(&["connecting 3001", "close"]);
    world.hear(r#"{"push":{"message":{"data":1}}}"#);
    world.expect(&[]);
}

/// A connect command that is refused with this error leaves the client like that.
#[track_caller]
fn check_refused(config: Config, error: &str, expected: &[&str]) {
    let mut world = World::new(Config { token: "t".to_owned(), ..config });
    world.open();
    world.skip();
    world.hear(format!(r#"{{"id":1,"error":{error}}}"#));
    world.expect(expected);
}

#[test]
fn a_refusal_is_final_unless_it_is_temporary() {
    check_refused(config(), r#"{"code":103,"message":"no"}"#, &["close", "disconnected 103"]);
    let temporary = r#"{"code":100,"message":"oh","temporary":true}"#;
    check_refused(config(), temporary, &["trouble: connecting failed: oh (error 100)", "close"]);
    let expired = r#"{"code":109,"message":"token expired"}"#;
    check_refused(config(), expired, &["close", "disconnected 109"]);
    let trouble = "trouble: connecting failed: token expired (error 109)";
    check_refused(with_source(), expired, &[trouble, "close"]);
}

#[test]
fn a_token_is_fetched_first_and_after_it_expired() {
    let mut world = World::new(with_source());
    world.expect(&["connecting 0", "token?"]);
    world.token(Ok("t1"));
    world.expect(&["open"]);
    world.open();
    world.expect(&[r#"send {"id":1,"connect":{"token":"t1"}}"#]);
    world.hear(r#"{"id":1,"error":{"code":109,"message":"token expired"}}"#);
    world.skip();
    world.wait();
    world.expect(&["token?"]);
    world.token(Ok("t2"));
    world.open();
    world.expect(&["open", r#"send {"id":2,"connect":{"token":"t2"}}"#]);
}

#[test]
fn no_token_now_is_tried_again_and_none_ever_is_final() {
    let mut world = World::new(with_source());
    world.skip();
    world.token(Err(TokenError::unavailable("busy")));
    world.expect(&["trouble: getting a token failed: busy"]);
    world.wait();
    world.expect(&["token?"]);
    world.token(Err(TokenError::Unauthorized));
    world.expect(&["close", "disconnected 1"]);

    let mut world = World::new(with_source());
    world.skip();
    world.token(Ok(""));
    world.expect(&["close", "disconnected 1"]);
}

#[test]
fn calls_wait_for_a_connection_and_then_go_in_order() {
    let mut world = World::new(config());
    let mut answers: Vec<_> = (0..3).map(|_| world.call()).collect();
    drop(answers.remove(1));
    world.open();
    world.skip();
    world.hear(r#"{"id":1,"connect":{"client":"c"}}"#);
    let rpc = r#""rpc":{"data":1,"method":"m"}}"#;
    world.expect(&[
        "connected c",
        &format!(r#"send {{"id":2,{rpc}"#),
        // One was given up before it was sent.
        &format!(r#"send {{"id":3,{rpc}"#),
    ]);
    world.hear("{\"id\":3,\"error\":{\"code\":103,\"message\":\"no\"}}\n{\"id\":2,\"rpc\":{\"data\":5}}");
    let answer = answers[0].try_recv().unwrap().unwrap();
    assert_eq!(answer.rpc.unwrap().data, "5");
    let refused = answers[1].try_recv().unwrap().unwrap_err();
    assert_eq!(refused, CallError::Refused { code: 103, message: "no".to_owned(), temporary: false });
}

#[test]
fn each_call_has_its_end() {
    let mut world = World::connected(config());
    let mut late = world.call();
    world.pass(Duration::from_secs(5));
    assert_eq!(late.try_recv().unwrap().unwrap_err(), CallError::Timeout);

    let mut lost = world.call();
    world.machine.lost(Lost::Failed("reset".to_owned()), world.now);
    assert_eq!(lost.try_recv().unwrap().unwrap_err(), CallError::ConnectionLost);

    let mut waiting = world.call();
    world.machine.disconnect();
    let why = Why::new(0, "disconnect called");
    assert_eq!(waiting.try_recv().unwrap().unwrap_err(), CallError::Disconnected(why.clone()));
    assert_eq!(world.call().try_recv().unwrap().unwrap_err(), CallError::Disconnected(why));

    let mut world = World::new(config());
    let mut waiting = world.call();
    world.pass(Duration::from_secs(5));
    assert_eq!(waiting.try_recv().unwrap().unwrap_err(), CallError::Timeout, "no connection");
}

#[test]
fn disconnecting_ends_everything_once() {
    let mut world = World::subscribed(config(), SubOptions::default());
    world.machine.disconnect();
    world.expect(&["close", "sub 1: unsubscribed 0", "disconnected 0"]);
    world.machine.disconnect();
    world.close(3001);
    world.subscribe(SUB, SubOptions::default());
    world.expect(&["sub 1: unsubscribed 0"]);
}
