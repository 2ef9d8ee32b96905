//! Whole servers on the in-memory transport, under virtual time; and on real sockets.

mod admission;
mod bench;
mod closing;
mod draining;
mod ends;
mod filters;
mod floods;
mod health;
mod history;
mod metrics;
mod ordering;
mod panics;
mod port;
mod presence;
mod prolonging;
mod replaced;
mod site;
mod slow;
mod socket;
mod streams;
mod takeover;
mod together;
mod vanishing;
mod wire;
