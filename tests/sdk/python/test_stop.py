"""How the process stops, by signals."""

import json
import signal
import time

from server import KEY, PATIENCE, Server
from wire import TEXT, Wire


def stopping(server):
    """Asks the process to stop."""
    server._process.send_signal(signal.SIGTERM)


def ended(server):
    """The process's exit code."""
    return server._process.wait(PATIENCE)


def until(what):
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, "it does not come to pass"
        time.sleep(0.01)


def stalled(server):
    """A client that has far more to read than its socket holds, and reads nothing."""
    wire = Wire.connected(server)
    wire.call({"id": 2, "subscribe": {"channel": "news"}})
    for _ in range(15):
        server.api("publish", {"channel": "news", "data": "x" * 60_000})
    return wire


def test_clients_are_told_and_the_process_ends_with_0():
    server = Server()
    with Wire.connected(server) as told, Wire.connected(server) as silent, Wire(server):
        since = time.monotonic()
        stopping(server)
        assert told.closed() == (3001, "shutdown")
        # Nobody closes on their side: that delays the end by `client.close_timeout`, not more.
        assert ended(server) == 0, server.log()
        assert time.monotonic() - since < 10
        assert silent.closed() == (3001, "shutdown")
    server.halted()


def test_meanwhile_everything_is_refused_and_a_second_signal_ends_at_once():
    server = Server({"shutdown": {"timeout": "10m"}})
    with stalled(server) as wire:
        stopping(server)
        until(lambda: server.request("GET", "/ready")[0] == 503)
        assert server.request("GET", "/health")[0] == 200
        _, body = server.request(
            "POST", "/api/publish", json.dumps({"channel": "news", "data": 1}), {"X-API-Key": KEY}
        )
        assert json.loads(body)["error"]["code"] == 108, body
        status, _ = server.request("GET", "/connection/websocket", headers=UPGRADE)
        assert status == 503
        # What it asks for now is answered, when it reads.
        wire.frame(TEXT, b'{"id":3,"publish":{"channel":"c","data":1}}')
        stopping(server)
        assert ended(server) == 1
    server.halted()


def test_who_does_not_read_is_cut_off_at_the_timeout():
    server = Server({"shutdown": {"timeout": "2s"}})
    with stalled(server):
        since = time.monotonic()
        stopping(server)
        assert ended(server) == 0, server.log()
        assert 1.9 < time.monotonic() - since < 15
        # Where it is no terminal that reads, there are no colours between the words.
        assert "cut=1" in server.log()
    server.halted()


UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
