use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Waker};

use futures_util::task::AtomicWaker;

use crate::machine::{SubId, SubOptions};
use crate::options::EVENT_BYTES;
use crate::queue::{Bounds, Overflow, Pushed, Queue};
use crate::token::TokenSource;
use crate::{ClientEvent, Event};

/// What a client's handles and its task share. Each lock is a leaf, held for a moment.
#[derive(Debug)]
pub(crate) struct Shared {
    /// What handles want that cannot wait, in order: at most a few for each subscription.
    wants: Mutex<Wants>,
    /// The client's task.
    task: AtomicWaker,
    /// Which subscription each channel has.
    channels: Mutex<HashMap<String, SubId>>,
    readers: Mutex<Readers>,
    event_buffer: usize,
}

#[derive(Debug, Default)]
struct Wants {
    list: VecDeque<Want>,
    /// The task is gone.
    ended: bool,
}

/// What a handle wants of the client's task.
#[derive(Debug)]
pub(crate) enum Want {
    Subscribe(Box<Wanted>),
    /// Nobody reads the subscription any more.
    Leave(SubId),
    /// There is room in the subscription's queue again.
    Room(SubId),
    Disconnect,
}

/// A subscription that begins.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) id: SubId,
    pub(crate) channel: String,
    pub(crate) options: SubOptions,
    pub(crate) token_source: Option<TokenSource>,
    pub(crate) queue: Arc<Queue<Event>>,
}

#[derive(Debug, Default)]
struct Readers {
    /// What a newcomer is told first; nothing before anything happened.
    state: Option<ClientEvent>,
    queues: Vec<Arc<Queue<ClientEvent>>>,
    ended: bool,
}

impl Shared {
    pub(crate) fn new(event_buffer: usize) -> Self {
        Self {
            wants: Mutex::default(),
            task: AtomicWaker::new(),
            channels: Mutex::default(),
            readers: Mutex::default(),
            event_buffer,
        }
    }

    /// Tells the client's task; false if it is gone.
    pub(crate) fn want(&self, want: Want) -> bool {
        let mut wants = lock(&self.wants);
        if wants.ended {
            return false;
        }
        wants.list.push_back(want);
        drop(wants);
        self.task.wake();
        true
    }

    /// What is wanted next; if nothing, `cx` is woken when there is something.
    pub(crate) fn wanted(&self, cx: &Context<'_>) -> Option<Want> {
        self.task.register(cx.waker());
        lock(&self.wants).list.pop_front()
    }

    /// Gives the channel to a subscription; false if it has one.
    pub(crate) fn claim(&self, channel: &str, id: SubId) -> bool {
        let mut channels = lock(&self.channels);
        let free = !channels.contains_key(channel);
        if free {
            channels.insert(channel.to_owned(), id);
        }
        free
    }

    /// Takes the channel back, unless another subscription has it by now.
    pub(crate) fn release(&self, channel: &str, id: SubId) {
        let mut channels = lock(&self.channels);
        if channels.get(channel) == Some(&id) {
            channels.remove(channel);
        }
    }

    /// A new reader of the client's events, who is told the state first.
    pub(crate) fn reader(&self) -> Arc<Queue<ClientEvent>> {
        let overflow = Overflow::DropOldest;
        let queue = Arc::new(Queue::new(Bounds { items: self.event_buffer, bytes: EVENT_BYTES, overflow }));
        let mut readers = lock(&self.readers);
        if let Some(state) = &readers.state {
            queue.push(state.clone());
        }
        if readers.ended {
            queue.end();
        } else {
            readers.queues.push(queue.clone());
        }
        queue
    }

    /// Tells all readers.
    pub(crate) fn tell(&self, event: ClientEvent) {
        let mut wakers = Vec::new();
        let mut readers = lock(&self.readers);
        if matches!(
            event,
            ClientEvent::Connecting(_) | ClientEvent::Connected(_) | ClientEvent::Disconnected(_)
        ) {
            readers.state = Some(event.clone());
        }
        readers.queues.retain(|queue| {
            let (pushed, waker) = queue.push_quietly(event.clone());
            wakers.extend(waker);
            pushed != Pushed::Gone
        });
        drop(readers);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The task ends: no reader is told anything any more. Returns what is still wanted.
    pub(crate) fn end(&self) -> VecDeque<Want> {
        let mut wants = lock(&self.wants);
        wants.ended = true;
        let left = std::mem::take(&mut wants.list);
        drop(wants);
        let mut readers = lock(&self.readers);
        readers.ended = true;
        let queues = std::mem::take(&mut readers.queues);
        drop(readers);
        queues.iter().for_each(|queue| queue.end());
        left
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks can panic but for want of memory.
    mutex.lock().expect("no panic under the lock")
}
