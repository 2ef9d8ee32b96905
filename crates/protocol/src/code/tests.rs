use super::{Disconnect, ErrorCode, InvalidDisconnect, Unsubscribe, error};
use crate::message;

#[test]
fn errors_are_those_of_the_protocol() {
    let table: Vec<_> = ErrorCode::ALL.iter().map(|code| (code.code(), code.message())).collect();
    let expected = [
        (100, "internal server error"),
        (101, "unauthorized"),
        (102, "unknown channel"),
        (103, "permission denied"),
        (104, "method not found"),
        (105, "already subscribed"),
        (106, "limit exceeded"),
        (107, "bad request"),
        (108, "not available"),
        (109, "token expired"),
        (110, "expired"),
        (111, "too many requests"),
        (112, "unrecoverable position"),
        (113, "concurrent pagination"),
    ];
    assert_eq!(table, expected);
    let temporary: Vec<_> = ErrorCode::ALL.iter().filter(|&&code| error(code).temporary).collect();
    assert_eq!(
        temporary,
        [&ErrorCode::Internal, &ErrorCode::TooManyRequests, &ErrorCode::ConcurrentPagination]
    );
}

#[test]
fn an_application_has_errors_400_to_1999() {
    let custom = |code| message::Error::custom(code, "no", true);
    assert_eq!(custom(400).unwrap(), message::Error { code: 400, message: "no".into(), temporary: true });
    assert!(custom(1999).is_ok());
    assert_eq!(custom(399).unwrap_err().to_string(), "error code is 399; expected 400 to 1999");
    assert!(custom(2000).is_err());
}

#[test]
fn disconnects_are_those_of_the_protocol() {
    let table: Vec<_> = Disconnect::ALL.iter().map(|it| (it.code(), it.reason(), it.reconnects())).collect();
    let expected = [
        (3000, "connection closed", true),
        (3001, "shutdown", true),
        (3004, "internal server error", true),
        (3005, "connection expired", true),
        (3006, "subscription expired", true),
        (3008, "slow", true),
        (3009, "write error", true),
        (3010, "insufficient state", true),
        (3011, "force reconnect", true),
        (3012, "no pong", true),
        (3013, "too many requests", true),
        (3014, "state invalidated", true),
        (3500, "invalid token", false),
        (3501, "bad request", false),
        (3502, "stale", false),
        (3503, "force disconnect", false),
        (3504, "connection limit", false),
        (3505, "channel limit", false),
        (3506, "inappropriate protocol", false),
        (3507, "permission denied", false),
        (3508, "not available", false),
        (3509, "too many errors", false),
    ];
    assert_eq!(table, expected);
    for disconnect in Disconnect::ALL {
        assert_eq!(
            Disconnect::new(disconnect.code(), disconnect.reason().to_owned()).as_ref(),
            Ok(disconnect)
        );
    }
}

#[test]
fn a_client_reconnects_unless_the_code_is_terminal() {
    let check = |code, reconnects| {
        let disconnect = Disconnect::new(code, "why").unwrap();
        assert_eq!(disconnect.reconnects(), reconnects, "{code}");
        let push = message::Disconnect { code, reason: "why".into(), reconnect: reconnects };
        assert_eq!(message::Disconnect::from(&disconnect), push);
    };
    check(3499, true);
    check(3500, false);
    check(3999, false);
    check(4000, true);
    check(4499, true);
    check(4500, false);
    check(4999, false);
}

#[test]
fn a_disconnect_is_what_sdks_understand() {
    let check = |code, reason: &str, expected: Result<(), InvalidDisconnect>| {
        assert_eq!(Disconnect::new(code, reason.to_owned()).map(drop), expected, "{code} {reason:?}");
    };
    check(2999, "why", Err(InvalidDisconnect::Code(2999)));
    check(5000, "why", Err(InvalidDisconnect::Code(5000)));
    check(4000, "", Err(InvalidDisconnect::NoReason));
    check(4000, &"x".repeat(123), Ok(()));
    check(4000, &"x".repeat(124), Err(InvalidDisconnect::LongReason(124)));
    check(4000, &"ä".repeat(62), Err(InvalidDisconnect::LongReason(124)));
    check(4000, r#"{"reconnect":true}"#, Err(InvalidDisconnect::JsonReason));
    check(4000, " {oops", Err(InvalidDisconnect::JsonReason));
    check(4000, "404", Err(InvalidDisconnect::JsonReason));
    check(4000, "null", Err(InvalidDisconnect::JsonReason));
    check(4000, "404 not found", Ok(()));
}

#[test]
fn unsubscribes_are_those_of_the_protocol() {
    let table: Vec<_> =
        Unsubscribe::ALL.iter().map(|it| (it.code(), it.reason(), it.resubscribes())).collect();
    let expected = [
        (2000, "server unsubscribe", false),
        (2500, "insufficient state", true),
        (2501, "subscription expired", true),
        (2502, "state invalidated", true),
    ];
    assert_eq!(table, expected);
    assert!(Unsubscribe::new(1999, "why").is_err());
    assert!(Unsubscribe::new(3000, "why").is_err());
    let push = message::Unsubscribe { code: 2499, reason: "why".into() };
    assert_eq!(message::Unsubscribe::from(&Unsubscribe::new(2499, "why").unwrap()), push);
}
