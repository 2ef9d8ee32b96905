"""Connections of `centrifuge-python`."""

import asyncio
import re
from contextlib import AsyncExitStack


async def test_a_client_connects_and_learns_its_id(server, encoding):
    async with encoding.open(server) as client:
        context = await client.events.next("connected")
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", context.client)
        assert client.state.value == "connected"


async def test_a_client_that_leaves_may_come_back(server, encoding):
    async with encoding.open(server) as client:
        first = await client.events.next("connected")
        await client.disconnect()
        assert (await client.events.next("disconnected")).code == 0
        await client.connect()
        second = await client.events.next("connected")
        assert second.client != first.client


async def test_100_clients_at_once(server, encoding):
    async with AsyncExitStack() as stack:
        opening = (stack.enter_async_context(encoding.open(server)) for _ in range(100))
        clients = await asyncio.gather(*opening)
        subscriptions = await asyncio.gather(*(encoding.subscribe(client, "crowd") for client in clients))
        await asyncio.to_thread(server.api, "publish", {"channel": "crowd", "data": {"hello": "all"}})
        for subscription in subscriptions:
            assert await subscription.events.received(1) == [{"hello": "all"}]


async def test_a_client_reconnects_and_subscribes_again_after_a_restart(server, encoding):
    async with encoding.open(server) as client:
        first = await client.events.next("connected")
        assert (await client.events.next("connecting")).code == 0
        subscription = await encoding.subscribe(client, "news")
        await subscription.events.next("subscribed")

        await asyncio.to_thread(server.halt)
        context = await client.events.next("connecting")
        assert (context.code, context.reason) == (3001, "shutdown")

        await asyncio.to_thread(server.start)
        second = await client.events.next("connected")
        assert second.client != first.client
        await subscription.events.next("subscribed")
        await asyncio.to_thread(server.api, "publish", {"channel": "news", "data": {"after": "restart"}})
        assert await subscription.events.received(1) == [{"after": "restart"}]
