"""Servers that are told everything by variables of Centrifugo v6, as the SDKs' own suites start theirs, and what those
suites expect of them."""

import base64
import contextlib
import hashlib
import hmac
import json

import pytest
from centrifuge.client import DeltaType

from sdk import Events, SubscriptionEvents
from server import serving
from wire import Wire

SECRET = "secret"
KEY = "test-api-key"
DEFAULT = "CENTRIFUGO_CHANNEL_WITHOUT_NAMESPACE_"
KEPT = {"HISTORY_SIZE": "100", "HISTORY_TTL": "300s", "FORCE_RECOVERY": "true"}
BASE = {
    "CENTRIFUGO_CLIENT_TOKEN_HMAC_SECRET_KEY": SECRET,
    "CENTRIFUGO_CLIENT_CONCURRENCY": "8",
    "CENTRIFUGO_LOG_LEVEL": "trace",
    "CENTRIFUGO_HTTP_API_KEY": KEY,
}


def options(prefix, **options):
    return {f"{prefix}{name}": value for name, value in options.items()}


def namespace(name, **options_):
    return options(f"CENTRIFUGO_CHANNEL_NAMESPACES_{name.upper()}_", **options_)


NAMESPACES = {
    "CENTRIFUGO_CHANNEL_NAMESPACES": "delta recovery smallhistory",
    **namespace("delta", ALLOWED_DELTA_TYPES="fossil", DELTA_PUBLISH="true", **KEPT),
    **namespace("recovery", **KEPT),
    **namespace("smallhistory", **{**KEPT, "HISTORY_SIZE": "2"}),
}
INSECURE = {**BASE, "CENTRIFUGO_CLIENT_INSECURE": "true", **options(DEFAULT, PRESENCE="true"), **NAMESPACES}


@contextlib.contextmanager
def v6(environment):
    with serving(environment=environment) as server:
        assert "are read as if they were named TIDEGATE_" in server.log()
        yield server


def token(**claims):
    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    signed = f"{part(json.dumps({'alg': 'HS256', 'typ': 'JWT'}).encode())}.{part(json.dumps(claims).encode())}"
    return f"{signed}.{part(hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).digest())}"


def publish(server, channel, *values):
    for value in values:
        body = json.dumps({"channel": channel, "data": value})
        status, reply = server.request("POST", "/api/publish", body, {"X-API-Key": KEY})
        assert status == 200 and "result" in json.loads(reply), reply


async def subscribed(encoding, client, channel, **options_):
    subscription = client.new_subscription(channel, events=SubscriptionEvents(encoding), **options_)
    await subscription.subscribe()
    await subscription.ready(20)
    return subscription


async def test_missed_publications_are_recovered(encoding):
    with v6(INSECURE) as server:
        async with encoding.open(server) as client:
            subscription = await subscribed(encoding, client, "recovery:x")
            await subscription.events.next("subscribed")
            publish(server, "recovery:x", 1)
            assert await subscription.events.received(1) == [1]
            for leave, come in [
                (client.disconnect, client.connect),
                (subscription.unsubscribe, subscription.subscribe),
            ]:
                await leave()
                publish(server, "recovery:x", 2, 3, 4)
                await come()
                context = await subscription.events.next("subscribed")
                assert context.recovered and context.was_recovering
                assert await subscription.events.received(3) == [2, 3, 4]
            publish(server, "recovery:x", 5)
            assert await subscription.events.received(1) == [5]


async def test_what_is_no_longer_kept_is_said_to_be_lost(encoding):
    with v6(INSECURE) as server:
        async with encoding.open(server) as client:
            subscription = await subscribed(encoding, client, "smallhistory:x")
            await subscription.events.next("subscribed")
            publish(server, "smallhistory:x", 1)
            assert await subscription.events.received(1) == [1]
            await subscription.unsubscribe()
            publish(server, "smallhistory:x", 2, 3, 4, 5)
            await subscription.subscribe()
            context = await subscription.events.next("subscribed")
            assert context.was_recovering and not context.recovered
            publish(server, "smallhistory:x", 6)
            assert await subscription.events.received(1) == [6]


async def test_deltas_and_presence(encoding):
    with v6(INSECURE) as server:
        async with encoding.open(server) as client:
            subscription = await subscribed(encoding, client, "delta:x", delta=DeltaType.FOSSIL)
            documents = [{"n": n, "text": "the same in every document, and long enough"} for n in range(20)]
            publish(server, "delta:x", *documents)
            assert await subscription.events.received(20) == documents
            plain = await subscribed(encoding, client, "plain")
            assert len((await plain.presence()).clients) == 1
            stats = await plain.presence_stats()
            assert (stats.num_clients, stats.num_users) == (1, 1)


async def test_a_user_with_a_token_and_a_channel_of_its_own(encoding):
    permissions = {f"ALLOW_{what}_FOR_SUBSCRIBER": "true" for what in ["PUBLISH", "PRESENCE", "HISTORY"]}
    environment = {
        **BASE,
        **options(DEFAULT, PRESENCE="true", JOIN_LEAVE="true", FORCE_PUSH_JOIN_LEAVE="true", **KEPT, **permissions),
        "CENTRIFUGO_CLIENT_SUBSCRIBE_TO_USER_PERSONAL_CHANNEL_ENABLED": "true",
    }
    with v6(environment) as server:
        client = encoding.client(server)

        async def connection_token(*_):
            return token(sub="42")

        async def subscription_token(channel, *_):
            return token(sub="42", channel="news")

        client._get_token = connection_token
        await client.connect()
        try:
            await client.ready(20)
            await client.events.next("connected")
            assert (await client.events.next("subscribed")).channel == "#42"
            publish(server, "#42", {"for": "you"})
            personal = await client.events.next("publication")
            assert (personal.channel, encoding.unpack(personal.pub.data)) == ("#42", {"for": "you"})
            news = await subscribed(encoding, client, "news", get_token=subscription_token)
            await news.publish(encoding.pack({"input": "test"}))
            assert await news.events.received(1) == [{"input": "test"}]
            history = await news.history(limit=-1)
            assert history.offset == 1 and history.epoch and len(history.publications) == 1
            assert len((await news.presence()).clients) == 1
        finally:
            await client.disconnect()


def test_a_refresh_that_names_other_channels_closes_with_3010():
    with v6(BASE) as server, Wire(server) as wire:
        connected = wire.call({"id": 1, "connect": {"token": token(sub="42", channels=["a"])}})
        assert connected["connect"]["subs"] == {"a": {}}
        wire.call({"id": 2, "refresh": {"token": token(sub="42", channels=["a"])}})
        wire.say(json.dumps({"id": 3, "refresh": {"token": token(sub="42", channels=["b"])}}))
        assert wire.closed() == (3010, "insufficient state")


@pytest.mark.parametrize("enabled", [True, False])
def test_one_connection_of_a_user_with_a_channel_of_its_own(enabled):
    personal = "CENTRIFUGO_CLIENT_SUBSCRIBE_TO_USER_PERSONAL_CHANNEL_"
    environment = {
        **BASE,
        f"{personal}ENABLED": str(enabled).lower(),
        f"{personal}SINGLE_CONNECTION": "true",
        **options(DEFAULT, PRESENCE="true"),
    }
    with v6(environment) as server, Wire(server) as old, Wire(server) as other, Wire(server) as new:
        old.call({"id": 1, "connect": {"token": token(sub="42")}})
        other.call({"id": 1, "connect": {"token": token(sub="43")}})
        new.call({"id": 1, "connect": {"token": token(sub="42")}})
        if enabled:
            assert old.closed()[0] == 3504
        else:
            old.call({"id": 2, "unsubscribe": {"channel": "x"}})
        for wire in [other, new]:
            wire.call({"id": 2, "unsubscribe": {"channel": "x"}})


def test_tokens_of_the_sdks_suites():
    # An anonymous user's, made elsewhere with the secret "secret".
    connection = (
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpYXQiOjE3MzgwNzg4MjR9.MTb3higWfFW04E9-8wmTFOcf4MEm-rMDQaNKJ1VU_n4"
    )
    subscription = (
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpYXQiOjE3Mzc1MzIzNDgsImNoYW5uZWwiOiJ0ZXN0MSJ9."
        "eqPQxbBtyYxL8Hvbkm-P6aH7chUsSG_EMWe-rTwF_HI"
    )
    with v6(INSECURE) as server, Wire(server) as wire:
        wire.call({"id": 1, "connect": {"token": connection}})
        wire.call({"id": 2, "subscribe": {"channel": "test1", "token": subscription}})
