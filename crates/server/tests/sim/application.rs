//! What the application does beside the clients: publishes, and makes its calls.

use std::collections::VecDeque;
use std::sync::Arc;

use tidegate_server::core::broker::{BrokerError, PublishOptions, Published};
use tidegate_server::core::call::RefreshCall;
use tidegate_server::core::{Disconnect, Health, HistoryBounds, Publication};
use tidegate_server::{Handle, PublishError, Target};
use tokio::time::sleep;

use crate::broker::payload;
use crate::dice::Dice;
use crate::rules::call;
use crate::session::BY_CALL;
use crate::truth::What;
use crate::world::World;

/// Publishes in bursts, until the world rests or the server stops.
pub(crate) async fn publish(world: Arc<World>, handle: Handle, number: u64) {
    let mut dice = Dice::new(world.plan.seed, 50 + number);
    let who = format!("publisher {number}");
    let mut keys: VecDeque<(usize, Arc<str>, u64)> = VecDeque::new();
    let mut left = world.plan.publications;
    while left > 0 && !world.is_resting() && !world.is_over() {
        let burst = if dice.percent(20) { dice.between(5, 60) } else { dice.between(1, 3) };
        left = left.saturating_sub(burst);
        let channel = dice.index(world.plan.channels.len());
        for _ in 0..burst {
            let plan = &world.plan.channels[channel];
            let serial = world.serial();
            let size = dice.pick(&[0, 10, 10, 300, 2_000, 6_000]);
            let key: Option<Arc<str>> = dice.percent(5).then(|| format!("key{serial}").as_str().into());
            let again = keys.front().filter(|(of, ..)| *of == channel && dice.percent(5)).cloned();
            let history = if dice.percent(95) { plan.history } else { HistoryBounds::default() };
            let options = PublishOptions {
                history,
                idempotency_key: again.as_ref().map(|(_, key, _)| key.clone()).or(key.clone()),
                ..Default::default()
            };
            let publication = Publication::new(payload(serial, size));
            let published = handle.publish_with(&plan.name, publication, &options).await;
            if let Ok(published) = &published
                && !published.suppressed
                && let (Some(key), None) = (key, &again)
            {
                keys.push_back((channel, key, published.position.offset));
            }
            match judge(&world, channel, serial, again.is_some(), &published) {
                Ok(()) => {}
                Err(wrong) => world.fail(&who, wrong),
            }
            if matches!(published, Err(PublishError::Stopping)) {
                return;
            }
            if dice.percent(10) {
                tokio::task::yield_now().await;
            }
        }
        sleep(dice.millis(0, world.plan.pause)).await;
    }
}

/// Holds what a publisher was answered against the truth. `again`: with a key that was used before.
fn judge(
    world: &World,
    channel: usize,
    serial: u64,
    again: bool,
    published: &Result<Published, PublishError>,
) -> Result<(), String> {
    let mut state = world.state();
    let truth = &state.truths[channel];
    let offset = truth.place(serial).map(|place| match truth.get(place).what {
        What::Publication(_, offset, _) => offset,
        _ => unreachable!("a publication's place"),
    });
    match published {
        Ok(published) => {
            state.published += 1;
            let expected = (!published.suppressed).then_some(published.position.offset);
            if offset != expected || (published.suppressed && !again) {
                return Err(format!("{serial} was answered {published:?}, and has {offset:?}"));
            }
            Ok(())
        }
        Err(error) if offset.is_some() => Err(format!("{serial} was published, in spite of: {error}")),
        Err(PublishError::Stopping) if state.drained.is_some() => Ok(()),
        Err(PublishError::Broker(BrokerError::Refused(_))) => Ok(()),
        Err(error) => Err(format!("{serial}: {error}")),
    }
}

/// Makes calls, until the world rests or the server stops.
pub(crate) async fn call_around(world: Arc<World>, handle: Handle) {
    let mut dice = Dice::new(world.plan.seed, 40);
    if world.plan.calls == 0 {
        return;
    }
    loop {
        sleep(dice.millis(1, world.plan.calls)).await;
        if world.is_resting() || world.is_over() {
            break;
        }
        let number = dice.index(world.plan.channels.len());
        let channel = &world.plan.channels[number].name;
        let guest = &world.plan.guests[dice.index(world.plan.guests.len())];
        let mut target = Target { user: guest.user.clone(), ..Default::default() };
        if dice.percent(30) {
            let live: Vec<_> = world.state().live.keys().cloned().collect();
            if !live.is_empty() {
                target = Target { client: live[dice.index(live.len())].to_string(), ..Default::default() };
            }
        }
        let who = "application";
        match dice.index(9) {
            0 | 1 => {
                let code = u16::try_from(BY_CALL).expect("a code");
                let asked = handle.unsubscribe(&target, channel, Some(Disconnect::new(code, "by call")));
                world.note(who, format_args!("unsubscribes {asked} of {number}"));
            }
            2 => {
                let mut call = call(channel);
                if dice.percent(50) {
                    let mut state = world.state();
                    state.recovers = true;
                    let truth = &state.truths[number];
                    if truth.len() > 0
                        && let What::Publication(_, offset, epoch) = &truth.get(dice.index(truth.len())).what
                    {
                        call.recover_since = Some((*offset, epoch.clone()));
                    }
                }
                let recover = call.recover_since.clone();
                let asked = handle.subscribe(&target, call);
                world.note(who, format_args!("subscribes {asked} to {number} from {recover:?}"));
            }
            3 => {
                let asked = handle.disconnect(&target, None);
                world.note(who, format_args!("disconnects {asked}"));
            }
            4 => {
                let expired = dice.percent(30);
                let asked = handle.refresh(&target, RefreshCall { expired, expire_at: 0, info: None });
                world.note(who, format_args!("refreshes {asked}, expired: {expired}"));
            }
            5 if dice.percent(50) => {
                handle.remove(channel);
                world.overhear(channel, What::Deleted);
            }
            5 => {
                // Removed where nobody publishes in between: the call does not wait.
                if handle.hub().broker().remove_history(channel).await.is_ok() {
                    let mut state = world.state();
                    state.truths[number].removed = state.truths[number].len();
                }
                world.note(who, format_args!("removes the history of {number}"));
            }
            6 => handle.broadcast_health(if dice.percent(50) { Health::Degraded } else { Health::Serving }),
            _ => {
                let serial = world.serial();
                let asked = handle.send(&target, payload(serial, dice.index(300)));
                world.note(who, format_args!("sends {serial} to {asked}"));
            }
        }
    }
}
