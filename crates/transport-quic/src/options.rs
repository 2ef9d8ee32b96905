use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The bounds of a QUIC port and of its connections.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether native clients are let in by the raw protocol.
    pub raw: bool,
    /// Whether browsers are let in, and how.
    pub webtransport: Option<WebTransport>,
    /// How long the handshakes may take: of TLS, of HTTP/3 and its CONNECT, and until the client has begun its
    /// first stream. 10 s: 5,000 clients at once need about 4 on two cores.
    pub handshake_timeout: Duration,
    /// The largest message that a native client may send, in bytes. 64 KiB, as over WebSocket.
    pub message_size_limit: usize,
    /// How long a connection lives without a packet. 40 s: longer than the 25 s between two pings, shorter than
    /// many a NAT forgets.
    pub idle_timeout: Duration,
    /// Bytes of a connection that are written and not acknowledged, over all its streams. 512 KiB: what 50 ms of
    /// an 80 Mbit/s line hold. More is memory that a client which does not read holds; less is slower.
    pub send_window: u64,
    /// Bytes that a client may send before they are read, over all its streams. 128 KiB.
    pub receive_window: u32,
    /// The same for one stream. 64 KiB: a message of the usual limit.
    pub stream_receive_window: u32,
    /// Handshakes under way from which on clients have to prove their address first (Retry), which costs them a
    /// round trip and a forger its reach. 512: more than come by themselves in a moment.
    pub retry_threshold: usize,
    /// Packets of clients that have knocked and are not looked at yet, in bytes. 8 MiB: 5,000 of them.
    pub incoming_buffer: u64,
    /// The socket's buffers in the kernel, in bytes, each way. 4 MiB: with less, packets of 5,000 handshakes at
    /// once are dropped. The system may allow less (`net.core.rmem_max`).
    pub socket_buffer: usize,
    /// Whether packets larger than 1,200 bytes are tried. False: it costs memory for each connection.
    pub mtu_discovery: bool,
}

/// How browsers are let in.
#[derive(Clone)]
pub struct WebTransport {
    /// The path of the URL.
    pub path: String,
    /// The largest message that a client may send, in bytes. 64 KiB.
    pub message_size_limit: usize,
    /// Whether a page of this origin, or a client that names none, may connect.
    pub allows: Arc<Allows>,
}

/// Judges a request's origin.
pub type Allows = dyn Fn(Option<&str>) -> bool + Send + Sync;

impl Default for Options {
    fn default() -> Self {
        Self {
            raw: true,
            webtransport: None,
            handshake_timeout: Duration::from_secs(10),
            message_size_limit: 64 * 1024,
            idle_timeout: Duration::from_secs(40),
            send_window: 512 * 1024,
            receive_window: 128 * 1024,
            stream_receive_window: 64 * 1024,
            retry_threshold: 512,
            incoming_buffer: 8 << 20,
            socket_buffer: 4 << 20,
            mtu_discovery: false,
        }
    }
}

impl fmt::Debug for WebTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebTransport")
            .field("path", &self.path)
            .field("message_size_limit", &self.message_size_limit)
            .finish_non_exhaustive()
    }
}
