//! Publishing over the HTTP API, one request after the other on one connection.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Error;
use crate::connection::Ended;
use crate::target::{self, Address, Target};
use crate::transport::{self, Socket};

/// A client of the API: what waits goes as one `publish`, or as a `batch`.
#[derive(Debug)]
pub(crate) struct Api {
    stream: TcpStream,
    address: Address,
    key: Option<String>,
    /// The commands that wait, separated by commas.
    commands: Vec<u8>,
    count: u64,
    response: Vec<u8>,
}

impl Api {
    /// Connects to the API at `url`.
    pub(crate) async fn open(url: &str, key: Option<&str>, target: &Target) -> Result<Self, Error> {
        let address = target::address(url, &["http"])?;
        let to = Target { address: address.socket, sources: 1, ..target.clone() };
        let stream = transport::tcp(&to, 0, Socket::default()).await.map_err(Error::connect(&to))?;
        let key = key.map(str::to_owned);
        Ok(Self { stream, address, key, commands: Vec::new(), count: 0, response: Vec::new() })
    }

    /// Adds a publication to what waits.
    pub(crate) fn publish(&mut self, channel: &str, payload: &[u8]) {
        if self.count > 0 {
            self.commands.push(b',');
        }
        let head = format!(r#"{{"publish":{{"channel":"{channel}","data":"#);
        for part in [head.as_bytes(), payload, b"}}"] {
            self.commands.extend_from_slice(part);
        }
        self.count += 1;
    }

    /// Bytes that wait to be sent.
    pub(crate) fn waiting(&self) -> usize {
        self.commands.len()
    }

    /// Sends what waits, if anything does, and returns how many publications the server took.
    pub(crate) async fn flush(&mut self) -> Result<u64, Ended> {
        let count = std::mem::take(&mut self.count);
        if count == 0 {
            return Ok(0);
        }
        let (method, body) = match count {
            1 => {
                let command = &self.commands[ONE.len()..self.commands.len() - 1];
                ("publish", command.to_vec())
            }
            _ => ("batch", [br#"{"commands":["#, &self.commands[..], b"]}"].concat()),
        };
        self.commands.clear();
        let Address { host, path, .. } = &self.address;
        let key = self.key.as_ref().map(|key| format!("X-API-Key: {key}\r\n")).unwrap_or_default();
        let path = path.trim_end_matches('/');
        let mut request = format!(
            "POST {path}/{method} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
             {key}Content-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(&body);
        self.stream.write_all(&request).await.map_err(broken)?;
        self.answer().await?;
        Ok(count)
    }

    async fn answer(&mut self) -> Result<(), Ended> {
        self.response.clear();
        let (body, whole) = loop {
            if let Some(whole) = whole(&self.response)? {
                break whole;
            }
            self.read().await?;
        };
        while self.response.len() < whole {
            self.read().await?;
        }
        let said = &self.response[body..whole];
        if memchr::memmem::find(said, br#""error":"#).is_some() {
            return Err(Ended(format!("the API: {}", String::from_utf8_lossy(said))));
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<(), Ended> {
        match self.stream.read_buf(&mut self.response).await {
            Ok(0) => Err("the API closed the connection".into()),
            Ok(_) => Ok(()),
            Err(error) => Err(broken(error)),
        }
    }
}

/// Where the body of a response begins, and where it ends; `None` while its head is not whole.
fn whole(response: &[u8]) -> Result<Option<(usize, usize)>, Ended> {
    let Some(end) = memchr::memmem::find(response, b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&response[..end]);
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(Ended(format!("the API: expected the status 200, got \"{status}\"")));
    }
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|(_, length)| length.trim().parse::<usize>().ok());
    let length = length.ok_or("the API: a response without a length")?;
    Ok(Some((end + 4, end + 4 + length)))
}

fn broken(error: std::io::Error) -> Ended {
    Ended(format!("the API: {error}"))
}

/// What stands around the only command of a `publish`.
const ONE: &str = r#"{"publish":"#;

#[cfg(test)]
mod tests {
    use super::whole;

    #[test]
    fn a_response_has_a_length() {
        let response = b"HTTP/1.1 200 OK\r\nContent-length: 3\r\n\r\n{}\n";
        assert_eq!(whole(response).ok(), Some(Some((38, 41))));
        assert_eq!(whole(&response[..30]).ok(), Some(None));
        for bad in ["HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"] {
            assert!(whole(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
