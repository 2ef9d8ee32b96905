"""Subscriptions of `centrifuge-python`, and what ends them."""

import asyncio

import pytest
from centrifuge import DuplicateSubscriptionError
from centrifuge.exceptions import ReplyError

# Anonymous clients are those of the user without a name.
USER = ""


async def test_a_subscriber_receives_what_the_api_publishes(server, encoding):
    async with encoding.open(server) as client:
        subscription = await encoding.subscribe(client, "news")
        data = {"text": 'żółw\n"quoted"', "n": 1.5, "list": [None, True, {"deep": []}]}
        await publish(server, "news", data)
        assert await subscription.events.received(1) == [data]


async def test_a_subscriber_receives_what_a_client_publishes_and_who_it_was(server, encoding):
    async with encoding.open(server) as reader, encoding.open(server) as writer:
        subscription = await encoding.subscribe(reader, "news")
        await writer.publish("news", encoding.pack({"text": "hi"}))
        publication = await subscription.events.next("publication")
        assert encoding.unpack(publication.data) == {"text": "hi"}
        assert publication.info.client == (await writer.events.next("connected")).client
        assert publication.info.user == ""


async def test_1000_publications_arrive_in_order_over_3_channels(server, encoding):
    async with encoding.open(server) as reader, encoding.open(server) as writer:
        channels = ["red", "green", "blue"]
        subscriptions = {channel: await encoding.subscribe(reader, channel) for channel in channels}
        sent = {channel: list(range(first, 1000, 3)) for first, channel in enumerate(channels)}
        for n in range(1000):
            await writer.publish(channels[n % 3], encoding.pack(n))
        for channel, subscription in subscriptions.items():
            assert await subscription.events.received(len(sent[channel])) == sent[channel]
            assert subscription.events.seen("publication") == 0


async def test_nothing_arrives_after_unsubscribing(server, encoding):
    async with encoding.open(server) as leaver, encoding.open(server) as stayer:
        left = await encoding.subscribe(leaver, "left")
        kept = await encoding.subscribe(leaver, "kept")
        other = await encoding.subscribe(stayer, "left")
        await left.unsubscribe()
        assert (await left.events.next("unsubscribed")).code == 0
        await publish(server, "left", "unwanted")
        assert await other.events.received(1) == ["unwanted"]
        await publish(server, "kept", "wanted")
        assert await kept.events.received(1) == ["wanted"]
        assert left.events.seen("publication") == 0


async def test_a_subscription_may_be_taken_up_again(server, encoding):
    async with encoding.open(server) as client:
        subscription = await encoding.subscribe(client, "news")
        for n in range(5):
            await subscription.unsubscribe()
            await subscription.subscribe()
            await subscription.ready()
            await publish(server, "news", n)
            assert await subscription.events.received(1) == [n]


async def test_a_client_has_one_subscription_to_a_channel(server, encoding):
    async with encoding.open(server) as client:
        await encoding.subscribe(client, "news")
        with pytest.raises(DuplicateSubscriptionError):
            client.new_subscription("news")


async def test_the_server_ends_one_subscription_with_2000(server, encoding):
    async with encoding.open(server) as client:
        ended, kept = [await encoding.subscribe(client, channel) for channel in ("ended", "kept")]
        connected = await client.events.next("connected")
        await api(server, "unsubscribe", {"user": USER, "client": connected.client, "channel": "ended"})
        assert (await ended.events.next("unsubscribed")).code == 2000
        await publish(server, "kept", "still here")
        assert await kept.events.received(1) == ["still here"]


async def test_the_server_ends_a_connection_with_3503(server, encoding):
    async with encoding.open(server) as client, encoding.open(server) as other:
        connected = await client.events.next("connected")
        await api(server, "disconnect", {"user": USER, "client": connected.client})
        context = await client.events.next("disconnected")
        assert (context.code, context.reason) == (3503, "force disconnect")
        with pytest.raises(ReplyError, match="108"):
            await other.rpc("none", encoding.pack({}))


async def test_the_server_subscribes_a_client(server, encoding):
    async with encoding.open(server) as client:
        connected = await client.events.next("connected")
        of_client = {"user": USER, "client": connected.client, "channel": "granted"}
        await api(server, "subscribe", of_client)
        assert (await client.events.next("subscribed")).channel == "granted"
        await publish(server, "granted", "for you")
        publication = await client.events.next("publication")
        assert encoding.unpack(publication.pub.data) == "for you"
        await api(server, "unsubscribe", of_client)
        assert (await client.events.next("unsubscribed")).channel == "granted"


async def api(server, method, request):
    return await asyncio.to_thread(server.api, method, request)


async def publish(server, channel, data):
    await api(server, "publish", {"channel": channel, "data": data})
