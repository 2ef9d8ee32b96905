use super::*;

/// What is taken for the client's address, with the proxies of 10/8, 2001:db8:1::/48 and 192.0.2.7 trusted.
fn check(peer: &str, headers: &[&str], expected: &str) {
    let networks = ["10.0.0.0/8", "2001:db8:1::/48", "192.0.2.7/32"];
    let trusted = Trusted::new(networks.map(|network| network.parse().expect("a network")));
    let mut map = HeaderMap::new();
    for value in headers {
        map.append(FORWARDED_FOR, axum::http::HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
    }
    let peer: IpAddr = peer.parse().expect("an address");
    let client = trusted.client(SocketAddr::new(peer, 5000), &map);
    assert_eq!(client.ip().to_string(), expected, "{peer} {headers:?}");
    assert_eq!(client.port(), if client.ip() == peer { 5000 } else { 0 });
}

#[test]
fn a_trusted_proxy_is_believed() {
    check("10.0.0.1", &["203.0.113.9"], "203.0.113.9");
    check("::ffff:10.0.0.1", &["203.0.113.9"], "203.0.113.9");
    check("2001:db8:1::5", &["2001:db8:9::1"], "2001:db8:9::1");
    check("10.0.0.1", &["203.0.113.9:4711"], "203.0.113.9");
    check("10.0.0.1", &["[2001:db8:9::1]:4711"], "2001:db8:9::1");
    check("10.0.0.1", &["[2001:db8:9::1]"], "2001:db8:9::1");
    check("10.0.0.1", &["::ffff:203.0.113.9"], "203.0.113.9");
}

#[test]
fn only_what_trusted_proxies_have_added_counts() {
    // The client has written the first one itself.
    check("10.0.0.1", &["198.51.100.1, 203.0.113.9"], "203.0.113.9");
    check("10.0.0.1", &["198.51.100.1, 203.0.113.9, 192.0.2.7,10.1.1.1"], "203.0.113.9");
    // Several headers are one list.
    check("10.0.0.1", &["198.51.100.1", "203.0.113.9, 10.2.2.2", "10.1.1.1"], "203.0.113.9");
    // Garbage left of the client is not looked at.
    check("10.0.0.1", &["nonsense, 203.0.113.9"], "203.0.113.9");
    // A client within the trusted networks.
    check("10.0.0.1", &["10.9.9.9, 10.1.1.1"], "10.9.9.9");
}

#[test]
fn nobody_else_is_believed() {
    check("203.0.113.1", &["198.51.100.1"], "203.0.113.1");
    check("192.0.2.8", &["198.51.100.1"], "192.0.2.8");
    check("10.0.0.1", &[], "10.0.0.1");
}

#[test]
fn what_cannot_be_read_falls_back_to_the_peer() {
    for value in
        ["", "unknown", "203.0.113.9,", "203.0.113.999", "[2001:db8::1", "1.2.3.4:port", "_hidden", "ż"]
    {
        check("10.0.0.1", &[value], "10.0.0.1");
    }
}

#[test]
fn long_lists_are_bounded() {
    let hops = |count: usize| vec!["10.1.1.1"; count].join(",");
    check("10.0.0.1", &[&format!("203.0.113.9,{}", hops(31))], "203.0.113.9");
    check("10.0.0.1", &[&format!("203.0.113.9,{}", hops(32))], "10.0.0.1");
    check("10.0.0.1", &[&hops(3000)], "10.0.0.1");
    let many = vec!["10.1.1.1"; 1000];
    check("10.0.0.1", &many, "10.0.0.1");
    check("10.0.0.1", &[&hops(32)], "10.1.1.1");
    // Whoever stands close to the end is found, however long the list is.
    check("10.0.0.1", &[&format!("{}, 203.0.113.9, 10.1.1.1", hops(3000))], "203.0.113.9");
}
