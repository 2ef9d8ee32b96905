//! What peers speak over a WebSocket.

mod mqtt;
mod nats;
#[cfg(test)]
mod tests;

pub(crate) use mqtt::MQTT;
pub(crate) use nats::NATS;
