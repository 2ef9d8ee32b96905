use super::*;
use crate::token::Kind;

/// Explains a token with these claims to rules of these flags: what it is for, and the answer.
#[track_caller]
fn check(flags: &str, claims: Value, kind: Kind, expected: &str) {
    let report = wait(rules(flags).explain(&token(claims.clone())));
    let said = report.answer.unwrap_or_else(|why| why);
    assert_eq!((report.kind, &*said), (kind, expected), "{claims}");
    assert_eq!(report.key.as_deref(), Ok("client.token.hmac_secret_key"));
    assert_eq!(report.claims, Some(claims));
}

#[test]
fn what_a_server_answers_is_told_before_it_is_asked() {
    let (connection, subscription) = (Kind::Connection, Kind::Subscription);
    check("", json!({"sub": "ann"}), connection, "connected as user \"ann\", for ever");
    check(
        "",
        json!({"sub": "ann", "channels": ["a"]}),
        connection,
        "connected as user \"ann\", for ever; subscribed by the server to a",
    );
    check("", json!({}), connection, "connected as the anonymous user, for ever");
    check(
        "client.disallow_anonymous_connection_tokens",
        json!({}),
        connection,
        "disconnect 3507 permission denied",
    );
    check("", json!({"sub": "ann", "channels": ["nowhere:a"]}), connection, "error 102 unknown channel");
    check(
        "",
        json!({"sub": "ann", "exp": 1}),
        connection,
        "error 109 token expired (token expired, or not valid yet)",
    );
    check("", json!({"sub": "ann", "expire_at": 1}), connection, "error 110 expired");
    check(
        "client.token.issuer=me",
        json!({"sub": "ann"}),
        connection,
        "disconnect 3500 invalid token (another issuer)",
    );
    check(
        "",
        json!({"sub": 1}),
        connection,
        "disconnect 3500 invalid token (expected claims as a JSON object, of the known types)",
    );
    check(
        "",
        json!({"sub": "ann", "channel": "a"}),
        subscription,
        "every connection of user \"ann\" is subscribed to a, for ever",
    );
    check(
        "",
        json!({"sub": "ann", "channel": "a", "client": "c9"}),
        subscription,
        "the connection c9 of user \"ann\" is subscribed to a, for ever",
    );
    check(
        "",
        json!({"sub": "ann", "channel": "a", "exp": 1}),
        subscription,
        "error 109 token expired (token expired, or not valid yet)",
    );
    check("", json!({"sub": "ann", "channel": "nowhere:a"}), subscription, "error 102 unknown channel");
    check(
        "",
        json!({"sub": "ann", "channel": "a", "aud": 1}),
        subscription,
        "error 103 permission denied (expected claims as a JSON object, of the known types)",
    );
}

#[test]
fn what_is_no_token_is_explained_too() {
    for text in ["", "a", "a.b.c", "..", "\u{1b}[31m"] {
        let report = wait(rules("").explain(text));
        assert_eq!(
            (report.kind, &report.header, &report.claims),
            (Kind::Connection, &None, &None),
            "{text:?}"
        );
        assert!(report.key.is_err());
        assert!(report.answer.expect_err("refused").starts_with("disconnect 350"), "{text:?}");
    }
}

#[test]
fn a_report_is_text() {
    let now = at(0);
    let mut report =
        wait(rules("").explain(&token(json!({"sub": "ann", "exp": now + 4000_i64, "iat": now}))));
    report.now = now;
    let said = report.to_string();
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(said[0], "for           connecting");
    assert_eq!(said[1], "header        {\"alg\":\"HS256\",\"typ\":\"JWT\"}");
    assert_eq!(said[2], "claims        {");
    assert!(said[6].starts_with("              }"), "{said:?}");
    assert!(said[7].starts_with("issued        2") && said[7].ends_with("Z, now"), "{said:?}");
    assert!(said[8].ends_with("Z, in 1 hour 6 minutes"), "{said:?}");
    assert_eq!(said[9], "signature     by client.token.hmac_secret_key");
    assert!(said[10].starts_with("answer        accepted: connected as user \"ann\", until 2"), "{said:?}");
}
