use centrifuge::{Protocol, State};
use futures_util::future::join_all;
use serde_json::json;
use tidegate_sdk_tests::Server;

use crate::sdk::Conn;

crate::in_each_encoding!(
    a_client_connects_and_learns_its_id,
    a_client_that_leaves_may_come_back,
    a_hundred_clients_at_once,
    a_client_reconnects_and_subscribes_again_after_a_restart,
    the_server_disconnects_with_3503,
    the_server_disconnects_with_a_code_after_which_clients_come_back,
);

async fn a_client_connects_and_learns_its_id(protocol: Protocol) {
    let server = Server::start(&[]);
    let (conn, id) = Conn::open(&server, protocol).await;
    assert_eq!(id.len(), 36);
    assert_eq!(conn.client.state(), State::Connected);
    conn.client.close().await;
    server.stop();
}

async fn a_client_that_leaves_may_come_back(protocol: Protocol) {
    let server = Server::start(&[]);
    let (mut conn, first) = Conn::open(&server, protocol).await;
    conn.client.disconnect();
    assert_eq!(conn.disconnected.next().await.code, 0);
    conn.client.connect().expect("the client is not closed");
    assert_ne!(conn.connected.next().await.client_id, first);
    conn.client.close().await;
    server.stop();
}

async fn a_hundred_clients_at_once(protocol: Protocol) {
    let server = Server::start(&[]);
    let readers = join_all((0..100).map(async |_| {
        let (conn, _) = Conn::open(&server, protocol).await;
        let sub = conn.subscribe("crowd").await;
        (conn, sub)
    }));
    let mut readers = readers.await;
    server.publish("crowd", json!({ "hello": "all" }));
    for (_, sub) in &mut readers {
        assert_eq!(sub.next().await, json!({ "hello": "all" }));
    }
    join_all(readers.iter().map(|(conn, _)| conn.client.close())).await;
    server.stop();
}

async fn a_client_reconnects_and_subscribes_again_after_a_restart(protocol: Protocol) {
    let mut server = Server::start(&[]);
    let (mut conn, first) = Conn::open(&server, protocol).await;
    let mut sub = conn.subscribe("news").await;
    server.halt();
    let connecting = conn.connecting.next().await;
    assert_eq!((connecting.code, connecting.reason.as_str()), (3001, "shutdown"));
    server.resume();
    assert_ne!(conn.connected.next().await.client_id, first);
    sub.subscribed.next().await;
    server.publish("news", json!("after the restart"));
    assert_eq!(sub.next().await, json!("after the restart"));
    conn.client.close().await;
    server.stop();
}

async fn the_server_disconnects_with_3503(protocol: Protocol) {
    let server = Server::start(&[]);
    let (mut conn, id) = Conn::open(&server, protocol).await;
    server.api("disconnect", &json!({ "user": "", "client": id }));
    let gone = conn.disconnected.next().await;
    assert_eq!((gone.code, gone.reason.as_str()), (3503, "force disconnect"));
    conn.client.close().await;
    server.stop();
}

async fn the_server_disconnects_with_a_code_after_which_clients_come_back(protocol: Protocol) {
    let server = Server::start(&[]);
    let (mut conn, id) = Conn::open(&server, protocol).await;
    let why = json!({ "code": 4001, "reason": "come back" });
    server.api("disconnect", &json!({ "user": "", "client": id, "disconnect": why }));
    let connecting = conn.connecting.next().await;
    assert_eq!((connecting.code, connecting.reason.as_str()), (4001, "come back"));
    assert_ne!(conn.connected.next().await.client_id, id);
    conn.client.close().await;
    server.stop();
}
