"""Bad input on a WebSocket: it ends the connection it came on, with the right code, and no other."""

import pytest

from server import serving
from wire import BINARY, CLOSE, CONTINUATION, PING, PROTOBUF_CONNECT, TEXT, Wire, served

pytestmark = pytest.mark.usefixtures("healthy")

CONNECT = '{"id":1,"connect":{}}'

# Frames that are wrong first and later.
MALFORMED = {
    "an empty frame": "",
    "a lone newline": "\n",
    "broken JSON": "{",
    "an array": "[]",
    "an unknown command": '{"id":2,"hello":{}}',
    "an id and nothing else": '{"id":2}',
    "an id that is a string": '{"id":"2","rpc":{}}',
    "a field of the wrong type": '{"id":2,"rpc":{"method":1}}',
}

FIRST = {
    "an empty object": "{}",
    "a subscription": '{"id":1,"subscribe":{"channel":"news"}}',
    "a publication": '{"id":1,"publish":{"channel":"news","data":{}}}',
    "a remote call": '{"id":1,"rpc":{"method":"m"}}',
    "a message": '{"send":{"data":{}}}',
    "a ping": '{"id":1,"ping":{}}',
    "a connect command without an id": '{"connect":{}}',
    "an id that is a string": '{"id":"1","connect":{}}',
    "a second blank line": CONNECT + "\n\n",
    "a blank line between commands": CONNECT + '\n\n{"id":2,"rpc":{}}',
    "something broken after connect": CONNECT + "\n{",
    "connect twice in a frame": CONNECT + "\n" + CONNECT,
}

LATER = {
    "a second connect": '{"id":2,"connect":{}}',
    "a pong that nobody asked for": "{}",
    "a command without an id": '{"subscribe":{"channel":"news"}}',
    "a ping": '{"id":2,"ping":{}}',
    "an unknown kind of delta": '{"id":2,"subscribe":{"channel":"news","delta":"nope"}}',
    "an empty refresh": '{"id":2,"refresh":{}}',
    "a second blank line": '{"id":2,"rpc":{}}\n\n',
    "subscribe without a channel": '{"id":2,"subscribe":{}}',
    "unsubscribe without a channel": '{"id":2,"unsubscribe":{}}',
    "publish without a channel": '{"id":2,"publish":{"data":{}}}',
    "presence without a channel": '{"id":2,"presence":{}}',
    "presence_stats without a channel": '{"id":2,"presence_stats":{}}',
    "history without a channel": '{"id":2,"history":{}}',
    "sub_refresh without a channel": '{"id":2,"sub_refresh":{"token":"t"}}',
}

PROTOBUF = {
    "an empty frame": b"",
    "a pong that nobody asked for": b"\x00",
    "a field that is cut off": b"\x03\x08\xff\xff",
    "an id and nothing else": b"\x02\x08\x02",
    "a command longer than the frame": b"\x0a\x08\x02",
    "a command over the limit": b"\x81\x80\x04\x08\x02",
    "a length that never ends": b"\xff" * 11,
}


def named(cases):
    return {"argvalues": list(cases.values()), "ids": list(cases)}


@pytest.mark.parametrize("text", **named(MALFORMED | FIRST))
def test_3501_first(shared, text):
    with Wire(shared) as wire:
        wire.say(text)
        assert wire.closed() == (3501, "bad request")


@pytest.mark.parametrize("text", **named(MALFORMED | LATER))
def test_3501_later(shared, text):
    with Wire.connected(shared) as wire:
        wire.say(text)
        assert wire.closed() == (3501, "bad request")


@pytest.mark.parametrize("payload", **named(PROTOBUF))
def test_3501_first_in_protobuf(shared, payload):
    with Wire(shared, "centrifuge-protobuf") as wire:
        wire.frame(BINARY, payload)
        assert wire.closed() == (3501, "bad request")


@pytest.mark.parametrize("payload", **named(PROTOBUF))
def test_3501_later_in_protobuf(shared, payload):
    with Wire.connected_protobuf(shared) as wire:
        wire.frame(BINARY, payload)
        assert wire.closed() == (3501, "bad request")


def test_3501_second_connect_in_protobuf(shared):
    with Wire.connected_protobuf(shared) as wire:
        wire.frame(BINARY, PROTOBUF_CONNECT)
        assert wire.closed() == (3501, "bad request")


def test_3501_two_pongs():
    with serving({"client": {"ping_interval": "2s", "pong_timeout": "1s"}}) as server:
        with Wire.connected(server) as wire:
            assert wire.reply() == {}
            wire.say("{}", "{}")
            assert wire.closed() == (3501, "bad request")


def test_3501_no_token_where_one_is_needed():
    with serving({"client": {"allow_anonymous_connect_without_token": False}}) as server:
        with Wire(server) as wire:
            wire.say(CONNECT)
            assert wire.closed() == (3501, "bad request")


def test_3502_no_connect_command():
    with serving({"client": {"stale_close_delay": "1s"}}) as server, served(server):
        with Wire(server) as wire:
            assert wire.closed() == (3502, "stale")


def test_3508_a_message_without_a_handler(shared):
    with Wire.connected(shared) as wire:
        wire.say('{"send":{"data":{}}}')
        assert wire.closed()[0] == 3508


VIOLATIONS = {
    "continuation after FIN": [(CONTINUATION, b"{}", {})],
    "data before FIN": [(TEXT, b"{", {"fin": False}), (TEXT, b"}", {})],
    "FIN not set on control": [(PING, b"", {"fin": False})],
    "len > 125 for control": [(PING, b"x" * 126, {})],
    "RSV1 set": [(TEXT, b"{}", {"reserved": 4})],
    "bad opcode 3": [(0x3, b"{}", {})],
    "bad opcode 11": [(0xB, b"", {})],
    "bad MASK": [(TEXT, b"{}", {"masked": False})],
    "bad close code 999": [(CLOSE, b"\x03\xe7", {})],
}


@pytest.mark.parametrize("reason", VIOLATIONS)
def test_1002(shared, reason):
    with Wire.connected(shared) as wire:
        for opcode, payload, how in VIOLATIONS[reason]:
            wire.frame(opcode, payload, **how)
        assert wire.closed() == (1002, reason)


def test_1007_invalid_utf8(shared):
    with Wire.connected(shared) as wire:
        wire.frame(TEXT, b'{"id":2,"rpc":{"method":"\xff"}}')
        assert wire.closed()[0] == 1007


# The default limit of a message, in bytes.
LIMIT = 64 * 1024


def long_command(length):
    head, tail = b'{"id":2,"rpc":{"method":"m","data":"', b'"}}'
    return head + b"x" * (length - len(head) - len(tail)) + tail


def test_a_message_of_the_limit_is_answered(shared):
    with Wire.connected(shared) as wire:
        wire.frame(TEXT, long_command(LIMIT))
        assert wire.reply()["error"]["code"] == 108


def test_1009_a_message_over_the_limit(shared):
    with Wire.connected(shared) as wire:
        wire.frame(TEXT, long_command(LIMIT + 1))
        assert wire.closed() == (1009, "")


def test_1009_fragments_over_the_limit(shared):
    with Wire.connected(shared) as wire:
        command = long_command(LIMIT + 1)
        wire.frame(TEXT, command[:40_000], fin=False)
        wire.frame(CONTINUATION, command[40_000:])
        assert wire.closed() == (1009, "")
