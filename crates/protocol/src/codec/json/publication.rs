use std::io;

use bytes::Bytes;
use serde::ser::Serialize;
use serde_json::value::RawValue;

use super::NotJson;
use crate::message::{ClientInfo, Publication, is_zero, raw};

/// Writes the push of a publication twice, first only to learn its length: what is kept for every subscriber
/// then has no slack, and nothing moves while it is written.
pub(in crate::codec) fn publication_push(channel: &str, publication: &Publication) -> Result<Bytes, NotJson> {
    let push = Parsed::new(channel, publication)?;
    let mut length = Length(0);
    push.write(&mut length).expect("counting cannot fail");
    let mut json = Vec::with_capacity(length.0);
    push.write(&mut json).expect("memory takes what it is given");
    debug_assert_eq!(json.len(), length.0);
    Ok(json.into())
}

/// A publication whose payloads are known to be JSON.
struct Parsed<'a> {
    channel: &'a str,
    publication: &'a Publication,
    data: Option<&'a RawValue>,
    prev_data: Option<&'a RawValue>,
    info: Option<Info<'a>>,
}

struct Info<'a> {
    client: &'a ClientInfo,
    conn_info: Option<&'a RawValue>,
    chan_info: Option<&'a RawValue>,
}

impl<'a> Parsed<'a> {
    fn new(channel: &'a str, publication: &'a Publication) -> Result<Self, NotJson> {
        Ok(Self {
            channel,
            publication,
            data: payload(&publication.data)?,
            prev_data: payload(&publication.prev_data)?,
            info: publication.info.as_ref().map(Info::new).transpose()?,
        })
    }

    fn write<W: io::Write>(&self, out: &mut W) -> io::Result<()> {
        out.write_all(b"{\"push\":")?;
        let mut push = Members::open(out)?;
        if !self.channel.is_empty() {
            push.always("channel", self.channel)?;
        }
        self.write_publication(push.key("pub")?)?;
        push.close()?;
        out.write_all(b"}")
    }

    /// Members in the order of their Protobuf tags, as everywhere.
    fn write_publication<W: io::Write>(&self, out: &mut W) -> io::Result<()> {
        let publication = self.publication;
        let mut members = Members::open(out)?;
        members.raw("data", self.data)?;
        if let Some(info) = &self.info {
            info.write(members.key("info")?)?;
        }
        members.unless_zero("offset", &publication.offset)?;
        members.unless_zero("tags", &publication.tags)?;
        members.unless_zero("delta", &publication.delta)?;
        members.unless_zero("time", &publication.time)?;
        members.unless_zero("channel", &publication.channel)?;
        members.unless_zero("key", &publication.key)?;
        members.unless_zero("removed", &publication.removed)?;
        members.unless_zero("score", &publication.score)?;
        members.unless_zero("epoch", &publication.epoch)?;
        members.raw("prev_data", self.prev_data)?;
        members.unless_zero("version", &publication.version)?;
        members.close()
    }
}

impl<'a> Info<'a> {
    fn new(client: &'a ClientInfo) -> Result<Self, NotJson> {
        Ok(Self { client, conn_info: payload(&client.conn_info)?, chan_info: payload(&client.chan_info)? })
    }

    fn write<W: io::Write>(&self, out: &mut W) -> io::Result<()> {
        let mut members = Members::open(out)?;
        members.always("user", &self.client.user)?;
        members.always("client", &self.client.client)?;
        members.raw("conn_info", self.conn_info)?;
        members.raw("chan_info", self.chan_info)?;
        members.close()
    }
}

fn payload(bytes: &Bytes) -> Result<Option<&RawValue>, NotJson> {
    if bytes.is_empty() {
        return Ok(None);
    }
    raw::parse(bytes).map(Some).map_err(|_| NotJson)
}

/// The members of an object that is being written.
struct Members<'w, W> {
    out: &'w mut W,
    separator: &'static [u8],
}

impl<'w, W: io::Write> Members<'w, W> {
    fn open(out: &'w mut W) -> io::Result<Self> {
        out.write_all(b"{")?;
        Ok(Self { out, separator: b"\"" })
    }

    /// Writes a key; its value is to follow. Keys are those of the protocol and need no escapes.
    fn key(&mut self, key: &str) -> io::Result<&mut W> {
        self.out.write_all(self.separator)?;
        self.separator = b",\"";
        self.out.write_all(key.as_bytes())?;
        self.out.write_all(b"\":")?;
        Ok(self.out)
    }

    fn always<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> io::Result<()> {
        Ok(serde_json::to_writer(self.key(key)?, value)?)
    }

    fn unless_zero<T: Serialize + Default + PartialEq>(&mut self, key: &str, value: &T) -> io::Result<()> {
        if is_zero(value) { Ok(()) } else { self.always(key, value) }
    }

    fn raw(&mut self, key: &str, value: Option<&RawValue>) -> io::Result<()> {
        let Some(value) = value else { return Ok(()) };
        let out = self.key(key)?;
        // Newlines separate messages. Inside valid JSON they are whitespace: a string has them escaped.
        value.get().split('\n').try_for_each(|line| out.write_all(line.as_bytes()))
    }

    fn close(self) -> io::Result<()> {
        self.out.write_all(b"}")
    }
}

/// Counts what is written to it.
struct Length(usize);

impl io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
