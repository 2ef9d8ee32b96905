//! Just enough of HTTP/1.1 to say what no library would.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What a server answered.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A connection that requests are written to byte by byte.
#[derive(Debug)]
pub(crate) struct Http {
    pub(crate) stream: TcpStream,
    /// How long a response is awaited.
    pub(crate) patience: Duration,
    /// Read, and of the next response.
    rest: Vec<u8>,
}

impl Http {
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        Ok(Self::over(TcpStream::connect(address).await?))
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        let _ = stream.set_nodelay(true);
        Self { stream, patience: PATIENCE, rest: Vec::new() }
    }

    /// The connection, and what was read of it beyond the last response.
    pub(crate) fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.rest)
    }

    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    /// The next response.
    ///
    /// # Errors
    /// `UnexpectedEof` when the server closes before it, `TimedOut` when patience is at its end.
    pub(crate) async fn response(&mut self) -> io::Result<Response> {
        let answered = timeout(self.patience, self.read_response()).await;
        answered.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no response in time"))?
    }

    /// Whether the server closes within `patience`; what it says before does not matter.
    pub(crate) async fn closes_within(&mut self, patience: Duration) -> bool {
        let gone = async {
            let mut bytes = [0; 4096];
            while self.stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
        };
        timeout(patience, gone).await.is_ok()
    }

    async fn read_response(&mut self) -> io::Result<Response> {
        let end = loop {
            if let Some(at) = self.rest.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.read_more().await?;
        };
        let head = String::from_utf8_lossy(&self.rest[..end]).to_ascii_lowercase();
        self.rest.drain(..end);
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let body = match length.and_then(|length| length.trim().parse::<usize>().ok()) {
            Some(length) => {
                while self.rest.len() < length {
                    self.read_more().await?;
                }
                self.rest.drain(..length).collect()
            }
            None if status == 101 || status == 204 => Vec::new(),
            None => {
                // Chunked, or to the end: both end with the connection, as it was asked for.
                while self.read_more().await.is_ok() {}
                std::mem::take(&mut self.rest)
            }
        };
        Ok(Response { status, body })
    }

    async fn read_more(&mut self) -> io::Result<()> {
        if self.stream.read_buf(&mut self.rest).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

/// `GET path`, on a connection of its own.
pub(crate) async fn get(address: SocketAddr, path: &str) -> io::Result<Response> {
    let mut http = Http::open(address).await?;
    http.write(format!("GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")).await?;
    http.response().await
}

/// A call of the HTTP API, to be written to any connection.
pub(crate) fn api(method: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /api/{method} HTTP/1.1\r\nHost: t\r\nX-API-Key: {API_KEY}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// The key of every server's API.
pub(crate) const API_KEY: &str = "attackers-do-not-know-this-key";

const PATIENCE: Duration = Duration::from_secs(10);
