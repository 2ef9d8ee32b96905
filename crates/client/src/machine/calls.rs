use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use tidegate_protocol::message;
use tidegate_protocol::{Command, Reply};
use tokio::sync::oneshot;

use super::SubId;
use crate::{CallError, Why};

/// Where the answer to a call of the program's goes.
#[derive(Debug)]
pub(crate) struct Answer(oneshot::Sender<Result<Reply, CallError>>);

impl Answer {
    pub(crate) fn new() -> (Self, oneshot::Receiver<Result<Reply, CallError>>) {
        let (sender, receiver) = oneshot::channel();
        (Self(sender), receiver)
    }

    pub(crate) fn give(self, answer: Result<Reply, CallError>) {
        // Who gave up waiting wants no answer.
        let _ = self.0.send(answer);
    }

    pub(crate) fn is_given_up(&self) -> bool {
        self.0.is_closed()
    }
}

/// What a command was sent for.
#[derive(Debug)]
pub(super) enum What {
    Connect,
    Subscribe(SubId),
    Unsubscribe,
    Refresh,
    SubRefresh(SubId),
    Call(Answer),
}

/// Commands that wait for a connection, or for their answer.
#[derive(Debug)]
pub(super) struct Calls {
    timeout: Duration,
    sent: HashMap<u32, What>,
    /// Until when those sent may take, in order; also of some that have been answered.
    due: VecDeque<(Instant, u32)>,
    /// Calls that wait for a connection, in order, and until when.
    waiting: VecDeque<(Instant, Box<Command>, Answer)>,
}

impl Calls {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, sent: HashMap::new(), due: VecDeque::new(), waiting: VecDeque::new() }
    }

    pub(super) fn sent(&mut self, id: u32, what: What, now: Instant) {
        self.sent.insert(id, what);
        self.due.push_back((now + self.timeout, id));
    }

    pub(super) fn wait(&mut self, command: Box<Command>, answer: Answer, now: Instant) {
        self.waiting.push_back((now + self.timeout, command, answer));
    }

    /// Takes all that wait, as there is a connection.
    pub(super) fn ready(&mut self) -> Vec<(Box<Command>, Answer)> {
        self.waiting.drain(..).map(|(_, command, answer)| (command, answer)).collect()
    }

    pub(super) fn answered(&mut self, id: u32) -> Option<What> {
        self.sent.remove(&id)
    }

    /// Takes one that has waited for too long.
    pub(super) fn expired(&mut self, now: Instant) -> Option<What> {
        if self.waiting.front().is_some_and(|(until, ..)| *until <= now) {
            return self.waiting.pop_front().map(|(_, _, answer)| What::Call(answer));
        }
        while self.next_due().is_some_and(|until| until <= now) {
            let what = self.due.pop_front().and_then(|(_, id)| self.sent.remove(&id));
            if what.is_some() {
                return what;
            }
        }
        None
    }

    pub(super) fn deadline(&mut self) -> Option<Instant> {
        let waiting = self.waiting.front().map(|(until, ..)| *until);
        [waiting, self.next_due()].into_iter().flatten().min()
    }

    /// The connection is gone, and with it all that was sent.
    pub(super) fn lose(&mut self) {
        self.due.clear();
        for (_, what) in self.sent.drain() {
            if let What::Call(answer) = what {
                answer.give(Err(CallError::ConnectionLost));
            }
        }
    }

    /// There will be no connection any more.
    pub(super) fn refuse(&mut self, why: &Why) {
        for (_, _, answer) in self.waiting.drain(..) {
            answer.give(Err(CallError::Disconnected(why.clone())));
        }
    }

    fn next_due(&mut self) -> Option<Instant> {
        while self.due.front().is_some_and(|(_, id)| !self.sent.contains_key(id)) {
            self.due.pop_front();
        }
        self.due.front().map(|(until, _)| *until)
    }
}

/// Whether the same may succeed later.
pub(super) fn is_temporary(error: &message::Error) -> bool {
    error.temporary || error.code < 100
}

pub(super) fn refused(error: message::Error) -> CallError {
    CallError::Refused { code: error.code, message: error.message, temporary: error.temporary }
}
