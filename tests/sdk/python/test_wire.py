"""What no SDK lets one see: the messages themselves, and their order."""

from wire import CONTINUATION, PING, TEXT, Wire


def test_the_connect_reply(server):
    with Wire(server) as wire:
        connect = wire.call({"id": 1, "connect": {}})["connect"]
        assert len(connect["client"]) == 36
        assert connect["version"]
        assert (connect["ping"], connect["pong"]) == (25, True)


def test_native_pings(server):
    with Wire(server, query="?cf_ws_frame_ping_pong=true&unknown=1") as wire:
        connect = wire.call({"id": 1, "connect": {}})["connect"]
        assert "ping" not in connect and "pong" not in connect


def test_the_first_known_subprotocol_is_echoed(server):
    with Wire(server, "other, centrifuge-json, centrifuge-protobuf") as wire:
        assert wire.headers["sec-websocket-protocol"] == "centrifuge-json"
    with Wire(server, "other") as wire:
        assert "sec-websocket-protocol" not in wire.headers


def test_the_commands_of_a_frame_are_answered_in_order(server):
    with Wire(server) as wire:
        wire.say(
            '{"id":1,"connect":{}}\n'
            '{"id":2,"subscribe":{"channel":"news"}}\n'
            '{"id":3,"publish":{"channel":"news","data":{"n":1}}}\n'
            '{"id":4,"rpc":{"method":"m"}}\n'
        )
        connect, subscribe, push, publish, rpc = [wire.reply() for _ in range(5)]
        assert (connect["id"], subscribe["id"], publish["id"], rpc["id"]) == (1, 2, 3, 4)
        # A publisher sees its own publication before the reply.
        assert push["push"]["pub"]["data"] == {"n": 1}
        assert publish["publish"] == {}
        assert rpc["error"]["code"] == 108


def test_a_message_in_fragments_with_a_ping_between(server):
    with Wire(server) as wire:
        wire.frame(TEXT, b'{"id":1,', fin=False)
        wire.frame(PING, b"between")
        wire.frame(CONTINUATION, b'"connect":', fin=False)
        wire.frame(CONTINUATION, b"{}}")
        assert "connect" in wire.reply()


def test_subscribing_twice_is_refused_with_105(server):
    with Wire.connected(server) as wire:
        wire.call({"id": 2, "subscribe": {"channel": "news"}})
        wire.say('{"id":3,"subscribe":{"channel":"news"}}')
        assert wire.reply()["error"]["code"] == 105
        wire.say('{"id":4,"publish":{"channel":"news","data":1}}')
        assert wire.reply()["push"]["pub"]["data"] == 1


def test_publishing_nothing_is_refused_with_107(server):
    with Wire.connected(server) as wire:
        wire.say('{"id":2,"publish":{"channel":"news"}}')
        assert wire.reply()["error"]["code"] == 107


def test_unsubscribing_what_is_not_subscribed(server):
    with Wire.connected(server) as wire:
        assert wire.call({"id": 2, "unsubscribe": {"channel": "news"}})["unsubscribe"] == {}


def test_refreshing_a_subscription_that_is_none_is_refused_with_103(server):
    with Wire.connected(server) as wire:
        wire.say('{"id":2,"sub_refresh":{"channel":"news","token":"t"}}')
        assert wire.reply()["error"]["code"] == 103
