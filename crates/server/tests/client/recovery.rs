use tidegate_client::{Event, GapCause, Position};

use crate::network::Network;
use crate::site::{ENCODINGS, Rules, Site, data, live, next, quick, url};

/// Publications that are published while the network is cut again and again.
const COUNT: u64 = 400;

#[tokio::test]
async fn over_a_network_that_is_cut_nothing_is_lost_and_nothing_comes_twice() {
    let site = Site::start(Rules::with_history(COUNT as usize));
    for encoding in ENCODINGS {
        let channel = format!("{encoding:?}");
        let network = Network::to(site.address).await;
        let client = quick(&url(network.address)).encoding(encoding).connect().unwrap();
        let mut news = client.subscribe(&channel).unwrap();
        live(&mut news).await;
        let publish = async {
            for n in 1..=COUNT {
                site.publish(&channel, n.to_string()).await;
                if n % 7 == 0 {
                    network.cut();
                }
                if n % 3 == 0 {
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                }
            }
        };
        let mut recovered = 0;
        let read = async {
            let mut expected = 1;
            while expected <= COUNT {
                match next(&mut news).await {
                    Event::Publication(publication) => {
                        assert_eq!(publication.offset, expected);
                        assert_eq!(publication.data, expected.to_string());
                        expected += 1;
                    }
                    Event::Subscribed(subscribed) => {
                        assert!(subscribed.recovered, "{subscribed:?}");
                        recovered += 1;
                    }
                    Event::Subscribing(_) => {}
                    other => panic!("{other:?}"),
                }
            }
        };
        tokio::join!(publish, read);
        assert!(recovered > 3 && network.connections() > 3, "{recovered} of {}", network.connections());
        client.disconnect().await;
    }
    site.stop().await;
}

#[tokio::test]
async fn what_history_has_no_more_is_counted() {
    let site = Site::start(Rules::with_history(5));
    let network = Network::to(site.address).await;
    let client = quick(&url(network.address)).connect().unwrap();
    let mut news = client.subscribe("news").unwrap();
    live(&mut news).await;
    site.publish("news", "1").await;
    assert_eq!(data(&mut news).await, "1");
    network.down();
    assert!(matches!(next(&mut news).await, Event::Subscribing(_)));
    for n in 2..=21 {
        site.publish("news", n.to_string()).await;
    }
    network.mend();
    let subscribed = live(&mut news).await;
    assert!(subscribed.was_recovering && !subscribed.recovered);
    let Event::Gap(gap) = next(&mut news).await else { panic!("a gap") };
    assert_eq!((gap.missed, gap.cause), (Some(20), GapCause::Unrecoverable));
    site.publish("news", "22").await;
    assert_eq!(data(&mut news).await, "22");
    site.stop().await;
}

#[tokio::test]
async fn without_history_it_is_said_that_something_may_be_missing() {
    let site = Site::start(Rules::default());
    let network = Network::to(site.address).await;
    let client = quick(&url(network.address)).connect().unwrap();
    let mut news = client.subscribe("news").unwrap();
    live(&mut news).await;
    network.cut();
    live(&mut news).await;
    let Event::Gap(gap) = next(&mut news).await else { panic!("a gap") };
    assert_eq!((gap.missed, gap.cause), (None, GapCause::Away));
    site.stop().await;
}

#[tokio::test]
async fn another_client_goes_on_from_a_position() {
    let site = Site::start(Rules::with_history(100));
    let position = {
        let client = site.client();
        let mut news = client.subscribe("news").unwrap();
        live(&mut news).await;
        site.publish("news", "1").await;
        site.publish("news", "2").await;
        assert_eq!(data(&mut news).await, "1");
        // The second may be in the queue, but was not read.
        news.position().cloned().expect("a position")
    };
    let written: Position = position.to_string().parse().unwrap();
    let client = site.client();
    let mut news = client.subscription("news").since(written).subscribe().unwrap();
    assert!(live(&mut news).await.recovered);
    assert_eq!(data(&mut news).await, "2");
    site.stop().await;
}

#[tokio::test]
async fn an_insufficient_state_is_made_good() {
    let site = Site::start(Rules::with_history(100));
    let client = site.client();
    let mut news = client.subscribe("news").unwrap();
    live(&mut news).await;
    site.publish("news", "1").await;
    assert_eq!(data(&mut news).await, "1");
    let why = tidegate_server::core::Disconnect::new(2500, "insufficient state");
    let ann = tidegate_server::Target { user: "ann".to_owned(), ..Default::default() };
    site.handle.unsubscribe(&ann, &"news".into(), Some(why));
    assert!(matches!(next(&mut news).await, Event::Subscribing(why) if why.code == 2500));
    assert!(live(&mut news).await.recovered);
    site.publish("news", "2").await;
    assert_eq!(data(&mut news).await, "2");
    site.stop().await;
}
