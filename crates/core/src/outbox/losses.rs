use super::{Lane, Outbox};
use crate::log::Cause;

/// Publications that a connection's subscriptions did not get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Why.
    pub cause: Cause,
    /// The name of the subscription's [`Backpressure`](crate::Backpressure).
    pub policy: &'static str,
    /// How many.
    pub publications: u64,
}

impl Outbox {
    /// What was lost since the last call, as far as it is certain: gaps whose notice the socket took, and
    /// what ended subscriptions had not read. Nothing in most calls, which then cost nothing.
    pub fn take_losses(&mut self) -> Vec<Loss> {
        self.rare.as_mut().map(|rare| std::mem::take(&mut rare.losses)).unwrap_or_default()
    }

    /// Ends a lane that the client would have read on: what it had not read is lost.
    pub fn cut(&mut self, lane: Lane) {
        let Some(policy) = self.lanes.get(lane).map(|attached| attached.policy.name()) else { return };
        if let Some(behind) = self.detach(lane) {
            self.lose(Loss { cause: Cause::Ended, policy, publications: behind.publications });
        }
    }

    /// The connection ends: what its subscriptions have not read is lost. To be called once.
    pub fn give_up(&mut self) {
        let Self { lanes, rare, .. } = self;
        let losses = &mut rare.get_or_insert_default().losses;
        for attached in lanes.iter() {
            let publications = attached.behind().publications;
            add(losses, Loss { cause: Cause::Closed, policy: attached.policy.name(), publications });
        }
    }

    pub(super) fn lose(&mut self, loss: Loss) {
        add(&mut self.rare().losses, loss);
    }
}

/// Adds up what has the same cause and policy: there are few.
fn add(losses: &mut Vec<Loss>, loss: Loss) {
    if loss.publications == 0 {
        return;
    }
    match losses.iter_mut().find(|known| (known.cause, known.policy) == (loss.cause, loss.policy)) {
        Some(known) => known.publications += loss.publications,
        None => losses.push(loss),
    }
}
