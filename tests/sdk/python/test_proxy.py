"""Hooks: the application's backend is asked, and does not always answer."""

import base64
import datetime
import ipaddress
import json
import os
import signal
import ssl
import time

import pytest
from centrifuge.exceptions import ReplyError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from backend import Backend, answering
from server import serving
from wire import Wire

INTERNAL = {"code": 100, "message": "internal server error", "temporary": True}


def config(backend, **options):
    """Every hook is asked, each as a proxy with these options."""
    proxy = lambda hook: backend.proxy(hook, **options)
    hooked = {f"{hook}_proxy_enabled": True for hook in ("subscribe", "publish", "sub_refresh")}
    return {
        "client": {
            "proxy": {"connect": {"enabled": True, **proxy("connect")}},
            "presence_update_interval": "1s",
        },
        "channel": {
            "proxy": {hook: proxy(hook) for hook in ("subscribe", "publish", "sub_refresh")},
            "namespaces": [
                {"name": "asked", "presence": True, "history_size": 10, "history_ttl": "60s", **hooked},
                {"name": "open", "presence": True, "allow_subscribe_for_client": True,
                 "allow_presence_for_subscriber": True},
            ],
        },
        "rpc": {
            "proxy": proxy("rpc"),
            "without_namespace": {"proxy_enabled": True},
            "namespaces": [{"name": "off"}],
        },
    }


def connected(server, backend, user="ann"):
    backend.answers["connect"] = {"result": {"user": user}}
    return Wire.connected(server)


def error(wire, command):
    wire.say(json.dumps(command))
    return wire.reply()["error"]


def test_a_backend_lets_clients_in():
    result = {
        "user": "ann",
        "info": {"name": "Ann"},
        "data": {"welcome": 1},
        "channels": ["open:a"],
        "subs": {"open:b": {"data": [2], "override": {"presence": {"value": False}}}},
        "meta": {"plan": "free"},
    }
    with answering(connect={"result": result}) as backend, serving(config(backend)) as server:
        with Wire(server) as wire:
            request = {"data": {"key": "k"}, "name": "wire", "version": "1", "subs": {"open:z": {}}}
            reply = wire.call({"id": 1, "connect": request})["connect"]
            asked = backend.question("connect")
            assert asked == {
                "client": reply["client"], "transport": "websocket", "protocol": "json", "encoding": "json",
                "data": {"key": "k"}, "name": "wire", "version": "1", "channels": ["open:z"],
            }
            assert reply["data"] == {"welcome": 1}
            assert sorted(reply["subs"]) == ["open:a", "open:b"]
            assert reply["subs"]["open:b"]["data"] == [2]
            ids = server.api("presence", {"channel": "open:a"})["presence"]
            assert ids[reply["client"]]["conn_info"] == {"name": "Ann"}
            assert server.api("presence", {"channel": "open:b"})["presence"] == {}


def test_a_backend_turns_clients_away():
    with answering() as backend, serving(config(backend)) as server:
        for answer, expected in [
            ({"error": {"code": 401, "message": "who?"}}, {"code": 401, "message": "who?"}),
            ({"error": {"code": 1000, "message": "later", "temporary": True}},
             {"code": 1000, "message": "later", "temporary": True}),
            (500, INTERNAL),
            (b"<html>", INTERNAL),
            (b"[" * 100_000, INTERNAL),
            ({}, INTERNAL),
            ({"result": {"user": 42}}, INTERNAL),
            ({"error": {"code": 7}}, INTERNAL),
            (b'{"result":{"user":"' + b"x" * (2 << 20) + b'"}}', INTERNAL),
        ]:
            backend.answers["connect"] = answer
            with Wire(server) as wire:
                assert error(wire, {"id": 1, "connect": {}}) == expected, answer
        backend.answers["connect"] = {"disconnect": {"code": 4501, "reason": "unauthorized"}}
        with Wire(server) as wire:
            wire.say('{"id":1,"connect":{}}')
            assert wire.closed() == (4501, "unauthorized")
        with connected(server, backend):
            pass
        assert backend.count("connect") == 11, "nothing is asked twice"


def test_a_token_needs_no_backend():
    with answering() as backend, serving(config(backend)) as server:
        with Wire(server) as wire:
            wire.say('{"id":1,"connect":{"token":"nonsense"}}')
            assert wire.closed() == (3500, "invalid token")
        assert backend.count("connect") == 0


def test_headers_are_passed_on_as_the_configuration_says():
    options = {
        "http_headers": ["Cookie", "X-Both"],
        "emulated_headers": ["Authorization", "X-Both"],
        "http": {"static_headers": {"X-Key": "of the node"}},
    }
    with answering() as backend, serving(config(backend, **options)) as server:
        headers = ["Cookie: session=1", "X-Both: request", "Authorization: request", "X-Key: request", "X-Other: 1"]
        with Wire(server, request_headers=headers) as wire:
            emulated = {"authorization": "emulated", "x-both": "emulated", "cookie": "emulated", "x-key": "emulated"}
            wire.call({"id": 1, "connect": {"headers": emulated}})
            wire.call({"id": 2, "rpc": {"method": "m", "data": 1}})
            wire.call({"id": 3, "publish": {"channel": "asked:a", "data": 1}})
            wire.call({"id": 4, "subscribe": {"channel": "asked:a"}})
        for hook in ("connect", "rpc", "subscribe", "publish"):
            (_, got), = backend.asked(hook)
            names = ("cookie", "x-both", "authorization", "x-key", "x-other", "content-type")
            assert [got[name] for name in names] == [
                "session=1", "request", "emulated", "of the node", None, "application/json"
            ], hook
            assert got["host"] == f"127.0.0.1:{backend.port}"


def test_a_backend_prolongs_connections():
    with answering() as backend:
        change = config(backend)
        change["client"]["proxy"]["refresh"] = {
            "enabled": True, **backend.proxy("refresh", include_connection_meta=True)
        }
        with serving(change) as server:
            soon = lambda: int(time.time()) + 2
            backend.answers["connect"] = {
                "result": {"user": "ann", "expire_at": soon(), "channels": ["open:a"], "meta": {"n": 1}}
            }
            backend.answers["refresh"] = lambda *_: {
                "result": {"expire_at": soon(), "info": {"name": "Ann"}, "meta": {"n": 2}}
            }
            with Wire(server) as wire:
                reply = wire.call({"id": 1, "connect": {}})["connect"]
                assert "expires" not in reply and "ttl" not in reply
                first, second = (body for body, _ in backend.asked("refresh", 2)[:2])
                assert first == {
                    "client": reply["client"], "transport": "websocket", "protocol": "json", "encoding": "json",
                    "user": "ann", "meta": {"n": 1},
                }
                assert second["meta"] == {"n": 2}
                presence = server.api("presence", {"channel": "open:a"})["presence"]
                assert presence[reply["client"]]["conn_info"] == {"name": "Ann"}
                backend.answers["refresh"] = {"result": {"expired": True}}
                assert wire.closed() == (3005, "connection expired")


def test_a_backend_permits_subscriptions():
    with answering() as backend, serving(config(backend)) as server, connected(server, backend) as wire:
        backend.answers["subscribe"] = {"result": {
            "info": {"role": "guest"}, "data": {"topic": "t"},
            "override": {"force_recovery": {"value": True}, "presence": {"value": True}},
        }}
        reply = wire.call({"id": 2, "subscribe": {"channel": "asked:a", "data": {"why": 1}}})["subscribe"]
        asked = backend.question("subscribe")
        assert (asked["channel"], asked["user"], asked["data"]) == ("asked:a", "ann", {"why": 1})
        assert reply["data"] == {"topic": "t"} and reply["recoverable"] is True
        (client,) = server.api("presence", {"channel": "asked:a"})["presence"].values()
        assert client["chan_info"] == {"role": "guest"}
        for answer, expected in [
            ({"error": {"code": 403, "message": "no"}}, {"code": 403, "message": "no"}),
            (503, INTERNAL),
            ({}, INTERNAL),
            ({"result": {"expire_at": 1}}, {"code": 110, "message": "expired"}),
        ]:
            backend.answers["subscribe"] = answer
            assert error(wire, {"id": 3, "subscribe": {"channel": "asked:b"}}) == expected, answer
        # Nobody else's channels are asked about.
        before = backend.count("subscribe")
        wire.call({"id": 4, "subscribe": {"channel": "open:a"}})
        assert backend.count("subscribe") == before
        backend.answers["subscribe"] = {"disconnect": {"code": 4000, "reason": "go"}}
        wire.say('{"id":5,"subscribe":{"channel":"asked:b"}}')
        assert wire.closed() == (4000, "go")


def test_a_backend_prolongs_subscriptions():
    with answering() as backend, serving(config(backend)) as server, connected(server, backend) as wire:
        backend.answers["subscribe"] = {"result": {"expire_at": int(time.time()) + 1}}
        backend.answers["sub_refresh"] = lambda *_: {
            "result": {"expire_at": int(time.time()) + 1, "info": {"role": "member"}}
        }
        reply = wire.call({"id": 2, "subscribe": {"channel": "asked:a"}})["subscribe"]
        assert "expires" not in reply and "ttl" not in reply
        assert backend.asked("sub_refresh", 2)[0][0]["channel"] == "asked:a"
        (client,) = server.api("presence", {"channel": "asked:a"})["presence"].values()
        assert client["chan_info"] == {"role": "member"}
        # While it fails, subscriptions go on; the answer that they are over ends them.
        backend.answers["sub_refresh"] = {"result": {"expired": True}}
        push = wire.reply()["push"]
        assert (push["channel"], push["unsubscribe"]["code"]) == ("asked:a", 2501)


def test_a_backend_changes_publications():
    with answering() as backend, serving(config(backend)) as server, connected(server, backend) as wire:
        wire.call({"id": 2, "subscribe": {"channel": "asked:a"}})

        def published(result, data):
            backend.answers["publish"] = {"result": result}
            wire.say(json.dumps({"id": 3, "publish": {"channel": "asked:a", "data": data}}))
            push, reply = wire.reply(), wire.reply()
            assert reply == {"id": 3, "publish": {}}
            return push["push"]["pub"]

        pub = published({}, {"a": 1})
        assert pub["data"] == {"a": 1} and pub["offset"] == 1 and pub["info"]["user"] == "ann"
        asked = backend.question("publish")
        assert (asked["channel"], asked["data"], asked["user"]) == ("asked:a", {"a": 1}, "ann")
        pub = published({"data": {"b": 2}, "tags": {"t": "1"}, "version": 7, "version_epoch": "e"}, {"a": 1})
        assert (pub["data"], pub["tags"], pub["version"], pub["offset"]) == ({"b": 2}, {"t": "1"}, 7, 2)
        pub = published({"skip_history": True, "b64data": "eyJjIjozfQ=="}, {"a": 1})
        assert pub["data"] == {"c": 3} and "offset" not in pub
        assert published({"idempotency_key": "k"}, 1)["offset"] == 3
        # The same key again: it is taken, and nothing comes.
        assert wire.call({"id": 4, "publish": {"channel": "asked:a", "data": 2}}) == {"id": 4, "publish": {}}
        history = server.api("history", {"channel": "asked:a", "limit": 10})
        assert [pub["data"] for pub in history["publications"]] == [{"a": 1}, {"b": 2}, 1]
        for answer, expected in [
            ({"error": {"code": 403, "message": "no"}}, {"code": 403, "message": "no"}),
            (500, INTERNAL),
        ]:
            backend.answers["publish"] = answer
            assert error(wire, {"id": 5, "publish": {"channel": "asked:a", "data": 1}}) == expected


def test_a_backend_answers_calls():
    with answering() as backend, serving(config(backend)) as server, connected(server, backend) as wire:
        backend.answers["rpc"] = lambda body, _: {"result": {"data": {"sum": sum(body["data"])}}}
        assert wire.call({"id": 2, "rpc": {"method": "sum", "data": [1, 2]}})["rpc"] == {"data": {"sum": 3}}
        assert backend.question("rpc")["method"] == "sum"
        for method, code in [("off:sum", 108), ("nowhere:sum", 104)]:
            assert error(wire, {"id": 3, "rpc": {"method": method, "data": []}})["code"] == code
        backend.answers["rpc"] = {"error": {"code": 777, "message": "no"}}
        assert error(wire, {"id": 4, "rpc": {"data": []}}) == {"code": 777, "message": "no"}
        backend.answers["rpc"] = {"disconnect": {"code": 4999, "reason": "go"}}
        wire.say('{"id":5,"rpc":{"data":[]}}')
        assert wire.closed() == (4999, "go")


async def test_the_sdk_calls_and_publishes_in_both_encodings(encoding):
    with answering() as backend, serving(config(backend, binary_encoding=encoding.protobuf)) as server:
        backend.answers["connect"] = {"result": {"user": "ann"}}
        async with encoding.open(server) as client:
            assert backend.question("connect")["protocol"] == encoding.name
            backend.answers["rpc"] = lambda body, _: {"result": {"b64data" if "b64data" in body else "data":
                                                                 body.get("b64data", body.get("data"))}}
            result = await client.rpc("echo", encoding.pack({"a": 1}))
            assert encoding.unpack(result.data) == {"a": 1}
            assert ("b64data" in backend.question("rpc")) == encoding.protobuf
            subscription = await encoding.subscribe(client, "asked:a")
            await subscription.publish(encoding.pack({"b": 2}))
            assert await subscription.events.received(1) == [{"b": 2}]
            backend.answers["publish"] = {"error": {"code": 403, "message": "no"}}
            with pytest.raises(ReplyError) as refused:
                await subscription.publish(encoding.pack({"b": 3}))
            assert refused.value.code == 403


def test_a_backend_that_hangs_costs_only_those_who_ask():
    with answering() as backend, serving(config(backend, timeout="3s")) as server:
        with connected(server, backend) as asking, connected(server, backend, "bob") as other:
            asking.call({"id": 2, "subscribe": {"channel": "open:a"}})
            other.call({"id": 2, "subscribe": {"channel": "open:a"}})
            backend.answers["rpc"] = Backend.HANG
            asked = time.monotonic()
            asking.say('{"id":3,"rpc":{"data":1}}')
            backend.asked("rpc")
            # Both are written to, and the other one is answered.
            server.api("publish", {"channel": "open:a", "data": "news"})
            for wire in (asking, other):
                assert wire.reply()["push"]["pub"]["data"] == "news"
            other.call({"id": 3, "presence": {"channel": "open:a"}})
            assert time.monotonic() - asked < 3, "it was not waited for"
            assert asking.reply() == {"id": 3, "error": INTERNAL}
            backend.answers["rpc"] = {"result": {"data": 1}}
            assert asking.call({"id": 4, "rpc": {"data": 1}})["rpc"] == {"data": 1}


def test_a_backend_that_hangs_keeps_newcomers_waiting_no_longer_than_its_time():
    with answering(connect=Backend.HANG) as backend:
        with serving(config(backend, timeout="2s", call_limit=2)) as server:
            wires = [Wire(server) for _ in range(20)]
            for wire in wires:
                wire.say('{"id":1,"connect":{}}')
            for wire in wires:
                assert wire.reply()["error"] == INTERNAL
                wire.__exit__()
            assert backend.count("connect") < 20, "those who got no turn were not asked for"
            with connected(server, backend):
                pass


def test_a_backend_that_is_gone_and_comes_back():
    with answering() as backend, serving(config(backend)) as server:
        with connected(server, backend) as wire:
            backend.answers["rpc"] = 502
            assert error(wire, {"id": 2, "rpc": {"data": 1}}) == INTERNAL
            assert error(wire, {"id": 3, "rpc": {"data": 1}}) == INTERNAL
            backend.answers["rpc"] = {"result": {"data": 1}}
            wire.call({"id": 4, "rpc": {"data": 1}})
        log = server.log()
        assert log.count("the proxy fails") == 1, log
        assert log.count("the proxy answers again") == 1, log
        metrics = server.request("GET", "/metrics")[1]
        assert 'tidegate_proxy_calls_total{event="rpc",outcome="failed"} 2' in metrics
        assert 'tidegate_proxy_calls_total{event="rpc",outcome="result"} 1' in metrics


def test_statuses_are_what_the_configuration_makes_of_them():
    transforms = [
        {"status_code": 403, "to_error": {"code": 403, "message": "no"}},
        {"status_code": 410, "to_disconnect": {"code": 4410, "reason": "gone"}},
    ]
    with answering() as backend:
        with serving(config(backend, http={"status_to_code_transforms": transforms})) as server:
            with connected(server, backend) as wire:
                backend.answers["rpc"] = 403
                assert error(wire, {"id": 2, "rpc": {"data": 1}}) == {"code": 403, "message": "no"}
                backend.answers["rpc"] = 410
                wire.say('{"id":3,"rpc":{"data":1}}')
                assert wire.closed() == (4410, "gone")


def test_a_reload_asks_another_backend():
    with answering() as old, answering(rpc={"result": {"data": "new"}}) as new:
        with serving(config(old)) as server, connected(server, old) as wire:
            old.answers["rpc"] = {"result": {"data": "old"}}
            assert wire.call({"id": 2, "rpc": {"data": 1}})["rpc"] == {"data": "old"}
            changed = json.loads(server.config.read_text())
            changed["rpc"]["proxy"]["endpoint"] = new.url("rpc")
            changed["channel"]["proxy"]["subscribe"]["endpoint"] = new.url("subscribe")
            server.config.write_text(json.dumps(changed))
            os.kill(server.pid, signal.SIGHUP)
            deadline = time.monotonic() + 20
            while wire.call({"id": 3, "rpc": {"data": 1}})["rpc"] != {"data": "new"}:
                assert time.monotonic() < deadline, server.log()
            wire.call({"id": 4, "subscribe": {"channel": "asked:a"}})
            assert (old.count("subscribe"), new.count("subscribe")) == (0, 1)


def test_nothing_of_clients_and_keys_is_logged_or_counted():
    secrets = ["cookie-of-ann", "key-of-the-node", "bearer-of-ann", "password-in-url", "query-of-the-url"]
    options = {
        "http_headers": ["Cookie"],
        "emulated_headers": ["Authorization"],
        "http": {"static_headers": {"X-Key": "key-of-the-node"}},
    }
    with answering(rpc=500, subscribe=b"{", connect={"result": {"user": "ann"}}) as backend:
        change = config(backend, **options) | {"log": {"level": "trace"}}
        url = backend.url("rpc").replace("//", "//node:password-in-url@") + "?key=query-of-the-url"
        change["rpc"]["proxy"]["endpoint"] = url
        with serving(change) as server:
            with Wire(server, request_headers=["Cookie: session=cookie-of-ann"]) as wire:
                wire.call({"id": 1, "connect": {"headers": {"Authorization": "Bearer bearer-of-ann"}}})
                assert error(wire, {"id": 2, "rpc": {"data": 1}}) == INTERNAL
                assert error(wire, {"id": 3, "subscribe": {"channel": "asked:a"}}) == INTERNAL
            said = server.log() + server.request("GET", "/metrics")[1]
            assert "the proxy fails" in said
            assert [secret for secret in secrets if secret in said] == []


def test_healthy_clients_beside_bad_backends():
    with answering(rpc=Backend.HANG, subscribe=b"x" * (4 << 20), publish=500) as backend:
        with serving(config(backend, timeout="2s")) as server:
            backend.answers["connect"] = {"result": {"user": "ann"}}
            wires = [connected(server, backend) for _ in range(10)]
            with Wire.connected(server) as healthy:
                healthy.call({"id": 2, "subscribe": {"channel": "healthy"}})
                for wire in wires:
                    wire.say(
                        '{"id":2,"rpc":{"data":1}}',
                        '{"id":3,"subscribe":{"channel":"asked:a"}}',
                        '{"id":4,"publish":{"channel":"asked:a","data":1}}',
                    )
                for n in range(20):
                    server.api("publish", {"channel": "healthy", "data": n})
                    assert healthy.reply()["push"]["pub"]["data"] == n
            for wire in wires:
                assert [wire.reply()["error"] for _ in range(3)] == [INTERNAL] * 3
                wire.__exit__()


def authority():
    """An authority, and a certificate of 127.0.0.1 by it with its key, as PEM."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    now = datetime.datetime.now(datetime.timezone.utc)
    day = datetime.timedelta(days=1)
    names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]) for name in ("authority", "backend")]
    made = []
    for name, key in zip(names, keys):
        built = x509.CertificateBuilder().subject_name(name).issuer_name(names[0]).public_key(key.public_key())
        built = built.serial_number(x509.random_serial_number())
        built = built.not_valid_before(now - day).not_valid_after(now + day)
        built = built.add_extension(x509.BasicConstraints(ca=not made, path_length=None), critical=True)
        if made:
            address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            built = built.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        made.append(built.sign(keys[0], hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return *made, keys[1].private_bytes(*form).decode()


def test_a_backend_behind_tls(tmp_path):
    (mine, cert, key), (its, own_cert, own_key), (other, _, _) = authority(), authority(), authority()
    file, key_file, authority_file = (tmp_path / f"{name}.pem" for name in ("cert", "key", "authority"))
    authority_file.write_text(mine)
    file.write_text(cert)
    key_file.write_text(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key_file)
    strict = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    strict.load_cert_chain(file, key_file)
    strict.verify_mode = ssl.CERT_REQUIRED
    strict.load_verify_locations(cadata=its)
    in_base64 = base64.b64encode(mine.encode()).decode()
    with_own = {"enabled": True, "server_ca_pem": mine, "cert_pem": own_cert, "key_pem": own_key}
    for tls, options, works in [
        (context, {}, False),
        (context, {"enabled": True}, False),
        (context, {"enabled": True, "server_ca_pem": str(authority_file)}, True),
        (context, {"enabled": True, "server_ca_pem": in_base64}, True),
        (context, {"enabled": True, "server_ca_pem": other}, False),
        (context, {"enabled": False, "server_ca_pem": mine}, False),
        (context, {"enabled": True, "insecure_skip_verify": True}, True),
        (strict, {"enabled": True, "server_ca_pem": mine}, False),
        (strict, with_own, True),
    ]:
        with answering(tls, connect={"result": {"user": "ann"}}) as backend:
            with serving(config(backend, timeout="20s", http={"tls": options})) as server, Wire(server) as wire:
                wire.say('{"id":1,"connect":{}}')
                reply = wire.reply()
                assert ("connect" in reply) == works, (options, reply, server.log())
                assert works or reply["error"] == INTERNAL
                assert key not in server.log() and own_key not in server.log()
