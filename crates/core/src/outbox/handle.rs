use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::{Event, Lane};
use crate::call::{Call, Inquiry};
use crate::fanout::listen;
use crate::sync::Mutex;
use crate::{Disconnect, Health};

/// What others may do to a connection: ring it, call it, and ask it to close. Never to close it themselves.
///
/// Cheap to clone. After the connection has gone, everything is refused with [`Closed`].
#[derive(Clone)]
pub struct Handle(pub(super) Arc<Shared>);

/// The connection has gone, or is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection is closed")]
pub struct Closed;

/// Why a call was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotTaken {
    /// The connection has gone, or is going.
    #[error("the connection is closed")]
    Closed,
    /// The connection has as many calls ([`CALLS`]) or questions ([`INQUIRIES`]) waiting as it may; it is too
    /// slow for more.
    #[error("the connection has too many calls waiting already")]
    Full,
}

/// Calls that wait per connection. 128: as many as it may have channels.
pub const CALLS: usize = 128;

/// Questions about itself that wait per connection. 8: an operator's page or two that ask every second.
pub const INQUIRIES: usize = 8;

/// The part of an outbox that other tasks touch.
#[derive(Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The first lane that was rung: the usual one stands here, and no memory of its own is touched for it.
    rung: Option<Lane>,
    waker: Option<Waker>,
    gone: bool,
    /// It has been asked to close.
    closing: bool,
    news: Option<Box<News>>,
}

/// What others want of a connection, which is rare.
#[derive(Default)]
struct News {
    abort: bool,
    close: Option<Disconnect>,
    health: Option<Health>,
    calls: VecDeque<Call>,
    inquiries: Vec<Inquiry>,
    /// Who waits for the connection to be gone.
    watchers: Vec<Waker>,
    /// The other lanes that were rung.
    rung: Vec<Lane>,
}

/// What is looked at of what others want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Open {
    /// Everything.
    All,
    /// Not calls: those that were taken are not done yet.
    NoCalls,
    /// Closing and calls: nothing can be written, but there is room for some of it.
    Calls,
    /// Only closing: nothing can be written.
    Closing,
}

/// What a log keeps of a subscriber: which lane of which connection to ring.
#[derive(Clone)]
pub(crate) struct Wake {
    shared: Arc<Shared>,
    lane: Lane,
}

impl Wake {
    pub(crate) fn new(shared: Arc<Shared>, lane: Lane) -> Self {
        Self { shared, lane }
    }

    /// Says that the lane has something to read. Idempotent: a lane with nothing to read parks again.
    pub(crate) fn wake(self) {
        let mut state = self.shared.state.lock();
        state.ring(self.lane);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl fmt::Debug for Wake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wake").field(&self.lane).finish()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    /// Hands over the rung lanes and the next thing that others want, closing before the rest; registers
    /// the waker for what comes later.
    pub(super) fn collect(&self, cx: &Context<'_>, open: Open, ring: impl FnMut(Lane)) -> Option<Event> {
        let mut state = self.state.lock();
        state.take_rung(ring);
        let event = state.next(open);
        let old = listen(&mut state.waker, cx);
        drop(state);
        drop(old);
        event
    }

    /// Registers the waker for the next ring, and says whether something has rung already.
    pub(crate) fn listen(&self, cx: &Context<'_>) -> bool {
        let mut state = self.state.lock();
        let mut rung = false;
        state.take_rung(|_| rung = true);
        let old = listen(&mut state.waker, cx);
        drop(state);
        drop(old);
        rung
    }

    pub(super) fn leave(&self) {
        let mut state = self.state.lock();
        state.gone = true;
        let waker = state.waker.take();
        let news = state.news.take();
        drop(state);
        drop(waker);
        for watcher in news.into_iter().flat_map(|news| news.watchers) {
            watcher.wake();
        }
    }
}

impl State {
    fn ring(&mut self, lane: Lane) {
        match self.rung {
            None => self.rung = Some(lane),
            Some(_) => self.news.get_or_insert_default().rung.push(lane),
        }
    }

    /// Takes all lanes that were rung, in that order. Their list keeps its memory as long as it is used.
    fn take_rung(&mut self, mut ring: impl FnMut(Lane)) {
        let Some(first) = self.rung.take() else { return };
        ring(first);
        let Some(news) = &mut self.news else { return };
        if news.rung.is_empty() {
            news.rung = Vec::new();
        } else {
            news.rung.drain(..).for_each(ring);
        }
    }

    /// Takes what is to be done next.
    fn next(&mut self, open: Open) -> Option<Event> {
        let news = self.news.as_mut()?;
        if std::mem::take(&mut news.abort) {
            return Some(Event::Abort);
        }
        if let Some(why) = news.close.take() {
            return Some(Event::Close(why));
        }
        if let Some(inquiry) = news.inquiries.pop() {
            return Some(Event::Inquiry(inquiry));
        }
        if open == Open::Closing {
            return None;
        }
        let health = if open == Open::Calls { None } else { news.health.take().map(Event::Health) };
        let event = match health {
            None if open != Open::NoCalls => news.calls.pop_front().map(Event::Call),
            health => health,
        };
        if news.calls.is_empty()
            && news.health.is_none()
            && news.watchers.is_empty()
            && news.rung.capacity() == 0
        {
            self.news = None;
        }
        event
    }
}

impl Handle {
    /// Asks the connection to close for `why`. The first reason stands; asking again changes nothing.
    ///
    /// # Errors
    /// [`Closed`] if it has gone already.
    pub fn close(&self, why: Disconnect) -> Result<(), Closed> {
        self.tell(|state| {
            if !std::mem::replace(&mut state.closing, true) {
                state.news.get_or_insert_default().close = Some(why);
            }
            Ok(())
        })
        .map_err(|_| Closed)
    }

    /// Asks the connection to end at once, whatever it is doing, and without a word to the client.
    ///
    /// # Errors
    /// [`Closed`] if it has gone already.
    pub fn abort(&self) -> Result<(), Closed> {
        self.tell(|state| {
            state.news.get_or_insert_default().abort = true;
            Ok(())
        })
        .map_err(|_| Closed)
    }

    /// Tells the connection of the node's health. Only the latest state is kept, and it is the first
    /// thing that a connection which had stalled writes.
    ///
    /// # Errors
    /// [`Closed`] if it has gone already.
    pub fn health(&self, health: Health) -> Result<(), Closed> {
        self.tell(|state| {
            state.news.get_or_insert_default().health = Some(health);
            Ok(())
        })
        .map_err(|_| Closed)
    }

    /// Asks the connection to do something. Calls are done in order.
    ///
    /// # Errors
    /// [`NotTaken`] if it has gone, or has too many waiting.
    pub fn call(&self, call: Call) -> Result<(), NotTaken> {
        self.tell(|state| {
            let news = state.news.get_or_insert_default();
            // Receipts ask for nothing: they are counted apart.
            let receipt = |call: &Call| matches!(call, Call::Receipt(_));
            let alike = news.calls.iter().filter(|other| receipt(other) == receipt(&call));
            if alike.count() >= CALLS {
                return Err(NotTaken::Full);
            }
            news.calls.push_back(call);
            Ok(())
        })
    }

    /// Asks the connection how it is. It answers before anything else but closing, and while its socket takes
    /// nothing, too.
    ///
    /// # Errors
    /// [`NotTaken`] if it has gone, or has [`INQUIRIES`] to answer already.
    pub fn inquire(&self, inquiry: Inquiry) -> Result<(), NotTaken> {
        self.tell(|state| {
            let news = state.news.get_or_insert_default();
            if news.inquiries.len() >= INQUIRIES {
                return Err(NotTaken::Full);
            }
            news.inquiries.push(inquiry);
            Ok(())
        })
    }

    /// Waits until the connection has gone, with all that its outbox's owner does before it drops it.
    ///
    /// Cancel safe.
    pub async fn gone(&self) {
        poll_fn(|cx| {
            let mut state = self.0.state.lock();
            if state.gone {
                return Poll::Ready(());
            }
            let watchers = &mut state.news.get_or_insert_default().watchers;
            if !watchers.iter().any(|watcher| watcher.will_wake(cx.waker())) {
                watchers.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// Whether both are handles of the same connection.
    pub fn same(&self, other: &Handle) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn tell(&self, what: impl FnOnce(&mut State) -> Result<(), NotTaken>) -> Result<(), NotTaken> {
        let mut state = self.0.state.lock();
        if state.gone {
            return Err(NotTaken::Closed);
        }
        what(&mut state)?;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&Arc::as_ptr(&self.0)).finish()
    }
}
