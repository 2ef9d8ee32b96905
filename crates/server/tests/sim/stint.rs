//! One subscription as its client sees it, held against the truth entry by entry.

use std::sync::Arc;

use tokio::time::Instant;

use crate::plan::ChannelPlan;
use crate::truth::{Truth, What};

/// A subscription from its reply to its end.
#[derive(Clone, Debug)]
pub(crate) struct Stint {
    /// Where the cursor was taken: nothing of before is live.
    from: usize,
    /// What is expected next.
    next: usize,
    /// What the reply stood for: publications of this epoch up to this offset are not to come any more.
    floor: (Arc<str>, u64),
    /// It relies on offsets: nothing may be missing.
    pub(crate) continuous: bool,
    /// Its policy may skip.
    skips: bool,
    join_leave: bool,
    notices: bool,
    /// Publications that gap notices have told of since the last entry that came.
    told: u64,
    /// Its own publication was acknowledged and has not come: it must have ended, and only the word of it may
    /// still be under way.
    ending: Option<u64>,
    opened: Instant,
}

impl Stint {
    /// A subscription whose cursor was taken at `from`, and whose reply stood for publications up to `floor`:
    /// those after it are to come, older ones than the cursor as well.
    pub(crate) fn new(
        plan: &ChannelPlan,
        truth: &Truth,
        from: usize,
        floor: (Arc<str>, u64),
        notices: bool,
    ) -> Self {
        let continuous = plan.positioned || plan.recoverable;
        let first = truth.life(&floor.0, floor.1).next().filter(|_| plan.history.is_kept() && continuous);
        Self {
            from,
            next: first.map_or(from, |(place, ..)| place.min(from)),
            floor,
            continuous,
            skips: !continuous && plan.policy.skips(),
            join_leave: plan.join_leave,
            notices,
            told: 0,
            ending: None,
            opened: Instant::now(),
        }
    }

    /// A publication has come. `reading` is since when the client has read without a pause, if it does.
    pub(crate) fn publication(
        &mut self,
        truth: &Truth,
        number: u64,
        offset: u64,
        reading: Option<Instant>,
    ) -> Result<(), String> {
        let place = truth.place(number).ok_or(format!("publication {number} was never published here"))?;
        let What::Publication(_, real, _) = truth.get(place).what else { unreachable!() };
        if real != offset {
            return Err(format!("publication {number} has offset {offset}; expected {real}"));
        }
        self.come(truth, place, reading)
    }

    /// A join or a leave has come.
    pub(crate) fn news(
        &mut self,
        truth: &Truth,
        what: &What,
        reading: Option<Instant>,
    ) -> Result<(), String> {
        if !self.join_leave {
            return Err(format!("{what:?} came to a subscription that does not hear of such"));
        }
        let mut places = truth
            .from(self.next.max(self.from))
            .filter(|(_, item)| item.what == *what)
            .map(|(place, _)| place);
        let first = places.next().ok_or(format!("{what:?} came, and it is not ahead in the channel"))?;
        // A client that comes and goes says the same each time: of what was skipped, the gaps that were told
        // tell which of them this is.
        let place = match self.hole(truth, first) {
            Err(_) if self.skips => places.find(|place| self.hole(truth, *place).is_ok()).unwrap_or(first),
            _ => first,
        };
        self.come(truth, place, reading)
    }

    /// A gap notice has come.
    pub(crate) fn gap(&mut self, missed: u64) -> Result<(), String> {
        if self.continuous {
            return Err(format!("a gap of {missed} in a subscription that relies on offsets"));
        }
        if !self.notices || missed == 0 {
            return Err(format!("a gap notice of {missed} that nobody asked for"));
        }
        self.told += missed;
        Ok(())
    }

    fn come(&mut self, truth: &Truth, place: usize, reading: Option<Instant>) -> Result<(), String> {
        let item = truth.get(place);
        if let Some(number) = self.ending {
            return Err(format!("own publication {number} was acknowledged before it came"));
        }
        if place < self.next {
            return Err(format!(
                "{:?} came again or late: it stands at {place}, {} was next",
                item.what, self.next
            ));
        }
        if !self.expects(place, &item.what) {
            return Err(format!("{:?} came, which the reply at {:?} stood for", item.what, self.floor));
        }
        self.hole(truth, place)?;
        self.next = place + 1;
        self.told = 0;
        // Time stands still while anybody has anything to do: who reads gets it in the same instant.
        if let Some(reading) = reading {
            let due = item.at.max(reading).max(self.opened);
            let late = Instant::now().saturating_duration_since(due);
            if !late.is_zero() {
                return Err(format!("{:?} came {late:?} late to a client that reads", item.what));
            }
        }
        Ok(())
    }

    /// Asserts that what lies between what came last and `place` may be missing, and was told of.
    fn hole(&self, truth: &Truth, place: usize) -> Result<(), String> {
        let mut missing = 0;
        for (at, item) in truth.from(self.next).take(place - self.next) {
            match &item.what {
                What::Deleted if at >= self.from => {
                    return Err(format!("it goes on after its channel was deleted at {at}"));
                }
                What::Break if self.continuous && at >= self.from => {
                    return Err(format!("it relies on offsets and goes on over the break at {at}"));
                }
                what if self.expects(at, what) => {
                    if !self.skips {
                        return Err(format!("{what:?} at {at} is missing before {place}"));
                    }
                    missing += u64::from(matches!(what, What::Publication(..)));
                }
                _ => {}
            }
        }
        if self.notices && self.told != missing {
            let told = self.told;
            return Err(format!("{missing} publications are missing before {place}, and {told} were told"));
        }
        Ok(())
    }

    /// Asserts that everything before `place`, or before the channel's deletion, has come or was told of.
    pub(crate) fn complete(&self, truth: &Truth, place: usize) -> Result<(), String> {
        if let Some(number) = self.ending {
            return Err(format!("own publication {number} was acknowledged, and never came"));
        }
        let end = self.deleted(truth).map_or(place, |deleted| deleted.min(place)).max(self.next);
        self.hole(truth, end)
    }

    /// Where its channel was deleted, if it was.
    pub(crate) fn deleted(&self, truth: &Truth) -> Option<usize> {
        truth.from(self.from).find(|(_, item)| item.what == What::Deleted).map(|(place, _)| place)
    }

    /// The client's own publication is acknowledged: it has come, or was told to be missing, or the
    /// subscription has ended.
    pub(crate) fn own(&mut self, truth: &Truth, number: u64) {
        let Some(place) = truth.place(number) else { return };
        let passed = place < self.next
            || !self.expects(place, &truth.get(place).what)
            || self.deleted(truth).is_some_and(|deleted| deleted < place);
        if passed || (self.skips && !self.notices) {
            return;
        }
        let missing = truth.from(self.next).take(place + 1 - self.next);
        let publication = |at, what: &What| matches!(what, What::Publication(..)) && self.expects(at, what);
        let missing = missing.filter(|(at, item)| publication(*at, &item.what)).count() as u64;
        if !self.skips || self.told < missing {
            self.ending = Some(number);
        }
    }

    /// Whether the subscription is to get it, as far as it was opened before.
    fn expects(&self, place: usize, what: &What) -> bool {
        let live = place >= self.from;
        match what {
            What::Publication(_, offset, epoch) if *offset > 0 && *epoch == self.floor.0 => {
                *offset > self.floor.1
            }
            What::Publication(..) => live,
            What::Join(_) | What::Leave(_) => self.join_leave && live,
            What::Break | What::Deleted => false,
        }
    }
}
