"""A client of the raw protocol of `docs/quic.md`, on a QUIC that is not the server's: aioquic."""

import asyncio
import contextlib
import json
import os
import ssl
import subprocess

from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, DatagramFrameReceived, StreamDataReceived, StreamReset
from centrifuge.protocol import client_pb2
from google.protobuf import json_format

from server import free_port, serving

PATIENCE = 20.0

END = object()


@contextlib.contextmanager
def quic_server(folder, config=None):
    """A server with a UDP port, whose number it has as `udp`."""
    cert, key = certificate(folder)
    udp = free_port()
    quic = {"enabled": True, "port": udp, "tls": {"enabled": True, "cert_pem": cert, "key_pem": key}}
    with serving({**(config or {}), "quic": {**quic, **(config or {}).get("quic", {})}}) as server:
        server.udp, server.cert = udp, cert
        yield server


def certificate(folder):
    """Makes a certificate, in place of one that is there; the files of it and its key."""
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    made = [os.environ["TIDEGATE_BIN"], "cert", "--cert", cert, "--key", key, "--force"]
    subprocess.run(made, check=True, capture_output=True, timeout=PATIENCE)
    return cert, key


class Native(QuicConnectionProtocol):
    """Sorts what comes: control messages, and each subscription's by the id of its command."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.protobuf = self._quic.configuration.alpn_protocols == ["tidegate-protobuf"]
        self.messages = asyncio.Queue()
        self.tracks = {}
        self.datagrams = asyncio.Queue()
        self.closed = asyncio.get_running_loop().create_future()
        self.control = self._quic.get_next_available_stream_id()
        self._buffers = {}
        self._names = {}

    def quic_event_received(self, event):
        match event:
            case StreamDataReceived(data=data, end_stream=end, stream_id=stream):
                self._buffers[stream] = self._buffers.get(stream, b"") + data
                self._split(stream)
                if end:
                    self._queue(stream).put_nowait(END)
            case StreamReset(error_code=code, stream_id=stream):
                self._queue(stream).put_nowait(code)
            case DatagramFrameReceived(data=data):
                name, at = uvarint(data)
                for message in messages(data[at:], self.protobuf)[0]:
                    self.datagrams.put_nowait((name, self._decode(message, client_pb2.Push)))
            case ConnectionTerminated(error_code=code, reason_phrase=reason):
                if not self.closed.done():
                    self.closed.set_result((code, reason))

    def say(self, command):
        """Sends a command, given as JSON has it."""
        if self.protobuf:
            encoded = json_format.ParseDict(command, client_pb2.Command()).SerializeToString()
            encoded = length(len(encoded)) + encoded
        else:
            encoded = json.dumps(command).encode() + b"\n"
        self.say_raw(encoded)

    def say_raw(self, data):
        self._quic.send_stream_data(self.control, data)
        self.transmit()

    async def hear(self):
        """The next message of the control stream."""
        return await asyncio.wait_for(self.messages.get(), PATIENCE)

    async def hear_track(self, name):
        """The next message of the track of the command with this id; `END`, or the code of a reset."""
        return await asyncio.wait_for(self.track(name).get(), PATIENCE)

    def track(self, name):
        return self.tracks.setdefault(name, asyncio.Queue())

    async def ended(self):
        """The code and the reason with which the server has closed."""
        return await asyncio.wait_for(self.closed, PATIENCE)

    def _queue(self, stream):
        return self.messages if stream == self.control else self.track(self._names.get(stream))

    def _split(self, stream):
        buffer = self._buffers[stream]
        if stream != self.control and stream not in self._names:
            name, at = uvarint(buffer)
            if name is None:
                return
            self._names[stream], buffer = name, buffer[at:]
            self.track(name)
        whole, self._buffers[stream] = messages(buffer, self.protobuf)
        kind = client_pb2.Reply if stream == self.control else client_pb2.Push
        for message in whole:
            decoded = self._decode(message, kind)
            if decoded == {}:
                # A ping, which is answered in kind.
                self.say({})
            else:
                self._queue(stream).put_nowait(decoded)

    def _decode(self, message, kind):
        if not self.protobuf:
            return json.loads(message)
        return json_format.MessageToDict(kind.FromString(message), preserving_proto_field_name=True)


@contextlib.asynccontextmanager
async def native(server, encoding="json", credit=None, **options):
    """A client whose handshake is done; `credit` is how many streams the server may open."""
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=[f"tidegate-{encoding}"], server_name="localhost", **options
    )
    configuration.verify_mode = ssl.CERT_REQUIRED
    configuration.load_verify_locations(server.cert)

    def client(quic, **more):
        if credit is not None:
            quic._local_max_streams_uni.value = credit
        return Native(quic, **more)

    async with connect("127.0.0.1", server.udp, configuration=configuration, create_protocol=client) as client:
        yield client


def messages(buffer, protobuf):
    """The whole messages of `buffer`, and what is left of it."""
    whole = []
    while True:
        if protobuf:
            size, at = uvarint(buffer)
            if size is None or len(buffer) < at + size:
                return whole, buffer
        else:
            at, size = 0, buffer.find(b"\n")
            if size < 0:
                return whole, buffer
        whole.append(buffer[at : at + size])
        buffer = buffer[at + size + (0 if protobuf else 1) :]


def uvarint(data):
    """The number that `data` begins with, and how long it is; `None` if it is not whole."""
    number = 0
    for at, byte in enumerate(data):
        number |= (byte & 0x7F) << (7 * at)
        if byte < 0x80:
            return number, at + 1
    return None, 0


def length(number):
    encoded = b""
    while number >= 0x80:
        encoded += bytes([number & 0x7F | 0x80])
        number >>= 7
    return encoded + bytes([number])
