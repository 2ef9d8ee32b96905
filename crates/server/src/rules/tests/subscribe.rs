use std::sync::Arc;

use tidegate_core::call::{Overrides, SubscribeCall};
use tidegate_core::filter::{Condition, Limits, Test};
use tidegate_core::{Backpressure, Behind, Filter, SubscribeGrant, Verdict};

use super::*;

/// What `user` is told who subscribes.
#[track_caller]
fn check(flags: &str, user: &str, channel: &str, expected: &str) {
    let outcome = wait(rules(flags).subscribe(&client(user), &subscribe_to(channel)));
    assert_eq!(code(&outcome), expected, "{flags} {user} {channel}");
}

#[test]
fn without_a_token() {
    check("", "ann", "x", "103");
    check("client.insecure", "", "x", "ok");
    check("+allow_subscribe_for_client", "ann", "x", "ok");
    check("+allow_subscribe_for_client", "ann", "chat:x", "103");
    check("chat+allow_subscribe_for_client=true", "ann", "chat:x", "ok");
    check("+allow_subscribe_for_client", "", "x", "103");
    check("+allow_subscribe_for_anonymous", "", "x", "103");
    check("+allow_subscribe_for_anonymous", "ann", "x", "103");
    check("+allow_subscribe_for_client +allow_subscribe_for_anonymous", "", "x", "ok");
    check("+allow_subscribe_for_client", "ann", "none:x", "102");
    check("client.insecure", "ann", "none:x", "102");
    check("+allow_subscribe_for_client", "ann", &"x".repeat(256), "107");
    check("+allow_subscribe_for_client", "ann", "ü", "107");
    // A private channel needs a token, whatever is allowed otherwise.
    check("+allow_subscribe_for_client", "ann", "$x", "103");
    check("client.insecure", "ann", "$x", "103");
    check("+allow_subscribe_for_client channel.private_prefix=!", "ann", "$x", "ok");
    check("+allow_subscribe_for_client channel.private_prefix=!", "ann", "!x", "103");
    check("+allow_subscribe_for_client channel.private_prefix=", "ann", "$x", "ok");
}

#[test]
fn channels_of_users() {
    let limited = "+allow_user_limited_channels";
    check("", "ann", "x#ann", "103");
    check("+allow_subscribe_for_client", "bob", "x#ann", "ok");
    check(limited, "ann", "x#ann", "ok");
    check(limited, "ann", "x", "103");
    check(limited, "ann", "#ann", "ok");
    check(limited, "ann", "#ann,bob", "ok");
    check(limited, "bob", "#ann,bob", "ok");
    check(limited, "an", "#ann,bob", "103");
    check(limited, "ann,bob", "#ann,bob", "103");
    check(limited, "eve", "#eve#ann", "103");
    check(limited, "ann", "#eve#ann", "ok");
    check(limited, "ann", "$x#ann", "103");
    check(limited, "ann", "chat:x#ann", "103");
    check("chat+allow_user_limited_channels=true", "ann", "chat:x#ann", "ok");
    check("client.insecure +allow_user_limited_channels", "bob", "x#ann", "ok");
    // Permissions for all are none for such a channel, and no list has the anonymous user.
    check(&format!("{limited} +allow_subscribe_for_client"), "bob", "x#ann", "103");
    check(&format!("{limited} +allow_subscribe_for_client +allow_subscribe_for_anonymous"), "", "x#", "103");
    check(&format!("{limited} channel.user_separator=;"), "bob", "#ann;bob", "ok");
    check(&format!("{limited} channel.user_separator="), "bob", "#ann,bob", "103");
    check(&format!("{limited} channel.user_boundary=@"), "bob", "x@bob", "ok");
}

/// What `ann` on connection `c1` is told who subscribes to `channel` with these claims.
#[track_caller]
fn check_token(flags: &str, channel: &str, claims: Value, expected: &str) {
    check_raw(flags, channel, token(claims), expected);
}

#[track_caller]
fn check_raw(flags: &str, channel: &str, token: String, expected: &str) {
    let request = SubscribeRequest { token, ..subscribe_to(channel) };
    assert_eq!(code(&wait(rules(flags).subscribe(&client("ann"), &request))), expected, "{flags} {channel}");
}

#[test]
fn with_a_token() {
    for channel in ["x", "$x", "chat:x", "$chat:x", "x#bob"] {
        check_token("", channel, json!({"sub": "ann", "channel": channel}), "ok");
    }
    let x = |claims: Value, expected: &str| check_token("", "$x", claims, expected);
    x(json!({"sub": "ann", "channel": "$x", "client": "c1"}), "ok");
    x(json!({"sub": "ann", "channel": "$x", "client": "c2"}), "3500");
    x(json!({"sub": "ann", "channel": "$y"}), "3500");
    x(json!({"sub": "ann", "channel": "x"}), "3500");
    x(json!({"sub": "bob", "channel": "$x"}), "3500");
    x(json!({"channel": "$x"}), "3500");
    x(json!({"sub": "ann"}), "103");
    x(json!({"sub": "ann", "channel": "$x", "exp": at(100)}), "ok");
    x(json!({"sub": "ann", "channel": "$x", "exp": at(-1)}), "109");
    x(json!({"sub": "ann", "channel": "$x", "nbf": at(100)}), "109");
    x(json!({"sub": "ann", "channel": "$x", "expire_at": at(-1)}), "110");
    x(json!({"sub": "ann", "channel": "$x", "exp": at(100).to_string()}), "103");
    check_token("", "none:x", json!({"sub": "ann", "channel": "none:x"}), "102");
    let claims = json!({"sub": "ann", "channel": "x"});
    for flags in ["", "client.insecure", "+allow_subscribe_for_client"] {
        // A bad token is not as good as none.
        check_raw(flags, "x", signed("another", &claims), "103");
        check_raw(flags, "x", "x".to_owned(), "103");
    }
}

#[test]
fn tokens_with_keys_of_their_own() {
    let own = "client.subscription_token.enabled client.subscription_token.hmac_secret_key=own";
    let claims = json!({"sub": "ann", "channel": "x"});
    check_raw(own, "x", signed("own", &claims), "ok");
    check_raw(own, "x", signed(SECRET, &claims), "103");
    check_raw("client.subscription_token.hmac_secret_key=own", "x", signed(SECRET, &claims), "ok");
    check_raw("client.subscription_token.hmac_secret_key=own", "x", signed("own", &claims), "103");
    let outcome = wait(rules(own).sub_refresh(&client("ann"), &"x".into(), &signed("own", &claims)));
    assert_eq!(code(&outcome), "ok");
}

/// What is granted, a word for each: of the channel and what `wishes` ask for, a word for each.
#[track_caller]
fn check_grant(flags: &str, wishes: &str, claims: Option<Value>, expected: &str) {
    let wishes: Vec<&str> = wishes.split_whitespace().collect();
    let request = SubscribeRequest {
        token: claims.map(token).unwrap_or_default(),
        positioned: wishes.contains(&"positioned"),
        recoverable: wishes.contains(&"recoverable"),
        join_leave: wishes.contains(&"join_leave"),
        delta: wishes.contains(&"delta"),
        ..subscribe_to("x")
    };
    let rules = rules(&format!("+allow_subscribe_for_client {flags}"));
    let granted = wait(rules.subscribe(&client("ann"), &request)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(words(&granted), expected, "{flags} {wishes:?}");
}

fn words(grant: &SubscribeGrant) -> String {
    let words = [
        (grant.positioned, "positioned"),
        (grant.recoverable, "recoverable"),
        (grant.cache, "cache"),
        (grant.announce, "announce"),
        (grant.join_leave, "join_leave"),
        (grant.presence, "presence"),
        (grant.delta, "delta"),
        (grant.filter, "filter"),
        (grant.expire_at > 0, "expires"),
        (grant.client_refresh, "refresh"),
    ];
    words.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect::<Vec<_>>().join(" ")
}

const HISTORY: &str = "+history_size=10 +history_ttl=60s";
const ALL: &str = "positioned recoverable join_leave delta";

#[test]
fn grants() {
    check_grant("", ALL, None, "");
    check_grant("+presence +join_leave", "", None, "announce presence");
    check_grant("+join_leave +force_push_join_leave", "", None, "announce join_leave");
    // Who may not see who is there is not told who comes and goes, either.
    check_grant("+join_leave", "join_leave", None, "announce");
    check_grant("+join_leave +allow_presence_for_subscriber", "join_leave", None, "announce join_leave");
    check_grant("+allow_presence_for_subscriber", "join_leave", None, "");
    check_grant("+allowed_delta_types=fossil", ALL, None, "delta");
    check_grant("+allowed_delta_types=fossil", "", None, "");
    check_grant("+allow_tags_filter", "", None, "filter");
    check_grant(HISTORY, ALL, None, "");
    check_grant(&format!("{HISTORY} +force_positioning"), "", None, "positioned");
    check_grant(&format!("{HISTORY} +force_recovery"), "", None, "recoverable");
    check_grant(&format!("{HISTORY} +allow_positioning"), ALL, None, "positioned");
    check_grant(&format!("{HISTORY} +allow_positioning"), "recoverable", None, "");
    check_grant(&format!("{HISTORY} +allow_recovery"), ALL, None, "recoverable");
    check_grant(&format!("{HISTORY} +allow_history_for_subscriber"), ALL, None, "positioned recoverable");
    check_grant(&format!("{HISTORY} client.insecure"), ALL, None, "positioned recoverable");
    check_grant("+allow_positioning +allow_recovery", ALL, None, "");
    check_grant(
        &format!("{HISTORY} +force_recovery +force_recovery_mode=cache"),
        "",
        None,
        "recoverable cache",
    );
}

#[test]
fn grants_of_tokens() {
    let with = |more: Value| {
        let mut claims = json!({"sub": "ann", "channel": "x"});
        claims.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        Some(claims)
    };
    check_grant("", "", with(json!({})), "refresh");
    check_grant("", "", with(json!({"exp": at(100)})), "expires refresh");
    check_grant("", "", with(json!({"exp": at(100), "expire_at": 0})), "refresh");
    let overrides = |value: bool| {
        let value = json!({ "value": value });
        let names =
            ["presence", "join_leave", "force_recovery", "force_positioning", "force_push_join_leave"];
        with(
            json!({"override": names.iter().map(|name| ((*name).to_owned(), value.clone())).collect::<serde_json::Map<_, _>>()}),
        )
    };
    check_grant(HISTORY, "", overrides(true), "positioned recoverable announce join_leave presence refresh");
    check_grant("", "", overrides(true), "announce join_leave presence refresh");
    let all =
        format!("{HISTORY} +presence +join_leave +force_push_join_leave +force_recovery +force_positioning");
    check_grant(&all, "", overrides(false), "refresh");
    check_grant(&format!("{all} +allow_recovery"), "recoverable", overrides(false), "recoverable refresh");

    let claims = json!({"sub": "ann", "channel": "x", "info": {"a": 1}, "b64data": "AAE="});
    let request = SubscribeRequest { token: token(claims), ..subscribe_to("x") };
    let grant = wait(rules("").subscribe(&client("ann"), &request)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((&grant.info[..], &grant.data[..]), (&b"{\"a\":1}"[..], &[0, 1][..]));
}

#[test]
fn the_server_subscribes() {
    #[track_caller]
    fn check(flags: &str, channel: &str, expected: &str) {
        check_with(flags, channel, Overrides::default(), expected);
    }
    #[track_caller]
    fn check_with(flags: &str, channel: &str, overrides: Overrides, expected: &str) {
        let call = SubscribeCall {
            channel: channel.into(),
            info: Default::default(),
            data: Default::default(),
            expire_at: 0,
            recover_since: None,
            overrides,
            by_token: false,
        };
        let outcome = wait(rules(flags).subscribe_server_side(&client(""), &call));
        assert_eq!(outcome.as_ref().map_or_else(|_| code(&outcome), words), expected, "{flags} {channel}");
    }
    check("", "x", "");
    check("", "$x#bob", "");
    check("", "none:x", "102");
    check("+presence +join_leave +force_push_join_leave", "x", "announce join_leave presence");
    check(&format!("{HISTORY} +force_recovery +allow_positioning"), "x", "recoverable");
    let other =
        Overrides { presence: Some(false), force_push_join_leave: Some(true), ..Overrides::default() };
    check_with("+presence +join_leave", "x", other, "announce join_leave");
    let other = Overrides { force_recovery: Some(true), join_leave: Some(true), ..Overrides::default() };
    check_with(HISTORY, "x", other, "recoverable announce");
    check_with("", "x", other, "announce");
}

#[test]
fn slow_subscribers() {
    #[track_caller]
    fn check(backpressure: &str, positioned: bool, expected: Verdict) {
        let force = if positioned { "+force_positioning" } else { "" };
        let flags = format!("client.insecure client.queue_max_size=5000 {HISTORY} {force} {backpressure}");
        let rules = rules(&flags);
        let subscribe = || wait(rules.subscribe(&client(""), &subscribe_to("x")));
        let (one, two) = (subscribe(), subscribe());
        let [one, two] = [one, two].map(|grant| grant.unwrap_or_else(|error| panic!("{error}")).policy);
        assert!(Arc::ptr_eq(&one, &two), "there is one policy for all subscriptions");
        let judge = |bytes| Backpressure::judge(&*one, &Behind { bytes, ..Behind::default() });
        assert_eq!((judge(5000), judge(5001)), (Verdict::Read, expected), "{flags}");
    }
    let slow = || Verdict::Disconnect(tidegate_core::Disconnect::new(3008, "slow"));
    check("", false, slow());
    check("", true, Verdict::End);
    for positioned in [false, true] {
        check("+backpressure=skip_oldest", positioned, Verdict::Read);
        check("+backpressure=skip_latest", positioned, Verdict::SkipToLatest);
        check("+backpressure=latest_per_key", positioned, Verdict::LatestPerKey);
        check("+backpressure=end", positioned, Verdict::End);
        check("+backpressure=disconnect", positioned, slow());
    }
}

#[test]
fn subscribers_choose_among_what_is_allowed() {
    #[track_caller]
    fn check(flags: &str, data: &'static str, expected: &str) {
        let rules = rules(&format!("client.insecure {flags}"));
        let request = SubscribeRequest { data: data.into(), ..subscribe_to("x") };
        let said = match wait(rules.subscribe(&client("ann"), &request)) {
            Ok(grant) if grant.datagrams => format!("{} and datagrams", grant.policy.name()),
            Ok(grant) if grant.notices => format!("{} and notices", grant.policy.name()),
            Ok(grant) => grant.policy.name().to_owned(),
            Err(refusal) => refusal.to_string(),
        };
        assert_eq!(said, expected, "{flags} {data}");
    }
    let latest = r#"{"tidegate":{"backpressure":"skip_latest"}}"#;
    check("+allowed_backpressure=skip_latest", latest, "skip_latest");
    check("+allowed_backpressure=skip_latest", "", "disconnect");
    check("+allowed_backpressure=skip_latest +backpressure=skip_oldest", "{}", "skip_oldest");
    check("", latest, "107 bad request: backpressure is \"skip_latest\"; allowed here: none");
    check(
        "+allowed_backpressure=end",
        latest,
        "107 bad request: backpressure is \"skip_latest\"; allowed here: end",
    );
    check(
        "",
        r#"{"tidegate":{"backpressure":""}}"#,
        "107 bad request: backpressure is \"\"; allowed here: none",
    );
    check("", r#"{"tidegate":{"notices":true},"mine":[1]}"#, "disconnect and notices");
    check("", r#"{"tidegate":{"later":5}}"#, "disconnect");
    let datagrams = r#"{"tidegate":{"datagrams":true}}"#;
    let none = "107 bad request: tidegate.datagrams in data: the channel has history, or its namespace has no \
                allow_datagrams";
    check("+allow_datagrams", datagrams, "disconnect and datagrams");
    check("+allow_datagrams", "", "disconnect");
    check("", datagrams, none);
    check("+allow_datagrams +history_size=5 +history_ttl=60s", datagrams, none);
    // What is no such object is the application's own.
    for own in ["5", "[1]", "\"tidegate\"", "tidegate", r#"{"tidegate":null}"#, r#"{"a":{"tidegate":1}}"#] {
        check("", own, "disconnect");
    }
    check(
        "",
        r#"{"tidegate":{"backpressure":5}}"#,
        "107 bad request: tidegate in data: invalid type: integer `5`, expected a string at line 1 column 17",
    );
}

#[test]
fn sub_refreshes() {
    #[track_caller]
    fn check(token: &str, expected: &str) {
        let outcome = wait(rules("").sub_refresh(&client("ann"), &"x".into(), token));
        let said = match &outcome {
            Ok(refreshed) if refreshed.expired => {
                assert!(refreshed.expire_at > 0, "an expired token prolongs nothing");
                "expired".to_owned()
            }
            Ok(refreshed) => (refreshed.expire_at > unix_now()).to_string(),
            Err(_) => code(&outcome),
        };
        assert_eq!(said, expected);
    }
    check("", "107");
    check("x", "3500");
    check(&token(json!({"sub": "ann", "channel": "x", "exp": at(100)})), "true");
    check(&token(json!({"sub": "ann", "channel": "x", "exp": at(-1)})), "expired");
    check(&token(json!({"sub": "ann", "channel": "x", "expire_at": at(-1)})), "110");
    check(&token(json!({"sub": "ann", "channel": "y"})), "3500");
    check(&token(json!({"sub": "bob", "channel": "x"})), "3500");
    check(&token(json!({"sub": "ann", "channel": "x", "client": "c2"})), "3500");
    check(&token(json!({"sub": "ann"})), "3500");
    check(&signed("another", &json!({"sub": "ann", "channel": "x"})), "3500");
}

#[test]
fn filters_need_permission() {
    let tag = Condition::Tag { key: "a".to_owned(), test: Test::Exists };
    let filter = Filter::new(tag, &Limits::default()).expect("a filter");
    for (flags, expected) in [
        ("+allow_subscribe_for_client +allow_tags_filter", "ok"),
        ("+allow_subscribe_for_client", "107"),
        ("", "103"),
    ] {
        let request = SubscribeRequest { filter: Some(filter.clone()), ..subscribe_to("x") };
        assert_eq!(code(&wait(rules(flags).subscribe(&client("ann"), &request))), expected, "{flags}");
    }
}
