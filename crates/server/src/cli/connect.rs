use std::error::Error;
use std::path::PathBuf;

use clap::Args;
use tidegate_client::{Builder, Client, ClientEvent, Encoding, Trust};

/// How `sub` and `pub` reach a server as a client.
#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// Connection token (a JWT; `tidegate token` makes one). In the environment it is not seen by other users
    #[arg(long, env = "TIDEGATE_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Speak Protobuf instead of JSON: payloads may then be anything
    #[arg(long)]
    pub(crate) protobuf: bool,
    /// Trust the certificates of the authorities in this file (PEM), and no others
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Trust the certificate with this SHA-256 hash (hexadecimal), and no other
    #[arg(long, value_name = "HASH", conflicts_with = "ca_file")]
    pub(crate) cert_hash: Option<String>,
}

/// Where a server in development mode is.
pub(crate) const URL: &str = "ws://localhost:8000/connection/websocket";

impl Connect {
    /// A client of the server at `url`.
    pub(crate) fn builder(&self, url: &str) -> Result<Builder, Box<dyn Error>> {
        let mut builder = Client::builder(url).name("tidegate", env!("CARGO_PKG_VERSION"));
        if let Some(token) = &self.token {
            builder = builder.token(token);
        }
        if self.protobuf {
            builder = builder.encoding(Encoding::Protobuf);
        }
        if let Some(file) = &self.ca_file {
            builder = builder.trust(Trust::CaFile(file.clone()));
        }
        if let Some(hash) = &self.cert_hash {
            builder = builder.trust(Trust::certificate_hash(hash)?);
        }
        Ok(builder)
    }
}

/// Waits for the connection, and gives up at the first failure.
pub(crate) async fn connected(client: &Client, url: &str) -> Result<(), String> {
    let mut events = client.events();
    while let Some(event) = events.next().await {
        match event {
            ClientEvent::Connected(_) => return Ok(()),
            ClientEvent::Trouble(trouble) => return Err(format!("{url}: {trouble}")),
            ClientEvent::Disconnected(why) => return Err(format!("{url}: the server refused: {why}")),
            _ => {}
        }
    }
    Err(format!("{url}: the client ended"))
}
