use std::time::Duration;

use super::*;

const HISTORY: &str = "+history_size=10 +history_ttl=60s";

/// What `user` is told who publishes, reads the history and asks for presence, not being subscribed and being
/// so: three codes and three codes.
#[track_caller]
fn check(flags: &str, user: &str, channel: &str, expected: &str) {
    let (rules, client, channel) = (rules(flags), client(user), Channel::from(channel));
    let mut said = Vec::new();
    for subscribed in [false, true] {
        said.push(code(&wait(rules.publish(&client, &channel, &"1".into(), subscribed))));
        said.push(code(&wait(rules.history(&client, &channel, subscribed))));
        said.push(code(&wait(rules.presence(&client, &channel, subscribed))));
    }
    assert_eq!(said.join(" "), expected, "{flags} {channel}");
}

#[test]
fn publish_history_and_presence() {
    let all = &format!("{HISTORY} +presence");
    check("", "ann", "x", "103 108 108 103 108 108");
    check("client.insecure", "", "x", "ok 108 108 ok 108 108");
    check(all, "ann", "x", "103 103 103 103 103 103");
    check(&format!("{all} client.insecure"), "", "x", "ok ok ok ok ok ok");
    // Switched off comes before forbidden and allowed.
    check("+allow_history_for_client +allow_presence_for_client", "ann", "x", "103 108 108 103 108 108");
    for (what, client, subscriber) in [
        ("publish", "ok 103 103 ok 103 103", "103 103 103 ok 103 103"),
        ("history", "103 ok 103 103 ok 103", "103 103 103 103 ok 103"),
        ("presence", "103 103 ok 103 103 ok", "103 103 103 103 103 ok"),
    ] {
        let nothing = "103 103 103 103 103 103";
        let option = |whom: &str| format!("+allow_{what}_for_{whom}");
        check(&format!("{all} {}", option("client")), "ann", "x", client);
        check(&format!("{all} {}", option("subscriber")), "ann", "x", subscriber);
        check(&format!("{all} {}", option("client")), "", "x", nothing);
        check(&format!("{all} {}", option("subscriber")), "", "x", nothing);
        check(&format!("{all} {}", option("anonymous")), "", "x", nothing);
        check(&format!("{all} {}", option("anonymous")), "ann", "x", nothing);
        check(&format!("{all} {} {}", option("client"), option("anonymous")), "", "x", client);
        check(&format!("{all} {} {}", option("subscriber"), option("anonymous")), "", "x", subscriber);
        // Nothing is inherited by a namespace.
        check(&format!("{all} {}", option("client")), "ann", "chat:x", "103 108 108 103 108 108");
    }
}

/// What a client is told who publishes to `channel`, where everyone may.
#[track_caller]
fn check_name(flags: &str, channel: &str, expected: &str) {
    let rules = rules(&format!("+allow_publish_for_client chat+allow_publish_for_client=true {flags}"));
    let outcome = wait(rules.publish(&client("ann"), &channel.into(), &"1".into(), false));
    assert_eq!(code(&outcome), expected, "{flags} {channel}");
}

#[test]
fn names() {
    check_name("", "x", "ok");
    check_name("", "", "107");
    // Only whoever subscribes is held to a length.
    check_name("channel.max_length=3", &"x".repeat(256), "ok");
    check_name("", "straße", "107");
    check_name("", "chat:x", "ok");
    check_name("", "chat:x:y", "ok");
    check_name("", "chat:", "ok");
    check_name("", ":chat", "ok");
    check_name("", "chats:x", "102");
    check_name("", "Chat:x", "102");
    check_name("", "$chat:x", "ok");
    check_name("", "$chats:x", "102");
    check_name("", &format!("chats:{}", "x".repeat(255)), "102");
    check_name("channel.namespace_boundary=/", "chat/x", "ok");
    check_name("channel.namespace_boundary=/", "chats:x", "ok");
    check_name("channel.namespace_boundary=", "chats:x", "ok");
}

#[test]
fn expressions() {
    check_name("+channel_regex=^[a-z]+$", "abc", "ok");
    check_name("+channel_regex=^[a-z]+$", "abc1", "107");
    check_name("+channel_regex=^[a-z]+$", "chat:1", "ok");
    // The namespace is not part of what must match; a private prefix without one is.
    check_name("chat+channel_regex=^[a-z]+$", "chat:abc", "ok");
    check_name("chat+channel_regex=^[a-z]+$", "chat:abc1", "107");
    check_name("chat+channel_regex=^[a-z]+$", "$chat:abc", "ok");
    check_name("+channel_regex=^[a-z]+$", "$abc", "107");
    // Where there is an expression, it says which letters there may be; a digit is one of ASCII's.
    check_name("+channel_regex=^\\d+$", "٣", "107");
    check_name("+channel_regex=^[а-я]+$", "абв", "ok");
    check_name("+channel_regex=^[а-я]+$", "abc", "107");
    check_name("", "абв", "107");
}

#[test]
fn the_server_asks() {
    let rules = rules(&format!(
        "{HISTORY} +presence +delta_publish channel.history_meta_ttl=1h +window_size=5 +window_bytes=8192 +window_age=9s \
         chat+history_size=3 chat+history_ttl=1s chat+history_meta_ttl=2s client.queue_max_size=4096"
    ));
    let (plain, chat, none) = (Channel::from("x"), Channel::from("chat:x"), Channel::from("none:x"));
    let bounds = rules.history_bounds(&plain).expect("a namespace");
    assert_eq!((bounds.size, bounds.ttl), (10, Duration::from_secs(60)));
    assert_eq!(bounds.meta_ttl, Duration::from_secs(3600));
    let options = rules.publish_options(&plain).expect("a namespace");
    assert!(options.delta && options.history == bounds);
    let bounds = rules.history_bounds(&chat).expect("a namespace");
    assert_eq!(
        (bounds.size, bounds.ttl, bounds.meta_ttl),
        (3, Duration::from_secs(1), Duration::from_secs(2))
    );
    assert!(!rules.publish_options(&chat).expect("a namespace").delta);
    assert_eq!(rules.presence_enabled(&plain), Ok(true));
    assert_eq!(rules.presence_enabled(&chat), Ok(false));
    assert_eq!(rules.presence_enabled(&none), Err(ClientError::UNKNOWN_CHANNEL));
    assert_eq!(rules.history_bounds(&none), Err(ClientError::UNKNOWN_CHANNEL));
    assert_eq!(rules.publish_options(&none).err(), Some(ClientError::UNKNOWN_CHANNEL));
    let window = Window { entries: 5, bytes: 8192, age: Duration::from_secs(9), keys: 0, key_bytes: 0 };
    assert_eq!((rules.window(&plain), rules.window(&none)), (window, window));
    assert_eq!(rules.window(&chat), Window::default());
    for keyed in ["+backpressure=latest_per_key", "+allowed_backpressure=latest_per_key"] {
        let rules = super::rules(&format!("{keyed} +key_table_size=7 +key_table_bytes=99"));
        assert_eq!(rules.window(&plain), Window { keys: 7, key_bytes: 99, ..Window::default() }, "{keyed}");
    }
}
