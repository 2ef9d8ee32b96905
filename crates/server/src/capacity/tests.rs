use super::*;

fn at(n: usize) -> Bound {
    NonZero::new(n).map_or(Bound::Unlimited, Bound::At)
}

/// What connections that are no clients and clients get of so many descriptors.
fn check(descriptors: usize, http: Bound, expected: (Option<usize>, Option<usize>)) {
    let mut config = Config::default();
    config.http_server.connection_limit = http;
    let system = System { descriptors: Some(descriptors), ..System::default() };
    let capacity = Capacity::of(&config, system);
    assert_eq!((capacity.http.connections, capacity.caps.descriptors), expected, "{descriptors} {http:?}");
    let used = capacity.caps.descriptors.unwrap_or_default() + expected.0.unwrap_or_default();
    assert!(http != Bound::Derived || used + RESERVE <= descriptors.max(RESERVE + 2));
}

#[test]
fn descriptors_are_shared_out() {
    check(1_000_000, Bound::Derived, (Some(4096), Some(1_000_000 - 32 - 4096)));
    check(20_000, Bound::Derived, (Some(2496), Some(17_472)));
    check(1024, Bound::Derived, (Some(124), Some(868)));
    check(64, Bound::Derived, (Some(16), Some(16)));
    check(40, Bound::Derived, (Some(4), Some(4)));
    check(10, Bound::Derived, (Some(1), Some(1)));
    check(1024, at(100), (Some(100), Some(892)));
    check(1024, at(5000), (Some(5000), Some(496)));
    check(1024, Bound::Unlimited, (None, Some(496)));
}

#[test]
fn a_node_that_cannot_know_has_bounds_too() {
    let capacity = Capacity::of(&Config::default(), System::default());
    assert_eq!(capacity.http.connections, Some(4096));
    assert_eq!(capacity.http.per_network, Some(2048));
    assert_eq!(capacity.caps, Caps::default());
    assert_eq!(capacity.warnings, [""; 0]);
}

#[test]
fn what_is_configured_is_taken() {
    let mut config = Config::default();
    config.client.connection_limit = NonZero::new(900);
    config.client.ip_connection_limit = NonZero::new(5);
    config.client.connection_rate_limit = NonZero::new(100);
    config.http_server.ip_connection_limit = at(7);
    config.http_server.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    let system = System { descriptors: Some(1024), memory: Some(1 << 30), ..System::default() };
    let Capacity { caps, http, warnings, .. } = Capacity::of(&config, system);
    let memory = Some((1 << 30) / 10 * 9);
    let (total, per_network, per_second) = (Some(900), Some(5), Some(100));
    assert_eq!(caps, Caps { total, descriptors: Some(868), per_network, per_second, memory });
    assert_eq!(http.per_network, Some(7));
    assert!(http.trusted.contains("10.1.2.3".parse().unwrap()));
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(
        warning.contains("900") && warning.contains("868 clients") && warning.contains("1024"),
        "{warning}"
    );
    config.node.resident_limit = Bound::Unlimited;
    assert_eq!(Capacity::of(&config, system).caps.memory, None);
    config.node.resident_limit = at(5000);
    assert_eq!(Capacity::of(&config, system).caps.memory, Some(5000));
}

#[test]
fn there_is_a_worker_for_each_core_where_there_are_several() {
    let workers = |workers, cores| {
        let mut config = Config::default();
        config.node.workers = workers;
        let system = System { descriptors: Some(1024), cores, ..System::default() };
        let capacity = Capacity::of(&config, system);
        (capacity.workers, capacity.caps.descriptors.unwrap() + capacity.http.connections.unwrap())
    };
    let places = 1024 - super::RESERVE;
    assert_eq!(workers(Bound::Derived, Some(8)), (8, places - 8 * super::WORKER));
    assert_eq!(workers(Bound::Derived, Some(1)), (0, places));
    assert_eq!(workers(Bound::Derived, None), (0, places));
    assert_eq!(workers(Bound::Unlimited, Some(8)), (0, places));
    assert_eq!(workers(at(3), Some(8)), (3, places - 3 * super::WORKER));
}
