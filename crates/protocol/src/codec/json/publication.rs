use std::cell::RefCell;

use bytes::Bytes;
use serde::ser::Serialize;
use serde_json::value::RawValue;

use super::{NotJson, split_line};
use crate::message::{ClientInfo, Publication, is_zero, raw};

thread_local! {
    /// Where a thread writes a push: how long it is, is not known before.
    static JSON: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What is kept of [`JSON`] for the next push, in bytes: large publications are few.
const KEPT: usize = 64 * 1024;

/// Writes the push of a publication: without slack, as it is kept for every subscriber.
pub(in crate::codec) fn publication_push(channel: &str, publication: &Publication) -> Result<Bytes, NotJson> {
    let push = Parsed::new(channel, publication)?;
    Ok(JSON.with_borrow_mut(|json| {
        json.clear();
        json.reserve(publication.data.len());
        push.write(json);
        let exact = Bytes::copy_from_slice(json);
        if json.capacity() > KEPT {
            *json = Vec::new();
        }
        exact
    }))
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

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"push\":");
        let mut push = Members::open(out);
        if !self.channel.is_empty() {
            push.always(b"\"channel\":", self.channel);
        }
        self.write_publication(push.key(b"\"pub\":"));
        push.close();
        out.push(b'}');
    }

    /// Members in the order of their Protobuf tags, as everywhere.
    fn write_publication(&self, out: &mut Vec<u8>) {
        let publication = self.publication;
        let mut members = Members::open(out);
        members.raw(b"\"data\":", self.data);
        if let Some(info) = &self.info {
            info.write(members.key(b"\"info\":"));
        }
        members.unless_zero(b"\"offset\":", &publication.offset);
        members.unless_zero(b"\"tags\":", &publication.tags);
        members.unless_zero(b"\"delta\":", &publication.delta);
        members.unless_zero(b"\"time\":", &publication.time);
        members.unless_zero(b"\"channel\":", &publication.channel);
        members.unless_zero(b"\"key\":", &publication.key);
        members.unless_zero(b"\"removed\":", &publication.removed);
        members.unless_zero(b"\"score\":", &publication.score);
        members.unless_zero(b"\"epoch\":", &publication.epoch);
        members.raw(b"\"prev_data\":", self.prev_data);
        members.unless_zero(b"\"version\":", &publication.version);
        members.close();
    }
}

impl<'a> Info<'a> {
    fn new(client: &'a ClientInfo) -> Result<Self, NotJson> {
        Ok(Self { client, conn_info: payload(&client.conn_info)?, chan_info: payload(&client.chan_info)? })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut members = Members::open(out);
        members.always(b"\"user\":", &self.client.user);
        members.always(b"\"client\":", &self.client.client);
        members.raw(b"\"conn_info\":", self.conn_info);
        members.raw(b"\"chan_info\":", self.chan_info);
        members.close();
    }
}

fn payload(bytes: &Bytes) -> Result<Option<&RawValue>, NotJson> {
    if bytes.is_empty() {
        return Ok(None);
    }
    raw::parse(bytes).map(Some).map_err(|_| NotJson)
}

/// The members of an object that is being written. Keys come as they are written: with their quotes and colon.
struct Members<'w> {
    out: &'w mut Vec<u8>,
    /// What stands before the next.
    before: u8,
}

impl<'w> Members<'w> {
    fn open(out: &'w mut Vec<u8>) -> Self {
        Self { out, before: b'{' }
    }

    /// Writes a key; its value is to follow.
    fn key(&mut self, key: &[u8]) -> &mut Vec<u8> {
        self.out.push(self.before);
        self.before = b',';
        self.out.extend_from_slice(key);
        self.out
    }

    fn always<T: Serialize + ?Sized>(&mut self, key: &[u8], value: &T) {
        serde_json::to_writer(self.key(key), value)
            .expect("keys are strings and memory takes what it is given");
    }

    fn unless_zero<T: Serialize + Default + PartialEq>(&mut self, key: &[u8], value: &T) {
        if !is_zero(value) {
            self.always(key, value);
        }
    }

    fn raw(&mut self, key: &[u8], value: Option<&RawValue>) {
        let Some(value) = value else { return };
        let out = self.key(key);
        // Newlines separate messages. Inside valid JSON they are whitespace: a string has them escaped.
        let mut rest = value.get().as_bytes();
        while !rest.is_empty() {
            out.extend_from_slice(split_line(&mut rest));
        }
    }

    fn close(self) {
        // One without members has not been opened.
        if self.before == b'{' {
            self.out.push(b'{');
        }
        self.out.push(b'}');
    }
}
