//! What everybody in a simulation shares: the plan, the truth, the trace, and what was found wrong.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard};

use tidegate_server::core::Channel;
use tokio::time::Instant;

use crate::plan::Plan;
use crate::truth::{Truth, What};

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) started: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) trace: Vec<String>,
    pub(crate) failures: Vec<String>,
    pub(crate) truths: Vec<Truth>,
    /// Where a channel stood each time that a client was allowed to subscribe and has not read the answer.
    grants: BTreeMap<(Arc<str>, usize), VecDeque<usize>>,
    serial: u64,
    /// How long each channel was when the server was told to stop.
    pub(crate) drained: Option<Vec<usize>>,
    pub(crate) over: bool,
    /// Who is connected, and to what each is subscribed.
    pub(crate) live: BTreeMap<Arc<str>, BTreeSet<usize>>,
    /// Somebody stalled, vanished or broke a rule: not all that was written was read.
    pub(crate) spoiled: bool,
    /// Publications that clients read as pushes.
    pub(crate) read: u64,
    /// Publications that gap notices told of.
    pub(crate) told: u64,
    /// Publications that somebody published and the server acknowledged.
    pub(crate) published: u64,
    /// Publish commands whose replies nobody has read.
    pub(crate) unanswered: u64,
    /// The application has asked for subscriptions that recover: what they bring counts as no delivery.
    pub(crate) recovers: bool,
}

impl World {
    pub(crate) fn new(plan: Plan) -> Arc<Self> {
        let truths = plan.channels.iter().map(|_| Truth::default()).collect();
        let state = Mutex::new(State { truths, ..State::default() });
        Arc::new(Self { plan, started: Instant::now(), state })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The channel's number in the plan.
    pub(crate) fn number(&self, channel: &Channel) -> Option<usize> {
        self.plan.channels.iter().position(|plan| plan.name == *channel)
    }

    pub(crate) fn number_of(&self, channel: &str) -> Option<usize> {
        self.plan.channels.iter().position(|plan| plan.name.as_str() == channel)
    }

    pub(crate) fn note(&self, who: impl Display, what: impl Display) {
        let line = format!("{:>9} {who}: {what}", self.started.elapsed().as_millis());
        self.state().trace.push(line);
    }

    pub(crate) fn fail(&self, who: impl Display, what: impl Display) {
        let line = format!("{:>9} {who}: WRONG: {what}", self.started.elapsed().as_millis());
        let mut state = self.state();
        state.trace.push(line.clone());
        state.failures.push(line);
    }

    /// Something was appended to a channel.
    pub(crate) fn overhear(&self, channel: &Channel, what: What) {
        self.note(channel, format_args!("{what:?}"));
        let Some(number) = self.number(channel) else { return };
        self.state().truths[number].push(what);
    }

    /// A client may subscribe, and its cursor is taken now.
    pub(crate) fn granted(&self, client: &Arc<str>, channel: &Channel) {
        let Some(number) = self.number(channel) else { return };
        let mut state = self.state();
        let place = state.truths[number].len();
        state.grants.entry((client.clone(), number)).or_default().push_back(place);
    }

    /// Where the channel stood then: for the next answer that the client reads.
    pub(crate) fn grant(&self, client: &Arc<str>, channel: usize) -> Option<usize> {
        self.state().grants.get_mut(&(client.clone(), channel))?.pop_front()
    }

    /// A number that no publication has had.
    pub(crate) fn serial(&self) -> u64 {
        let mut state = self.state();
        state.serial += 1;
        state.serial
    }

    pub(crate) fn is_over(&self) -> bool {
        self.state().over
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.state().drained.is_some()
    }

    /// The server is told to stop: what was published by now is to be read by whoever reads.
    pub(crate) fn drain(&self) {
        self.note("world", "drain");
        let mut state = self.state();
        state.drained = Some(state.truths.iter().map(Truth::len).collect());
    }

    /// Clients and publishers have come to rest.
    pub(crate) fn is_resting(&self) -> bool {
        self.plan.rest && self.started.elapsed() >= self.plan.busy
    }
}
