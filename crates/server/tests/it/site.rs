//! A server to be tested, its rules, and its clients.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use serde_json::Value;
use tidegate_server::core::broker::PublishOptions;
use tidegate_server::core::call::SubscribeCall;
use tidegate_server::core::memory::{Address, Client as Wire, Limits, listener};
use tidegate_server::core::request::{ConnectRequest, SubscribeRequest};
use tidegate_server::core::transport::Peer;
use tidegate_server::core::{
    Authenticator, Backpressure, Channel, Client, ClientError, Disconnect, HistoryBounds, Hooks, Identity,
    Publication, PublishGrant, Refreshed, Refusal, SubscribeGrant,
};
use tidegate_server::{Builder, Bytes, Handle, Server, Stopped};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// Lets everybody in as the user that the token names, and grants what it holds. Some tokens and channels
/// mean trouble.
#[derive(Clone, Default)]
pub(crate) struct Rules {
    pub(crate) grant: SubscribeGrant,
    pub(crate) history: HistoryBounds,
    /// Channels that every client is subscribed to by the server.
    pub(crate) channels: Vec<&'static str>,
    /// How long the authenticator thinks of the token `slow`, and hooks of what they are asked.
    pub(crate) delay: Duration,
    pub(crate) diary: Diary,
    /// What happens to slow subscribers of some channels; of others, what the grant says.
    pub(crate) policies: Vec<(&'static str, Arc<dyn Backpressure>)>,
    /// How long connections live until the server asks for them, in seconds; 0 for ever.
    pub(crate) life: i64,
    /// What is said when the server asks whether a life goes on, one after the other; then it is over. Asking
    /// takes [`Rules::delay`].
    pub(crate) lives: Lives,
}

/// What is said of lives, in order.
pub(crate) type Lives = Arc<Mutex<VecDeque<Result<Refreshed, Refusal>>>>;

/// What hooks were told, in order.
#[derive(Clone, Default)]
pub(crate) struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    /// Takes its time, and notes if nobody waits for it any more.
    async fn think(&self, what: &'static str, delay: Duration) {
        struct Thinking<'a>(&'a Diary, &'static str);
        impl Drop for Thinking<'_> {
            fn drop(&mut self) {
                self.0.note(format!("cancelled {}", self.1));
            }
        }
        let thinking = Thinking(self, what);
        sleep(delay).await;
        std::mem::forget(thinking);
    }

    pub(crate) fn read(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

#[async_trait]
impl Authenticator for Rules {
    async fn connect(&self, request: &ConnectRequest, _: &Peer) -> Result<Identity, Refusal> {
        match &*request.token {
            "slow" => self.diary.think("connect", self.delay).await,
            "refused" => return Err(ClientError::TOKEN_EXPIRED.into()),
            "invalid" => return Err(Disconnect::new(3500, "invalid token").into()),
            "panic" => panic!("the authenticator panics, as the test wants"),
            _ => {}
        }
        let channels = self.channels.iter().map(|channel| call(channel)).collect();
        let expire_at = if self.life > 0 { unix_now() + self.life } else { 0 };
        Ok(Identity { user: request.token.as_str().into(), channels, expire_at, ..Default::default() })
    }

    async fn subscribe(&self, _: &Client, request: &SubscribeRequest) -> Result<SubscribeGrant, Refusal> {
        match request.channel.as_str() {
            "slow" => sleep(self.delay).await,
            "forbidden" => return Err(ClientError::PERMISSION_DENIED.into()),
            "panic" => panic!("the authenticator panics, as the test wants"),
            _ => {}
        }
        let mut grant = self.grant.clone();
        if let Some((_, policy)) = self.policies.iter().find(|(of, _)| *of == request.channel.as_str()) {
            grant.policy = policy.clone();
        }
        Ok(grant)
    }

    async fn subscribe_server_side(
        &self,
        _: &Client,
        call: &SubscribeCall,
    ) -> Result<SubscribeGrant, Refusal> {
        match call.channel.as_str() {
            "slow" => sleep(self.delay).await,
            "forbidden" => return Err(ClientError::PERMISSION_DENIED.into()),
            _ => {}
        }
        Ok(self.grant.clone())
    }

    async fn publish(&self, _: &Client, _: &Channel, _: &Bytes, _: bool) -> Result<PublishGrant, Refusal> {
        Ok(PublishGrant { options: self.options(), ..Default::default() })
    }

    async fn history(&self, _: &Client, _: &Channel, _: bool) -> Result<HistoryBounds, Refusal> {
        Ok(self.history)
    }

    async fn presence(&self, _: &Client, _: &Channel, _: bool) -> Result<(), Refusal> {
        Ok(())
    }

    async fn refresh_server_side(&self, client: &Client) -> Result<Refreshed, Refusal> {
        self.diary.note(format!("{} refreshed", client.user()));
        assert!(&**client.user() != "panics in refresh", "the authenticator panics, as the test wants");
        self.life().await
    }

    async fn sub_refresh_server_side(
        &self,
        client: &Client,
        channel: &Channel,
    ) -> Result<Refreshed, Refusal> {
        self.diary.note(format!("{} refreshed in {channel}", client.user()));
        self.life().await
    }
}

#[async_trait]
impl Hooks for Rules {
    async fn connected(&self, client: &Client) {
        self.diary.note(format!("{} connected", client.user()));
        assert!(!client.user().ends_with("panics"), "the hook panics, as the test wants");
    }

    async fn rpc(&self, _: &Client, method: &str, data: Bytes) -> Result<Bytes, Refusal> {
        match method {
            "slow" => self.diary.think("rpc", self.delay).await,
            "panic" => panic!("the hook panics, as the test wants"),
            _ => {}
        }
        Ok(data)
    }

    async fn disconnected(&self, client: &Client, why: &Disconnect) {
        self.diary.note(format!("{} disconnected {}", client.user(), why.code));
        if &**client.user() == "missed" {
            sleep(self.delay).await;
            self.diary.note("missed forgotten");
        }
        assert!(!client.user().ends_with("panics"), "the hook panics, as the test wants");
    }
}

impl Rules {
    async fn life(&self) -> Result<Refreshed, Refusal> {
        sleep(self.delay).await;
        let said = self.lives.lock().unwrap().pop_front();
        said.unwrap_or(Ok(Refreshed { expired: true, ..Default::default() }))
    }

    /// Channels keep `size` publications and can be recovered.
    pub(crate) fn with_history(size: usize) -> Self {
        let minute = Duration::from_secs(600);
        let history = HistoryBounds { size, ttl: minute, meta_ttl: minute };
        let grant = SubscribeGrant { history, recoverable: true, positioned: true, ..Default::default() };
        Self { grant, history, ..Self::default() }
    }

    pub(crate) fn options(&self) -> PublishOptions {
        PublishOptions { history: self.history, ..Default::default() }
    }
}

pub(crate) fn call(channel: &str) -> SubscribeCall {
    SubscribeCall {
        channel: channel.into(),
        info: Bytes::new(),
        data: Bytes::new(),
        expire_at: 0,
        recover_since: None,
        overrides: Default::default(),
        by_token: false,
    }
}

/// Seconds since 1970.
pub(crate) fn unix_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

/// A server that runs.
pub(crate) struct Site {
    pub(crate) handle: Handle,
    pub(crate) address: Address,
    pub(crate) rules: Rules,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Stopped>,
}

impl Site {
    /// Starts a server by `rules`, put together further by `build`.
    pub(crate) fn start(rules: Rules, build: impl FnOnce(Builder) -> Builder) -> Self {
        Self::start_on(Limits { capacity: 4096, ..Default::default() }, rules, build)
    }

    pub(crate) fn start_on(limits: Limits, rules: Rules, build: impl FnOnce(Builder) -> Builder) -> Self {
        let (listener, address) = listener(limits);
        let builder = Server::builder(rules.clone()).hooks(rules.clone()).listen(listener);
        let server = build(builder).build();
        let handle = server.handle();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.run(async { stopped.await.unwrap_or_default() }));
        Self { handle, address, rules, stop, task }
    }

    /// A client that has not connected.
    pub(crate) fn knock(&self) -> Guest {
        self.knock_with("")
    }

    pub(crate) fn knock_with(&self, query: &str) -> Guest {
        let peer = Peer { query: query.into(), ..Default::default() };
        Guest { wire: self.address.connect_as(peer).expect("a listener"), id: String::new() }
    }

    /// A client that is connected as `user`.
    pub(crate) async fn client(&self, user: &str) -> Guest {
        self.client_with(user, "").await
    }

    pub(crate) async fn client_with(&self, user: &str, query: &str) -> Guest {
        let mut guest = self.knock_with(query);
        guest.connect(user).await;
        guest
    }

    pub(crate) async fn publish(&self, channel: &str, data: impl Into<Bytes>) {
        let publication = Publication::new(data);
        let published = self.handle.publish_with(&channel.into(), publication, &self.rules.options()).await;
        published.expect("a publication that is taken");
    }

    /// Begins to stop.
    pub(crate) fn stop(self) -> Stopping {
        let _ = self.stop.send(());
        Stopping { handle: self.handle, task: self.task, since: Instant::now() }
    }

    /// Stops, and asserts that nothing is left.
    pub(crate) async fn end(self) {
        let (stopped, _) = self.stop().wait().await;
        assert_eq!(stopped.cut, 0);
    }
}

/// A server that is stopping.
pub(crate) struct Stopping {
    pub(crate) handle: Handle,
    task: JoinHandle<Stopped>,
    since: Instant,
}

impl Stopping {
    /// Waits for the server to return, and asserts that nothing is left. How long it took, too.
    pub(crate) async fn wait(self) -> (Stopped, Duration) {
        let stopped = timeout(Duration::from_secs(3600), self.task).await.expect("a server that stops");
        empty(&self.handle);
        (stopped.expect("no panic"), self.since.elapsed())
    }
}

impl Stopping {
    /// As [`Stopping::wait`], while others go on calling until `over` says that it has stopped.
    pub(crate) async fn wait_while(self, over: &std::sync::atomic::AtomicBool) -> (Stopped, Duration) {
        let stopped = timeout(Duration::from_secs(60), self.task).await.expect("a server that stops");
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        empty(&self.handle);
        (stopped.expect("no panic"), self.since.elapsed())
    }
}

/// Asserts that nobody is connected, and that nothing is held for anybody.
#[track_caller]
pub(crate) fn empty(handle: &Handle) {
    assert_eq!(handle.hub().registry().len(), 0, "registered clients");
    assert_eq!(handle.hub().registry().users(), 0, "registered users");
    assert_eq!(handle.hub().budget().used(), 0, "bytes of windows");
    assert_eq!(handle.channels(), [], "channels");
}

/// Asserts that exactly `count` permits are free.
#[track_caller]
pub(crate) fn free(handle: &Handle, count: usize) {
    let permits: Vec<_> = (0..=count).map(|_| handle.admit(None)).collect();
    assert_eq!(permits.iter().filter(|permit| permit.is_ok()).count(), count, "free permits");
}

/// Lets the server do what it can do now.
pub(crate) async fn settle() {
    sleep(Duration::from_millis(120)).await;
}

/// A client under the test's control.
pub(crate) struct Guest {
    pub(crate) wire: Wire,
    pub(crate) id: String,
}

impl Guest {
    pub(crate) async fn say(&mut self, commands: &str) {
        self.wire.send(commands.to_owned()).await.expect("a server that listens");
    }

    /// Connects as `user`, with the token of that name.
    pub(crate) async fn connect(&mut self, user: &str) -> Value {
        self.say(&format!(r#"{{"id":1,"connect":{{"token":"{user}"}}}}"#)).await;
        let reply: Value = serde_json::from_str(&self.hear().await).unwrap();
        self.id = reply["connect"]["client"].as_str().expect("a connect reply").to_owned();
        reply
    }

    /// The next message; the client's own id reads `ME`. An end of the stream is `end` and the farewell.
    pub(crate) async fn hear(&mut self) -> String {
        let next = timeout(Duration::from_secs(120), self.wire.recv()).await;
        match next.expect("a message within two minutes") {
            Some(message) => self.read(&message),
            None => self.end(),
        }
    }

    /// The next message that is no ping, each of which is answered.
    pub(crate) async fn hear_awake(&mut self) -> String {
        loop {
            match self.hear().await {
                ping if ping == "{}" => self.say("{}").await,
                message => return message,
            }
        }
    }

    /// The next message until then that is no ping, each of which is answered.
    pub(crate) async fn hear_awake_until(&mut self, until: Instant) -> Option<String> {
        tokio::time::timeout_at(until, self.hear_awake()).await.ok()
    }

    /// All that has come by the time nothing comes for a while.
    pub(crate) async fn hear_all(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while let Ok(message) = timeout(Duration::from_millis(500), self.wire.recv()).await {
            let Some(message) = message else {
                all.push(self.end());
                break;
            };
            all.push(self.read(&message));
        }
        all
    }

    /// Asserts what comes next.
    #[track_caller]
    pub(crate) fn hears<'a>(&'a mut self, expected: &'a [&'a str]) -> impl Future<Output = ()> + 'a {
        let at = std::panic::Location::caller();
        async move {
            for expected in expected {
                assert_eq!(self.hear().await, *expected, "at {at}");
            }
        }
    }

    /// Says something, and asserts what comes next.
    pub(crate) async fn ask(&mut self, commands: &str, expected: &[&str]) {
        self.say(commands).await;
        for expected in expected {
            assert_eq!(self.hear().await, *expected, "to {commands}");
        }
    }

    pub(crate) async fn subscribe(&mut self, channel: &str) -> Value {
        self.say(&format!(r#"{{"id":2,"subscribe":{{"channel":"{channel}"}}}}"#)).await;
        serde_json::from_str(&self.hear().await).unwrap()
    }

    fn read(&mut self, message: &[u8]) -> String {
        let text = String::from_utf8(message.to_vec()).unwrap();
        if self.id.is_empty() { text } else { text.replace(&self.id, "ME") }
    }

    fn end(&self) -> String {
        self.wire.closed().map_or("end".into(), |why| format!("end {why}"))
    }
}

/// A push to `channel`.
pub(crate) fn push(channel: &str, what: &str) -> String {
    format!(r#"{{"push":{{"channel":"{channel}",{what}}}}}"#)
}

/// The `disconnect` push and the farewell.
pub(crate) fn farewell(code: u16, reason: &str) -> [String; 2] {
    let push = format!(r#"{{"push":{{"disconnect":{{"code":{code},"reason":"{reason}"}}}}}}"#);
    [push, format!("end {code} {reason}")]
}

/// A seeded generator (xorshift64*). Tests print the seed of a run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % most
    }
}
