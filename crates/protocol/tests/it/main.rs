//! What the protocol costs.

mod allocations;
mod fan;
