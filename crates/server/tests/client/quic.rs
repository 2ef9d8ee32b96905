//! Clients over raw QUIC.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use tidegate_client::{Builder, CallError, ClientEvent, Event, HistoryQuery, Overflow, Trouble, Trust};
use tidegate_server::Target;
use tidegate_server::config;
use tidegate_server::core::{Disconnect, SkipToOldest};
use tidegate_server::http::Certificate;
use tidegate_server::transport_quic::{Options, QuicListener};

use crate::site::{ENCODINGS, Rules, Site, data, event, live, next, quick, until};

/// A server on a UDP port, and whom to trust there.
struct Udp {
    site: Site,
    url: String,
    trust: Trust,
}

impl Udp {
    fn start(rules: Rules) -> Self {
        let certified = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let CertifiedKey { cert, signing_key }: CertifiedKey<KeyPair> = certified;
        let tls = config::Tls {
            enabled: true,
            cert_pem: cert.pem(),
            key_pem: signing_key.serialize_pem().into(),
            client_ca_pem: String::new(),
        };
        let certificate = Certificate::read("test", &tls).unwrap();
        let options = Options { socket_buffer: 1 << 16, ..Options::default() };
        let any = "127.0.0.1:0".parse().unwrap();
        let listener = QuicListener::bind(any, certificate.identity(), options).unwrap();
        let port = listener.local_address().unwrap().port();
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, cert.der());
        let trust = Trust::CertificateHash(hash.as_ref().try_into().unwrap());
        let site = Site::build(rules, |builder| builder.listen(listener));
        Self { site, url: format!("quic://127.0.0.1:{port}"), trust }
    }

    fn builder(&self) -> Builder {
        quick(&self.url).trust(self.trust.clone()).token("ann")
    }
}

#[tokio::test]
async fn everything_that_can_be_asked_is_answered() {
    let udp = Udp::start(Rules::with_history(1000));
    for encoding in ENCODINGS {
        let client = udp.builder().encoding(encoding).connect().unwrap();
        let channel = format!("{encoding:?}");
        let mut news = client.subscribe(&channel).unwrap();
        let mut other = client.subscribe("other").unwrap();
        assert!(live(&mut news).await.recoverable);
        live(&mut other).await;
        for n in 0..300 {
            client.publish(&channel, n.to_string()).await.unwrap();
        }
        for n in 0..300 {
            assert_eq!(data(&mut news).await, n.to_string());
        }
        assert_eq!(news.position().map(|position| position.offset), Some(300));
        client.publish("other", r#"{"large":true}"#).await.unwrap();
        assert_eq!(data(&mut other).await, r#"{"large":true}"#);
        let large = format!("\"{}\"", "x".repeat(60_000));
        client.publish(&channel, large.clone()).await.unwrap();
        assert_eq!(data(&mut news).await, large);
        let history = client.history(&channel, HistoryQuery::limit(1).reverse()).await.unwrap();
        assert_eq!(history.position.offset, 301);
        assert_eq!(client.rpc("echo", "[1]").await.unwrap(), "[1]");
        assert!(matches!(client.publish("forbidden", "1").await, Err(CallError::Refused { code: 103, .. })));
        // Left, and taken up again from where it was.
        let position = news.position().cloned().unwrap();
        drop(news);
        udp.site.publish(&channel, "302").await;
        let mut news = client.subscription(&channel).since(position).subscribe().unwrap();
        assert!(live(&mut news).await.recovered);
        assert_eq!(data(&mut news).await, "302");
        client.disconnect().await;
    }
    until(|| udp.site.handle.holdings().permits == 0).await;
    udp.site.stop().await;
}

#[tokio::test]
async fn over_connections_that_end_nothing_is_lost_and_nothing_comes_twice() {
    let udp = Udp::start(Rules::with_history(1000));
    for encoding in ENCODINGS {
        let channel = format!("{encoding:?}");
        let client = udp.builder().encoding(encoding).connect().unwrap();
        let mut news = client.subscribe(&channel).unwrap();
        live(&mut news).await;
        let publish = async {
            for n in 1..=300_u64 {
                udp.site.publish(&channel, n.to_string()).await;
                if n % 40 == 0 {
                    // As a node does that goes away.
                    let ann = Target { user: "ann".to_owned(), ..Default::default() };
                    udp.site.handle.disconnect(&ann, Some(Disconnect::new(3011, "force reconnect")));
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
        };
        let mut expected = 1;
        let mut again = 0;
        let read = async {
            while expected <= 300 {
                match next(&mut news).await {
                    Event::Publication(publication) => {
                        assert_eq!(publication.offset, expected);
                        expected += 1;
                    }
                    Event::Subscribing(why) => again += usize::from(why.code == 3011),
                    Event::Subscribed(how) => assert!(how.recovered),
                    other => panic!("{other:?}"),
                }
            }
        };
        tokio::join!(publish, read);
        assert!(again >= 1);
        client.disconnect().await;
    }
    udp.site.stop().await;
}

#[tokio::test]
async fn a_reader_that_is_waited_for_holds_up_its_own_stream_only() {
    let mut rules = Rules::with_history(2000);
    rules.grant.policy = Arc::new(SkipToOldest);
    let udp = Udp::start(rules);
    let client = udp.builder().connect().unwrap();
    let slow = client.subscription("slow").buffer(10, 1 << 20).overflow(Overflow::Wait);
    let mut slow = slow.subscribe().unwrap();
    let mut other = client.subscribe("other").unwrap();
    live(&mut slow).await;
    live(&mut other).await;
    for n in 0..200 {
        udp.site.publish("slow", n.to_string()).await;
    }
    // All of this goes on while nobody reads "slow".
    for n in 0..50 {
        client.publish("other", n.to_string()).await.unwrap();
        assert_eq!(data(&mut other).await, n.to_string());
    }
    for n in 0..200 {
        assert_eq!(data(&mut slow).await, n.to_string());
    }
    udp.site.stop().await;
}

#[tokio::test]
async fn what_ends_a_subscription_is_told() {
    let udp = Udp::start(Rules::with_history(100));
    let client = udp.builder().connect().unwrap();
    let mut news = client.subscribe("news").unwrap();
    live(&mut news).await;
    let ann = Target { user: "ann".to_owned(), ..Default::default() };
    udp.site.handle.unsubscribe(&ann, &"news".into(), Some(Disconnect::new(2500, "insufficient state")));
    assert!(matches!(next(&mut news).await, Event::Subscribing(why) if why.code == 2500));
    assert!(live(&mut news).await.recovered);
    udp.site.publish("news", "1").await;
    assert_eq!(data(&mut news).await, "1");
    udp.site.handle.unsubscribe(&ann, &"news".into(), None);
    assert!(matches!(next(&mut news).await, Event::Unsubscribed(why) if why.code == 2000));
    udp.site.handle.disconnect(&ann, None);
    let over = |event| match event {
        ClientEvent::Disconnected(why) => Some(why.code),
        _ => None,
    };
    assert_eq!(event(&mut client.events(), over).await, 3503);
    udp.site.stop().await;
}

#[tokio::test]
async fn a_stranger_is_not_trusted() {
    let udp = Udp::start(Rules::default());
    let client = udp.builder().trust(Trust::CertificateHash([0; 32])).connect().unwrap();
    let trouble = |event| match event {
        ClientEvent::Trouble(Trouble::Connect(what)) => Some(what),
        _ => None,
    };
    let what = event(&mut client.events(), trouble).await;
    assert!(what.contains("certificate"), "{what}");
    udp.site.stop().await;
}
