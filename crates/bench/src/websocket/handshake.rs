use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The request that opens a WebSocket, and the answer that its key asks for.
pub(crate) fn request(host: &str, path: &str, subprotocol: Option<&str>) -> (String, String) {
    let key = generate_key();
    let mut request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
    );
    if let Some(subprotocol) = subprotocol {
        request.push_str(&format!("Sec-WebSocket-Protocol: {subprotocol}\r\n"));
    }
    request.push_str("\r\n");
    (request, derive_accept_key(key.as_bytes()))
}

/// The length of a response that accepts; `None` if it is not whole yet.
///
/// # Errors
/// What it says instead.
pub(crate) fn accepted(response: &[u8], accept: &str) -> Result<Option<usize>, String> {
    let Some(end) = memchr::memmem::find(response, END) else {
        let long = response.len() > LONGEST;
        return if long { Err("an endless response".into()) } else { Ok(None) };
    };
    let head = String::from_utf8_lossy(&response[..end]);
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("101") {
        return Err(format!("expected the status 101, got \"{status}\""));
    }
    let mut fields = lines.filter_map(|line| line.split_once(':'));
    match fields.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-accept")) {
        Some((_, value)) if value.trim() == accept => Ok(Some(end + END.len())),
        _ => Err("the response does not answer the key of the request".into()),
    }
}

const END: &[u8] = b"\r\n\r\n";
/// Of a response's head, in bytes; no server sends this much.
const LONGEST: usize = 64 * 1024;
