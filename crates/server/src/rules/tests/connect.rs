use super::*;

/// Connects with a token, or without, and compares `user|expires in|channels` or the code.
#[track_caller]
fn check(flags: &str, claims: Option<Value>, expected: &str) {
    check_raw(flags, &claims.map(token).unwrap_or_default(), &[], expected);
}

#[track_caller]
fn check_raw(flags: &str, token: &str, headers: &[(&str, &str)], expected: &str) {
    let emulated = [("x-user".to_owned(), "eve".to_owned())].into();
    let request = ConnectRequest { token: token.to_owned(), headers: emulated, ..Default::default() };
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let outcome = wait(rules(flags).connect(&request, &Peer { headers, ..Default::default() }));
    let said = match &outcome {
        Ok(identity) => {
            let life = if identity.expire_at == 0 { 0 } else { identity.expire_at - unix_now() };
            let channels: Vec<_> = identity.channels.iter().map(|call| call.channel.as_str()).collect();
            format!("{}|{}|{}", identity.user, (life + 5) / 10 * 10, channels.join(" "))
        }
        Err(_) => code(&outcome),
    };
    assert_eq!(said, expected, "{flags}");
}

#[test]
fn without_a_token() {
    check("", None, "3501");
    check("client.insecure", None, "|0|");
    check("client.allow_anonymous_connect_without_token", None, "|0|");
    check_raw("client.user_id_http_header=X-User", "", &[("x-user", "ann")], "ann|0|");
    check_raw("client.user_id_http_header=X-User", "", &[("x-user", "")], "3501");
    check_raw("client.user_id_http_header=X-User", "", &[], "3501");
    check_raw("", "", &[("x-user", "ann")], "3501");
    check_raw("client.insecure client.user_id_http_header=X-User", "", &[("x-user", "ann")], "ann|0|");
}

#[test]
fn with_a_token() {
    check("", Some(json!({"sub": "ann"})), "ann|0|");
    check("", Some(json!({"sub": "ann", "exp": at(100)})), "ann|100|");
    check("", Some(json!({"sub": "ann", "exp": at(100), "expire_at": 0})), "ann|0|");
    check("client.insecure", Some(json!({"sub": "ann", "exp": at(100)})), "ann|0|");
    check("", Some(json!({"sub": "ann", "exp": at(-1)})), "109");
    check("", Some(json!({"sub": "ann", "nbf": at(100)})), "109");
    check("", Some(json!({"sub": "ann", "expire_at": at(-1)})), "110");
    check("", Some(json!({"sub": "ann", "exp": at(100).to_string()})), "3500");
    check("", Some(json!({"sub": "ann", "channel": "news"})), "3500");
    check("", Some(json!({})), "|0|");
    check("client.disallow_anonymous_connection_tokens", Some(json!({})), "3507");
    check("client.disallow_anonymous_connection_tokens", Some(json!({"sub": "ann"})), "ann|0|");
    for token in ["x", "a.b.c", &signed("another", &json!({"sub": "ann"}))] {
        check_raw("", token, &[], "3500");
        // A bad token is not as good as none.
        check_raw("client.insecure client.user_id_http_header=x-user", token, &[("x-user", "ann")], "3500");
    }
}

#[test]
fn channels_of_the_server() {
    check("", Some(json!({"sub": "ann", "channels": ["b", "a", "b", "chat:x"]})), "ann|0|b a chat:x");
    check("", Some(json!({"sub": "ann", "channels": ["a"], "subs": {"b": {}}})), "ann|0|b");
    check("", Some(json!({"sub": "ann", "channels": ["none:x"]})), "102");
    check("", Some(json!({"sub": "ann", "subs": {"none:x": {}}})), "102");
    check("", Some(json!({"sub": "ann", "channels": ["", "a"]})), "ann|0|a");
    let personal = "client.subscribe_to_user_personal_channel";
    let enabled = format!("{personal}.enabled");
    check(&enabled, Some(json!({"sub": "ann"})), "ann|0|#ann");
    check(&enabled, Some(json!({"sub": "ann", "channels": ["#ann", "x"]})), "ann|0|#ann x");
    check(&enabled, Some(json!({})), "|0|");
    let named = format!("{enabled} {personal}.personal_channel_namespace=chat");
    check(&named, Some(json!({"sub": "ann"})), "ann|0|chat:#ann");
}

#[test]
fn a_client_may_want_to_be_subscribed() {
    #[track_caller]
    fn check(flags: &str, user: &str, wanted: &str, expected: &str) {
        let subs = wanted.split_whitespace().map(|name| (name.into(), subscribe_to(name))).collect();
        let token =
            if user.is_empty() { String::new() } else { token(json!({"sub": user, "channels": ["own"]})) };
        let flags = format!("client.allow_anonymous_connect_without_token {flags}");
        let request = ConnectRequest { token, subs, ..Default::default() };
        let outcome = wait(rules(&flags).connect(&request, &Peer::default()));
        let said = match &outcome {
            Ok(identity) => {
                let names = identity.channels.iter();
                names
                    .map(|call| format!("{}{}", call.channel, if call.by_token { "!" } else { "" }))
                    .collect::<Vec<_>>()
                    .join(" ")
            }
            Err(_) => code(&outcome),
        };
        assert_eq!(said, expected, "{flags} {user} {wanted}");
    }
    check("", "ann", "a", "own!");
    check("+allow_subscribe_for_client", "ann", "a b own", "own! a b");
    check("+allow_subscribe_for_client", "", "a b", "");
    check("+allow_subscribe_for_client +allow_subscribe_for_anonymous", "", "a b", "a b");
    // What takes a token of its own, or is another user's, is left out.
    check("+allow_subscribe_for_client", "ann", "$a chat:x b", "own! b");
    let limited = "+allow_subscribe_for_client +allow_user_limited_channels";
    check(limited, "ann", "x#bob x#ann,bob", "own! x#ann,bob");
    check("+allow_user_limited_channels", "ann", "x#ann y", "own! x#ann");
    check("+allow_subscribe_for_client", "ann", "ä b", "own! b");
    check("+allow_subscribe_for_client", "ann", "none:x b", "3501");
    let personal = "client.subscribe_to_user_personal_channel.enabled +allow_subscribe_for_client";
    check(personal, "ann", "#ann a", "own! #ann a");
    check("client.insecure", "ann", "a $a", "own! a");
}

#[test]
fn a_refresh_token_says_which_channels_it_names() {
    let named = |claims: Value| {
        let refreshed = wait(rules("").refresh(&client("ann"), &token(claims))).expect("a good token");
        refreshed
            .channels
            .expect("a token names some, or none")
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(named(json!({"sub": "ann", "channels": ["b", "a"]})), ["b", "a"]);
    assert_eq!(named(json!({"sub": "ann", "subs": {"c": {}}})), ["c"]);
    assert!(named(json!({"sub": "ann"})).is_empty());
}

#[test]
fn refreshes() {
    #[track_caller]
    fn check(token: &str, expected: &str) {
        let outcome = wait(rules("").refresh(&client("ann"), token));
        let said = match &outcome {
            Ok(refreshed) if refreshed.expired => "expired".to_owned(),
            Ok(refreshed) => (refreshed.expire_at > unix_now()).to_string(),
            Err(_) => code(&outcome),
        };
        assert_eq!(said, expected);
    }
    check("", "3501");
    check(&token(json!({"sub": "ann", "exp": at(100)})), "true");
    check(&token(json!({"sub": "ann", "exp": at(-1)})), "expired");
    check(&token(json!({"sub": "ann", "expire_at": at(-1)})), "110");
    check(&token(json!({"sub": "bob", "exp": at(100)})), "3500");
    check(&token(json!({"sub": "ann", "channel": "x"})), "3500");
    check(&signed("another", &json!({"sub": "ann"})), "3500");
    check("x", "3500");
}
