"""Tokens: made by the binary, accepted by the server; and every attack on them, with the code that it gets."""

import base64
import hashlib
import hmac
import json
import os
import re
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from server import PATIENCE, serving
from wire import Wire

SECRET = "a secret that nobody guesses"
RSA, OTHER_RSA = (rsa.generate_private_key(65537, 2048) for _ in range(2))
P521 = ec.generate_private_key(ec.SECP521R1())
ED = ed25519.Ed25519PrivateKey.generate()


def public(key):
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()


def private(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


CONFIG = {
    "client": {
        "token": {"hmac_secret_key": SECRET, "rsa_public_key": public(RSA), "ecdsa_public_key": public(P521)},
        "allow_anonymous_connect_without_token": False,
        "expired_close_delay": "1s",
        "expired_sub_close_delay": "1s",
        "presence_update_interval": "1s",
    },
    "channel": {
        "without_namespace": {
            "allow_subscribe_for_client": False, "presence": True, "allow_presence_for_client": True,
        },
        "namespaces": [{"name": "known"}],
    },
    "log": {"level": "trace"},
}

# Every token that a test has made: none may be found in a log or among the metrics afterwards.
MADE = []


def part(data):
    data = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def by_hmac(secret, digest=hashlib.sha256):
    key = secret if isinstance(secret, bytes) else secret.encode()
    return lambda message: hmac.new(key, message, digest).digest()


def by_rsa(key):
    return lambda message: key.sign(message, padding.PKCS1v15(), hashes.SHA256())


def by_pss(message):
    return RSA.sign(message, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())


def by_p521(message):
    r, s = decode_dss_signature(P521.sign(message, ec.ECDSA(hashes.SHA512())))
    return r.to_bytes(66) + s.to_bytes(66)


def signed(claims, header=None, sign=by_hmac(SECRET)):
    message = f"{part({'alg': 'HS256', 'typ': 'JWT'} | (header or {}))}.{part(claims)}"
    token = f"{message}.{part(sign(message.encode()))}"
    MADE.append(token)
    return token


def ago(seconds):
    return int(time.time()) - seconds


@pytest.fixture(scope="module")
def tokens():
    """A server that takes tokens. Afterwards none of them may be found anywhere."""
    with serving(CONFIG) as server:
        yield server
        said = server.log() + server.request("GET", "/metrics")[1]
        assert "connected" in said, "it logs at all"
        assert len(MADE) > 30
        for token in MADE:
            signature = token.rsplit(".", 1)[-1]
            assert token not in said and (len(signature) < 20 or signature not in said), token


def outcome(wire, command):
    """`ok` and the reply, or the code of the error or of the close frame."""
    wire.say(json.dumps(command))
    opcode, payload = wire.receive()
    if opcode == 8:
        return int.from_bytes(payload[:2], "big")
    reply = json.loads(payload.decode().split("\n")[0])
    return reply["error"]["code"] if "error" in reply else ("ok", reply)


def connect(server, token):
    with Wire(server) as wire:
        return outcome(wire, {"id": 1, "connect": {"token": token}})


def connected(server, **claims):
    wire = Wire(server)
    wire.reply_to_connect = wire.call({"id": 1, "connect": {"token": signed({"sub": "ann", **claims})}})["connect"]
    return wire


def test_connection_tokens(tokens):
    ann = {"sub": "ann"}
    public_key = public(RSA).encode()
    none = f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(ann)}."
    good = signed(ann)
    for what, token, expected in [
        ("HS256", good, "ok"),
        ("HS512", signed(ann, {"alg": "HS512"}, by_hmac(SECRET, hashlib.sha512)), "ok"),
        ("RS256", signed(ann, {"alg": "RS256"}, by_rsa(RSA)), "ok"),
        ("ES512", signed(ann, {"alg": "ES512"}, by_p521), "ok"),
        ("not yet expired", signed(ann | {"exp": ago(-60)}), "ok"),
        ("none", none, 3500),
        ("None", f"{part({'alg': 'None'})}.{part(ann)}.", 3500),
        ("none, with a signature", signed(ann, {"alg": "none"}), 3500),
        ("no algorithm", signed(ann, {"alg": ""}), 3500),
        ("the signature stripped", good.rsplit(".", 1)[0] + ".", 3500),
        ("the signature changed", good[:-2] + ("AA" if not good.endswith("AA") else "BB"), 3500),
        ("claims changed", good.replace(part(ann), part({"sub": "root"})), 3500),
        ("another secret", signed(ann, sign=by_hmac("another")), 3500),
        ("an empty secret", signed(ann, sign=by_hmac("")), 3500),
        ("the public key as secret", signed(ann, sign=by_hmac(public_key)), 3500),
        ("the public key as secret, said to be RS256", signed(ann, {"alg": "RS256"}, by_hmac(public_key)), 3500),
        ("an RSA signature said to be HS256", signed(ann, {"alg": "HS256"}, by_rsa(RSA)), 3500),
        ("an RSA signature said to be ES512", signed(ann, {"alg": "ES512"}, by_rsa(RSA)), 3500),
        ("PSS", signed(ann, {"alg": "PS256"}, by_pss), 3500),
        ("PSS said to be RS256", signed(ann, {"alg": "RS256"}, by_pss), 3500),
        ("HS512 said to be HS256", signed(ann, {"alg": "HS256"}, by_hmac(SECRET, hashlib.sha512)), 3500),
        ("another RSA key", signed(ann, {"alg": "RS256"}, by_rsa(OTHER_RSA)), 3500),
        ("a key that comes along", signed(ann, {"alg": "RS256", "jwk": {"kty": "RSA"}, "jku": "http://127.0.0.1/"},
                                          by_rsa(OTHER_RSA)), 3500),
        ("a key id that is a path", signed(ann, {"kid": "../../../../dev/null"}, by_hmac("")), 3500),
        ("critical extensions", signed(ann, {"crit": ["b64"], "b64": False}), 3500),
        ("expired", signed(ann | {"exp": ago(1)}), 109),
        ("expired, another secret", signed(ann | {"exp": ago(1)}, sign=by_hmac("another")), 3500),
        ("not valid yet", signed(ann | {"nbf": ago(-60)}), 109),
        ("exp as text", signed(ann | {"exp": str(ago(-60))}), 3500),
        ("what it grants is over", signed(ann | {"expire_at": ago(1)}), 110),
        ("a subscription token", signed(ann | {"channel": "a"}), 3500),
        ("an unknown namespace", signed(ann | {"channels": ["nowhere:a"]}), 102),
        ("no token", "nonsense", 3500),
        ("four parts", good + ".x", 3500),
        ("nothing", "", 3501),
    ]:
        got = connect(tokens, token)
        assert (got[0] if isinstance(got, tuple) else got) == expected, what


def test_claims_of_connection_tokens(tokens):
    claims = {
        "info": {"name": "Ann"}, "exp": ago(-3600), "jti": "1", "iat": ago(1),
        "subs": {"known:a": {"data": [1]}, "known:b": {"b64info": "MQ=="}}, "channels": ["passed over"],
    }
    with connected(tokens, **claims) as wire:
        reply = wire.reply_to_connect
        assert reply["expires"] is True and 3500 < reply["ttl"] <= 3600
        assert sorted(reply["subs"]) == ["known:a", "known:b"]
        assert reply["subs"]["known:a"]["data"] == [1]
    with connected(tokens, channels=["known:c"], exp=ago(-60), expire_at=0) as wire:
        assert "expires" not in wire.reply_to_connect and list(wire.reply_to_connect["subs"]) == ["known:c"]


def test_subscription_tokens(tokens):
    with connected(tokens) as wire:
        client = wire.reply_to_connect["client"]
    ann = {"sub": "ann", "channel": "$a"}
    for what, channel, token, expected in [
        ("a good one", "$a", signed(ann), "ok"),
        ("of another client", "$a", signed(ann | {"client": client}), 3500),
        ("of another user", "$a", signed(ann | {"sub": "bob"}), 3500),
        ("of nobody", "$a", signed({"channel": "$a"}), 3500),
        ("for another channel", "$b", signed(ann), 3500),
        ("without a channel", "$a", signed({"sub": "ann"}), 103),
        ("another secret", "$a", signed(ann, sign=by_hmac("another")), 103),
        ("none", "$a", f"{part({'alg': 'none'})}.{part(ann)}.", 103),
        ("the public key as secret", "$a", signed(ann, sign=by_hmac(public(RSA))), 103),
        ("no token at all", "$a", "", 103),
        ("nonsense", "$a", "nonsense", 103),
        ("expired", "$a", signed(ann | {"exp": ago(1)}), 109),
        ("not valid yet", "$a", signed(ann | {"nbf": ago(-60)}), 109),
        ("what it grants is over", "$a", signed(ann | {"expire_at": ago(1)}), 110),
        ("an unknown namespace", "nowhere:a", signed({"sub": "ann", "channel": "nowhere:a"}), 102),
    ]:
        with connected(tokens) as wire:
            got = outcome(wire, {"id": 2, "subscribe": {"channel": channel, "token": token}})
            assert (got[0] if isinstance(got, tuple) else got) == expected, what
    with connected(tokens) as wire:
        claims = ann | {
            "client": wire.reply_to_connect["client"], "exp": ago(-60), "data": {"d": 1}, "info": {"i": 1},
            "override": {"presence": {"value": True}},
        }
        reply = wire.call({"id": 2, "subscribe": {"channel": "$a", "token": signed(claims)}})["subscribe"]
        assert reply["data"] == {"d": 1} and 50 < reply["ttl"] <= 60
        (present,) = tokens.api("presence", {"channel": "$a"})["presence"].values()
        assert present["chan_info"] == {"i": 1}


def test_refreshing_a_connection(tokens):
    for what, token, expected in [
        ("empty", "", 3501),
        ("expired", signed({"sub": "ann", "exp": ago(1)}), 3005),
        ("of another user", signed({"sub": "bob"}), 3500),
        ("another secret", signed({"sub": "ann"}, sign=by_hmac("another")), 3500),
        ("a subscription token", signed({"sub": "ann", "channel": "$a"}), 3500),
        ("a good one", signed({"sub": "ann", "exp": ago(-600)}), "ok"),
    ]:
        with connected(tokens, exp=ago(-60)) as wire:
            got = outcome(wire, {"id": 2, "refresh": {"token": token}})
            assert (got[0] if isinstance(got, tuple) else got) == expected, what
            if expected == "ok":
                assert 590 < got[1]["refresh"]["ttl"] <= 600
    # What the new token says of the client, others hear of at once.
    with connected(tokens, exp=ago(-60), info={"n": 1}) as wire:
        subscription = signed({"sub": "ann", "channel": "$news"})
        wire.call({"id": 2, "subscribe": {"channel": "$news", "token": subscription}})
        info = lambda: next(iter(tokens.api("presence", {"channel": "$news"})["presence"].values()))["conn_info"]
        assert info() == {"n": 1}
        wire.call({"id": 3, "refresh": {"token": signed({"sub": "ann", "exp": ago(-60), "info": {"n": 2}})}})
        deadline = time.monotonic() + PATIENCE
        while info() != {"n": 2}:
            assert time.monotonic() < deadline


def test_refreshing_a_subscription(tokens):
    ann = {"sub": "ann", "channel": "$a"}
    for what, channel, token, expected in [
        ("not subscribed", "$b", signed({"sub": "ann", "channel": "$b"}), 103),
        ("empty", "$a", "", 107),
        ("another secret", "$a", signed(ann, sign=by_hmac("another")), 3500),
        ("of another user", "$a", signed(ann | {"sub": "bob"}), 3500),
        ("for another channel", "$a", signed(ann | {"channel": "$b"}), 3500),
        ("expired", "$a", signed(ann | {"exp": ago(1)}), ("ok", {"id": 3, "sub_refresh": {}})),
        ("a good one", "$a", signed(ann | {"exp": ago(-600)}), 600),
    ]:
        with connected(tokens) as wire:
            wire.call({"id": 2, "subscribe": {"channel": "$a", "token": signed(ann | {"exp": ago(-60)})}})
            got = outcome(wire, {"id": 3, "sub_refresh": {"channel": channel, "token": token}})
            if expected == 600:
                assert 590 < got[1]["sub_refresh"]["ttl"] <= 600
            else:
                assert got == expected, what


def test_what_expires_meanwhile_ends(tokens):
    with connected(tokens, exp=ago(-1)) as wire:
        assert wire.closed() == (3005, "connection expired")
    with connected(tokens) as wire:
        token = signed({"sub": "ann", "channel": "$a", "exp": ago(-1)})
        wire.call({"id": 2, "subscribe": {"channel": "$a", "token": token}})
        push = wire.reply()["push"]
        assert (push["channel"], push["unsubscribe"]["code"]) == ("$a", 2501)


class Keys:
    """A JSON Web Key Set, and how often it was asked for."""

    def __init__(self, keys):
        self.keys, self.count = keys, 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.count += 1
                body = json.dumps({"keys": outer.keys}).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/keys"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()


def test_a_key_set():
    point = P521.public_key().public_numbers()
    ed = ED.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    keys = [
        {"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": part(ed), "alg": "EdDSA", "use": "sig"},
        {"kty": "EC", "kid": "ec", "crv": "P-521", "x": part(point.x.to_bytes(66)), "y": part(point.y.to_bytes(66))},
        {"kty": "oct", "kid": "shared", "k": part(b"everybody knows")},
    ]
    ann = {"sub": "ann"}
    with Keys(keys) as keys, serving({"client": {"token": {"jwks_public_endpoint": keys.url}}}) as server:
        for what, token, expected in [
            ("EdDSA", signed(ann, {"alg": "EdDSA", "kid": "ed"}, ED.sign), "ok"),
            ("ES512", signed(ann, {"alg": "ES512", "kid": "ec"}, by_p521), "ok"),
            ("a symmetric key of the set", signed(ann, {"kid": "shared"}, by_hmac("everybody knows")), 3500),
            ("the public key as secret", signed(ann, {"kid": "ed"}, by_hmac(ed)), 3500),
            ("the key of another id", signed(ann, {"alg": "EdDSA", "kid": "ec"}, ED.sign), 3500),
            ("no id", signed(ann, {"alg": "EdDSA"}, ED.sign), 3500),
            *[(f"id {n}", signed(ann, {"alg": "EdDSA", "kid": f"made up {n}"}, ED.sign), 3500) for n in range(20)],
        ]:
            got = connect(server, token)
            assert (got[0] if isinstance(got, tuple) else got) == expected, what
        assert keys.count == 1, "made-up ids cost the issuer nothing"


def test_a_key_set_that_is_not_there():
    """The client may try again: nobody is condemned for the issuer's outage."""
    with Keys([]) as keys:
        pass
    with serving({"client": {"token": {"jwks_public_endpoint": keys.url}}}) as server:
        assert connect(server, signed({"sub": "ann"}, {"alg": "EdDSA", "kid": "ed"}, ED.sign)) == 100


def tidegate(*arguments, text="", fails=False):
    """What the binary says; it must succeed, or fail."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_CLIENT")}
    ended = subprocess.run(
        [os.environ["TIDEGATE_BIN"], *map(str, arguments)],
        input=text, capture_output=True, text=True, timeout=PATIENCE, env=environment,
    )
    assert (ended.returncode != 0) == fails, ended
    return ended.stderr if fails and not ended.stdout else ended.stdout


def test_made_by_the_binary(tokens):
    make = lambda *arguments: tidegate("token", "--config", tokens.config, *arguments)
    said = make("--user", "ann", "--info", '{"name": "Ann"}', "--ttl", "1h")
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", said), "only the token"
    MADE.append(said.strip())
    ok, reply = connect(tokens, said.strip())
    assert ok == "ok" and 3590 < reply["connect"]["ttl"] <= 3600
    with connected(tokens) as wire:
        token = make("--user", "ann", "--channel", "$a", "--ttl", "60", "--data", "[1]").strip()
        assert wire.call({"id": 2, "subscribe": {"channel": "$a", "token": token}})["subscribe"]["data"] == [1]
    for arguments, code in [(("--user", "ann", "--ttl", "0"), "ok"), (("--subscribe", "known:a"), "ok")]:
        assert connect(tokens, make(*arguments).strip())[0] == code
    # As v6's command line has it.
    token = tidegate("gentoken", "-c", tokens.config, "-u", "ann", "-t", "60", "-q").strip()
    assert connect(tokens, token)[0] == "ok"
    assert "answer        accepted" in tidegate("checktoken", "-c", tokens.config, token)


@pytest.mark.parametrize("key", [RSA, P521], ids=["rsa", "p521"])
def test_made_with_a_private_key(tokens, tmp_path, key):
    file = tmp_path / "key.pem"
    file.write_text(private(key))
    token = tidegate("token", "-c", tokens.config, "--user", "ann", "--key-file", file).strip()
    assert connect(tokens, token)[0] == "ok"
    assert "does not accept" in subprocess.run(
        [os.environ["TIDEGATE_BIN"], "token", "-c", tokens.config, "--key-file", file, "--claim", 'channel="nowhere:a"'],
        capture_output=True, text=True, timeout=PATIENCE,
    ).stderr
    assert "ES256" in tidegate(
        "token", "-c", tokens.config, "--key-file", file, "--algorithm", "ES256", fails=True
    )


def test_explained_by_the_binary(tokens):
    for token, expected in [
        (signed({"sub": "ann"}), ["connecting", '"sub": "ann"', "by client.token.hmac_secret_key", "accepted"]),
        (signed({"sub": "ann", "channel": "$a"}), ["subscribing", 'user "ann" is subscribed to $a']),
        (signed({"sub": "ann"}, {"alg": "RS256"}, by_rsa(RSA)), ["by client.token.rsa_public_key", "accepted"]),
        (signed({"sub": "ann", "exp": ago(90)}), ["1 minute", "ago", "refused: error 109"]),
        (signed({"sub": "ann"}, sign=by_hmac("another")), ["not accepted", "refused: disconnect 3500"]),
        ("nonsense", ["none that can be read", "refused: disconnect 3500"]),
    ]:
        fails = "accepted" not in expected and "subscribing" not in expected
        for arguments, text in [((token,), ""), (("-",), token), ((), token + "\n")]:
            said = tidegate("token", "check", "--config", tokens.config, *arguments, text=text, fails=fails)
            assert [words for words in expected if words not in said] == [], said
            assert SECRET not in said


def test_mistakes_on_the_command_line(tokens, tmp_path):
    config = ("--config", tokens.config)
    for arguments, expected in [
        (("token", "--user", "ann"), "client.token.hmac_secret_key is not set"),
        (("token", *config, "--ttl", "soon"), "--ttl"),
        (("token", *config, "--info", "{"), "the claim info"),
        (("token", *config, "--claim", "x"), "--claim"),
        (("token", *config, "--data", "1"), "--channel"),
        (("token", *config, "--key-file", tmp_path / "missing.pem"), "missing.pem"),
        (("token", *config, "--algorithm", "none"), "expected HS256, HS384, HS512"),
        (("token", "check", "--config", tmp_path / "missing.json", "x"), "missing.json"),
    ]:
        said = tidegate(*arguments, fails=True)
        assert expected in said and SECRET not in said, said
    for words in ["--user", "--channel", "--ttl", "--info", "--key-file", "check", "Examples"]:
        assert words in tidegate("token", "--help")
