"""Raw QUIC as docs/quic.md tells it, spoken by an implementation that is not the server's."""

import asyncio
import base64
import contextlib
import json
import os
import shutil
import signal
import socket

import pytest

from native import END, certificate, native, quic_server


@pytest.fixture(params=["json", "protobuf"])
def encoding(request):
    return request.param


@pytest.fixture
def server(tmp_path):
    with quic_server(tmp_path) as server:
        yield server


def data(encoding, value):
    """A payload as a message has it."""
    return value if encoding == "json" else base64.b64encode(json.dumps(value).encode()).decode()


async def connected(client):
    client.say({"id": 1, "connect": {}})
    reply = await client.hear()
    assert reply["id"] == 1 and reply["connect"]["client"], reply
    return reply["connect"]["client"]


async def subscribed(client, number, channel, **request):
    client.say({"id": number, "subscribe": {"channel": channel, **request}})
    reply = await client.hear()
    assert reply["id"] == number and "error" not in reply, reply
    return reply.get("subscribe", {})


async def test_each_subscription_has_a_stream_of_its_own(server, encoding):
    async with native(server, encoding) as client:
        await connected(client)
        # 300 takes two bytes as uvarint.
        for number, channel in ((2, "news"), (300, "other")):
            await subscribed(client, number, channel)
        for i in range(20):
            server.api("publish", {"channel": "news", "data": {"i": i}})
            server.api("publish", {"channel": "other", "data": {"i": -i}})
        for number, sign in ((2, 1), (300, -1)):
            for i in range(20):
                push = await client.hear_track(number)
                assert push == {"pub": {"data": data(encoding, {"i": sign * i})}}, push
        assert client.messages.empty()
        client.say({"id": 4, "publish": {"channel": "news", "data": data(encoding, {"own": 1})}})
        assert (await client.hear())["id"] == 4
        assert (await client.hear_track(2))["pub"]["info"]["client"]
        client.say({"id": 5, "unsubscribe": {"channel": "news"}})
        assert (await client.hear())["id"] == 5
        assert await client.hear_track(2) == 0, "reset with code 0"


async def test_the_server_ends_a_subscription_and_then_the_connection(server, encoding):
    async with native(server, encoding) as client:
        me = await connected(client)
        await subscribed(client, 2, "news")
        server.api("publish", {"channel": "news", "data": 1})
        server.api("unsubscribe", {"user": "", "channel": "news", "client": me})
        told = await client.hear()
        assert told["push"] == {"channel": "news", "unsubscribe": {"code": 2000, "reason": "server unsubscribe"}}
        assert (await client.hear_track(2))["pub"]
        assert await client.hear_track(2) is END
        server.api("disconnect", {"user": "", "client": me, "disconnect": {"code": 4321, "reason": "later"}})
        assert (await client.hear())["push"]["disconnect"]["code"] == 4321
        assert await client.hear() is END
        assert await client.ended() == (4321, "later")


async def test_what_was_missed_is_recovered_on_the_stream(tmp_path, encoding):
    channel = {"history_size": 500, "history_ttl": "1m", "force_recovery": True}
    with quic_server(tmp_path, {"channel": {"without_namespace": channel}}) as server:
        for i in range(1, 101):
            server.api("publish", {"channel": "news", "data": i})
        async with native(server, encoding) as client:
            await connected(client)
            reply = await subscribed(client, 2, "news", recover=True, offset=40)
            assert reply["recovered"] and "publications" not in reply, reply
            assert int(reply["offset"]) == 40
            server.api("publish", {"channel": "news", "data": 101})
            offsets = [int((await client.hear_track(2))["pub"]["offset"]) for _ in range(61)]
            assert offsets == list(range(41, 102))


async def test_without_stream_credit_everything_comes_on_the_control_stream(server):
    async with native(server, credit=1) as client:
        await connected(client)
        for number, channel in ((2, "first"), (3, "second")):
            await subscribed(client, number, channel)
        server.api("publish", {"channel": "first", "data": 1})
        server.api("publish", {"channel": "second", "data": 2})
        assert await client.hear_track(2) == {"pub": {"data": 1}}
        assert await client.hear() == {"push": {"channel": "second", "pub": {"data": 2}}}


async def test_nonsense_and_too_much_are_bad_requests(server):
    for nonsense in (b"nonsense\n", b"\n", b"x" * 70_000, b'{"id":1,"subscribe":{"channel":"a"}}\n'):
        async with native(server) as client:
            client.say_raw(nonsense)
            assert await client.ended() == (3501, "bad request"), nonsense[:20]


async def test_a_client_that_only_shakes_hands_is_stale(tmp_path):
    with quic_server(tmp_path, {"quic": {"handshake_timeout": "500ms"}}) as server:
        async with native(server) as client:
            assert await client.ended() == (3502, "stale")


async def test_another_alpn_is_refused(server):
    with pytest.raises(ConnectionError):
        async with native(server, "other") as client:
            await asyncio.wait_for(client.wait_connected(), 10)


async def test_a_client_that_moves_keeps_its_subscriptions(server):
    async with native(server) as client:
        await connected(client)
        await subscribed(client, 2, "news")
        # From here on its packets come from another port.
        loop = asyncio.get_running_loop()
        moved = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        moved.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        moved.bind(("::", 0, 0, 0))
        old = client._transport
        transport, _ = await loop.create_datagram_endpoint(lambda: Passing(client), sock=moved)
        client._transport = transport
        client.say({"id": 3, "publish": {"channel": "news", "data": "moved"}})
        assert (await client.hear())["id"] == 3
        assert (await client.hear_track(2))["pub"]["data"] == "moved"
        server.api("publish", {"channel": "news", "data": "after"})
        assert (await client.hear_track(2))["pub"]["data"] == "after"
        old.close()


class Passing(asyncio.DatagramProtocol):
    """Gives a client what comes to its new address."""

    def __init__(self, client):
        self.client = client

    def datagram_received(self, data, address):
        self.client.datagram_received(data, address)


async def test_a_stop_lets_it_read_to_the_end(tmp_path):
    with quic_server(tmp_path) as server:
        async with native(server) as client:
            await connected(client)
            await subscribed(client, 2, "news")
            for i in range(50):
                server.api("publish", {"channel": "news", "data": i})
            await asyncio.to_thread(server.halt)
            got = [(await client.hear_track(2))["pub"]["data"] for _ in range(50)]
            assert got == list(range(50))
            assert await client.hear_track(2) is END
            assert (await client.hear())["push"]["disconnect"]["code"] == 3001
            assert await client.ended() == (3001, "shutdown")
        server.start()


async def test_sighup_shows_a_new_certificate_to_who_connects_from_now_on(server, tmp_path):
    async with native(server) as old:
        await connected(old)
        before = shutil.copy(server.cert, tmp_path / "before.pem")
        certificate(tmp_path)
        os.kill(server.pid, signal.SIGHUP)
        for _ in range(100):
            if "QUIC: a new certificate is in use" in server.log():
                break
            await asyncio.sleep(0.05)
        async with native(server) as new:
            await connected(new)
        server.cert = before
        with pytest.raises(ConnectionError):
            async with native(server) as deceived:
                await asyncio.wait_for(deceived.wait_connected(), 10)
        await subscribed(old, 2, "news")


async def test_publications_that_may_get_lost_come_in_datagrams(tmp_path, encoding):
    with quic_server(tmp_path, {"channel": {"without_namespace": {"allow_datagrams": True}}}) as server:
        async with native(server, encoding, max_datagram_frame_size=65536) as client:
            await connected(client)
            wish = data(encoding, {"tidegate": {"datagrams": True}})
            await subscribed(client, 2, "news", data=wish)
            for i in range(20):
                server.api("publish", {"channel": "news", "data": i})
            for i in range(20):
                name, push = await asyncio.wait_for(client.datagrams.get(), 20)
                assert (name, push) == (2, {"pub": {"data": data(encoding, i)}})
            server.api("publish", {"channel": "news", "data": "x" * 5000})
            assert (await client.hear_track(2))["pub"]["data"] == data(encoding, "x" * 5000)
            assert client.datagrams.empty()


async def test_one_byte_gaps_are_not_kept_for_long(server):
    """A client that sends every second byte only would have the server keep a note of each."""
    async with native(server) as healthy:
        await connected(healthy)
        await subscribed(healthy, 2, "news")
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(native(server)) for _ in range(2)]
            for client in clients:
                await connected(client)
                sender = client._quic._streams[client.control].sender
                begin = sender._buffer_stop
                sender.write(b"x" * 20_000)
                sender._pending = Gaps(begin, begin + 20_000)
                client.transmit()
            for client in clients:
                code, reason = await client.ended()
                assert (code, "gaps" in reason) == (1, True), (code, reason)
                assert client._quic._streams[client.control].sender._pending, "long before the last"
        server.api("publish", {"channel": "news", "data": 1})
        assert await healthy.hear_track(2) == {"pub": {"data": 1}}


class Gaps:
    """What a stream has yet to send, as its sender sees it: every second byte, alone."""

    def __init__(self, begin, end):
        self.at, self.end = begin + 1, end

    def __len__(self):
        return 1 if self.at < self.end else 0

    def __bool__(self):
        return self.at < self.end

    def __getitem__(self, index):
        if self.at >= self.end:
            raise IndexError(index)
        return range(self.at, self.at + 1)

    def __iter__(self):
        return iter([self[0]] if self else [])

    def subtract(self, begin, end):
        self.at = max(self.at, end + 1)

    def add(self, begin, end):
        """What was lost stays lost."""
