"""What is asked of streams by plain HTTP, with the configuration's origins and bounds."""

import contextlib
import http.client
import json
import os
import subprocess

import pytest

from server import PATIENCE, serving

ENABLED = {name: {"enabled": True} for name in ["http_stream", "sse", "uni_http_stream", "uni_sse"]}
PATHS = [f"/connection/{name}" for name in ENABLED] + ["/emulation"]
CONNECT = json.dumps({"id": 1, "connect": {}})
PAGE = {"Origin": "https://a.example"}


@pytest.fixture(scope="module")
def streams():
    config = {**ENABLED, "client": {"allowed_origins": ["https://*.example"]}}
    config["emulation"] = {"max_request_body_size": 1000}
    with serving(config) as server:
        yield server


@contextlib.contextmanager
def asked(server, method, path, body="", headers=None):
    """A response that may go on."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    try:
        connection.request(method, path, body, headers or {})
        yield connection.getresponse()
    finally:
        connection.close()


@pytest.mark.parametrize("path", PATHS)
def test_a_page_of_an_allowed_origin_may_ask(streams, path):
    asks = {**PAGE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    with asked(streams, "OPTIONS", path, headers=asks) as reply:
        assert reply.status == 204
        assert reply.headers["Access-Control-Allow-Origin"] == PAGE["Origin"]
        assert reply.headers["Access-Control-Allow-Credentials"] == "true"
        assert "POST" in reply.headers["Access-Control-Allow-Methods"]
        assert reply.headers["Access-Control-Allow-Headers"] == "content-type"
        assert reply.headers["Vary"].lower() == "origin"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("origin", ["https://example.org", "https://a.example.org", "null", "https://a.example/x"])
def test_403_another_origin(streams, path, origin):
    assert streams.request("POST", path, CONNECT, {"Origin": origin})[0] == 403
    preflight = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    assert streams.request("OPTIONS", path, "", preflight)[0] == 403


@pytest.mark.parametrize("path", PATHS)
def test_405_another_method(streams, path):
    for method in ["PUT", "DELETE", "HEAD"]:
        assert streams.request(method, path)[0] == 405


def test_413_a_large_body(streams):
    assert streams.request("POST", "/emulation", "x" * 1001)[0] == 413
    assert streams.request("POST", "/connection/http_stream", "x" * 65537)[0] == 413
    # One that does not say how long it is.
    chunks = iter([b"x" * 600, b"x" * 600])
    with asked(streams, "POST", "/emulation", chunks) as reply:
        assert reply.status == 413


def test_a_stream_without_an_sdk(streams):
    with asked(streams, "POST", "/connection/uni_http_stream", "{}", PAGE) as reply:
        assert reply.status == 200
        assert reply.headers["Content-Type"] == "application/json"
        assert reply.headers["X-Accel-Buffering"] == "no"
        assert reply.headers["Access-Control-Allow-Origin"] == PAGE["Origin"]
        connect = json.loads(reply.readline())["connect"]
        streams.api("subscribe", {"session": connect["session"], "channel": "news"})
        assert json.loads(reply.readline()) == {"channel": "news", "subscribe": {}}
        streams.api("publish", {"channel": "news", "data": "a\nb"})
        assert json.loads(reply.readline()) == {"channel": "news", "pub": {"data": "a\nb"}}
        streams.api("disconnect", {"session": connect["session"]})
        why = {"code": 3503, "reason": "force disconnect"}
        assert json.loads(reply.readline()) == {"disconnect": why}
        assert reply.readline() == b""


def test_events_without_an_sdk(streams):
    with asked(streams, "GET", "/connection/uni_sse") as reply:
        assert reply.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        event = reply.readline()
        assert event.startswith(b"data: ")
        assert json.loads(event[6:])["connect"]["ping"] == 25
        assert reply.readline() == b"\n"


def test_404_what_is_not_enabled():
    with serving() as server:
        for path in [*PATHS, "/connection/uni_websocket"]:
            assert server.request("POST", path, CONNECT)[0] == 404


def test_connections_are_counted_by_their_transport(streams):
    with asked(streams, "POST", "/connection/sse", CONNECT) as reply:
        reply.readline()
        status, metrics = streams.request("GET", "/metrics")
        assert status == 200
        for transport in ["http_stream", "uni_websocket", "websocket"]:
            assert f'tidegate_connections_total{{transport="{transport}"}}' in metrics
        lines = [line for line in metrics.splitlines() if 'transport="sse"' in line]
        assert lines and float(lines[0].split()[-1]) >= 1


def test_a_bad_transform_is_an_error(tmp_path):
    for transform in [
        {"code": 109},
        {"code": 109, "to": {"status_code": 200}},
        {"to": {"status_code": 401}},
        {"code": 1, "to": {"status_code": 401, "x": 1}},
    ]:
        file = tmp_path / "config.json"
        file.write_text(json.dumps({"uni_sse": {"connect_code_to_http_response": {"transforms": [transform]}}}))
        check = subprocess.run(
            [os.environ["TIDEGATE_BIN"], "config", "check", str(file)], capture_output=True, text=True, check=False
        )
        assert check.returncode != 0
        assert "uni_sse.connect_code_to_http_response.transforms[0]" in check.stdout + check.stderr
        assert "status_code, from 400 to 599" in check.stdout + check.stderr
