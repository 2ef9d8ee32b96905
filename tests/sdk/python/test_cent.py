"""The HTTP API as the public client `cent` calls it."""

import pytest
from cent import (
    BatchRequest,
    BroadcastRequest,
    CentApiResponseError,
    CentUnauthorizedError,
    ChannelsRequest,
    Client,
    Disconnect,
    DisconnectRequest,
    InfoRequest,
    PublishRequest,
    SubscribeRequest,
    UnsubscribeRequest,
)

from server import KEY
from wire import Wire

# Anonymous clients are those of the user without a name.
USER = ""


@pytest.fixture
def cent(server):
    with Client(f"{server.http}/api", KEY) as cent:
        yield cent


@pytest.fixture
def client(server):
    """A raw connection, subscribed to `news`; `id` is its client id."""
    with Wire(server) as client:
        client.id = client.call({"id": 1, "connect": {}})["connect"]["client"]
        client.call({"id": 2, "subscribe": {"channel": "news"}})
        yield client


def test_publish(cent, client):
    result = cent.publish(PublishRequest(channel="news", data={"n": 1}, tags={"kind": "test"}))
    assert result.offset == 0  # no history here
    pub = client.reply()["push"]["pub"]
    assert (pub["data"], pub["tags"]) == ({"n": 1}, {"kind": "test"})


def test_publish_of_bytes(cent, client):
    cent.publish(PublishRequest(channel="news", data=None, b64data="eyJuIjoxfQ=="))
    assert client.reply()["push"]["pub"]["data"] == {"n": 1}


def test_publish_to_an_unknown_namespace(cent):
    with pytest.raises(CentApiResponseError) as error:
        cent.publish(PublishRequest(channel="nowhere:news", data={}))
    assert error.value.code == 102


def test_broadcast(cent, client):
    client.call({"id": 3, "subscribe": {"channel": "more"}})
    result = cent.broadcast(BroadcastRequest(channels=["news", "more", "nowhere:news"], data="both"))
    assert [response.error and response.error.code for response in result.responses] == [None, None, 102]
    pushes = [client.reply()["push"] for _ in range(2)]
    assert {push["channel"]: push["pub"]["data"] for push in pushes} == {"news": "both", "more": "both"}


def test_broadcast_to_nobody(cent):
    with pytest.raises(CentApiResponseError) as error:
        cent.broadcast(BroadcastRequest(channels=[], data="both"))
    assert error.value.code == 107


def test_subscribe_and_unsubscribe(cent, client):
    cent.subscribe(SubscribeRequest(user=USER, client=client.id, channel="granted"))
    push = client.reply()["push"]
    assert push["channel"] == "granted" and "subscribe" in push
    cent.publish(PublishRequest(channel="granted", data="for you"))
    assert client.reply()["push"]["pub"]["data"] == "for you"
    cent.unsubscribe(UnsubscribeRequest(user=USER, client=client.id, channel="granted"))
    push = client.reply()["push"]
    assert push["channel"] == "granted" and push["unsubscribe"]["code"] == 2000


def test_disconnect(cent, client):
    cent.disconnect(DisconnectRequest(user=USER, client=client.id))
    assert client.closed() == (3503, "force disconnect")


def test_disconnect_with_a_code_of_the_user(cent, client):
    why = Disconnect(code=4501, reason="go away")
    cent.disconnect(DisconnectRequest(user=USER, client=client.id, disconnect=why))
    assert client.closed() == (4501, "go away")


def test_disconnect_without_a_word(cent, client):
    cent.disconnect(DisconnectRequest(user=USER, client=client.id, disconnect=Disconnect(code=3000, reason="gone")))
    assert client.ended() == b""


def test_disconnect_but_those_on_the_white_list(cent, server, client):
    with Wire.connected(server) as other:
        cent.disconnect(DisconnectRequest(user=USER, whitelist=[client.id]))
        assert other.closed()[0] == 3503
    cent.publish(PublishRequest(channel="news", data="still here"))
    assert client.reply()["push"]["pub"]["data"] == "still here"


def test_channels(cent, client):
    client.call({"id": 3, "subscribe": {"channel": "more"}})
    channels = cent.channels(ChannelsRequest()).channels
    assert {name: channel.num_clients for name, channel in channels.items()} == {"news": 1, "more": 1}
    assert set(cent.channels(ChannelsRequest(pattern="mo*")).channels) == {"more"}


def test_info(cent, client):
    (node,) = cent.info(InfoRequest()).nodes
    assert node.uid and node.name
    assert (node.num_clients, node.num_subs, node.num_channels) == (1, 1, 1)


@pytest.mark.parametrize("parallel", [False, True])
def test_batch(cent, client, parallel):
    requests = [PublishRequest(channel="news", data=1), BroadcastRequest(channels=["news"], data=2), InfoRequest()]
    published, broadcast, info = cent.batch(BatchRequest(requests=requests, parallel=parallel)).replies
    assert published.offset == 0
    assert len(broadcast.responses) == 1
    assert len(info.nodes) == 1
    assert sorted(client.reply()["push"]["pub"]["data"] for _ in range(2)) == [1, 2]


def test_a_wrong_key(server):
    with Client(f"{server.http}/api", "wrong") as cent, pytest.raises(CentUnauthorizedError):
        cent.info(InfoRequest())
