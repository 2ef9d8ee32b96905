"""A WebSocket client that says exactly what it is told, also what no library would."""

import base64
import contextlib
import json
import os
import socket
import struct

from server import PATIENCE

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

# A connect command in Protobuf, with its length before it: id 1, an empty `connect`.
PROTOBUF_CONNECT = bytes([4, 0x08, 1, 0x22, 0])


class Wire:
    """A connection to `/connection/websocket`; a context manager."""

    def __init__(self, server, protocol=None, query="", request_headers=()):
        self._socket = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
        self._stream = self._socket.makefile("rb")
        self._replies = []
        headers = [
            f"GET /connection/websocket{query} HTTP/1.1",
            f"Host: 127.0.0.1:{server.port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        ]
        headers.extend(request_headers)
        if protocol:
            headers.append(f"Sec-WebSocket-Protocol: {protocol}")
        self._socket.sendall("\r\n".join([*headers, "", ""]).encode())
        status = self._stream.readline()
        assert b" 101 " in status, status
        # Names in lower case.
        self.headers = {}
        while (line := self._stream.readline()) != b"\r\n":
            name, value = line.decode().split(":", 1)
            self.headers[name.lower()] = value.strip()

    @classmethod
    def connected(cls, server):
        """A JSON connection with its connect command answered."""
        wire = cls(server)
        wire.call({"id": 1, "connect": {}})
        return wire

    @classmethod
    def connected_protobuf(cls, server):
        """A Protobuf connection with its connect command answered."""
        wire = cls(server, "centrifuge-protobuf")
        wire.frame(BINARY, PROTOBUF_CONNECT)
        opcode, payload = wire.receive()
        assert opcode == BINARY and b"\x08\x01" in payload, (opcode, payload)
        return wire

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stream.close()
        self._socket.close()

    def frame(self, opcode, payload=b"", *, fin=True, reserved=0, masked=True):
        """Sends one frame."""
        length = len(payload)
        head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
        mask_bit = 0x80 if masked else 0
        if length < 126:
            head += bytes([mask_bit | length])
        elif length < 1 << 16:
            head += bytes([mask_bit | 126]) + struct.pack(">H", length)
        else:
            head += bytes([mask_bit | 127]) + struct.pack(">Q", length)
        if masked:
            mask = os.urandom(4)
            payload = mask + bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))
        self._socket.sendall(head + payload)

    def say(self, *texts):
        """Sends each text in a frame of its own."""
        for text in texts:
            self.frame(TEXT, text.encode())

    def call(self, command):
        """Sends a JSON command and returns the next reply, which must be its own and no error."""
        self.say(json.dumps(command))
        reply = self.reply()
        assert reply.get("id") == command["id"] and "error" not in reply, reply
        return reply

    def reply(self):
        """The next JSON reply or push."""
        while not self._replies:
            opcode, payload = self.receive()
            assert opcode == TEXT, (opcode, payload)
            self._replies = [json.loads(line) for line in payload.decode().split("\n") if line]
        return self._replies.pop(0)

    def receive(self):
        """The next frame that is no ping or pong: its opcode and payload."""
        while True:
            head, length = self._exactly(2)
            assert head & 0x80, "the server fragments nothing"
            if length == 126:
                (length,) = struct.unpack(">H", self._exactly(2))
            elif length == 127:
                (length,) = struct.unpack(">Q", self._exactly(8))
            payload = self._exactly(length)
            if head & 0xF not in (PING, PONG):
                return head & 0xF, payload

    def closed(self):
        """Waits for the close frame, over what comes before it; its code and reason."""
        while True:
            opcode, payload = self.receive()
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big"), payload[2:].decode()

    def ended(self):
        """Waits for the end of TCP; the bytes before it."""
        return self._stream.read()

    def _exactly(self, count):
        got = self._stream.read(count)
        assert len(got) == count, f"the server closed TCP; expected {count} bytes, got {got!r}"
        return got


@contextlib.contextmanager
def served(server):
    """A client that is connected before a block, and must still be served after it."""
    with Wire.connected(server) as client:
        client.call({"id": 2, "subscribe": {"channel": "healthy"}})
        yield
        server.api("publish", {"channel": "healthy", "data": "still served"})
        push = client.reply()["push"]
        assert (push["channel"], push["pub"]["data"]) == ("healthy", "still served")
