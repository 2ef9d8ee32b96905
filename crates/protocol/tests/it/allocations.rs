//! A publication is encoded once for each encoding, by its first reader; a delivery allocates nothing.

use std::time::Instant;

use allocation_counter::measure;
use tidegate_core::protocol::Protocol as _;
use tidegate_core::request::Subscribed;
use tidegate_core::transport::Peer;
use tidegate_core::{Channel, Publication};
use tidegate_protocol::Centrifuge;

use crate::fan::{Fan, PROTOCOLS, publication};

/// For a push: its bytes, and, once they are shared, the count of who has them.
const PER_ENCODING: u64 = 2;
/// More for a patch: the patch, what its making looks up, and the push around it.
const PER_PATCH: u64 = 12;

/// Delivers bursts to 100 subscribers until things have settled, then counts what one more allocates.
#[track_caller]
fn check(protocol: &str, subscribed: &Subscribed, burst: usize, like: Publication, encoding: u64) {
    let case = format!("{protocol}, {burst} of {} bytes, delta {}", like.data.len(), like.delta);
    let smallest = if like.delta { 1 } else { like.data.len() };
    let mut fan = Fan::new(protocol, 100, subscribed, like);
    for _ in 0..100 {
        fan.publish(burst);
        fan.drain(0);
    }
    fan.publish(burst);
    let mut written = 0;
    let first = measure(|| written += fan.drain_first());
    let others = measure(|| written += fan.drain(1));
    assert!(written >= 100 * burst * smallest, "{case}: {written}");
    assert_eq!(others.count_total, 0, "delivering {case}: {others:?}");
    assert!(first.count_total <= burst as u64 * encoding, "encoding {case}: {first:?}");
}

#[test]
fn a_delivery_allocates_nothing_in_any_encoding() {
    for protocol in PROTOCOLS {
        for (burst, size) in [(1, 128), (32, 128), (1, 16 * 1024), (8, 16 * 1024)] {
            check(protocol, &Subscribed::default(), burst, publication(size), PER_ENCODING);
        }
    }
}

#[test]
fn a_delivery_of_patches_allocates_nothing() {
    let patched = Subscribed { delta: true, ..Default::default() };
    for protocol in PROTOCOLS {
        for burst in [1, 32] {
            let like = Publication { delta: true, ..publication(512) };
            check(protocol, &patched, burst, like, PER_ENCODING + PER_PATCH);
        }
    }
}

#[test]
fn a_session_and_a_subscription_are_small() {
    let (channel, now) = (Channel::from("news"), Instant::now());
    for protocol in PROTOCOLS {
        let peer = Peer { transport: "websocket", protocol: protocol.into(), ..Default::default() };
        let centrifuge = Centrifuge::default();
        let (mut session, mut subscription) = (None, None);
        let of_session = measure(|| session = Some(centrifuge.session(&peer, now))).bytes_current;
        let mut subscribe = || session.as_mut().unwrap().subscription(&channel, &Subscribed::default());
        let of_subscription = measure(|| subscription = Some(subscribe())).bytes_current;
        println!("{protocol}: session {of_session} B, subscription {of_subscription} B");
        assert!(of_session <= 256, "{protocol}: session {of_session} B");
        assert!(of_subscription <= 128, "{protocol}: subscription {of_subscription} B");
    }
}
