"""History on disk: `centrifuge-python` recovers over a restart and over a kill, and a disk that fails is told of."""

import asyncio
import json
import shutil

import pytest

from server import KEY, serving
from wire import Wire


def durable(folder, **history):
    namespace = {"history_size": 1000, "history_ttl": "300s", "force_recovery": True}
    history = {"storage": "disk", "path": str(folder), **history}
    return {"history": history, "channel": {"without_namespace": namespace}}


def health(client):
    """The next notice of the node's health, over pings."""
    while True:
        told = client.reply().get("push", {}).get("message", {}).get("data", {}).get("tidegate", {})
        if "health" in told:
            return told["health"]


async def publish(server, channel, *data):
    return [
        await asyncio.to_thread(server.api, "publish", {"channel": channel, "data": datum}) for datum in data
    ]


@pytest.mark.parametrize("fsync", ["each", "interval", "never"])
@pytest.mark.parametrize("kill", [False, True], ids=["restart", "kill"])
async def test_a_client_recovers_what_was_published_before_the_end(tmp_path, encoding, kill, fsync):
    with serving(durable(tmp_path / "history", fsync=fsync)) as server:
        async with encoding.open(server) as client:
            subscription = await encoding.subscribe(client, "news")
            await subscription.events.next("subscribed")
            await publish(server, "news", 1, 2, 3)
            assert await subscription.events.received(3) == [1, 2, 3]
            # The client does not see what comes now: it is away until after the restart.
            await client.disconnect()
            first = await publish(server, "news", 4, 5)
            await asyncio.to_thread(server.kill if kill else server.halt)
            await asyncio.to_thread(server.start)
            second = await publish(server, "news", 6)
            assert [one["offset"] for one in first + second] == [4, 5, 6]
            assert {one["epoch"] for one in first + second} == {first[0]["epoch"]}
            await client.connect()
            assert await subscription.events.received(3) == [4, 5, 6]
            again = await subscription.events.next("subscribed")
            assert again.was_recovering and again.recovered
            await publish(server, "news", 7)
            assert await subscription.events.received(1) == [7]


async def test_a_client_that_was_connected_recovers_over_a_kill(tmp_path, encoding):
    with serving(durable(tmp_path / "history")) as server:
        async with encoding.open(server) as client:
            subscription = await encoding.subscribe(client, "quiet")
            await subscription.events.next("subscribed")
            # Nothing was ever published: the stream's epoch is known all the same.
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            await publish(server, "quiet", "first")
            assert await subscription.events.received(1) == ["first"]
            assert (await subscription.events.next("subscribed")).recovered


def test_idempotency_keys_and_removed_history_outlive_a_kill(tmp_path):
    with serving(durable(tmp_path / "history")) as server:
        request = {"channel": "news", "data": 1, "idempotency_key": "once"}
        first = server.api("publish", request)
        server.api("publish", {"channel": "gone", "data": 1})
        server.api("history_remove", {"channel": "gone"})
        server.kill()
        server.start()
        assert server.api("publish", request) == first
        assert len(server.api("history", {"channel": "news", "limit": -1})["publications"]) == 1
        assert server.api("history", {"channel": "gone", "limit": -1})["publications"] == []
        assert server.api("publish", {"channel": "gone", "data": 2})["offset"] == 2


def test_damage_is_reported_and_costs_what_is_damaged(tmp_path):
    folder = tmp_path / "history"
    with serving(durable(folder)) as server:
        for channel in ["hurt", "well"]:
            for n in range(3):
                server.api("publish", {"channel": channel, "data": f"{channel}-{n}"})
        server.kill()
        (log,) = folder.glob("*.log")
        log.write_bytes(log.read_bytes().replace(b"hurt-1", b"hurt-X"))
        server.start()
        shown = lambda channel: [
            one["data"] for one in server.api("history", {"channel": channel, "limit": -1})["publications"]
        ]
        assert shown("well") == ["well-0", "well-1", "well-2"]
        assert shown("hurt") == ["hurt-2"]
        assert "damaged history" in server.log()
        assert "tidegate_history_damaged_total 1" in server.request("GET", "/metrics")[1]


def test_two_servers_never_share_a_folder(tmp_path):
    config = durable(tmp_path / "history")
    with serving(config):
        with pytest.raises(AssertionError, match="in use by another process"):
            with serving(config):
                pass


def test_a_folder_that_cannot_be_written_is_told_and_recovers(tmp_path):
    folder = tmp_path / "history"
    with (
        serving(durable(folder, segment_size=65536)) as server,
        Wire(server, query="?tidegate_notices=true") as client,
    ):
        client.call({"id": 1, "connect": {}})
        server.api("publish", {"channel": "news", "data": "kept"})
        moved = tmp_path / "moved"
        shutil.move(folder, moved)
        # Until the file is full, and the next one has no folder.
        body = json.dumps({"channel": "news", "data": "x" * 20000})
        answers = []
        for _ in range(10):
            answers.append(server.request("POST", "/api/publish", body, {"X-API-Key": KEY}))
        error = json.loads(answers[-1][1])["error"]
        assert error["code"] == 100, answers[-1]
        status, why = server.request("GET", "/ready")
        assert status == 503 and "cannot be written" in why, (status, why)
        assert health(client) == "degraded"
        # Reading goes on.
        before = server.api("history", {"channel": "news", "limit": -1})["publications"]
        assert before[0]["data"] == "kept"
        shutil.move(moved, folder)
        assert health(client) == "serving"
        assert server.request("GET", "/ready")[0] == 200
        server.api("publish", {"channel": "news", "data": "more"})
        known = server.api("history", {"channel": "news", "limit": -1})["publications"]
        assert known == before + known[-1:] and known[-1]["data"] == "more"
        server.kill()
        server.start()
        assert server.api("history", {"channel": "news", "limit": -1})["publications"] == known
