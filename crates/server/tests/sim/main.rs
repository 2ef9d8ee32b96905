//! The whole server, simulated: `cargo xtask sim`.
//!
//! The real [`Server`](tidegate_server::Server) runs on the in-memory transport and the memory broker, in
//! virtual time, on one thread. Model clients of both encodings connect, subscribe, publish, ask, and
//! recover by offset and epoch as SDKs do; some stall, read a few bytes now and then, vanish (in the
//! handshake, before they are answered, all at once), close one side, or break the rules. The application
//! publishes and calls: unsubscribes, disconnects, subscribes, refreshes, sends, deletes channels and
//! histories. Broker and authenticator take their time. Then the server is stopped, at rest or in the
//! middle of it. What happens comes from the seed alone ([`plan`]), so that a seed replays exactly: client
//! ids and the registry's order are the builder's `seed`; nothing else that is random decides anything.
//!
//! What is appended to each channel is overheard between the broker and the hub: the truth ([`truth`]). Each
//! subscription is held against it entry by entry ([`stint`]), each connection against the protocol
//! ([`session`]), the server against what its clients know ([`run`]):
//!
//! - publications and joins come in order and once, with their offsets; from the cursor on, or from the
//!   reply's offset; nothing of a channel comes before the subscribe reply, after the unsubscribe reply, after
//!   the end of the subscription, or after the last words;
//! - what is missing is told: by a gap with its number, or an end; never to who relies on offsets. A channel
//!   that is deleted, and a server that stops, are read to the end first;
//! - whoever reads gets an entry in the instant in which it is appended: no wake-up is lost;
//! - what is recovered is contiguous, and is recovered if it is kept; own publications come before their
//!   replies, replies in the order of commands; what is refused was not published;
//! - a code is used only where there is cause; nobody who reads is cut off;
//! - at rest, windows are empty, and registry, subscriptions and presence are those of the clients; at the
//!   end, permits, seats, timers, tasks, registry entries, logs, window bytes and presence are zero; each join
//!   has its leave; the counters agree with what clients read.
//!
//! What it has been seen to catch, each by breaking the server on purpose, with the first seeds that did: a
//! write that was cut moves a cursor one too far (3, 5), a floor one too low (2, 5) or too high (0, 3), gaps of
//! one that are not told (7, 13), a permit that is forgotten when a handshake fails (2, 9), a publish reply
//! that does not follow its push (0, 1), one wake-up in a hundred that is lost (0, 2), a cursor taken after
//! the history (2, 5), an unsubscribed lane that is read on (2, 5). And without: replies that overtake each
//! other, words after the last, leaves that are missing or have no join, joins that the window has lost under a
//! policy that may lose nothing, publications that a call recovers and nobody gets. What it cannot see is what
//! threads do to each other, such as parking without looking again: that is for the loom models.

mod application;
mod broker;
mod counters;
mod dice;
mod guest;
mod plan;
mod rules;
mod run;
mod seeds;
mod session;
mod stint;
mod truth;
mod world;

/// A seed is run twice: whatever happens, happens again.
#[test]
fn a_seed_replays_exactly() {
    run::note_panics();
    for seed in 0..20 {
        let (first, second) = (run::simulate(seed), run::simulate(seed));
        for (line, (first, second)) in first.trace.iter().zip(&second.trace).enumerate() {
            assert_eq!(first, second, "seed {seed}, line {line} of the trace");
        }
        assert_eq!(first.trace.len(), second.trace.len(), "seed {seed}");
    }
}

/// History and what is live meet without gap, duplicate or another order, however late the broker answers and
/// whatever is published meanwhile.
#[test]
fn subscribing_with_history_meets_publishing_in_every_order() {
    run::note_panics();
    seeds::run_subscribing();
}

/// `TIDEGATE_SIM_SEEDS` seeds from `TIDEGATE_SIM_FROM` on; 500 from 0 on, unless said otherwise.
#[test]
fn every_seed_keeps_its_promises() {
    run::note_panics();
    seeds::run_all();
}
