//! One simulation from its seed to its end.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tidegate_server::core::ExactRouter;
use tidegate_server::core::memory::listener;
use tidegate_server::{DuplicateUser, Handle, Holdings, Server, Stopped};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::application;
use crate::broker::Overheard;
use crate::counters::Counters;
use crate::guest::Guest;
use crate::plan::Plan;
use crate::rules::Rules;
use crate::world::World;

/// How long the world rests before it is looked at: longer than anything takes.
pub(crate) const REST: Duration = Duration::from_secs(60);

/// What came of a seed.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) trace: Vec<String>,
    pub(crate) failures: Vec<String>,
    pub(crate) tally: Tally,
}

/// What happened, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Publications accepted.
    pub(crate) published: u64,
    /// Pushes of publications that clients read.
    pub(crate) read: u64,
    /// Publications that gap notices told of.
    pub(crate) told: u64,
}

thread_local! {
    /// What panicked on this thread, and where: a runtime keeps panics of tasks to itself.
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Takes note of panics from now on, on every thread of the process.
pub(crate) fn note_panics() {
    std::panic::set_hook(Box::new(|panic| {
        PANICS.with_borrow_mut(|panics| panics.push(panic.to_string()));
    }));
}

/// Runs a seed, on this thread.
pub(crate) fn simulate(seed: u64) -> Outcome {
    PANICS.take();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    let world = runtime.block_on(async {
        let world = World::new(Plan::new(seed));
        run(&world).await;
        world
    });
    drop(runtime);
    for panic in PANICS.take() {
        world.fail("thread", panic);
    }
    let mut state = world.state();
    let tally = Tally { published: state.published, read: state.read, told: state.told };
    let (trace, failures) = (std::mem::take(&mut state.trace), std::mem::take(&mut state.failures));
    Outcome { trace, failures, tally }
}

async fn run(world: &Arc<World>) {
    let plan = &world.plan;
    world.note("world", format_args!("{plan:?}"));
    let (listener, address) = listener(plan.limits);
    let rules = Rules::new(world.clone());
    let counters = Counters::default();
    let window = plan.window;
    // Of this thread, on which all of the seed runs: some counters are looked up when they count.
    let _recorder = metrics::set_default_local_recorder(&counters);
    let server = Server::builder(rules.clone())
        .hooks(rules)
        .settings(plan.settings.clone())
        .caps(plan.caps)
        .shutdown(plan.shutdown)
        .memory_limit(plan.memory_limit)
        .router(|fanout, budget| ExactRouter::new(Box::new(move |_| window), fanout, budget))
        .broker(Overheard::new(world.clone()))
        .listen(listener)
        .seed(plan.seed)
        .build();
    let handle = server.handle();
    let (stop, stopped) = oneshot::channel();
    let server = tokio::spawn(server.run(async { stopped.await.unwrap_or_default() }));
    let mut others = JoinSet::new();
    for number in 0..plan.guests.len() {
        others.spawn(Guest::new(world.clone(), address.clone(), number).live());
    }
    for number in 0..plan.publishers {
        others.spawn(application::publish(world.clone(), handle.clone(), number));
    }
    others.spawn(application::call_around(world.clone(), handle.clone()));
    watch(world, &handle, plan.busy).await;
    if plan.rest {
        watch(world, &handle, REST).await;
        look_at_rest(world, &handle).await;
    }
    world.drain();
    let since = Instant::now();
    let _ = stop.send(());
    match timeout(Duration::from_secs(3_600), server).await {
        Ok(stopped) => stopped_well(world, &stopped.unwrap_or_default(), since.elapsed()),
        Err(_) => world.fail("world", "the server does not stop"),
    }
    world.state().over = true;
    let joined = timeout(Duration::from_secs(600), async { while others.join_next().await.is_some() {} });
    if joined.await.is_err() {
        world.fail("world", "somebody waits for ever");
    }
    others.abort_all();
    look_at_the_end(world, &handle, &counters).await;
}

/// Lets `time` pass, and sees now and then that no bound is passed.
async fn watch(world: &World, handle: &Handle, time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        sleep(Duration::from_millis(97).min(until - Instant::now())).await;
        let permits = handle.holdings().permits;
        if world.plan.caps.total.is_some_and(|most| permits > most) {
            world.fail("world", format_args!("{permits} connections; the cap is {:?}", world.plan.caps));
        }
        let registry = handle.hub().registry();
        let refuses = world.plan.settings.duplicate_user == DuplicateUser::Refuse;
        let most = if refuses { Some(1) } else { world.plan.settings.user_connection_limit };
        let keeps = world.plan.settings.duplicate_user != DuplicateUser::TakeOver;
        for guest in world.plan.guests.iter().filter(|guest| !guest.user.is_empty() && keeps) {
            let connections = registry.user(&guest.user).len();
            if most.is_some_and(|most| connections > most) {
                world.fail("world", format_args!("{} has {connections} connections", guest.user));
            }
        }
    }
}

/// Everything that was to be read was read: nothing is held, and the server knows what the clients know.
async fn look_at_rest(world: &World, handle: &Handle) {
    let now = Instant::now().into_std();
    let live = world.state().live.clone();
    let registered = handle.hub().registry().len();
    let mut wrong = Vec::new();
    if registered != live.len() {
        wrong.push(format!("at rest, {registered} registered; expected {}", live.len()));
    }
    for client in live.keys() {
        let member = handle.hub().registry().client(client);
        let user = member.map(|member| member.client.user().clone());
        let found = user.map(|user| {
            let members = handle.hub().registry().user(&user);
            user.is_empty() || members.iter().any(|member| member.client.id == *client)
        });
        if found != Some(true) {
            wrong.push(format!("at rest, {client} is connected and not found: {found:?}"));
        }
    }
    if world.plan.settings.duplicate_user == DuplicateUser::TakeOver {
        for guest in world.plan.guests.iter().filter(|guest| !guest.user.is_empty()) {
            let connections = handle.hub().registry().user(&guest.user).len();
            if connections > 1 {
                wrong.push(format!("at rest, {} has {connections} connections", guest.user));
            }
        }
    }
    if handle.hub().budget().used() > 0 {
        wrong.push(format!("at rest, windows hold {} bytes", handle.hub().budget().used()));
    }
    let channels = handle.channels();
    for (number, plan) in world.plan.channels.iter().enumerate() {
        let subscribed: BTreeSet<Arc<str>> =
            live.iter().filter(|(_, to)| to.contains(&number)).map(|(client, _)| client.clone()).collect();
        let figures = channels.iter().find(|(channel, _)| *channel == plan.name);
        let figures = figures.map(|(_, figures)| *figures).unwrap_or_default();
        let (there, behind, entries) = (figures.subscribers, figures.behind, figures.entries);
        if there != subscribed.len() || behind > 0 || entries > 0 {
            let expected = subscribed.len();
            wrong.push(format!("at rest, {number}: {figures:?}; expected {expected} subscribers"));
        }
        let present = handle.hub().broker().presence(&plan.name, now).await.unwrap_or_default();
        let expected = if plan.presence { subscribed } else { BTreeSet::new() };
        if present.keys().ne(expected.iter()) {
            let present: Vec<_> = present.keys().collect();
            wrong.push(format!("at rest, {number}: {present:?} present; expected {expected:?}"));
        }
    }
    wrong.iter().for_each(|wrong| world.fail("world", wrong));
}

fn stopped_well(world: &World, stopped: &Stopped, took: Duration) {
    let plan = &world.plan;
    world.note("world", format_args!("stopped after {took:?}: {stopped:?}"));
    let all_read = !world.state().spoiled;
    if all_read && stopped.cut > 0 {
        world.fail("world", format_args!("{} were cut off, and all of them read", stopped.cut));
    }
    // What hooks and the broker take, twice, and the clients' own second to close.
    let most = if all_read { plan.shutdown.spread } else { plan.shutdown.timeout } + Duration::from_secs(12);
    if took > most {
        world.fail("world", format_args!("stopping took {took:?}; expected at most {most:?}"));
    }
}

/// Nothing is left.
async fn look_at_the_end(world: &World, handle: &Handle, counters: &Counters) {
    let now = Instant::now().into_std();
    let mut wrong = Vec::new();
    let mut check = |what: &str, holds: bool| {
        if !holds {
            wrong.push(format!("at the end, {what}"));
        }
    };
    let holdings = handle.holdings();
    check(&format!("{holdings:?}"), holdings == Holdings::default());
    let hub = handle.hub();
    check(&format!("{} registered", hub.registry().len()), hub.registry().is_empty());
    check(&format!("{} users", hub.registry().users()), hub.registry().users() == 0);
    check(&format!("windows hold {} bytes", hub.budget().used()), hub.budget().used() == 0);
    let mut logs = 0;
    hub.router().visit(&mut |_, _| logs += 1);
    check(&format!("{logs} logs"), logs == 0);
    for plan in &world.plan.channels {
        let present = hub.broker().presence(&plan.name, now).await.unwrap_or_default();
        check(&format!("{} present in {}", present.len(), plan.name), present.is_empty());
    }
    let state = world.state();
    for (truth, plan) in state.truths.iter().zip(&world.plan.channels) {
        for (client, (joins, leaves)) in truth.comings() {
            let what = format!("{client} came to {} {joins} times and left {leaves} times", plan.name);
            check(&what, joins == leaves);
        }
    }
    let delivered = counters.get("tidegate_delivered_total");
    // What clients are told of by a gap notice; whatever else is missed ends something of theirs.
    let skipped = ["cause=skipped", "cause=trimmed", "cause=superseded"]
        .map(|cause| counters.get_with("tidegate_missed_total", cause))
        .iter()
        .sum::<u64>();
    let published = counters.get("tidegate_published_total");
    let (read, told) = (state.read, state.told);
    let what = format!("{delivered} counted as delivered, and {read} were read");
    check(&what, (state.recovers || delivered >= read) && (state.spoiled || delivered <= read));
    let what = format!("{skipped} counted as missed, and {told} were told");
    let all_told = !state.spoiled && world.plan.guests.iter().all(|guest| guest.notices);
    check(&what, if all_told { skipped == told } else { skipped >= told });
    let acknowledged = state.published;
    let what = format!("{published} counted as published, and {acknowledged} were acknowledged");
    check(&what, published >= acknowledged && published <= acknowledged + state.unanswered);
    drop(state);
    wrong.iter().for_each(|wrong| world.fail("world", wrong));
}
