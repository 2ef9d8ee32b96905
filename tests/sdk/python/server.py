"""A tidegate process under test."""

import atexit
import contextlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

BASE = json.loads((Path(__file__).parent.parent / "config.json").read_text())
KEY = BASE["http_api"]["key"]

# Longest wait for the server to get ready, or to end.
PATIENCE = 30.0


class Server:
    """A server that is ready; `config` is laid over `../config.json`, and it has so many descriptors. With an
    `environment`, that and no file says all but where to listen."""

    def __init__(self, config=None, descriptors=None, environment=None):
        self._descriptors = descriptors
        self._environment = environment
        self.port = free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="tidegate-")
        self.config = Path(self._folder.name) / "config.json"
        base = BASE if environment is None else {"http_server": BASE["http_server"]}
        self.config.write_text(json.dumps(over(over(base, config or {}), {"http_server": {"port": self.port}})))
        self.start()

    @property
    def http(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def websocket(self):
        return f"ws://127.0.0.1:{self.port}/connection/websocket"

    @property
    def pid(self):
        return self._process.pid

    def start(self):
        """Starts the process, again after `halt`, and waits until it is ready."""
        self._log = open(Path(self._folder.name) / "log", "w+")
        limit = f"ulimit -n {self._descriptors} && " if self._descriptors else ""
        # The shell becomes the server: signals and figures are the server's.
        shell = ["sh", "-c", limit + 'exec "$@"', "sh", *command(self.config)]
        environment = None if self._environment is None else {**os.environ, **self._environment}
        self._process = subprocess.Popen(shell, stdout=self._log, stderr=subprocess.STDOUT, env=environment)
        atexit.register(self._process.kill)
        deadline = time.monotonic() + PATIENCE
        while not self._ready():
            assert self._process.poll() is None, f"the server did not start:\n{self.log()}"
            assert time.monotonic() < deadline, f"the server did not get ready:\n{self.log()}"
            time.sleep(0.02)

    def halt(self):
        """Ends the process, which must end well."""
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = f"{self._process.wait()} (killed: it did not end)"
        atexit.unregister(self._process.kill)
        log = self.log()
        self._log.close()
        assert code == 0, f"the server ended with {code}:\n{log}"

    def halted(self):
        """Forgets a process that has ended, and its files."""
        assert self._process.poll() is not None, "it runs"
        atexit.unregister(self._process.kill)
        self._log.close()
        self._folder.cleanup()

    def kill(self):
        """Ends the process at once."""
        os.kill(self.pid, signal.SIGKILL)
        self._process.wait(PATIENCE)
        atexit.unregister(self._process.kill)
        self._log.close()

    def stop(self):
        """Ends the process, which must end well, and forgets its files."""
        try:
            self.halt()
        finally:
            self._folder.cleanup()

    def log(self):
        self._log.seek(0)
        return self._log.read()

    def request(self, method, path, body=b"", headers=None):
        """One HTTP request; returns status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, headers or {})
            reply = connection.getresponse()
            return reply.status, reply.read().decode()
        finally:
            connection.close()

    def api(self, method, request):
        """Calls the HTTP API and returns its `result`."""
        status, body = self.request("POST", f"/api/{method}", json.dumps(request), {"X-API-Key": KEY})
        assert status == 200, f"{method}: {status} {body}"
        reply = json.loads(body)
        assert "error" not in reply, f"{method}: {body}"
        return reply["result"]

    def _ready(self):
        try:
            return self.request("GET", "/ready")[0] == 200
        except OSError:
            return False  # not listening yet


@contextlib.contextmanager
def serving(config=None, descriptors=None, environment=None):
    """A server for the length of a block; it must end well."""
    server = Server(config, descriptors, environment)
    try:
        yield server
    finally:
        server.stop()


def command(config):
    return [os.environ["TIDEGATE_BIN"], "serve", "--config", str(config)]


def free_port():
    """Below the ports that outgoing connections take, so that a restarted server finds its own free."""
    while True:
        port = random.randrange(10_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue  # taken: another one


def over(whole, change):
    """`change` laid over `whole`, objects member by member."""
    merged = dict(whole)
    for name, value in change.items():
        nested = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = over(merged[name], value) if nested else value
    return merged
