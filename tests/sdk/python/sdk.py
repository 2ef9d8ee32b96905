"""The stock client `centrifuge-python` in both encodings, and what tests say with it."""

import asyncio
import contextlib
import json

from centrifuge import Client, ClientEventHandler, SubscriptionEventHandler

PATIENCE = 20.0


class Encoding:
    """Payloads are JSON values in the one encoding, and bytes in the other; here they hold the same."""

    def __init__(self, name):
        self.name = name
        self.protobuf = name == "protobuf"

    def pack(self, value):
        return json.dumps(value).encode() if self.protobuf else value

    def unpack(self, data):
        return json.loads(data) if self.protobuf else data

    @contextlib.asynccontextmanager
    async def open(self, server):
        """A connected client, closed at the end."""
        client = self.client(server)
        await client.connect()
        try:
            await client.ready(PATIENCE)
            yield client
        finally:
            await client.disconnect()

    def client(self, server):
        """A client that is not connected yet."""
        return Client(
            server.websocket,
            events=Events(),
            use_protobuf=self.protobuf,
            timeout=PATIENCE,
            min_reconnect_delay=0.05,
            max_reconnect_delay=0.2,
            proxy=None,
        )

    async def subscribe(self, client, channel):
        """A subscription that the server has confirmed."""
        subscription = client.new_subscription(channel, events=SubscriptionEvents(self))
        await subscription.subscribe()
        await subscription.ready(PATIENCE)
        return subscription


class Recorder:
    """Remembers each event with what it carried, so that one may wait for it."""

    def __init__(self):
        self._events = {}

    def note(self, event, context):
        self._queue(event).put_nowait(context)

    async def next(self, event):
        """The oldest event of this kind that was not taken yet."""
        return await asyncio.wait_for(self._queue(event).get(), PATIENCE)

    def seen(self, event):
        """How many events of this kind were not taken yet."""
        return self._queue(event).qsize()

    def _queue(self, event):
        return self._events.setdefault(event, asyncio.Queue())


class Events(ClientEventHandler, Recorder):
    async def on_connecting(self, ctx):
        self.note("connecting", ctx)

    async def on_connected(self, ctx):
        self.note("connected", ctx)

    async def on_disconnected(self, ctx):
        self.note("disconnected", ctx)

    async def on_subscribed(self, ctx):
        self.note("subscribed", ctx)

    async def on_unsubscribed(self, ctx):
        self.note("unsubscribed", ctx)

    async def on_publication(self, ctx):
        self.note("publication", ctx)


class SubscriptionEvents(SubscriptionEventHandler, Recorder):
    def __init__(self, encoding):
        super().__init__()
        self._encoding = encoding

    async def on_subscribing(self, ctx):
        self.note("subscribing", ctx)

    async def on_subscribed(self, ctx):
        self.note("subscribed", ctx)

    async def on_unsubscribed(self, ctx):
        self.note("unsubscribed", ctx)

    async def on_publication(self, ctx):
        self.note("publication", ctx.pub)

    async def received(self, count):
        """What the next `count` publications hold."""
        return [self._encoding.unpack((await self.next("publication")).data) for _ in range(count)]
