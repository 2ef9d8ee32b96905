use std::collections::VecDeque;

use tidegate_bench::{Dialect, Heard, Outgoing, Protocol, Who};

/// The NATS client protocol: lines, and payloads of known length behind them.
pub(crate) const NATS: Dialect = Dialect { name: "NATS", begin: || Box::<Nats>::default() };

/// A PING behind a command is answered when the command was done.
#[derive(Default)]
struct Nats {
    subscriptions: u64,
    /// What each PONG to come confirms: connecting, or so many subscriptions.
    pings: VecDeque<usize>,
}

impl Nats {
    fn line(
        &mut self,
        line: &[u8],
        out: &mut Outgoing,
        hear: &mut dyn FnMut(Heard<'_>),
    ) -> Result<(), String> {
        match line.split(|byte| *byte == b' ').next().unwrap_or_default() {
            b"PING" => out.message(&[b"PONG\r\n"]),
            b"PONG" => match self.pings.pop_front() {
                Some(0) => hear(Heard::Connected),
                Some(subscriptions) => (0..subscriptions).for_each(|_| hear(Heard::Subscribed)),
                None => return Err("a PONG that nobody asked for".into()),
            },
            b"INFO" | b"+OK" => {}
            b"-ERR" => hear(Heard::Refused(String::from_utf8_lossy(line).into_owned())),
            _ => {
                return Err(format!(
                    "expected a line of the protocol, got {}",
                    String::from_utf8_lossy(line)
                ));
            }
        }
        Ok(())
    }
}

impl Protocol for Nats {
    fn pieces(&self) -> bool {
        true
    }

    fn connect(&mut self, who: &Who<'_>, out: &mut Outgoing) {
        let mut options = serde_json::json!({
            "verbose": false, "pedantic": false, "lang": "rust", "version": "0", "name": who.name, "protocol": 1,
        });
        if let Some(token) = who.token {
            options["auth_token"] = token.into();
        }
        // The server says INFO first, but nothing in it matters here.
        out.message(&[format!("CONNECT {options}\r\nPING\r\n").as_bytes()]);
        self.pings.push_back(0);
    }

    fn subscribe(&mut self, channels: &[String], out: &mut Outgoing) {
        let mut lines = String::new();
        for channel in channels {
            self.subscriptions += 1;
            lines.push_str(&format!("SUB {channel} {}\r\n", self.subscriptions));
        }
        lines.push_str("PING\r\n");
        out.message(&[lines.as_bytes()]);
        self.pings.push_back(channels.len());
    }

    fn publish(&mut self, channel: &str, payload: &[u8], out: &mut Outgoing) {
        out.message(&[format!("PUB {channel} {}\r\n", payload.len()).as_bytes(), payload, b"\r\n"]);
    }

    fn receive(
        &mut self,
        bytes: &[u8],
        out: &mut Outgoing,
        hear: &mut dyn FnMut(Heard<'_>),
    ) -> Result<usize, String> {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, behind) = (rest[..end].trim_ascii_end(), &rest[end + 1..]);
            if !line.starts_with(b"MSG ") {
                self.line(line, out, hear)?;
                rest = behind;
                continue;
            }
            // MSG, channel, subscription, length.
            let length = line.rsplit(|byte| *byte == b' ').next().and_then(number);
            let length = length.ok_or("a MSG without a length")?;
            let Some((payload, behind)) = behind.split_at_checked(length + END.len()) else { break };
            hear(Heard::Payload(&payload[..length]));
            rest = behind;
        }
        Ok(bytes.len() - rest.len())
    }
}

fn number(digits: &[u8]) -> Option<usize> {
    digits.iter().try_fold(0usize, |number, digit| {
        let digit = digit.wrapping_sub(b'0');
        (digit < 10).then(|| number.saturating_mul(10).saturating_add(digit.into()))
    })
}

const END: &[u8] = b"\r\n";
