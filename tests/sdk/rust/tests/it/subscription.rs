use centrifuge::{Error, Protocol};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tidegate_sdk_tests::Server;

use crate::sdk::{Conn, code, value};

crate::in_each_encoding!(
    a_subscriber_receives_what_the_api_publishes,
    a_subscriber_receives_what_a_client_publishes_and_who_it_was,
    a_thousand_publications_arrive_in_order_over_three_channels,
    nothing_arrives_after_unsubscribing,
    a_client_has_one_subscription_to_a_channel,
    the_server_ends_one_subscription_with_2000,
    the_server_subscribes_a_client,
);

async fn a_subscriber_receives_what_the_api_publishes(protocol: Protocol) {
    let server = Server::start(&[]);
    let (conn, _) = Conn::open(&server, protocol).await;
    let mut sub = conn.subscribe("news").await;
    let data = json!({ "text": "żółw\n\"quoted\"", "n": 1.5, "list": [null, true, { "deep": [] }] });
    server.publish("news", data.clone());
    assert_eq!(sub.next().await, data);
    conn.client.close().await;
    server.stop();
}

async fn a_subscriber_receives_what_a_client_publishes_and_who_it_was(protocol: Protocol) {
    let server = Server::start(&[]);
    let (reader, _) = Conn::open(&server, protocol).await;
    let (writer, id) = Conn::open(&server, protocol).await;
    let mut sub = reader.subscribe("news").await;
    writer.client.publish("news", r#"{"text":"hi"}"#).await.expect("publishing is allowed");
    let publication = sub.publications.next().await;
    assert_eq!(value(&publication), json!({ "text": "hi" }));
    let info = publication.info.expect("the publisher is a client");
    assert_eq!((info.client, info.user), (id, String::new()));
    join_all([reader.client.close(), writer.client.close()]).await;
    server.stop();
}

async fn a_thousand_publications_arrive_in_order_over_three_channels(protocol: Protocol) {
    let server = Server::start(&[]);
    let (reader, _) = Conn::open(&server, protocol).await;
    let (writer, _) = Conn::open(&server, protocol).await;
    let channels = ["red", "green", "blue"];
    let mut subs = join_all(channels.map(|channel| reader.subscribe(channel))).await;
    for n in 0..1000 {
        writer.client.publish(channels[n % 3], n.to_string()).await.expect("publishing is allowed");
    }
    for (first, sub) in subs.iter_mut().enumerate() {
        for n in (first..1000).step_by(3) {
            assert_eq!(sub.next().await, json!(n));
        }
        assert!(sub.publications.is_empty());
    }
    join_all([reader.client.close(), writer.client.close()]).await;
    server.stop();
}

async fn nothing_arrives_after_unsubscribing(protocol: Protocol) {
    let server = Server::start(&[]);
    let (leaver, _) = Conn::open(&server, protocol).await;
    let (stayer, _) = Conn::open(&server, protocol).await;
    let mut left = leaver.subscribe("left").await;
    let mut kept = leaver.subscribe("kept").await;
    let mut other = stayer.subscribe("left").await;
    left.subscription.unsubscribe();
    assert_eq!(left.unsubscribed.next().await.code, 0);
    // The answer to a later command: the unsubscription before it is done.
    assert_eq!(code(leaver.client.rpc("none", "{}").await), 108);
    server.publish("left", json!("unwanted"));
    assert_eq!(other.next().await, json!("unwanted"));
    server.publish("kept", json!("wanted"));
    assert_eq!(kept.next().await, json!("wanted"));
    assert!(left.publications.is_empty());
    join_all([leaver.client.close(), stayer.client.close()]).await;
    server.stop();
}

async fn a_client_has_one_subscription_to_a_channel(protocol: Protocol) {
    let server = Server::start(&[]);
    let (conn, _) = Conn::open(&server, protocol).await;
    let _first = conn.subscribe("news").await;
    let second = conn.client.new_subscription("news").build();
    assert!(matches!(second, Err(Error::DuplicateSubscription)));
    conn.client.close().await;
    server.stop();
}

async fn the_server_ends_one_subscription_with_2000(protocol: Protocol) {
    let server = Server::start(&[]);
    let (conn, id) = Conn::open(&server, protocol).await;
    let mut ended = conn.subscribe("ended").await;
    let mut kept = conn.subscribe("kept").await;
    server.api("unsubscribe", &of_client(&id, "ended"));
    assert_eq!(ended.unsubscribed.next().await.code, 2000);
    server.publish("kept", json!("still here"));
    assert_eq!(kept.next().await, json!("still here"));
    conn.client.close().await;
    server.stop();
}

async fn the_server_subscribes_a_client(protocol: Protocol) {
    let server = Server::start(&[]);
    let (mut conn, id) = Conn::open(&server, protocol).await;
    server.api("subscribe", &of_client(&id, "granted"));
    assert_eq!(conn.subscribed.next().await.channel, "granted");
    server.publish("granted", json!("for you"));
    assert_eq!(value(&conn.publications.next().await.publication), json!("for you"));
    server.api("unsubscribe", &of_client(&id, "granted"));
    assert_eq!(conn.unsubscribed.next().await.channel, "granted");
    conn.client.close().await;
    server.stop();
}

/// A request of the API for an anonymous client: those of the user without a name.
fn of_client(id: &str, channel: &str) -> Value {
    json!({ "user": "", "client": id, "channel": channel })
}
