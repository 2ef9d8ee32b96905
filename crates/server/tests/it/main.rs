//! Whole servers on the in-memory transport, under virtual time.

mod closing;
mod draining;
mod ends;
mod history;
mod ordering;
mod presence;
mod site;
mod slow;
