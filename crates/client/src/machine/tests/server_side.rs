use super::world::{World, config};

const CONNECT: &str = r#"{"id":1,"connect":{"client":"c","subs":{"mine":{"recoverable":true,"epoch":"e","offset":4},"plain":{}}}}"#;

fn connected() -> World {
    let mut world = World::new(config());
    world.open();
    world.skip();
    world.hear(CONNECT);
    world.expect(&["connected c", "mine: subscribed at 4:e", "plain: subscribed"]);
    world
}

#[test]
fn what_the_server_subscribes_to_is_told_and_recovered() {
    let mut world = connected();
    world.hear(r#"{"push":{"channel":"mine","pub":{"data":1,"offset":5}}}"#);
    world.hear(r#"{"push":{"channel":"plain","pub":{"data":2}}}"#);
    world.expect(&["mine: 1 at 5", "plain: 2 at 0"]);
    world.reopen();
    world.expect(&[
        "connecting 1",
        "close",
        "mine: subscribing 1",
        "plain: subscribing 1",
        "open",
        r#"send {"id":2,"connect":{"subs":{"mine":{"recover":true,"epoch":"e","offset":5}}}}"#,
    ]);
    world.hear(
        r#"{"id":2,"connect":{"client":"d","subs":{"mine":{"recoverable":true,"epoch":"e","offset":5,"recovered":true,"publications":[{"data":3,"offset":6}]}}}}"#,
    );
    world.expect(&[
        "connected d",
        "plain: unsubscribed 2000",
        "mine: subscribed at 5:e, recovered",
        "mine: 3 at 6",
    ]);
}

#[test]
fn the_server_subscribes_and_unsubscribes_at_any_time() {
    let mut world = connected();
    world.hear(r#"{"push":{"channel":"later","subscribe":{"recoverable":true,"epoch":"f","offset":2}}}"#);
    world.hear(r#"{"push":{"channel":"later","join":{"info":{"client":"a"}}}}"#);
    world.hear(r#"{"push":{"channel":"later","unsubscribe":{"code":2000,"reason":"server unsubscribe"}}}"#);
    world.hear(r#"{"push":{"channel":"later","pub":{"data":1,"offset":3}}}"#);
    world.expect(&["later: subscribed at 2:f", "later: join a", "later: unsubscribed 2000"]);
}

#[test]
fn what_could_not_be_recovered_is_a_gap() {
    let mut world = connected();
    world.reopen();
    world.skip();
    world.hear(
        r#"{"id":2,"connect":{"client":"d","subs":{"mine":{"recoverable":true,"epoch":"e","offset":9,"was_recovering":true},"plain":{}}}}"#,
    );
    world.expect(&[
        "connected d",
        "mine: subscribed at 9:e",
        "mine: gap Some(5) Unrecoverable",
        "plain: subscribed",
        "plain: gap None Away",
    ]);
}

#[test]
fn all_of_it_ends_with_the_client() {
    let mut world = connected();
    world.close(3503);
    let told = world.told();
    assert!(told.contains(&"mine: unsubscribed 3503".to_owned()), "{told:?}");
    assert_eq!(told.last().map(String::as_str), Some("disconnected 3503"));
}
