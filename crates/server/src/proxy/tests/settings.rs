use super::*;

#[track_caller]
fn check(change: impl FnOnce(&mut config::Proxy), expected: &str) {
    let outcome = Proxy::new("rpc.proxy", &options("http://127.0.0.1/", change));
    assert_eq!(outcome.map(|_| ()).expect_err(expected).to_string(), expected);
}

#[test]
fn settings_that_make_no_sense_are_named() {
    check(
        |options| options.endpoint = String::new(),
        "rpc.proxy.endpoint is not set; expected a URL that starts with http:// or https://",
    );
    check(
        |options| options.endpoint = "grpc://backend:9000".to_owned(),
        "rpc.proxy.endpoint is one of gRPC, which this version does not implement; expected a URL that starts with http:// or https://",
    );
    check(
        |options| options.endpoint = "backend:9000".to_owned(),
        "rpc.proxy.endpoint is something else; expected a URL that starts with http:// or https://",
    );
    check(
        |options| options.timeout = std::time::Duration::ZERO,
        "rpc.proxy.timeout is 0s; expected more: who asks would have no answer",
    );
    check(
        |options| options.http.static_headers = [("X-A".to_owned(), "a\nsecret".into())].into(),
        "rpc.proxy.http.static_headers is a table with \"X-A\"; expected names and values of headers",
    );
    for table in [
        json!({}),
        json!({"status_code": 404}),
        json!({"status_code": "404", "to_error": {"code": 404}}),
        json!({"status_code": 404, "to_error": {"code": 404}, "to_disconnect": {"code": 4404}}),
        json!({"status_code": 404, "to_eror": {"code": 404}}),
    ] {
        check(
            |options| options.http.status_to_code_transforms = vec![table],
            "rpc.proxy.http.status_to_code_transforms[0] is another table; expected status_code, and to_error (code, message, temporary) or to_disconnect (code, reason)",
        );
    }
    check(
        |options| {
            options.http.status_to_code_transforms =
                vec![json!({"status_code": 404, "to_error": {"code": 4}})];
        },
        "rpc.proxy.http.status_to_code_transforms[0] is another table; expected an error code from 400 to 1999, or one of the protocol's own",
    );
    check(
        |options| {
            options.http.tls.enabled = true;
            options.http.tls.server_ca_pem = "/nowhere".to_owned();
        },
        "rpc.proxy.http.tls.server_ca_pem is \"/nowhere\": No such file or directory (os error 2); expected a file, PEM, or base64 of PEM",
    );
    check(
        |options| {
            options.http.tls.enabled = true;
            options.http.tls.key_pem = "-----BEGIN PRIVATE KEY-----".into();
        },
        "rpc.proxy.http.tls.cert_pem is not set; expected both cert_pem and key_pem, or none",
    );
}

#[test]
fn a_proxy_shows_no_secrets() {
    let url = "https://user:password@backend:8443/hook?key=secret";
    let proxy = Proxy::new("rpc.proxy", &options(url, |_| {})).expect("sound options");
    assert_eq!(format!("{proxy:?}"), "Proxy { url: \"https://backend:8443/hook\", .. }");
}
