//! Whole clients against the real server, over loopback.

mod calls;
mod handles;
mod living;
mod network;
mod quic;
mod reading;
mod reconnecting;
mod recovery;
mod site;
mod tls;
