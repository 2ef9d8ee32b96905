use std::ops::Range;

use super::batch::{Batch, What};
use super::copies::Like;
use super::lanes::Attached;
use super::{Event, Lane, Outbox};
use crate::log::{Behind, Cause, End, Fetched, Run};
use crate::{Entry, Kind, Position, Verdict};

/// Entries of a lane that are looked at in one turn, wanted or not: a subscription that wants none of
/// many must not hold up the others.
const ENTRIES: u64 = 256;

impl Outbox {
    /// The cut message's rest, and then the control lane.
    pub(super) fn fill_control(&mut self, room: usize, batch: &mut Batch) {
        if let Some(rare) = self.rare.as_mut().filter(|rare| !rare.rest.is_empty()) {
            batch.span(What::Rest);
            for part in rare.rest.drain(..) {
                batch.put(&part);
            }
            batch.step();
        }
        if let Some(message) = self.first.take() {
            batch.control(*message, None);
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
            self.lanes.ready_last(lane);
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
            self.lanes.ready_last(lane);
        }
    }

    /// Reads a lane until the batch has `turn` bytes; returns whether it is to have another turn.
    pub(super) fn read(&mut self, lane: Lane, turn: usize, batch: &mut Batch) -> bool {
        let Self { lanes, rare, crowd, limits, .. } = self;
        let Some(attached) = lanes.get_mut(lane) else { return false };
        let mut looks = Looks(ENTRIES);
        while batch.len() < turn && looks.0 > 0 {
            let settled = attached.settled();
            let (fetched, behind, head) = attached.cursor.fetch(&attached.filled);
            crowd.note(&mut attached.lag, &behind);
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
            let lost = run.from() > attached.filled.sequence;
            let crowded = crowd.is_full(&attached.lag, &limits.behind);
            let behind = Behind { crowded, ..behind };
            let way = match attached.policy.judge(&behind) {
                Verdict::Read if lost => Way::Skip(attached.cursor.oldest(), Cause::Trimmed),
                Verdict::Read => Way::Read,
                Verdict::SkipToLatest => {
                    let to = attached.cursor.newest();
                    if to.sequence > attached.filled.sequence {
                        Way::Skip(to, Cause::Skipped)
                    } else {
                        Way::Read
                    }
                }
                Verdict::LatestPerKey => {
                    attached.latest_until = head;
                    Way::LatestPerKey
                }
                Verdict::End => Way::End,
                Verdict::Disconnect(why) => {
                    // It is not read any further: what is left is the connection's loss.
                    rare.get_or_insert_default().events.push_back(Event::Cut(why));
                    return false;
                }
            };
            match way {
                // It cannot go on over a gap, whatever the policy is: its client recovers.
                Way::Skip(..) | Way::LatestPerKey if attached.subscription.continuous() => {
                    if settled {
                        self.end(lane, End::Behind(behind));
                    }
                    return false;
                }
                Way::End => {
                    if settled {
                        self.end(lane, End::Behind(behind));
                    }
                    return false;
                }
                Way::Skip(to, cause) => {
                    attached.skip(lane, to, cause, batch);
                    looks.take(1);
                }
                Way::LatestPerKey if lost => attached.read_kept(lane, turn, &mut looks, batch),
                Way::LatestPerKey | Way::Read => {
                    if !attached.read_run(lane, run, head, turn, &mut looks, batch) {
                        if settled {
                            self.end(lane, End::Discontinuous(behind));
                        }
                        return false;
                    }
                    let at = attached.filled.sequence;
                    if let Some(rare) = rare {
                        for (_, place, message) in
                            rare.deferred.extract_if(.., |(of, place, _)| *of == lane && *place <= at)
                        {
                            self.control_bytes -= message.weight();
                            batch.control(message, Some((lane, place)));
                        }
                    }
                    if at == head && batch.closing().is_none() {
                        return false;
                    }
                }
            }
            if let Some(why) = batch.take_closing() {
                rare.get_or_insert_default().events.push_back(Event::Cut(why));
                return false;
            }
        }
        true
    }
}

/// Where a lane goes on.
enum Way {
    Read,
    Skip(Position, Cause),
    LatestPerKey,
    End,
}

/// How many entries may still be looked at.
struct Looks(u64);

impl Looks {
    fn take(&mut self, count: u64) {
        self.0 = self.0.saturating_sub(count);
    }
}

impl Attached {
    /// Reads the run that begins where this lane stands; false if it cannot even begin, at a break.
    fn read_run(
        &mut self,
        lane: Lane,
        mut run: Run,
        head: u64,
        turn: usize,
        looks: &mut Looks,
        batch: &mut Batch,
    ) -> bool {
        let last = run.to().min(run.from() + looks.0);
        let begin = run.from();
        let mut at = begin;
        while at < last && batch.len() < turn && batch.closing().is_none() {
            let latest_until = self.latest_until.min(last);
            if at < latest_until && run.is_superseded(at) {
                at = run.latest_from(at, latest_until);
                self.skip(lane, run.before(at), Cause::Superseded, batch);
                run = run.skip_to(at);
                continue;
            }
            let (first, from) = (batch.ends().len(), at);
            // Where only the latest of each key is read, each subscriber reads its own selection.
            let own = run.is_alone() || at < latest_until;
            let like = if own { None } else { self.like(run.entry(at)) };
            let copied = like.map_or(Err(last), |like| batch.copy(like, &run, at, last, turn));
            let (silent, made);
            match copied {
                Ok((count, unsure)) => (at, silent, made) = (at + count, unsure, None),
                Err(until) => {
                    let (place, slices) = batch.place();
                    let count;
                    (count, silent) = self.write_run(&run, at..until, latest_until, turn, batch);
                    at += count;
                    // An entry that cannot be told closes each connection by itself.
                    let whole = batch.place().1 == slices && batch.closing().is_none();
                    made = like.filter(|_| whole).map(|like| (like, place));
                }
            }
            if at == from {
                break;
            }
            self.filled = run.before(at);
            let rest = (at < last && batch.len() < turn).then(|| run.clone().skip_to(at));
            batch.span_from(first, What::Run { lane, run, to_head: at == head, silent, made });
            let Some(rest) = rest else { break };
            run = rest;
        }
        looks.take(at - begin);
        at > begin
    }

    /// Writes entries of a run, until there are `turn` bytes: how many, and whether some were not wanted. Those up
    /// to `latest_until` only as long as they are the latest of their keys.
    fn write_run(
        &mut self,
        run: &Run,
        entries: Range<u64>,
        latest_until: u64,
        turn: usize,
        batch: &mut Batch,
    ) -> (u64, bool) {
        let mut at = entries.start;
        let mut silent = false;
        while at < entries.end && batch.len() < turn && batch.closing().is_none() {
            let entry = run.entry(at);
            if matches!(entry.kind(), Kind::Break) && self.subscription.continuous() {
                break;
            }
            // The first was judged by who asked for it: what has superseded it since follows, and to write nothing would
            // be taken for a break.
            if at > entries.start && at < latest_until && run.is_superseded(at) {
                break;
            }
            let before = batch.len();
            self.subscription.write(entry, at > self.fresh, batch);
            batch.step();
            at += 1;
            let unwritten = batch.len() == before;
            silent |= unwritten;
            let followed = match entry.publication() {
                Some(_) => !unwritten,
                // A join, say: what comes follows the publication before it, if that was written.
                None => at - 1 != self.fresh,
            };
            if !followed {
                self.fresh = at;
            }
        }
        (at - entries.start, silent)
    }

    /// What it has in common with others that write the same of the log from `first` on. Such a one takes no
    /// patches, and `fresh` means nothing to it.
    fn like(&mut self, first: &Entry) -> Option<Like> {
        if self.like.is_none() {
            let likeness = self.subscription.likeness(first)?;
            self.like = Some(Like { likeness, continuous: self.subscription.continuous() });
        }
        self.like
    }

    /// Reads what is kept behind this lane's place of what the window has trimmed, or goes on to the window.
    fn read_kept(&mut self, lane: Lane, turn: usize, looks: &mut Looks, batch: &mut Batch) {
        let (kept, base, cause) = self.cursor.kept(&self.filled, KEPT);
        if kept.is_empty() {
            looks.take(1);
            return self.skip(lane, base, cause, batch);
        }
        for kept in kept {
            if batch.len() >= turn || batch.closing().is_some() {
                return;
            }
            looks.take(1);
            let before = kept.before();
            if before.sequence > self.filled.sequence {
                self.skip(lane, before, cause, batch);
            }
            self.write_kept(lane, &kept, batch);
        }
    }
}

/// Trimmed publications that are taken from a log at once: each costs a reference under its lock.
const KEPT: usize = 64;
