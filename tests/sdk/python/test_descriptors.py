"""A server that has few descriptors, and peers that take them all."""

import contextlib
import os
import select
import socket
import time

from server import PATIENCE, serving
from wire import Wire, served

DESCRIPTORS = 64
FLOOD = 200


@contextlib.contextmanager
def flood(server):
    """Peers that connect and say nothing. The kernel takes them, whatever the server does."""
    with contextlib.ExitStack() as stack:
        peers = []
        for _ in range(FLOOD):
            peers.append(stack.enter_context(socket.create_connection(("127.0.0.1", server.port), PATIENCE)))
        yield peers


def cpu_seconds(pid):
    """The CPU time that a process has taken."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def closed(peers):
    """Those that the server has closed."""
    return [peer for peer in peers if select.select([peer], [], [], 0)[0]]


def answers(server):
    try:
        return server.request("GET", "/health")[0] == 200
    except OSError:
        return False  # turned away


def until(what, patience=PATIENCE):
    deadline = time.monotonic() + patience
    while not what():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


def test_a_server_out_of_descriptors_neither_spins_nor_dies():
    # Nothing but the descriptors bounds connections here.
    with serving({"http_server": {"connection_limit": 0}}, DESCRIPTORS) as server, served(server):
        with Wire.connected(server) as client, flood(server) as peers:
            until(lambda: "cannot accept connections" in server.log())
            before, began = cpu_seconds(server.pid), time.monotonic()
            # Those that wait are turned away rather than kept waiting: what is open has a descriptor.
            until(lambda: len(peers) - len(closed(peers)) < DESCRIPTORS)
            # Who is in goes on.
            for number in range(2, 12):
                client.call({"id": number, "publish": {"channel": "other", "data": number}})
                time.sleep(0.2)
            spent, passed = cpu_seconds(server.pid) - before, time.monotonic() - began
            assert passed > 2 and spent < passed / 4, f"{spent} s of CPU time in {passed} s"
        # After the flood newcomers get in.
        until(lambda: answers(server))
        with Wire.connected(server):
            pass
        # Once for the flood, however often it has failed.
        until(lambda: answers(server) and "accepting connections again" in server.log())
        assert server.log().count("cannot accept connections") == 1
        assert server.log().count("accepting connections again") == 1


def test_a_silent_flood_locks_nobody_out():
    with serving(descriptors=DESCRIPTORS) as server, served(server):
        with flood(server) as peers:
            assert server.request("GET", "/health")[0] == 200
            with Wire.connected(server) as client:
                client.call({"id": 2, "publish": {"channel": "other", "data": "during the flood"}})
            assert len(peers) - len(closed(peers)) <= DESCRIPTORS // 2
        assert "cannot accept connections" not in server.log()


def test_clients_leave_room_for_probes():
    # Without a limit of connections, the descriptors are the limit.
    with serving(descriptors=DESCRIPTORS) as server, contextlib.ExitStack() as clients:
        while True:
            try:
                clients.enter_context(Wire.connected(server))
            except AssertionError as refusal:
                assert b" 503 " in refusal.args[0], refusal
                break
        assert server.request("GET", "/health")[0] == 200
        status, metrics = server.request("GET", "/metrics")
        assert status == 200 and 'tidegate_refused_total{cause="descriptors"} 1' in metrics
