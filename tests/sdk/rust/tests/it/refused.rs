use centrifuge::Protocol;
use tidegate_sdk_tests::Server;

use crate::sdk::{Conn, code};

crate::in_each_encoding!(
    a_remote_call_without_a_handler,
    an_unknown_namespace,
    publishing_that_is_not_allowed,
    subscribing_that_is_not_allowed,
);

async fn a_remote_call_without_a_handler(protocol: Protocol) {
    let server = Server::start(&[]);
    let (conn, _) = Conn::open(&server, protocol).await;
    assert_eq!(code(conn.client.rpc("method", "{}").await), 108);
    conn.client.close().await;
    server.stop();
}

async fn an_unknown_namespace(protocol: Protocol) {
    let server = Server::start(&[]);
    let (conn, _) = Conn::open(&server, protocol).await;
    assert_eq!(conn.ask("nowhere:news").unsubscribed.next().await.code, 102);
    assert_eq!(code(conn.client.publish("nowhere:news", "{}").await), 102);
    conn.client.close().await;
    server.stop();
}

async fn publishing_that_is_not_allowed(protocol: Protocol) {
    let server = Server::start(&["allow_publish_for_client"]);
    let (conn, _) = Conn::open(&server, protocol).await;
    assert_eq!(code(conn.client.publish("news", "{}").await), 103);
    conn.client.close().await;
    server.stop();
}

async fn subscribing_that_is_not_allowed(protocol: Protocol) {
    let server = Server::start(&["allow_subscribe_for_client"]);
    let (conn, _) = Conn::open(&server, protocol).await;
    assert_eq!(conn.ask("news").unsubscribed.next().await.code, 103);
    conn.client.close().await;
    server.stop();
}
