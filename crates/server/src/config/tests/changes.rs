//! What is different when a configuration is read again.

use super::*;

/// Loads both lists of flags, and compares what has changed with `expected`, a line each: `restart: ` stands
/// before what takes one.
#[track_caller]
fn check(before: &[&str], after: &[&str], expected: &[&str]) {
    let changes = values(before).changes(&values(after));
    let line = |change: &Change| match change.key.is_reloadable() {
        true => change.to_string(),
        false => format!("restart: {change}"),
    };
    assert_eq!(changes.iter().map(line).collect::<Vec<_>>(), expected);
}

fn values(flags: &[&str]) -> Values {
    let pair = |flag: &&str| flag.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    let flags = flags.iter().map(|flag| pair(flag).expect("name=value")).collect();
    load(&Sources { flags, ..Sources::default() }).expect("good flags").values
}

#[test]
fn changes_are_named_with_both_values_and_what_they_take() {
    check(&[], &[], &[]);
    check(&["client.ping_interval=60s"], &["client.ping_interval=1m"], &[]);
    check(&["http_server.port=8000"], &[], &[]);
    check(
        &[],
        &["http_server.port=9000", "client.channel_limit=5", "shutdown.timeout=1m", "log.level=debug"],
        &[
            "restart: http_server.port changed from 8000 to 9000",
            "log.level changed from \"info\" to \"debug\"",
            "client.channel_limit changed from 128 to 5",
            "shutdown.timeout changed from \"30s\" to \"1m0s\"",
        ],
    );
    check(
        &["client.allowed_origins=https://a.test"],
        &["client.allowed_origins=https://a.test https://b.test"],
        &[
            "client.allowed_origins changed from [\"https://a.test\"] to [\"https://a.test\", \"https://b.test\"]",
        ],
    );
}

#[test]
fn secrets_and_lists_of_tables_are_not_shown() {
    check(
        &["http_api.key=old", "client.token.hmac_secret_key=old"],
        &["http_api.key=new", "channel.namespaces=[{\"name\":\"aa\"}]"],
        &["client.token.hmac_secret_key changed", "channel.namespaces changed", "http_api.key changed"],
    );
    assert!(!format!("{:?}", values(&["http_api.key=hidden"])).contains("hidden"));
}

#[test]
fn a_key_without_effect_does_not_change() {
    check(&[], &["graphite.host=example.com"], &[]);
}

#[test]
fn what_takes_a_restart_stays_different_until_there_was_one() {
    let (running, new) = (values(&[]), values(&["http_server.port=9000", "client.channel_limit=5"]));
    let in_force = new.clone().in_force(&running);
    let left: Vec<String> = in_force.changes(&new).iter().map(ToString::to_string).collect();
    assert_eq!(left, ["http_server.port changed from 8000 to 9000"]);
    assert!(in_force.changes(&new).iter().all(|change| !change.key.is_reloadable()));
}

#[test]
fn every_key_of_the_lists_is_in_the_table() {
    for name in super::super::changes::RESTART {
        assert!(keys::find(name).is_some(), "{name}");
    }
    for prefix in super::super::changes::RELOADED {
        assert!(keys::all().iter().any(|key| key.name.starts_with(prefix)), "{prefix}");
    }
    let reloadable = |name: &str| keys::find(name).expect(name).is_reloadable();
    for name in ["http_server.tls.cert_pem", "client.connection_limit", "channel.namespaces", "http_api.key"]
    {
        assert!(reloadable(name), "{name}");
    }
    for name in ["http_server.address", "http_server.tls.enabled", "node.name", "log.file", "pid_file"] {
        assert!(!reloadable(name), "{name}");
    }
}
