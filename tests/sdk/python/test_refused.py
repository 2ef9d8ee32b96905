"""What the server refuses to `centrifuge-python`, and the codes it says."""

import pytest
from centrifuge.exceptions import ReplyError

from sdk import SubscriptionEvents
from server import serving


async def refusal(encoding, client, channel):
    """The code with which a subscription is refused for good."""
    subscription = client.new_subscription(channel, events=SubscriptionEvents(encoding))
    await subscription.subscribe()
    return (await subscription.events.next("unsubscribed")).code


async def refused(call):
    """The code of the error that answers a call."""
    with pytest.raises(ReplyError) as error:
        await call
    return error.value.code


def closed(**keys):
    return serving({"channel": {"without_namespace": keys}})


async def test_a_remote_call_without_a_handler(server, encoding):
    async with encoding.open(server) as client:
        assert await refused(client.rpc("method", encoding.pack({}))) == 108


async def test_presence_and_history_that_are_off(server, encoding):
    async with encoding.open(server) as client:
        subscription = await encoding.subscribe(client, "news")
        assert await refused(subscription.presence()) == 108
        assert await refused(subscription.presence_stats()) == 108
        assert await refused(subscription.history(limit=10)) == 108


async def test_an_unknown_namespace(server, encoding):
    async with encoding.open(server) as client:
        assert await refusal(encoding, client, "nowhere:news") == 102
        assert await refused(client.publish("nowhere:news", encoding.pack({}))) == 102


async def test_a_channel_name_that_is_too_long_or_not_ascii(server, encoding):
    async with encoding.open(server) as client:
        assert await refusal(encoding, client, "x" * 256) == 107
        assert await refusal(encoding, client, "żółw") == 107
        await encoding.subscribe(client, "x" * 255)


async def test_publishing_that_is_not_allowed(encoding):
    with closed(allow_publish_for_client=False) as server:
        async with encoding.open(server) as client:
            assert await refused(client.publish("news", encoding.pack({}))) == 103


async def test_subscribing_that_is_not_allowed(encoding):
    with closed(allow_subscribe_for_client=False) as server:
        async with encoding.open(server) as client:
            assert await refusal(encoding, client, "news") == 103


async def test_anonymous_clients_need_a_permission_of_their_own(encoding):
    with closed(allow_subscribe_for_anonymous=False, allow_publish_for_anonymous=False) as server:
        async with encoding.open(server) as client:
            assert await refusal(encoding, client, "news") == 103
            assert await refused(client.publish("news", encoding.pack({}))) == 103


async def test_one_channel_too_many(encoding):
    with serving({"client": {"channel_limit": 2}}) as server:
        async with encoding.open(server) as client:
            await encoding.subscribe(client, "first")
            await encoding.subscribe(client, "second")
            assert await refusal(encoding, client, "third") == 106


async def test_a_connection_without_a_token_where_one_is_needed(encoding):
    with serving({"client": {"allow_anonymous_connect_without_token": False}}) as server:
        client = encoding.client(server)
        await client.connect()
        assert (await client.events.next("disconnected")).code == 3501
