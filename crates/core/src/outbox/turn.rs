use super::batch::{Batch, What};
use super::{Event, Lane, Outbox};
use crate::log::{End, Fetched};
use crate::{Kind, Verdict};

/// Entries of a lane that are looked at in one turn, wanted or not: a subscription that wants none of
/// many must not hold up the others.
const ENTRIES: u64 = 256;

impl Outbox {
    /// The cut message's rest, and then the control lane.
    pub(super) fn fill_control(&mut self, room: usize, batch: &mut Batch) {
        if !self.rest.is_empty() {
            batch.span(What::Rest);
            for part in self.rest.drain(..) {
                batch.put(&part);
            }
            batch.step();
        }
        while batch.len() < room {
            let Some(message) = self.control.pop_front() else { break };
            self.control_bytes -= message.weight();
            batch.control(message, None);
        }
    }

    /// Lets one lane have its turn: about a quantum of bytes, less what it wrote too much before.
    pub(super) fn fill_lane(&mut self, lane: Lane, room: usize, batch: &mut Batch) {
        let Some(attached) = self.lanes.get_mut(lane) else { return };
        let quantum = self.limits.quantum.max(1);
        if attached.debt as usize >= quantum {
            attached.debt -= quantum as u32;
            self.ready.push_back(lane);
            return;
        }
        attached.queued = false;
        let turn = batch.len() + quantum - attached.debt as usize;
        attached.debt = 0;
        if self.read(lane, turn.min(room), batch)
            && let Some(attached) = self.lanes.get_mut(lane)
        {
            attached.queued = true;
            attached.debt = u32::try_from(batch.len().saturating_sub(turn)).unwrap_or(u32::MAX);
            self.ready.push_back(lane);
        }
    }

    /// Reads a lane until the batch has `turn` bytes; returns whether it is to have another turn.
    fn read(&mut self, lane: Lane, turn: usize, batch: &mut Batch) -> bool {
        let Self { lanes, events, .. } = self;
        let Some(attached) = lanes.get_mut(lane) else { return false };
        let until = attached.filled.sequence + ENTRIES;
        while batch.len() < turn && attached.filled.sequence < until {
            let settled = attached.settled();
            let (fetched, behind, head) = attached.cursor.fetch(&attached.filled);
            let run = match fetched {
                Fetched::Run(run) => run,
                Fetched::Head if !settled || attached.cursor.park() => return false,
                Fetched::Head => continue,
                Fetched::Ended(why) => {
                    // Not before what the batch holds of it is taken; see `requeue`.
                    if settled {
                        self.end(lane, why);
                    }
                    return false;
                }
            };
            let skip_to = match attached.policy.judge(&behind) {
                Verdict::Read if run.from() == attached.filled.sequence => None,
                Verdict::Read => Some(attached.cursor.oldest()),
                Verdict::SkipToLatest => {
                    Some(attached.cursor.newest()).filter(|to| to.sequence > attached.filled.sequence)
                }
                Verdict::End => {
                    if settled {
                        self.end(lane, End::Behind(behind));
                    }
                    return false;
                }
                Verdict::Disconnect(why) => {
                    // It is not read any further: what is left is the connection's loss.
                    events.push_back(Event::Close(why));
                    return false;
                }
            };
            if skip_to.is_some() && attached.subscription.continuous() {
                // It cannot go on over a gap, whatever the policy is: its client recovers.
                if settled {
                    self.end(lane, End::Behind(behind));
                }
                return false;
            }
            if let Some(to) = skip_to {
                attached.skip(lane, to, batch);
                if let Some(why) = batch.take_closing() {
                    events.push_back(Event::Close(why));
                    return false;
                }
                continue;
            }
            let first = batch.ends().len();
            let last = run.to().min(until);
            let mut at = run.from();
            let mut closing = None;
            let mut silent = false;
            while at < last && batch.len() < turn && closing.is_none() {
                let entry = run.entry(at);
                if matches!(entry.kind(), Kind::Break) && attached.subscription.continuous() {
                    break;
                }
                let before = batch.len();
                attached.subscription.write(entry, at > attached.fresh, batch);
                batch.step();
                at += 1;
                let unwritten = batch.len() == before;
                silent |= unwritten;
                let followed = match entry.publication() {
                    Some(_) => !unwritten,
                    // A join, say: what comes follows the publication before it, if that was written.
                    None => at - 1 != attached.fresh,
                };
                if !followed {
                    attached.fresh = at;
                }
                closing = batch.take_closing();
            }
            if at == run.from() {
                if settled {
                    self.end(lane, End::Discontinuous(behind));
                }
                return false;
            }
            attached.filled = run.before(at);
            batch.span_from(first, What::Run { lane, run, to_head: at == head, silent });
            if let Some(why) = closing {
                events.push_back(Event::Close(why));
                return false;
            }
            if !self.deferred.is_empty() {
                for (_, place, message) in
                    self.deferred.extract_if(.., |(of, place, _)| *of == lane && *place <= at)
                {
                    self.control_bytes -= message.weight();
                    batch.control(message, Some((lane, place)));
                }
            }
            if at == head {
                return false;
            }
        }
        true
    }
}
