"""Deltas and tags filters of `centrifuge-python`, and the API's side of them by `cent`."""

import asyncio
import json

import pytest
from cent import Client as Cent
from cent import PublishRequest
from centrifuge.client import DeltaType
from centrifuge.filter import Filter
from centrifuge.fossil import apply_delta

from sdk import SubscriptionEvents
from server import KEY, serving
from wire import Wire

HISTORY = {"history_size": 2000, "history_ttl": "60s", "force_recovery": True}


def options(**options):
    return {"channel": {"without_namespace": options}}


def documents(count):
    """Documents of every size, now and then of 64 KiB."""
    long = [0, 10, 100, 1000]
    return [
        {"price": n / 4, "note": "żółw 🐢 " * (1 + n % 7), "n": n, "long": "x" * (long[n % 4] if n % 90 else 65_000)}
        for n in range(count)
    ]


async def subscribed(encoding, client, channel, **options):
    subscription = client.new_subscription(channel, events=SubscriptionEvents(encoding), **options)
    await subscription.subscribe()
    await subscription.ready(20)
    return subscription


@pytest.mark.parametrize("history", [{}, HISTORY])
async def test_1000_publications_arrive_as_deltas_as_they_do_without(encoding, history):
    with serving(options(allowed_delta_types=["fossil"], **history)) as server:
        async with encoding.open(server) as plain, encoding.open(server) as delta:
            expected = await subscribed(encoding, plain, "news")
            got = await subscribed(encoding, delta, "news", delta=DeltaType.FOSSIL)
            sent = documents(1000)
            for n in range(0, 1000, 100):
                commands = [
                    {"publish": {"channel": "news", "data": data, "delta": True}} for data in sent[n : n + 100]
                ]
                await asyncio.to_thread(batch, server, commands)
                # Read meanwhile, or they would be too far behind.
                assert await expected.events.received(100) == sent[n : n + 100]
                assert await got.events.received(100) == sent[n : n + 100]


async def test_what_is_recovered_comes_as_deltas(encoding):
    with serving(options(allowed_delta_types=["fossil"], delta_publish=True, **HISTORY)) as server:
        async with encoding.open(server) as client:
            subscription = await subscribed(encoding, client, "news", delta=DeltaType.FOSSIL)
            sent = documents(60)
            for n in range(0, 60, 20):
                await asyncio.to_thread(batch, server, publishing(sent[n : n + 10]))
                assert await subscription.events.received(10) == sent[n : n + 10]
                await subscription.unsubscribe()
                await asyncio.to_thread(batch, server, publishing(sent[n + 10 : n + 20]))
                await subscription.subscribe()
                assert await subscription.events.received(10) == sent[n + 10 : n + 20]


async def test_filters(encoding):
    with serving(options(allow_tags_filter=True)) as server:
        async with encoding.open(server) as client:
            wanted = await subscribed(
                encoding,
                client,
                "news",
                tags_filter=Filter.all(Filter.gte("price", "2.5"), Filter.negate(Filter.eq("kind", "b"))),
            )
            commands = [
                {"publish": {"channel": "news", "data": n, "tags": {"price": f"{n / 4}", "kind": "ab"[n % 2]}}}
                for n in range(40)
            ]
            await asyncio.to_thread(batch, server, commands)
            expected = [n for n in range(40) if n >= 10 and n % 2 == 0]
            assert await wanted.events.received(len(expected)) == expected
            refused = client.new_subscription(
                "other", events=SubscriptionEvents(encoding), tags_filter=Filter.gt("price", "dear")
            )
            await refused.subscribe()
            assert (await refused.events.next("unsubscribed")).code == 107


def test_cent_publishes_deltas():
    with serving(options(allowed_delta_types=["fossil"])) as server, Wire.connected(server) as wire:
        reply = wire.call({"id": 2, "subscribe": {"channel": "news", "delta": "fossil"}})
        assert reply["subscribe"]["delta"] is True
        with Cent(f"{server.http}/api", KEY) as cent:
            sent = [{"text": "x" * 100, "n": n} for n in range(3)]
            for data in sent:
                cent.publish(PublishRequest(channel="news", data=data, delta=True))
            cent.publish(PublishRequest(channel="news", data=sent[0]))
        first, *patches, last = [wire.reply()["push"]["pub"] for _ in range(4)]
        assert "delta" not in first and json.loads(first["data"]) == sent[0]
        before = first["data"].encode()
        for patch, data in zip(patches, sent[1:]):
            assert patch["delta"] is True and isinstance(patch["data"], str)
            before = bytes(apply_delta(before, patch["data"].encode()))
            assert json.loads(before) == data
        # Not published as one, and a string all the same.
        assert "delta" not in last and json.loads(last["data"]) == sent[0]


def test_an_unknown_kind_of_delta_closes_with_3501():
    with serving(options(allowed_delta_types=["fossil"])) as server, Wire.connected(server) as wire:
        wire.say('{"id":2,"subscribe":{"channel":"news","delta":"xdelta"}}')
        assert wire.closed()[0] == 3501


def test_deltas_of_what_is_not_allowed_are_left_out(server):
    with Wire.connected(server) as wire:
        reply = wire.call({"id": 2, "subscribe": {"channel": "news", "delta": "fossil"}})
        assert "delta" not in reply["subscribe"]
        server.api("publish", {"channel": "news", "data": {"n": 1}, "delta": True})
        assert wire.reply()["push"]["pub"]["data"] == {"n": 1}


def test_a_filter_and_deltas_together():
    """No SDK asks for both; who does gets patches of what it got before."""
    config = options(allowed_delta_types=["fossil"], delta_publish=True, allow_tags_filter=True)
    with serving(config) as server, Wire.connected(server) as wire:
        tf = {"key": "kind", "cmp": "eq", "val": "a"}
        wire.call({"id": 2, "subscribe": {"channel": "news", "delta": "fossil", "tf": tf}})
        sent = [{"text": "y" * 100, "n": n} for n in range(30)]
        for n, data in enumerate(sent):
            server.api("publish", {"channel": "news", "data": data, "tags": {"kind": "abc"[n % 3]}})
        before, patches = b"", 0
        for n in range(0, 30, 3):
            pub = wire.reply()["push"]["pub"]
            patches += pub.get("delta", False)
            data = pub["data"].encode()
            before = bytes(apply_delta(before, data)) if pub.get("delta") else data
            assert json.loads(before) == sent[n]
        assert patches == 9


def publishing(documents):
    return [{"publish": {"channel": "news", "data": data}} for data in documents]


def batch(server, commands):
    status, body = server.request("POST", "/api/batch", json.dumps({"commands": commands}), {"X-API-Key": KEY})
    assert status == 200, body
    replies = json.loads(body)["replies"]
    assert all("publish" in reply for reply in replies), replies
