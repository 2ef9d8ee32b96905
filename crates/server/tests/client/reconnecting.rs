use std::time::Duration;

use tidegate_client::{Client, ClientEvent, Trouble};
use tidegate_server::core::Caps;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::network::Network;
use crate::site::{Rules, Site, event, quick, url};

fn trouble(event: ClientEvent) -> Option<String> {
    match event {
        ClientEvent::Trouble(Trouble::Connect(what)) => Some(what),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_to_the_longest_while_nobody_is_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let (min, max) = (Duration::from_millis(500), Duration::from_secs(20));
    let client = Client::builder(url(nobody)).reconnect_delay(min, max).connect().unwrap();
    let mut events = client.events();
    event(&mut events, trouble).await;
    let mut before = Instant::now();
    let mut longest = Duration::ZERO;
    for attempt in 0..12 {
        event(&mut events, trouble).await;
        let pause = before.elapsed();
        before = Instant::now();
        let most = max.min(min + min * 2_u32.pow(attempt)) + Duration::from_millis(5);
        assert!(pause >= min && pause <= most, "attempt {attempt}: {pause:?}, at most {most:?}");
        longest = longest.max(pause);
    }
    assert!(longest > Duration::from_secs(5), "{longest:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_connections_and_says_nothing_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = quick(&url(silent.local_addr().unwrap())).connect().unwrap();
    let mut events = client.events();
    let begun = Instant::now();
    assert_eq!(event(&mut events, trouble).await, "no connection within the time limit");
    assert!(begun.elapsed() >= Duration::from_secs(5));
}

#[tokio::test]
async fn a_full_server_is_tried_again_when_it_says_so() {
    let site = Site::start_with(Rules::default(), Caps { total: Some(1), ..Default::default() });
    let first = site.client();
    first.connected().await.unwrap();
    let client = site.client();
    let mut events = client.events();
    let what = event(&mut events, trouble).await;
    assert!(what.starts_with("the server answered HTTP 503"), "{what}");
    first.disconnect().await;
    client.connected().await.unwrap();
    site.stop().await;
}

#[tokio::test]
async fn a_client_connects_when_the_network_is_back() {
    let site = Site::start(Rules::default());
    let network = Network::to(site.address).await;
    network.down();
    let client = quick(&url(network.address)).connect().unwrap();
    let mut events = client.events();
    event(&mut events, trouble).await;
    // Waits for the connection.
    let call = client.rpc("echo", "1");
    network.mend();
    call.await.unwrap();
    site.stop().await;
}
