//! A custom server.
fn main() {}
