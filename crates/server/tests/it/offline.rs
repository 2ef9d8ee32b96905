//! Commands of the binary that start no server.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn tidegate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(arguments).env_remove("RUST_LOG");
    command
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Checks a configuration: whether it is good, and what is said of it.
#[track_caller]
fn check(config: &str, expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    fs::write(&file, config).unwrap();
    let output = tidegate(&["config", "check", file.to_str().unwrap()]).output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.success(), expected.contains("good"), "{config}: {said}");
    assert!(said.contains(expected), "{config}: expected {expected}, came {said}");
}

#[test]
fn a_file_is_good_if_a_server_starts_with_it() {
    check("{}", "good, 0 warnings");
    let plain = |options: &str| format!(r#"{{"channel":{{"without_namespace":{{{options}}}}}}}"#);
    check(&plain(r#""channel_regex":"(""#), "channel.without_namespace.channel_regex");
    check(&plain(r#""history_size":5"#), "history_ttl");
    check(&plain(r#""subscribe_proxy_enabled":true,"subscribe_proxy_name":"none""#), "none");
    check(r#"{"client":{"proxy":{"connect":{"enabled":true}}}}"#, "client.proxy.connect");
    check(r#"{"client":{"allowed_origins":["http://a b"]}}"#, "client.allowed_origins");
    check(r#"{"client":{"token":{"rsa_public_key":"x"}}}"#, "rsa_public_key");
    check(
        r#"{"http_server":{"tls":{"enabled":true,"cert_pem":"/nonexistent.pem","key_pem":"/nonexistent.pem"}}}"#,
        "/nonexistent.pem",
    );
    check(r#"{"quic":{"enabled":true}}"#, "expected a certificate");
    check(r#"{"http_api":{"handler_prefix":"/connection/websocket"}}"#, "http_api.handler_prefix");
}

#[test]
fn what_is_on_and_not_there_is_an_error_and_what_is_off_is_none() {
    check(r#"{"consumers":[{"name":"k","type":"kafka","enabled":true}]}"#, "consumers");
    check(r#"{"consumers":[{"name":"k","type":"kafka","enabled":false}]}"#, "good, 1 warnings");
    check(r#"{"broker":{"enabled":true,"type":"redis"}}"#, "broker.type");
    check(r#"{"broker":{"enabled":false,"type":"redis"}}"#, "good, 1 warnings");
    check(r#"{"grpc_api":{"enabled":false,"tls":{"enabled":true}}}"#, "good, 1 warnings");
}

#[test]
fn a_variable_that_is_no_text_is_left_alone() {
    let mut command = tidegate(&["token", "--user", "ann", "--client.token.hmac_secret_key", "secret"]);
    let output = command.env("SOMETHING", OsStr::from_bytes(b"\xff")).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn nobody_has_to_read_what_is_printed() {
    for arguments in
        [&["version"][..], &["token", "--user", "ann", "--client.token.hmac_secret_key", "secret"]]
    {
        let mut child = tidegate(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    }
}

#[test]
fn a_key_that_begins_like_a_flag_follows_its_flag() {
    let pem = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----";
    let output =
        tidegate(&["token", "--user", "ann", "--client.token.ecdsa_public_key", pem]).output().unwrap();
    let said = said(&output);
    assert!(!said.contains("has no value"), "{said}");
}

#[test]
fn a_certificate_and_its_key_are_written_together() {
    let folder = tempfile::tempdir().unwrap();
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
    let make = |cert: &Path, force: &[&str]| {
        let files = ["cert", "--cert", cert.to_str().unwrap(), "--key", key.to_str().unwrap()];
        tidegate(&[&files[..], force].concat()).output().unwrap()
    };
    fs::write(&key, "mine").unwrap();
    assert!(!make(&cert, &[]).status.success(), "it is there already");
    assert!(!cert.exists());
    assert!(!make(Path::new("/nonexistent/cert.pem"), &["--force"]).status.success());
    assert_eq!(fs::read_to_string(&key).unwrap(), "mine");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let made = make(&cert, &["--force"]);
    assert!(made.status.success(), "{}", said(&made));
    assert!(fs::read_to_string(&key).unwrap().contains("PRIVATE KEY"));
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}
