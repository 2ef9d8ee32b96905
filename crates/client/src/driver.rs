//! The client's task: gives the machine what happens, and does what it says.

mod outgoing;

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tidegate_protocol::Malformed;
use tokio::time::Sleep;

use self::outgoing::Outgoing;
use crate::client::{Ends, State};
use crate::machine::{Action, Lost, Machine, SubId, own};
use crate::options::{GOODBYE, OUTGOING};
use crate::queue::{Overflow, Pushed, Queue};
use crate::shared::{Want, Wanted};
use crate::token::{Fetch, TokenSource};
use crate::transport::{self, NotOpened, Transport};
use crate::{ClientEvent, Event, TokenError, Why};

/// Runs one client.
pub(crate) struct Driver {
    machine: Machine,
    ends: Ends,
    options: Arc<transport::Options>,
    token_source: Option<TokenSource>,
    opening: Option<Work<Result<Box<dyn Transport>, NotOpened>>>,
    transport: Option<Box<dyn Transport>>,
    outgoing: Outgoing,
    goodbyes: FuturesUnordered<Work<()>>,
    fetches: FuturesUnordered<Work<Fetched>>,
    subs: HashMap<SubId, Side>,
    /// Subscriptions for whose readers the client waits.
    held: HashSet<SubId>,
    sleep: Pin<Box<Sleep>>,
}

/// Something that the task does beside everything else.
type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What the task has of a subscription.
struct Side {
    channel: String,
    queue: Arc<Queue<Event>>,
    token_source: Option<TokenSource>,
    /// The subscribe command by which it is live.
    command: u32,
}

/// A token that has been fetched, for the connection or for a subscription.
type Fetched = (Option<SubId>, Result<String, TokenError>);

/// Things of one kind that are done before others have their turn.
const TURN: usize = 64;

impl Driver {
    pub(crate) fn new(
        machine: Machine,
        options: transport::Options,
        token_source: Option<TokenSource>,
        ends: Ends,
    ) -> Self {
        Self {
            machine,
            outgoing: Outgoing::new(ends.encoding),
            ends,
            options: Arc::new(options),
            token_source,
            opening: None,
            transport: None,
            goodbyes: FuturesUnordered::new(),
            fetches: FuturesUnordered::new(),
            subs: HashMap::new(),
            held: HashSet::new(),
            sleep: Box::pin(tokio::time::sleep(GOODBYE)),
        }
    }

    /// Runs until the client is disconnected.
    pub(crate) async fn run(mut self) {
        self.machine.start(now());
        self.act();
        std::future::poll_fn(|cx| self.poll(cx)).await;
        while self.goodbyes.next().await.is_some() {}
        for want in self.ends.shared.end() {
            if let Want::Subscribe(wanted) = want {
                self.begin(*wanted, now());
                self.act();
            }
        }
        self.ends.calls.close();
        while let Some((command, answer)) = self.ends.calls.recv().await {
            self.machine.call(command, answer, now());
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..TURN {
            // One after the other, whatever the first says.
            let more = [
                self.poll_wants(cx),
                self.poll_calls(cx),
                self.poll_futures(cx),
                self.poll_write(cx),
                self.poll_read(cx),
                self.poll_time(cx),
            ];
            if self.machine.is_over().is_some() {
                return Poll::Ready(());
            }
            if !more.contains(&true) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_wants(&mut self, cx: &Context<'_>) -> bool {
        let mut any = false;
        while let Some(want) = self.ends.shared.wanted(cx) {
            any = true;
            let now = now();
            match want {
                Want::Subscribe(wanted) => self.begin(*wanted, now),
                Want::Leave(id) => {
                    self.machine.unsubscribe(id, now);
                    self.subs.remove(&id);
                    self.unhold(id, now);
                }
                Want::Room(id) => {
                    self.unhold(id, now);
                    if let (Some(side), Some(transport)) = (self.subs.get(&id), &mut self.transport) {
                        transport.hold(side.command, false);
                    }
                    self.machine.resume(id, now);
                }
                Want::Disconnect => self.machine.disconnect(),
            }
            self.act();
        }
        any
    }

    fn begin(&mut self, wanted: Wanted, now: Instant) {
        let Wanted { id, channel, options, token_source, queue } = wanted;
        self.subs.insert(id, Side { channel: channel.clone(), queue, token_source, command: 0 });
        self.machine.subscribe(id, channel, options, now);
    }

    fn poll_calls(&mut self, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        for _ in 0..TURN {
            if self.outgoing.bytes() >= OUTGOING {
                break;
            }
            match self.ends.calls.poll_recv(cx) {
                Poll::Pending => break,
                Poll::Ready(Some((command, answer))) => self.machine.call(command, answer, now()),
                // The last handle is gone.
                Poll::Ready(None) => self.machine.disconnect(),
            }
            any = true;
            self.act();
            if self.machine.is_over().is_some() {
                break;
            }
        }
        any
    }

    fn poll_futures(&mut self, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        if let Some(opening) = &mut self.opening
            && let Poll::Ready(opened) = opening.as_mut().poll(cx)
        {
            any = true;
            self.opening = None;
            match opened {
                Ok(transport) => {
                    self.transport = Some(transport);
                    self.machine.opened(now());
                }
                Err(error) => self.machine.refused(error.to_string(), error.pause, now()),
            }
            self.act();
        }
        while let Poll::Ready(Some((of, token))) = self.fetches.poll_next_unpin(cx) {
            any = true;
            match of {
                None => self.machine.token(token, now()),
                Some(id) => self.machine.sub_token(id, token, now()),
            }
            self.act();
        }
        while let Poll::Ready(Some(())) = self.goodbyes.poll_next_unpin(cx) {}
        any
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(transport) = &mut self.transport else { return false };
        match self.outgoing.poll_write(&mut **transport, cx) {
            Ok(written) => written,
            Err(how) => {
                self.lost(how);
                true
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        for _ in 0..TURN {
            if !self.held.is_empty() {
                break;
            }
            let Some(transport) = &mut self.transport else { break };
            let Poll::Ready(received) = transport.poll_receive(cx) else { break };
            any = true;
            match received {
                Ok(frame) => self.received(&frame),
                Err(how) => self.lost(how),
            }
        }
        any
    }

    fn received(&mut self, frame: &transport::Frame) {
        let now = now();
        let encoding = self.ends.encoding;
        let machine = &mut self.machine;
        let read = match frame.of {
            None => encoding.replies(&frame.bytes).try_for_each(|reply| {
                machine.received(reply?, now);
                Ok::<_, Malformed>(())
            }),
            Some(command) => encoding.pushes(&frame.bytes).try_for_each(|push| {
                machine.received_in(command, push?, now);
                Ok(())
            }),
        };
        if let Err(error) = read {
            let what = format!("the server sent what is no message: {error}");
            self.machine.lost(Lost::Unreadable(Why::new(own::BAD_PROTOCOL, what)), now);
        }
        self.act();
    }

    fn lost(&mut self, how: Lost) {
        // There is nobody to say goodbye to.
        self.transport = None;
        self.outgoing.clear();
        self.machine.lost(how, now());
        self.act();
    }

    fn poll_time(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(deadline) = self.machine.deadline() else { return false };
        let deadline = deadline.into();
        if self.sleep.deadline() != deadline {
            self.sleep.as_mut().reset(deadline);
        }
        let due = self.sleep.as_mut().poll(cx).is_ready();
        if due {
            self.machine.elapsed(now());
            self.act();
        }
        due
    }

    /// Does what the machine says.
    fn act(&mut self) {
        while let Some(action) = self.machine.action() {
            match action {
                Action::Open => {
                    let options = self.options.clone();
                    self.opening = Some(Box::pin(async move { transport::open(&options).await }));
                }
                Action::Close => {
                    self.opening = None;
                    let left = self.outgoing.take();
                    if let Some(transport) = self.transport.take() {
                        self.goodbyes.push(Box::pin(goodbye(transport, left)));
                    }
                    self.held.clear();
                    self.machine.listen(true, now());
                }
                Action::Send(command) => self.outgoing.command(&command),
                Action::Pong => self.outgoing.pong(),
                Action::Token => self.fetch(None, self.token_source.as_ref().map(TokenSource::fetch)),
                Action::SubToken(id) => {
                    let source = self.subs.get(&id).and_then(|side| side.token_source.as_ref());
                    self.fetch(Some(id), source.map(TokenSource::fetch));
                }
                Action::Client(event) => self.tell(event),
                Action::Sub(id, event) => self.tell_sub(id, event),
                Action::Live(id, command) => {
                    if let Some(side) = self.subs.get_mut(&id) {
                        side.command = command;
                    }
                    if let Some(transport) = &mut self.transport {
                        transport.live(command);
                    }
                }
                Action::Dead(command) => {
                    if let Some(transport) = &mut self.transport {
                        transport.dead(command);
                    }
                }
            }
        }
    }

    fn fetch(&mut self, of: Option<SubId>, fetch: Option<Fetch>) {
        if let Some(fetch) = fetch {
            self.fetches.push(Box::pin(async move { (of, fetch.await) }));
        }
    }

    fn tell(&mut self, event: ClientEvent) {
        let state = match &event {
            ClientEvent::Connecting(_) => Some(State::Connecting),
            ClientEvent::Connected(_) => Some(State::Connected),
            ClientEvent::Disconnected(why) => Some(State::Disconnected(why.clone())),
            _ => None,
        };
        self.ends.shared.tell(event);
        if let Some(state) = state {
            self.ends.state.send_replace(state);
        }
    }

    fn tell_sub(&mut self, id: SubId, event: Event) {
        let Some(side) = self.subs.get(&id) else { return };
        let ended = matches!(event, Event::Unsubscribed(_));
        if side.queue.push(event) == Pushed::Full {
            match side.queue.overflow() {
                Overflow::Wait => {
                    let command = side.command;
                    let transport = self.transport.as_mut();
                    if !transport.is_some_and(|transport| transport.hold(command, true)) {
                        self.held.insert(id);
                        self.machine.listen(false, now());
                    }
                }
                Overflow::Recover if self.machine.hold(id, now()) => {}
                Overflow::Recover | Overflow::DropOldest => side.queue.trim(),
            }
        }
        if ended {
            side.queue.end();
            self.ends.shared.release(&side.channel, id);
            self.subs.remove(&id);
            self.unhold(id, now());
        }
    }

    /// Goes on reading, if nobody else is waited for.
    fn unhold(&mut self, id: SubId, now: Instant) {
        if self.held.remove(&id) && self.held.is_empty() {
            self.machine.listen(true, now);
        }
    }
}

impl Drop for Driver {
    /// However the task ends, by a panic of a token source or with its runtime: no reader waits for what never comes.
    fn drop(&mut self) {
        for want in self.ends.shared.end() {
            if let Want::Subscribe(wanted) = want {
                wanted.queue.end();
            }
        }
        self.subs.values().for_each(|side| side.queue.end());
        self.ends.state.send_if_modified(|state| {
            let alive = !matches!(state, State::Disconnected(_));
            if alive {
                *state = State::Disconnected(Why::new(own::GONE, "the client's task has ended"));
            }
            alive
        });
    }
}

/// Writes what is left to be written and closes a transport, for as long as that may take.
async fn goodbye(mut transport: Box<dyn Transport>, mut left: Outgoing) {
    let close = async {
        std::future::poll_fn(|cx| match left.poll_write(&mut *transport, cx) {
            Ok(_) if !left.is_empty() => Poll::Pending,
            _ => Poll::Ready(()),
        })
        .await;
        std::future::poll_fn(|cx| transport.poll_close(cx)).await;
    };
    // Late or not: what counts is that it has ended.
    let _ = tokio::time::timeout(GOODBYE, close).await;
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
