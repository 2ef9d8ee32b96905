use std::time::Duration;

use super::world::{World, config};
use crate::TokenError;
use crate::machine::Config;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn pings_are_answered_if_the_server_wants_it() {
    let mut world = World::connected(config());
    world.hear("{}");
    world.expect(&["pong"]);

    let mut world = World::new(config());
    world.open();
    world.hear(r#"{"id":1,"connect":{"client":"c","ping":25}}"#);
    world.skip();
    world.hear("{}");
    world.expect(&[]);
}

#[test]
fn a_server_that_says_nothing_for_too_long_is_dead() {
    let mut world = World::connected(config());
    world.pass(34 * SECOND);
    world.hear("{}");
    world.expect(&["pong"]);
    world.pass(34 * SECOND);
    world.hear(r#"{"push":{"message":{"data":1}}}"#);
    world.expect(&["message 1"]);
    assert_eq!(world.wait(), 35 * SECOND);
    world.expect(&["connecting 2", "close"]);
}

#[test]
fn a_server_without_pings_may_be_silent() {
    let mut world = World::new(config());
    world.open();
    world.hear(r#"{"id":1,"connect":{"client":"c"}}"#);
    assert_eq!(world.machine.deadline(), None);
}

#[test]
fn who_does_not_listen_takes_nobody_for_dead() {
    let mut world = World::connected(config());
    world.machine.listen(false, world.now);
    assert_eq!(world.machine.deadline(), None);
    world.pass(100 * SECOND);
    world.machine.listen(true, world.now);
    world.expect(&[]);
    assert_eq!(world.wait(), 35 * SECOND);
}

fn with_ttl() -> World {
    let mut world = World::new(Config { token: "t1".to_owned(), token_source: true, ..config() });
    world.open();
    world.hear(r#"{"id":1,"connect":{"client":"c","expires":true,"ttl":60}}"#);
    world.skip();
    assert_eq!(world.wait(), 60 * SECOND);
    world.expect(&["token?"]);
    world
}

#[test]
fn a_token_is_refreshed_when_it_ends() {
    let mut world = with_ttl();
    world.token(Ok("t2"));
    world.expect(&[r#"send {"id":2,"refresh":{"token":"t2"}}"#]);
    world.hear(r#"{"id":2,"refresh":{"client":"c","expires":true,"ttl":30}}"#);
    assert_eq!(world.wait(), 30 * SECOND);
    world.expect(&["token?"]);
}

#[test]
fn a_refresh_that_fails_is_tried_again_in_ten_to_twenty_seconds() {
    let mut world = with_ttl();
    world.token(Err(TokenError::unavailable("busy")));
    world.expect(&["trouble: getting a token failed: busy"]);
    let pause = world.wait();
    assert!(pause >= 10 * SECOND && pause <= 20 * SECOND, "{pause:?}");
    world.expect(&["token?"]);
    world.token(Ok("t2"));
    world.skip();
    world.hear(r#"{"id":2,"error":{"code":100,"message":"oh","temporary":true}}"#);
    world.expect(&["trouble: refreshing the token failed: oh"]);
    assert!(world.wait() >= 10 * SECOND);
    world.expect(&["token?"]);
    world.token(Ok("t3"));
    world.expect(&[r#"send {"id":3,"refresh":{"token":"t3"}}"#]);
    assert_eq!(world.wait(), 5 * SECOND, "no answer");
    world.expect(&["trouble: refreshing the token failed: no answer within the time limit"]);
}

#[test]
fn a_refresh_that_is_refused_is_final() {
    let mut world = with_ttl();
    world.token(Ok("t2"));
    world.skip();
    world.hear(r#"{"id":2,"error":{"code":103,"message":"no"}}"#);
    world.expect(&["close", "disconnected 103"]);

    let mut world = with_ttl();
    world.token(Err(TokenError::Unauthorized));
    world.expect(&["close", "disconnected 1"]);
}

#[test]
fn the_server_may_change_how_long_the_connection_lives() {
    let mut world = with_ttl();
    world.token(Ok("t2"));
    world.skip();
    world.hear(r#"{"id":2,"refresh":{"client":"c"}}"#);
    assert_eq!(world.machine.deadline(), None);
    world.hear(r#"{"push":{"refresh":{"expires":true,"ttl":5}}}"#);
    assert_eq!(world.wait(), 5 * SECOND);
    world.expect(&["token?"]);
}

#[test]
fn a_token_that_came_while_the_connection_was_lost_is_used_for_the_next() {
    let mut world = with_ttl();
    world.reopen();
    world.skip();
    world.token(Ok("t2"));
    world.expect(&[]);
    world.reopen();
    assert!(world.told().contains(&r#"send {"id":3,"connect":{"token":"t2"}}"#.to_owned()));
}
