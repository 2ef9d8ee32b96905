use tidegate_bench::{Dialect, Heard, Outgoing, Protocol, Who};

/// MQTT 3.1.1 with QoS 0: packets of a kind, a length and that many bytes.
pub(crate) const MQTT: Dialect = Dialect { name: "MQTT", begin: || Box::<Mqtt>::default() };

#[derive(Default)]
struct Mqtt {
    packet: u16,
}

impl Protocol for Mqtt {
    fn subprotocol(&self) -> Option<&'static str> {
        Some("mqtt")
    }

    fn pieces(&self) -> bool {
        true
    }

    fn connect(&mut self, who: &Who<'_>, out: &mut Outgoing) {
        // Protocol level 4, a clean session, no keep-alive.
        let mut body = text("MQTT");
        body.extend([4, if who.token.is_some() { CLEAN | USER | PASSWORD } else { CLEAN }, 0, 0]);
        body.extend(text(who.name));
        if let Some(token) = who.token {
            body.extend([text("bench"), text(token)].concat());
        }
        out.message(&[&[CONNECT], &length(body.len()), &body]);
    }

    fn subscribe(&mut self, channels: &[String], out: &mut Outgoing) {
        self.packet += 1;
        let mut body = self.packet.to_be_bytes().to_vec();
        for channel in channels {
            body.extend(text(channel));
            body.push(0);
        }
        out.message(&[&[SUBSCRIBE], &length(body.len()), &body]);
    }

    fn publish(&mut self, channel: &str, payload: &[u8], out: &mut Outgoing) {
        let topic = (channel.len() as u16).to_be_bytes();
        let length = length(topic.len() + channel.len() + payload.len());
        out.message(&[&[PUBLISH], &length, &topic, channel.as_bytes(), payload]);
    }

    fn receive(
        &mut self,
        bytes: &[u8],
        _: &mut Outgoing,
        hear: &mut dyn FnMut(Heard<'_>),
    ) -> Result<usize, String> {
        let mut rest = bytes;
        while let Some((packet, behind)) = packet(rest)? {
            match (packet.kind, packet.body) {
                (PUBLISH, [high, low, topic @ ..]) => {
                    let topic_length = usize::from(u16::from_be_bytes([*high, *low]));
                    let payload =
                        topic.get(topic_length..).ok_or("a PUBLISH that is shorter than its topic")?;
                    hear(Heard::Payload(payload));
                }
                (CONNACK, [_, 0]) => hear(Heard::Connected),
                (CONNACK, [_, code]) => hear(Heard::Refused(format!("CONNACK with code {code}"))),
                (SUBACK, [_, _, codes @ ..]) => codes.iter().for_each(|code| match code {
                    0..3 => hear(Heard::Subscribed),
                    code => hear(Heard::Refused(format!("SUBACK with code {code}"))),
                }),
                (kind, _) => {
                    return Err(format!("expected a packet that a subscriber gets, got kind {kind:#x}"));
                }
            }
            rest = behind;
        }
        Ok(bytes.len() - rest.len())
    }
}

struct Packet<'a> {
    kind: u8,
    body: &'a [u8],
}

/// The first packet and what is behind it; `None` if it is not whole.
fn packet(bytes: &[u8]) -> Result<Option<(Packet<'_>, &[u8])>, String> {
    let Some((&kind, mut rest)) = bytes.split_first() else { return Ok(None) };
    let mut length = 0;
    for shift in [0, 7, 14, 21] {
        let Some((byte, behind)) = rest.split_first() else { return Ok(None) };
        rest = behind;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let whole = rest.split_at_checked(length);
            return Ok(whole.map(|(body, behind)| (Packet { kind, body }, behind)));
        }
    }
    Err("a packet whose length does not end".into())
}

/// A length as packets have it.
fn length(mut length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while length > 0x7f {
        bytes.push(0x80 | (length & 0x7f) as u8);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 0x90;

const CLEAN: u8 = 0x02;
const PASSWORD: u8 = 0x40;
const USER: u8 = 0x80;
