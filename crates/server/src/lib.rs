//! Assembles Tidegate: HTTP API, configuration, metrics, drain; and the binary.

mod app;
pub mod config;
mod connection;
mod meters;
mod settings;
mod wheel;
