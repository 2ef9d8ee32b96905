use std::time::Duration;

use crate::Origins;

/// What a WebSocket is allowed, and how its socket is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// From the accepted socket to the end of the HTTP upgrade. 10 s: a mobile client's request takes
    /// three round trips of a second at worst; a silent peer holds a descriptor no longer than this.
    pub handshake_timeout: Duration,
    /// From the decision to refuse a peer to the end of its socket. 1 s: enough for the answer to arrive
    /// and be read; those over a limit must not hold a second limit's worth of descriptors.
    pub refusal_timeout: Duration,
    /// What a refused peer is told to wait, in whole seconds (`Retry-After`). 5 s: longer than the first
    /// reconnect delays of the SDKs.
    pub retry_after: Duration,
    /// One message from the client, in bytes, over all of its fragments. 64 KiB, as Centrifugo's
    /// `websocket.message_size_limit`; a larger one closes with 1009.
    pub message_size_limit: usize,
    /// Fragments of one message, empty ones included. 128: 512 bytes each at the default size limit,
    /// while a peer that sends fragments of nothing is closed with 1008 after 768 bytes.
    pub max_fragments: u32,
    /// The origins whose pages may connect. Empty by default: only requests without an `Origin` header,
    /// which come from no browser.
    pub allowed_origins: Origins,
    /// The subprotocols that the server speaks. Those of the Centrifuge protocol by default.
    pub subprotocols: Vec<String>,
    /// The only path that [`WsListener`](crate::WsListener) answers, others get a 404; `None`, the default,
    /// for any. Of no meaning behind a router.
    pub path: Option<String>,
    /// Bytes that the kernel takes beyond what the network has taken (`TCP_NOTSENT_LOWAT`; Linux and
    /// Android). 64 KiB, a whole write: a stalled reader shows after some 200 KiB instead of 3.8 MiB, and a
    /// control message waits behind no more than that; with less, writes to who reads slowly are cut in
    /// pieces. 0 leaves the system's setting.
    pub not_sent_low_water: u32,
    /// Sends small messages at once (`TCP_NODELAY`). On by default: what goes together is already written
    /// together.
    pub nodelay: bool,
    /// Connections that the kernel holds ready for [`WsListener`](crate::WsListener) to accept. 4096, the
    /// usual `net.core.somaxconn`: a whole fleet may come back within one round trip.
    pub backlog: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            refusal_timeout: Duration::from_secs(1),
            retry_after: Duration::from_secs(5),
            message_size_limit: 64 * 1024,
            max_fragments: 128,
            allowed_origins: Origins::default(),
            subprotocols: vec!["centrifuge-json".to_owned(), "centrifuge-protobuf".to_owned()],
            path: None,
            not_sent_low_water: 64 * 1024,
            nodelay: true,
            backlog: 4096,
        }
    }
}
