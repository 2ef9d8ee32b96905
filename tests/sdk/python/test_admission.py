"""How many connections the binary takes, as it is told."""

import time

import pytest

from server import serving
from wire import Wire


def refused(server):
    with pytest.raises(AssertionError) as refusal:
        Wire.connected(server)
    assert b" 503 " in refusal.value.args[0], refusal.value


@pytest.mark.parametrize("close", ["close frame", "end of TCP"])
def test_ws_max_clients_is_a_cap_and_a_place_comes_back_within_two_seconds(monkeypatch, close):
    monkeypatch.setenv("WS_MAX_CLIENTS", "2")
    # The variable goes before the file.
    with serving({"client": {"connection_limit": 100}}) as server, Wire.connected(server):
        with Wire.connected(server) as second:
            refused(server)
            if close == "close frame":
                second.frame(0x8, b"\x03\xe8")
                second.closed()
        left = time.monotonic()
        while True:
            try:
                with Wire.connected(server):
                    break
            except AssertionError:
                assert time.monotonic() - left < 2, "the place did not come back"
                time.sleep(0.02)
        metrics = server.request("GET", "/metrics")[1]
        assert 'tidegate_refused_total{cause="connection_limit"}' in metrics


def test_a_negative_cap_is_none_and_somebody_is_told(monkeypatch):
    monkeypatch.setenv("WS_MAX_CLIENTS", "-5")
    with serving({"client": {"connection_limit": 1}}) as server:
        assert "WS_MAX_CLIENTS is -5; it counts as 0, which is unlimited" in server.log()
        with Wire.connected(server), Wire.connected(server), Wire.connected(server):
            pass


def test_caps_hold_for_a_network_and_a_second():
    with serving({"client": {"ip_connection_limit": 1}}) as server, Wire.connected(server):
        refused(server)
        assert 'cause="ip_connection_limit"' in server.request("GET", "/metrics")[1]
    with serving({"client": {"connection_rate_limit": 1}}) as server:
        admitted, began = 0, time.monotonic()
        for _ in range(50):
            try:
                with Wire.connected(server):
                    admitted += 1
            except AssertionError:
                pass
        assert 1 <= admitted <= 2 + (time.monotonic() - began)
        assert 'cause="connection_rate_limit"' in server.request("GET", "/metrics")[1]


def test_over_its_memory_a_node_takes_nobody_and_goes_on():
    with serving({"node": {"resident_limit": 1}}) as server:
        while "node.resident_limit: newcomers are refused" not in server.log():
            time.sleep(0.02)
        refused(server)
        assert server.request("GET", "/health")[0] == 200
        assert 'cause="memory"' in server.request("GET", "/metrics")[1]
