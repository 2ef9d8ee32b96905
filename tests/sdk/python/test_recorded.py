"""What Centrifugo 6.9.1 was seen to answer, frame by frame: `recorded.txt`.

A case begins with its name, behind `=` where the client has connected and behind `-` where it has not. What it says stands
behind `>`, a JSON string where a line could not hold it; what it hears next, behind `<`. `~` is a text of the case's own.
"""

import json
import re
from pathlib import Path

import pytest

from server import serving
from wire import CLOSE, TEXT, Wire

EVERYBODY = {
    f"allow_{what}_for_{whom}": True
    for what in ("subscribe", "publish", "presence", "history")
    for whom in ("client", "anonymous")
}
KEPT = {"history_size": 10, "history_ttl": "60s"}
FORCED = {**KEPT, "force_recovery": True}
SUBSCRIBERS = {
    "allow_subscribe_for_client": True,
    "allow_subscribe_for_anonymous": True,
    "allow_publish_for_subscriber": True,
    "presence": True,
    "allow_presence_for_subscriber": True,
    **KEPT,
    "allow_history_for_subscriber": True,
}
ANONYMOUS = {f"allow_{what}_for_anonymous": True for what in ("subscribe", "publish", "presence", "history")}
KNOWN = {"presence": True, "join_leave": True}
NAMESPACES = {
    "plain": EVERYBODY,
    "hist": {**EVERYBODY, **KEPT},
    "pos": {**EVERYBODY, **KEPT, "force_positioning": True},
    "rec": {**EVERYBODY, **FORCED},
    "allowpos": {**EVERYBODY, **KEPT, "allow_positioning": True},
    "allowrec": {**EVERYBODY, **KEPT, "allow_recovery": True},
    "cache": {**EVERYBODY, **FORCED, "force_recovery_mode": "cache"},
    "autocache": {**EVERYBODY, **FORCED, "force_recovery_mode": "cache", "auto_cache_recover": True},
    "pres": {**EVERYBODY, "presence": True},
    "jl": {**EVERYBODY, **KNOWN},
    "fjl": {**EVERYBODY, **KNOWN, "force_push_join_leave": True},
    "jlonly": {**EVERYBODY, "join_leave": True, "force_push_join_leave": True},
    "delta": {**EVERYBODY, **FORCED, "allowed_delta_types": ["fossil"]},
    "deltapub": {**EVERYBODY, **FORCED, "allowed_delta_types": ["fossil"], "delta_publish": True},
    "deltanohist": {**EVERYBODY, "allowed_delta_types": ["fossil"]},
    "tags": {**EVERYBODY, "allow_tags_filter": True},
    "tagsrec": {**EVERYBODY, **FORCED, "allow_tags_filter": True},
    "ul": {**EVERYBODY, "allow_user_limited_channels": True, "presence": True},
    "ulonly": {"allow_user_limited_channels": True},
    "re": {**EVERYBODY, "channel_regex": "^[a-z0-9]+$"},
    "nosub": {},
    "subclient": {"allow_subscribe_for_client": True},
    "pubsub": {**SUBSCRIBERS, **ANONYMOUS},
    "pubsub0": SUBSCRIBERS,
    "anononly": {**ANONYMOUS, "presence": True, **KEPT},
    "hp": {
        "allow_subscribe_for_client": True,
        "allow_subscribe_for_anonymous": True,
        "presence": True,
        **KEPT,
    },
    "json": {**EVERYBODY, "publication_data_format": "json"},
    "jsonobj": {**EVERYBODY, "publication_data_format": "json_object"},
    "bin": {**EVERYBODY, "publication_data_format": "binary"},
    "small": {**EVERYBODY, **FORCED, "history_size": 3},
    "meta": {**EVERYBODY, **FORCED, "history_size": 3, "history_meta_ttl": "120s"},
}
CONFIG = {
    "client": {"token": {"hmac_secret_key": "secret"}, "channel_limit": 8},
    "channel": {
        "without_namespace": EVERYBODY,
        "namespaces": [{"name": name, **options} for name, options in NAMESPACES.items()],
    },
}


def cases():
    """Each case: its name, whether the client has connected, and what it says and hears."""
    for line in (Path(__file__).parent / "recorded.txt").read_text().splitlines():
        kind, text = line[0], line[2:]
        if kind in "=-":
            steps = []
            yield pytest.param(kind == "=", steps, id=text)
        elif kind == ">":
            steps.append((json.loads(text) if text.startswith('"') else text, []))
        else:
            steps[-1][1].append(text)


@pytest.fixture(scope="module")
def recorded():
    with serving(CONFIG) as server:
        yield server


@pytest.mark.parametrize("connected, steps", list(cases()))
def test_recorded(recorded, request, connected, steps):
    own = f"q{abs(hash(request.node.name))}x"
    with Wire.connected(recorded) if connected else Wire(recorded) as wire:
        for say, expected in steps:
            wire.say(say.replace("~", own))
            heard = []
            while len(heard) < len(expected):
                heard += [known(text.replace(own, "~")) for text in hear(wire)]
            assert heard == [known(text) for text in expected], say
        heard_all = [text for _, expected in steps for text in expected]
        if not any(text.startswith("CLOSE") for text in heard_all) and (
            connected or any('"connect":' in text for text in heard_all)
        ):
            # And nothing else.
            end = {"id": 4_000_000_000, "unsubscribe": {"channel": "end"}}
            assert wire.call(end) == {"id": end["id"], "unsubscribe": {}}


def hear(wire):
    """The messages of the next frame, or how it closes."""
    opcode, payload = wire.receive()
    if opcode == CLOSE:
        return [f"CLOSE {int.from_bytes(payload[:2], 'big')} {payload[2:].decode()!r}"]
    assert opcode == TEXT
    return payload.decode().split("\n")


def known(text):
    """A message, with fixed words for what is another each time."""
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ME", text)
    text = re.sub(r'"(epoch|version)":"[^"]+"', r'"\1":"X"', text)
    return text if text.startswith("CLOSE") else json.loads(text)
