use super::*;

fn places(connections: usize, per_network: usize) -> Arc<Places> {
    let some = |n: usize| (n > 0).then_some(n);
    let trusted = Trusted::new(["192.0.2.0/24".parse().expect("a network")]);
    Places::new(Limits {
        connections: some(connections),
        per_network: some(per_network),
        trusted,
        ..Limits::default()
    })
}

fn enter(places: &Arc<Places>, address: &str, hurry: bool) -> Result<Arc<Place>, Crowded> {
    let address = address.parse().expect("an address");
    places.enter(address, crate::time::now(), 0, hurry).map(|(place, _)| Arc::new(place))
}

fn gone(place: &Place) -> bool {
    place.given_up.is_cancelled()
}

async fn pass(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn the_oldest_silent_one_of_the_largest_network_goes() {
    let places = places(3, 0);
    let neighbour = enter(&places, "10.0.0.9", false).unwrap();
    pass(1).await;
    let first = enter(&places, "10.0.0.1", false).unwrap();
    pass(1).await;
    let second = enter(&places, "10.0.0.1", false).unwrap();
    pass(1).await;
    // 10.0.0.9 has waited longest, but it is not the one that fills the port.
    let third = enter(&places, "10.0.0.2", false).unwrap();
    assert_eq!([&neighbour, &first, &second, &third].map(|place| gone(place)), [false, true, false, false]);
    // One each: now it is a matter of age.
    let _fourth = enter(&places, "10.0.0.1", false).unwrap();
    assert_eq!([&neighbour, &second, &third].map(|place| gone(place)), [true, false, false]);
    assert_eq!(places.lock().members.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn who_asks_stays_and_is_silent_again_afterwards() {
    let places = places(2, 0);
    let (first, second) =
        (enter(&places, "10.0.0.1", false).unwrap(), enter(&places, "10.0.0.1", false).unwrap());
    let (asking, other) = (first.ask(), second.ask());
    pass(9).await;
    assert_eq!(enter(&places, "10.0.0.2", true).unwrap_err(), Crowded::Busy);
    drop(asking);
    // Silent for no time at all: it may be about to ask again.
    assert_eq!(enter(&places, "10.0.0.2", false).unwrap_err(), Crowded::Hasty);
    let third = enter(&places, "10.0.0.2", true).unwrap();
    assert_eq!((gone(&first), gone(&second)), (true, false));
    let _third = third.ask();
    // A request that never ends gives way after all.
    pass(1).await;
    enter(&places, "10.0.0.2", false).unwrap();
    assert!(gone(&second));
    // What was given up may still end its request, and drop its place.
    drop((other, first, second));
}

#[tokio::test(start_paused = true)]
async fn a_network_over_its_share_loses_its_own() {
    let places = places(0, 1);
    let neighbour = enter(&places, "10.0.0.9", false).unwrap();
    let first = enter(&places, "2001:db8::1", false).unwrap();
    assert_eq!(enter(&places, "2001:db8::2", false).unwrap_err(), Crowded::Hasty);
    pass(1).await;
    let _second = enter(&places, "2001:db8::2", false).unwrap();
    assert_eq!((gone(&neighbour), gone(&first)), (false, true));
    // A trusted proxy brings many clients.
    let _proxied = [(); 5].map(|()| enter(&places, "192.0.2.1", false).unwrap());
}

#[tokio::test(start_paused = true)]
async fn places_come_back() {
    let places = places(10, 10);
    let all: Vec<_> = (0..10).map(|_| enter(&places, "10.0.0.1", false).unwrap()).collect();
    let asking: Vec<_> = all.iter().map(Place::ask).collect();
    drop(all);
    assert_eq!(places.lock().members.len(), 10);
    drop(asking);
    assert!(places.lock().members.is_empty() && places.lock().networks.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_silent_go_before_those_who_have_asked() {
    let places = places(2, 0);
    let publisher = enter(&places, "10.0.0.1", false).unwrap();
    drop(publisher.ask());
    pass(5).await;
    let silent = enter(&places, "10.0.0.1", false).unwrap();
    pass(2).await;
    enter(&places, "10.0.0.1", false).unwrap();
    assert_eq!((gone(&publisher), gone(&silent)), (false, true));
}

#[tokio::test(start_paused = true)]
async fn a_fleet_has_places_beyond_the_limit_while_there_are_descriptors() {
    let places = places(2, 0);
    let come = |spare| {
        let address = "10.0.0.1".parse().expect("an address");
        places.enter(address, crate::time::now(), spare, false).map(|(place, _)| place)
    };
    let fleet = [(); 4].map(|()| come(2).unwrap());
    assert_eq!(fleet.iter().filter(|place| gone(place)).count(), 0);
    assert_eq!(come(2).unwrap_err(), Crowded::Hasty);
    // Who stays silent is no part of a fleet, and makes room.
    pass(4).await;
    drop(come(3).unwrap());
    pass(1).await;
    let _late = come(3).unwrap();
    assert_eq!(fleet.iter().map(gone).collect::<Vec<_>>(), [true, false, false, false]);
}
