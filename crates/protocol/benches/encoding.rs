//! What it takes to read a command, to encode a publication, and to deliver it.

#[path = "../tests/it/fan.rs"]
mod fan;

use std::time::Instant;

use bytes::Bytes;
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use fan::{Fan, PROTOCOLS};
use tidegate_core::protocol::Protocol as _;
use tidegate_core::request::Subscribed;
use tidegate_core::transport::Peer;
use tidegate_protocol::message::PublishRequest;
use tidegate_protocol::{Centrifuge, Command, Encoding, publication};

fn main() {
    divan::main();
}

const SIZES: [usize; 3] = [128, 1024, 16 * 1024];

#[divan::bench(args = SIZES)]
fn json_push(bencher: Bencher<'_, '_>, size: usize) {
    push(bencher, Encoding::Json, size);
}

#[divan::bench(args = SIZES)]
fn protobuf_push(bencher: Bencher<'_, '_>, size: usize) {
    push(bencher, Encoding::Protobuf, size);
}

fn push(bencher: Bencher<'_, '_>, encoding: Encoding, size: usize) {
    let publication = publication(&fan::publication(size));
    bencher.counter(BytesCount::new(size)).bench(|| encoding.publication_push("news", &publication));
}

#[divan::bench(args = SIZES)]
fn json_command(bencher: Bencher<'_, '_>, size: usize) {
    command(bencher, Encoding::Json, size);
}

#[divan::bench(args = SIZES)]
fn protobuf_command(bencher: Bencher<'_, '_>, size: usize) {
    command(bencher, Encoding::Protobuf, size);
}

fn command(bencher: Bencher<'_, '_>, encoding: Encoding, size: usize) {
    let data: Bytes = fan::publication(size).data;
    let publish = Some(PublishRequest { channel: "news".into(), data, ..Default::default() });
    let frame = encoding.encode_command(&Command { id: 7, publish, ..Default::default() }).expect("JSON");
    bencher.counter(BytesCount::new(size)).bench(|| encoding.commands(&frame).next());
}

#[divan::bench(args = PROTOCOLS)]
fn session(bencher: Bencher<'_, '_>, protocol: &str) {
    let peer = Peer { transport: "websocket", protocol: protocol.into(), ..Default::default() };
    let (centrifuge, now) = (Centrifuge::default(), Instant::now());
    bencher.bench(|| centrifuge.session(&peer, now));
}

/// 32 publications to 1,000 subscribers: what is encoded once, and copied for each.
#[divan::bench(args = PROTOCOLS)]
fn delivery(bencher: Bencher<'_, '_>, protocol: &str) {
    let mut fan = Fan::new(protocol, 1000, &Subscribed::default(), fan::publication(128));
    bencher.counter(ItemsCount::new(32_000usize)).bench_local(|| {
        fan.publish(32);
        fan.drain(0)
    });
}
