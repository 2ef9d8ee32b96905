//! What the crate promises to those who build on it.
#![cfg(not(loom))]

mod allocations;
