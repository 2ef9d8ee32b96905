//! The SDK, with its events in queues that a test can wait on.

use std::time::Duration;

use centrifuge::{
    Client, ConnectedEvent, ConnectingEvent, DisconnectedEvent, Error, Protocol, ProxyConfig, Publication,
    ServerPublicationEvent, ServerSubscribedEvent, ServerUnsubscribedEvent, SubscribedEvent, Subscription,
    SubscriptionBuilder, UnsubscribedEvent,
};
use serde_json::Value;
use tidegate_sdk_tests::Server;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A client and what happened to it.
pub struct Conn {
    pub client: Client,
    pub connecting: Events<ConnectingEvent>,
    pub connected: Events<ConnectedEvent>,
    pub disconnected: Events<DisconnectedEvent>,
    pub subscribed: Events<ServerSubscribedEvent>,
    pub unsubscribed: Events<ServerUnsubscribedEvent>,
    pub publications: Events<ServerPublicationEvent>,
}

impl Conn {
    /// A client that starts to connect.
    pub fn start(server: &Server, protocol: Protocol) -> Self {
        let (on_connecting, connecting) = events();
        let (on_connected, connected) = events();
        let (on_disconnected, disconnected) = events();
        let (on_subscribed, subscribed) = events();
        let (on_unsubscribed, unsubscribed) = events();
        let (on_publication, publications) = events();
        let client = Client::builder(server.websocket())
            .protocol(protocol)
            .proxy(ProxyConfig::None)
            .timeout(PATIENCE)
            .min_reconnect_delay(Duration::from_millis(50))
            .max_reconnect_delay(Duration::from_millis(200))
            .on_connecting(move |_, event| drop(on_connecting.send(event)))
            .on_connected(move |_, event| drop(on_connected.send(event)))
            .on_disconnected(move |_, event| drop(on_disconnected.send(event)))
            .on_subscribed(move |_, event| drop(on_subscribed.send(event)))
            .on_unsubscribed(move |_, event| drop(on_unsubscribed.send(event)))
            .on_publication(move |_, event| drop(on_publication.send(event)))
            .build()
            .expect("the options are valid");
        client.connect().expect("the client is not closed");
        Self { client, connecting, connected, disconnected, subscribed, unsubscribed, publications }
    }

    /// A connected client, and the id that the server gave it.
    pub async fn open(server: &Server, protocol: Protocol) -> (Self, String) {
        let mut conn = Self::start(server, protocol);
        assert_eq!(conn.connecting.next().await.code, 0);
        let id = conn.connected.next().await.client_id;
        (conn, id)
    }

    /// A subscription that starts to subscribe.
    pub fn ask(&self, channel: &str) -> Sub {
        Sub::start(self.client.new_subscription(channel))
    }

    /// A subscription that the server has confirmed.
    pub async fn subscribe(&self, channel: &str) -> Sub {
        let mut sub = self.ask(channel);
        sub.subscribed.next().await;
        sub
    }
}

/// A subscription and what happened to it.
pub struct Sub {
    pub subscription: Subscription,
    pub subscribed: Events<SubscribedEvent>,
    pub unsubscribed: Events<UnsubscribedEvent>,
    pub publications: Events<Publication>,
}

impl Sub {
    fn start(builder: SubscriptionBuilder) -> Self {
        let (on_subscribed, subscribed) = events();
        let (on_unsubscribed, unsubscribed) = events();
        let (on_publication, publications) = events();
        let subscription = builder
            .on_subscribed(move |_, event| drop(on_subscribed.send(event)))
            .on_unsubscribed(move |_, event| drop(on_unsubscribed.send(event)))
            .on_publication(move |_, event| drop(on_publication.send(event.publication)))
            .build()
            .expect("the channel is subscribed once");
        subscription.subscribe();
        Self { subscription, subscribed, unsubscribed, publications }
    }

    /// What the next publication holds.
    pub async fn next(&mut self) -> Value {
        value(&self.publications.next().await)
    }
}

/// Events in the order they came.
pub struct Events<T>(UnboundedReceiver<T>);

impl<T> Events<T> {
    /// The oldest event that was not taken yet.
    pub async fn next(&mut self) -> T {
        let event = tokio::time::timeout(PATIENCE, self.0.recv()).await.expect("the event comes in time");
        event.expect("the client lives")
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The JSON that a publication holds, in either encoding.
pub fn value(publication: &Publication) -> Value {
    serde_json::from_slice(&publication.data).expect("the tests publish JSON")
}

/// The code of the error that answers a call.
pub fn code<T>(answer: Result<T, Error>) -> u32 {
    match answer {
        Err(Error::Server(error)) => error.code,
        Err(error) => panic!("expected an error of the server, got: {error}"),
        Ok(_) => panic!("expected an error of the server, got a reply"),
    }
}

fn events<T>() -> (UnboundedSender<T>, Events<T>) {
    let (sender, receiver) = unbounded_channel();
    (sender, Events(receiver))
}

const PATIENCE: Duration = Duration::from_secs(20);
