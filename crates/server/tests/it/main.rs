//! Whole servers on the in-memory transport, under virtual time; and on real sockets.

mod admission;
mod closing;
mod draining;
mod ends;
mod filters;
mod history;
mod ordering;
mod port;
mod presence;
mod replaced;
mod site;
mod slow;
