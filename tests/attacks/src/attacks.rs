//! All attacks, by what they abuse.

mod commands;
mod connections;
mod faults;
mod frames;
mod handshake;
mod names;
mod origins;
mod quic;
mod reading;
mod requests;
mod tokens;

use crate::attack::Attack;

/// Every attack, in the order of a run.
pub(crate) static ALL: &[&dyn Attack] = &[
    &handshake::Silent,
    &handshake::Dripping,
    &reading::Never,
    &reading::Trickling,
    &reading::Barely,
    &reading::Pongless,
    &reading::HalfOpen,
    &reading::Pings,
    &frames::Length,
    &frames::Fragments,
    &frames::Unfinished,
    &frames::Utf8,
    &commands::Json,
    &commands::Many,
    &commands::Amplified,
    &commands::Protobuf,
    &names::Subscriptions,
    &names::Channels,
    &names::Histories,
    &names::Flood,
    &connections::Total,
    &connections::PerAddress,
    &connections::PerNetwork,
    &connections::Fleet,
    &connections::Descriptors,
    &origins::Origins,
    &tokens::Forged,
    &tokens::Expiring,
    &tokens::Sought,
    &requests::ApiKey,
    &requests::Smuggling,
    &requests::Early,
    &requests::Large,
    &requests::SlowBodies,
    &requests::KeptAlive,
    &requests::Pipelined,
    &requests::Greedy,
    &quic::Initials,
    &quic::Streams,
    &quic::Stalled,
    &faults::Panics,
    &faults::Stopping,
    &faults::Clock,
];
