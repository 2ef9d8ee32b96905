"""Bad requests to the HTTP API."""

import json

import pytest

from server import KEY, serving

pytestmark = pytest.mark.usefixtures("healthy")

PUBLISH = json.dumps({"channel": "news", "data": {}})


def status(server, body=PUBLISH, *, method="POST", path="/api/publish", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.request(method, path, body, named or {"X-API-Key": KEY})[0]


def test_the_key_in_either_header(shared):
    assert status(shared, X_API_Key=KEY) == 200
    assert status(shared, Authorization=f"apikey {KEY}") == 200


def test_401_no_key(shared):
    assert shared.request("POST", "/api/publish", PUBLISH)[0] == 401


def test_401_a_wrong_key(shared):
    assert status(shared, X_API_Key="wrong") == 401
    assert status(shared, X_API_Key="") == 401
    assert status(shared, X_API_Key=KEY + "x") == 401
    assert status(shared, Authorization="apikey wrong") == 401
    assert status(shared, Authorization=f"Bearer {KEY}") == 401


def test_401_no_key_is_configured():
    with serving({"http_api": {"key": ""}}) as server:
        assert status(server, X_API_Key="") == 401
        assert status(server, X_API_Key=KEY) == 401


@pytest.mark.parametrize("body", ["{", "[]", '"publish"', '{"channel":"news","data":{}', "\xff"])
def test_400_malformed(shared, body):
    assert status(shared, body.encode("latin-1")) == 400


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("publish", {"channel": 1, "data": {}}),
        ("publish", {"channel": "news", "data": {}, "tags": []}),
        ("broadcast", {"channels": "news", "data": {}}),
        ("unsubscribe", {"user": 1, "channel": "news"}),
        ("disconnect", {"user": "u", "disconnect": 3503}),
        ("batch", {"commands": {}}),
    ],
)
def test_400_a_field_of_the_wrong_type(shared, method, body):
    assert status(shared, json.dumps(body), path=f"/api/{method}") == 400


def test_404_an_unknown_method(shared):
    assert status(shared, "{}", path="/api/nothing") == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_405_not_post(shared, method):
    assert status(shared, method=method) == 405


@pytest.mark.parametrize("request_", [{"channel": "", "data": {}}, {"channel": "news"}])
def test_107_a_request_without_what_it_needs(shared, request_):
    code, body = shared.request("POST", "/api/publish", json.dumps(request_), {"X-API-Key": KEY})
    assert (code, json.loads(body)["error"]["code"]) == (200, 107)
