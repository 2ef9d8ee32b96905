use http::HeaderValue;

use super::*;

fn headers(name: http::HeaderName, values: &[&str]) -> HeaderMap {
    values
        .iter()
        .map(|value| (name.clone(), HeaderValue::from_bytes(value.as_bytes()).expect("a header value")))
        .fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(name, value);
            map
        })
}

#[test]
fn the_client_orders_subprotocols() {
    let known = ["centrifuge-json".to_owned(), "centrifuge-protobuf".to_owned()];
    let check = |offered: &[&str], expected: Option<&str>| {
        let headers = headers(SEC_WEBSOCKET_PROTOCOL, offered);
        assert_eq!(subprotocol(&headers, &known), expected, "{offered:?}");
    };
    check(&[], None);
    check(&[""], None);
    check(&["centrifuge-protobuf"], Some("centrifuge-protobuf"));
    check(&["centrifuge-protobuf, centrifuge-json"], Some("centrifuge-protobuf"));
    check(&["mqtt,centrifuge-json ,centrifuge-protobuf"], Some("centrifuge-json"));
    check(&["mqtt", ",, centrifuge-protobuf", "centrifuge-json"], Some("centrifuge-protobuf"));
    check(&["é", "centrifuge-json"], Some("centrifuge-json"));
    check(&["Centrifuge-JSON", "centrifuge", "centrifuge-json2"], None);
}

#[test]
fn two_origins_are_none() {
    let origins = Origins::parse(&["https://a".to_owned()]).expect("a good pattern");
    let check = |sent: &[&str], expected| {
        assert_eq!(origin_allowed(&headers(ORIGIN, sent), &origins), expected, "{sent:?}");
    };
    check(&[], true);
    check(&["https://a"], true);
    check(&["https://a", "https://a"], false);
    check(&["https://a", "https://b"], false);
    check(&["https://b"], false);
    check(&["https://é"], false);
    check(&[""], false);
}

#[test]
fn a_peer_is_what_its_request_says() {
    let mut sent = headers(ORIGIN, &["https://a"]);
    sent.append("X-Forwarded-For", "10.0.0.1".parse().expect("a value"));
    sent.append("x-forwarded-for", "10.0.0.2".parse().expect("a value"));
    let uri = "/ws?format=protobuf&x=%20".parse().expect("a path");
    let peer = peer(&uri, &sent, None, "centrifuge-json");
    assert_eq!((peer.transport, &*peer.protocol), ("websocket", "centrifuge-json"));
    assert_eq!(peer.query, "format=protobuf&x=%20");
    assert_eq!(peer.header("x-forwarded-for"), Some("10.0.0.1"));
    assert_eq!(peer.headers.len(), 3);
}
