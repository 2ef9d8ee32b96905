use axum::routing::get;

use super::*;

/// Puts things at paths, and compares what is said.
fn check(paths: &[(&'static str, &str)], expected: &str) {
    let mut table = Table::default();
    let said = paths.iter().find_map(|(key, path)| table.route(key, path, get(|| async {})).err());
    assert_eq!(said.map(|error| error.to_string()).unwrap_or_default(), expected);
}

#[test]
fn two_things_at_one_path_are_an_error_that_names_both() {
    check(&[("a", "/a"), ("b", "/b"), ("root", "")], "");
    check(&[("a", "/x"), ("b", "/x")], "b leads to the path \"/x\", where a stands; expected another");
    check(&[("a", ""), ("b", "/")], "b leads to the path \"/\", where a stands; expected another");
    check(&[("a", "/{x}")], "a leads to the path \"/{x}\"; expected one without :, *, { and }");
    check(&[("a", "/x/:y")], "a leads to the path \"/x/:y\"; expected one without :, *, { and }");

    let mut table = Table::default();
    table.merge("page", ["/".to_owned(), "/page.js".to_owned()], Router::new).expect("the first");
    let error = table.route("a", "/page.js", get(|| async {})).expect_err("taken");
    assert_eq!(error.to_string(), "a leads to the path \"/page.js\", where page stands; expected another");
}

/// The sides that open with these addresses and ports, and whose certificate each has.
fn sides(change: impl FnOnce(&mut Config)) -> Vec<(Side, Option<Section>)> {
    let mut config = Config::default();
    config.http_server.address = "127.0.0.1".to_owned();
    config.http_server.port = 0;
    change(&mut config);
    let front = |front: Front| (front.face.side, front.face.tls.map(|(section, _)| section));
    open(&config).expect("free ports").into_iter().map(front).collect()
}

#[tokio::test]
async fn an_internal_port_opens_where_one_is_asked_for() {
    use Side::{Internal, Only, Public};
    assert_eq!(sides(|_| {}), [(Only, None)]);
    assert_eq!(sides(|c| c.http_server.internal_port = Some(0)), [(Public, None), (Internal, None)]);
    assert_eq!(
        sides(|c| c.http_server.internal_address = "127.0.0.2".to_owned()),
        [(Public, None), (Internal, None)]
    );
    assert_eq!(sides(|c| c.http_server.internal_address = "127.0.0.1".to_owned()), [(Only, None)]);
}

fn certificate(tls: &mut Tls) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    tls.enabled = true;
    tls.cert_pem = made.cert.pem();
    tls.key_pem = made.signing_key.serialize_pem().into();
}

#[tokio::test]
async fn tls_stands_where_it_is_asked_for() {
    use Side::{Internal, Only, Public};
    let both = |change: fn(&mut Config)| {
        sides(move |c| {
            c.http_server.internal_port = Some(0);
            change(c);
        })
    };
    assert_eq!(sides(|c| certificate(&mut c.http_server.tls)), [(Only, Some(Section::Public))]);
    assert_eq!(
        both(|c| certificate(&mut c.http_server.tls)),
        [(Public, Some(Section::Public)), (Internal, Some(Section::Public))]
    );
    assert_eq!(
        both(|c| {
            certificate(&mut c.http_server.tls);
            c.http_server.tls_external = true;
        }),
        [(Public, Some(Section::Public)), (Internal, None)]
    );
    assert_eq!(
        both(|c| {
            certificate(&mut c.http_server.tls);
            certificate(&mut c.http_server.internal_tls);
            c.http_server.tls_external = true;
        }),
        [(Public, Some(Section::Public)), (Internal, Some(Section::Internal))]
    );
    assert_eq!(
        both(|c| certificate(&mut c.http_server.internal_tls)),
        [(Public, None), (Internal, Some(Section::Internal))]
    );
}
