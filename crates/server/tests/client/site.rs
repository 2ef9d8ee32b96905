//! A server to be tested against, its rules, and words for what a client hears.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tidegate_client::{Builder, Client, ClientEvent, Encoding, Event, Events, Subscription};
use tidegate_server::core::broker::PublishOptions;
use tidegate_server::core::call::SubscribeCall;
use tidegate_server::core::request::{ConnectRequest, SubscribeRequest};
use tidegate_server::core::transport::Peer;
use tidegate_server::core::{
    Authenticator, Caps, Channel, Client as Peered, ClientError, Disconnect, HistoryBounds, Hooks, Identity,
    Publication, PublishGrant, Refreshed, Refusal, SubscribeGrant,
};
use tidegate_server::transport_ws::{Options, WsListener};
use tidegate_server::{Bytes, Handle, Server, Shutdown, Stopped};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Lets everybody in as the user that the token names, and grants what it holds. Some tokens and channels
/// mean trouble.
#[derive(Clone, Default)]
pub(crate) struct Rules {
    pub(crate) grant: SubscribeGrant,
    pub(crate) history: HistoryBounds,
    /// Channels that every client is subscribed to by the server.
    pub(crate) channels: Vec<&'static str>,
    /// How long connections and subscriptions live until they are refreshed, in seconds; 0 for ever.
    pub(crate) life: i64,
    /// Tokens by which anything was refreshed.
    pub(crate) refreshed: Arc<Mutex<Vec<String>>>,
}

impl Rules {
    /// Channels keep `size` publications and can be recovered.
    pub(crate) fn with_history(size: usize) -> Self {
        let hour = Duration::from_secs(3600);
        let history = HistoryBounds { size, ttl: hour, meta_ttl: hour };
        let grant = SubscribeGrant { history, recoverable: true, positioned: true, ..Default::default() };
        Self { grant, history, ..Self::default() }
    }

    fn expire_at(&self) -> i64 {
        if self.life == 0 { 0 } else { unix_now() + self.life }
    }

    fn prolong(&self, token: &str) -> Result<Refreshed, Refusal> {
        self.refreshed.lock().unwrap().push(token.to_owned());
        Ok(Refreshed { expire_at: self.expire_at(), ..Default::default() })
    }
}

#[async_trait]
impl Authenticator for Rules {
    async fn connect(&self, request: &ConnectRequest, _: &Peer) -> Result<Identity, Refusal> {
        match &*request.token {
            "expired" => return Err(ClientError::TOKEN_EXPIRED.into()),
            "invalid" => return Err(Disconnect::new(3500, "invalid token").into()),
            _ => {}
        }
        let call = |channel: &&str| SubscribeCall {
            by_token: false,
            channel: (*channel).into(),
            info: Bytes::new(),
            data: Bytes::new(),
            expire_at: 0,
            recover_since: None,
            overrides: Default::default(),
        };
        Ok(Identity {
            user: request.token.as_str().into(),
            data: request.data.clone(),
            channels: self.channels.iter().map(call).collect(),
            expire_at: self.expire_at(),
            client_refresh: true,
            ..Default::default()
        })
    }

    async fn subscribe(&self, _: &Peered, request: &SubscribeRequest) -> Result<SubscribeGrant, Refusal> {
        match (request.channel.as_str(), &*request.token) {
            ("forbidden", _) => Err(ClientError::PERMISSION_DENIED.into()),
            ("private", "") => Err(ClientError::PERMISSION_DENIED.into()),
            ("private", "expired") => Err(ClientError::TOKEN_EXPIRED.into()),
            ("private", _) => {
                let expire_at = self.expire_at();
                Ok(SubscribeGrant { expire_at, client_refresh: true, ..self.grant.clone() })
            }
            _ => Ok(SubscribeGrant { data: request.data.clone(), ..self.grant.clone() }),
        }
    }

    async fn subscribe_server_side(&self, _: &Peered, _: &SubscribeCall) -> Result<SubscribeGrant, Refusal> {
        Ok(self.grant.clone())
    }

    async fn publish(
        &self,
        _: &Peered,
        channel: &Channel,
        _: &Bytes,
        _: bool,
    ) -> Result<PublishGrant, Refusal> {
        if channel.as_str() == "forbidden" {
            return Err(ClientError::PERMISSION_DENIED.into());
        }
        let options = PublishOptions { history: self.history, delta: true, ..Default::default() };
        Ok(PublishGrant { options, ..Default::default() })
    }

    async fn history(&self, _: &Peered, _: &Channel, _: bool) -> Result<HistoryBounds, Refusal> {
        Ok(self.history)
    }

    async fn presence(&self, _: &Peered, _: &Channel, _: bool) -> Result<(), Refusal> {
        Ok(())
    }

    async fn refresh(&self, _: &Peered, token: &str) -> Result<Refreshed, Refusal> {
        self.prolong(token)
    }

    async fn sub_refresh(&self, _: &Peered, _: &Channel, token: &str) -> Result<Refreshed, Refusal> {
        self.prolong(token)
    }
}

#[async_trait]
impl Hooks for Rules {
    async fn rpc(&self, _: &Peered, method: &str, data: Bytes) -> Result<Bytes, Refusal> {
        match method {
            "echo" => Ok(data),
            // Longer than any test waits.
            "never" => std::future::pending().await,
            _ => Err(ClientError::METHOD_NOT_FOUND.into()),
        }
    }

    async fn message(&self, _: &Peered, data: Bytes) -> Result<(), Disconnect> {
        self.refreshed.lock().unwrap().push(String::from_utf8_lossy(&data).into_owned());
        Ok(())
    }
}

fn unix_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

/// A server that runs.
pub(crate) struct Site {
    pub(crate) handle: Handle,
    pub(crate) address: SocketAddr,
    pub(crate) rules: Rules,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Stopped>,
}

impl Site {
    pub(crate) fn start(rules: Rules) -> Self {
        Self::start_with(rules, Caps::default())
    }

    pub(crate) fn start_with(rules: Rules, caps: Caps) -> Self {
        Self::build(rules, |builder| builder.caps(caps))
    }

    pub(crate) fn build(
        rules: Rules,
        build: impl FnOnce(tidegate_server::Builder) -> tidegate_server::Builder,
    ) -> Self {
        let listener = WsListener::bind("127.0.0.1:0".parse().unwrap(), Options::default()).unwrap();
        let address = listener.local_address().unwrap();
        let shutdown = Shutdown { timeout: Duration::from_secs(5), ..Default::default() };
        let builder = Server::builder(rules.clone()).hooks(rules.clone()).listen(listener);
        let server = build(builder).shutdown(shutdown).build();
        let handle = server.handle();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.run(async { stopped.await.unwrap_or_default() }));
        Self { handle, address, rules, stop, task }
    }

    pub(crate) fn url(&self) -> String {
        url(self.address)
    }

    /// A client that comes back at once.
    pub(crate) fn client(&self) -> Client {
        quick(&self.url()).token("ann").connect().unwrap()
    }

    /// Publishes as the application does.
    pub(crate) async fn publish(&self, channel: &str, data: impl Into<Bytes>) {
        let options = PublishOptions { history: self.rules.history, delta: true, ..Default::default() };
        let publication = Publication::new(data);
        self.handle.publish_with(&channel.into(), publication, &options).await.expect("it is taken");
    }

    /// Stops, and waits for the end.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        self.task.await.expect("no panic");
    }
}

pub(crate) fn url(address: SocketAddr) -> String {
    format!("ws://{address}/connection/websocket")
}

/// A client that tries again at once.
pub(crate) fn quick(url: &str) -> Builder {
    let (min, max) = (Duration::from_millis(1), Duration::from_millis(20));
    Client::builder(url).reconnect_delay(min, max).resubscribe_delay(min, max)
}

pub(crate) const ENCODINGS: [Encoding; 2] = [Encoding::Json, Encoding::Protobuf];

/// The next event, within a time that is long enough for anything.
pub(crate) async fn next(subscription: &mut Subscription) -> Event {
    within(subscription.next()).await.expect("an event")
}

/// Waits until the subscription is live.
pub(crate) async fn live(subscription: &mut Subscription) -> tidegate_client::Subscribed {
    loop {
        if let Event::Subscribed(subscribed) = next(subscription).await {
            return subscribed;
        }
    }
}

/// The next publication's payload; anything else that comes before is passed over.
pub(crate) async fn data(subscription: &mut Subscription) -> String {
    loop {
        if let Event::Publication(publication) = next(subscription).await {
            return String::from_utf8(publication.data.to_vec()).unwrap();
        }
    }
}

/// The next of the client's events that `wanted` takes.
pub(crate) async fn event<T>(events: &mut Events, wanted: impl Fn(ClientEvent) -> Option<T>) -> T {
    loop {
        if let Some(found) = wanted(within(events.next()).await.expect("an event")) {
            return found;
        }
    }
}

/// What is ready within a minute.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it comes within a minute")
}

/// Waits until it is so.
pub(crate) async fn until(mut so: impl FnMut() -> bool) {
    within(async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
