use super::*;

const GOOD: &str = "host: a
connection: keep-alive, Upgrade
upgrade: WebSocket
sec-websocket-version: 13
sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";

fn check_request(method: &str, version: Version, lines: &str, expected: Result<(), Rejection>) {
    let mut headers = HeaderMap::new();
    for line in lines.lines() {
        let (name, value) = line.split_once(": ").expect("a header");
        let name: HeaderName = name.parse().expect("a name");
        headers.append(name, value.parse().expect("a value"));
    }
    let method = method.parse().expect("a method");
    assert_eq!(check(&method, version, &headers).map(|_| ()), expected, "{method} {version:?} {lines}");
}

#[test]
fn requests_are_judged() {
    let http11 = Version::HTTP_11;
    check_request("GET", http11, GOOD, Ok(()));
    check_request("POST", http11, GOOD, Err(Rejection::Method));
    check_request("GET", Version::HTTP_10, GOOD, Err(Rejection::HttpVersion));
    check_request("GET", Version::HTTP_2, GOOD, Err(Rejection::HttpVersion));
    let with = |from: &str, to: &str, expected| {
        check_request("GET", http11, &GOOD.replace(from, to), expected);
    };
    with("keep-alive, Upgrade", "upgrade", Ok(()));
    with("keep-alive, Upgrade", "keep-alive\nconnection: upgrade", Ok(()));
    with("keep-alive, Upgrade", "keep-alive", Err(Rejection::NotUpgrade));
    with("keep-alive, Upgrade", "upgraded", Err(Rejection::NotUpgrade));
    with("host: a\n", "", Err(Rejection::Host));
    with("host: a", "host: a\nhost: b", Err(Rejection::Host));
    with("WebSocket", "h2c", Err(Rejection::NotUpgrade));
    with("WebSocket", "h2c, websocket", Ok(()));
    with("13", "8", Err(Rejection::Version));
    with("13", "13\nsec-websocket-version: 8", Err(Rejection::Version));
    with("sec-websocket-version", "x-version", Err(Rejection::Version));
    with("sec-websocket-key", "x-key", Err(Rejection::Key));
    with("ZQ==", "ZQ==\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", Err(Rejection::Key));
    with("ZQ==", "ZR==", Err(Rejection::Key));
    with("ZQ==", "ZQ", Err(Rejection::Key));
    with("ZQ==", "ZQAA==", Err(Rejection::Key));
    with("dGhl", "dG-l", Err(Rejection::Key));
    with("dGhlIHNhbXBsZSBub25jZQ==", "", Err(Rejection::Key));
}
