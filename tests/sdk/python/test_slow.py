"""Slow readers: what `centrifuge-python` gets where it falls too far behind."""

import pytest

from sdk import SubscriptionEvents
from server import serving

# Publications of this size fill the buffers between server and client with a few dozen.
BALLAST = "x" * 200_000
FLOOD = 100

CONFIG = {
    "client": {"queue_max_size": 300_000, "queue_max_entries": 50},
    "channel": {
        "without_namespace": {
            "allowed_backpressure": ["skip_latest", "latest_per_key"],
            "allow_recovery": True,
            "history_size": 200,
            "history_ttl": "60s",
        }
    },
}


@pytest.fixture
def server():
    with serving(CONFIG) as server:
        yield server


async def test_a_slow_reader_skips_to_the_latest_if_it_asks_for_that(server, encoding):
    async with encoding.open(server) as client:
        subscription = await subscribe(encoding, client, "news", "skip_latest")
        flood(server, "news", "hot")
        numbers = await numbers_up_to(encoding, subscription, FLOOD - 1)
        assert numbers == sorted(numbers) and len(numbers) < FLOOD
        server.api("publish", {"channel": "news", "data": {"n": FLOOD}})
        assert await numbers_up_to(encoding, subscription, FLOOD) == [FLOOD]


async def test_a_slow_reader_has_the_latest_of_each_key_if_it_asks_for_that(server, encoding):
    async with encoding.open(server) as client:
        subscription = await subscribe(encoding, client, "news", "latest_per_key")
        flood(server, "news", "hot")
        for n in range(10):
            server.api("publish", {"channel": "news", "data": {"n": 1000 + n}, "key": f"k{n}"})
        flood(server, "news", "hot", 2000)
        numbers = await numbers_up_to(encoding, subscription, 2000 + FLOOD - 1)
        assert numbers == sorted(numbers) and len(numbers) < 2 * FLOOD
        # What is older than the window by far, but the latest of its key.
        assert [n for n in numbers if 1000 <= n < 2000] == [1000 + n for n in range(10)]


async def test_a_slow_reader_that_relies_on_offsets_recovers_and_its_sibling_goes_on(server, encoding):
    async with encoding.open(server) as client:
        sibling = await subscribe(encoding, client, "ballast", "skip_latest")
        events = SubscriptionEvents(encoding)
        subscription = client.new_subscription("news", events=events, recoverable=True)
        await subscription.subscribe()
        await subscription.ready()
        flood(server, "ballast", "hot")
        for n in range(100):
            server.api("publish", {"channel": "news", "data": {"n": n}})
        assert (await events.next("subscribing")).code == 0
        assert (await events.next("subscribing")).code == 2500
        assert await numbers_up_to(encoding, subscription, 99) == list(range(100))
        assert sibling.events.seen("unsubscribed") == 0 and sibling.events.seen("subscribing") == 1
        await numbers_up_to(encoding, sibling, FLOOD - 1)


async def test_a_policy_that_is_not_allowed_is_refused_in_words(server, encoding):
    async with encoding.open(server) as client:
        wish = encoding.pack({"tidegate": {"backpressure": "disconnect"}})
        events = SubscriptionEvents(encoding)
        subscription = client.new_subscription("news", events=events, data=wish)
        await subscription.subscribe()
        ended = await events.next("unsubscribed")
        assert ended.code == 107
        assert "skip_latest, latest_per_key" in ended.reason


async def subscribe(encoding, client, channel, policy):
    wish = encoding.pack({"tidegate": {"backpressure": policy}})
    subscription = client.new_subscription(channel, events=SubscriptionEvents(encoding), data=wish)
    await subscription.subscribe()
    await subscription.ready()
    return subscription


def flood(server, channel, key, first=0):
    """Publishes much while the client reads nothing: these calls hold up its event loop."""
    for n in range(first, first + FLOOD):
        server.api("publish", {"channel": channel, "data": {"n": n, "pad": BALLAST}, "key": key})


async def numbers_up_to(encoding, subscription, last):
    numbers = []
    while not numbers or numbers[-1] != last:
        publication = await subscription.events.next("publication")
        numbers.append(encoding.unpack(publication.data)["n"])
    return numbers
