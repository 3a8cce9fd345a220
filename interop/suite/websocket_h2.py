"""A WebSocket update service over HTTP/2 (RFC 8441) with Python's h2: the extended CONNECT is made here, the frames by PyPI's `websockets`."""
import json
import re
import urllib.parse

import h2.events
import h2.settings
from websockets import frames

from . import alto
from .follow import Admin, Copy, directory
from .h2client import Connection
from .report import equal
from .schema import parse

COST = "numerical-routing-cost-map"


class Tunnel(Connection):
    """One HTTP/2 connection; its streams are WebSockets or requests."""

    def __init__(self, port):
        self.heads, self.bodies, self.ended = {}, {}, set()
        super().__init__(port)
        # RFC 8441 section 3: before the server's settings allow it, no client may ask.
        self.pump(lambda: h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL in self.h2.remote_settings)

    def take(self, event):
        if isinstance(event, h2.events.ResponseReceived):
            self.heads[event.stream_id] = dict(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
            self.ended.add(event.stream_id)
        assert not isinstance(event, h2.events.ConnectionTerminated), "the server ended the connection"

    def connect(self, path, *fields, protocol="websocket"):
        pseudo = [(":method", "CONNECT"), (":protocol", protocol), (":path", path), (":scheme", "http"), (":authority", self.authority)]
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, [*pseudo, ("sec-websocket-version", "13"), ("sec-websocket-protocol", "alto-updates"), *fields])
        self.flush()
        self.pump(lambda: stream in self.heads or stream in self.ended)
        return stream, self.heads.get(stream, {})

    def get(self, path):
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, [(":method", "GET"), (":path", path), (":scheme", "http"), (":authority", self.authority)], end_stream=True)
        self.flush()
        self.pump(lambda: stream in self.ended)
        return self.heads[stream], self.bodies.get(stream, b"")

    def send(self, stream, opcode, payload, fin=True):
        self.h2.send_data(stream, frames.Frame(opcode, payload, fin=fin).serialize(mask=True))
        self.flush()

    def receive(self, stream):
        """The next frame: opcode and payload."""
        def whole():
            data = self.bodies.get(stream, b"")
            if len(data) < 2:
                return None
            assert not data[1] & 128, "a masked frame from the server"
            long = {126: 2, 127: 8}.get(data[1] & 127, 0)
            length = int.from_bytes(data[2 : 2 + long], "big") if long else data[1] & 127
            return (2 + long, 2 + long + length) if len(data) >= 2 + long + length else None

        self.pump(whole)
        start, end = whole()
        data = self.bodies[stream]
        self.bodies[stream] = data[end:]
        return frames.Opcode(data[0] & 15), data[start:end]

    def update(self, stream):
        opcode, payload = self.receive(stream)
        equal(opcode, frames.Opcode.TEXT, "opcode")
        return parse(payload, "websocket update")


def run(report, server):
    known, admin = directory(server.url), Admin(server)
    path = urllib.parse.urlsplit(known.entries[COST]["updates"]).path

    def current(tunnel):
        head, body = tunnel.get(re.sub("^https?://[^/]+", "", known.uri(COST)))
        equal(head[":status"], "200", "status")
        return parse(body, alto.COST_MAP)

    with report.check("RFC 8441: two WebSockets and plain requests on one HTTP/2 connection, each copy follows"):
        with Tunnel(server.port) as tunnel:
            (one, head), (two, _) = tunnel.connect(path), tunnel.connect(path)
            equal((head[":status"], head.get("sec-websocket-protocol")), ("200", "alto-updates"), "status and subprotocol")
            assert "sec-websocket-accept" not in head, "Sec-WebSocket-Accept is HTTP/1.1's"
            copies = {one: Copy(COST), two: Copy(COST)}
            for stream, copy in copies.items():
                tunnel.send(stream, frames.Opcode.TEXT, json.dumps({"reference-tag": "none"}).encode())
                said = tunnel.update(stream)
                copy.apply(said["media-type"], said["data"])
            for cost in (181, 182):
                done = admin.merge(COST, {"cost-map": {"PID1": {"PID2": cost}}})
                now = current(tunnel)
                for stream, copy in copies.items():
                    said = tunnel.update(stream)
                    copy.apply(said["media-type"], said["data"])
                    equal((said["tag"], copy.value), (done["tag"], now), "tag and copy")
            tunnel.send(one, frames.Opcode.PING, b"are you there")
            equal(tunnel.receive(one), (frames.Opcode.PONG, b"are you there"), "answer to a ping")
            # Closing one ends its stream (RFC 8441 section 5) and nothing else.
            tunnel.send(one, frames.Opcode.CLOSE, (1000).to_bytes(2, "big"))
            equal(tunnel.receive(one), (frames.Opcode.CLOSE, (1000).to_bytes(2, "big")), "answer to a close")
            tunnel.pump(lambda: one in tunnel.ended)
            admin.merge(COST, {"cost-map": {"PID1": {"PID2": 183}}})
            said = tunnel.update(two)
            copies[two].apply(said["media-type"], said["data"])
            equal(copies[two].value, current(tunnel), "copy of who stayed")
    with report.check("RFC 8441: a reset stream, an unknown resource, an unknown protocol leave the connection as it was"):
        with Tunnel(server.port) as tunnel:
            stream, _ = tunnel.connect(path)
            tunnel.h2.reset_stream(stream, 8)
            tunnel.flush()
            equal(tunnel.connect(path.rsplit("/", 1)[0] + "/no-such-resource")[1].get(":status"), "404", "status of an unknown resource")
            _, head = tunnel.connect(path, protocol="no-such-protocol")
            assert not head or head[":status"][0] in "45", f"an unknown protocol is answered with {head}"
            stream, head = tunnel.connect(path, ("if-none-match", f'"{current(tunnel)["meta"]["vtag"]["tag"]}"'))
            equal(head[":status"], "200", "status afterwards")
            equal(tunnel.update(stream)["media-type"], None, "first message to who has the newest version")
    with report.check("RFC 8441: an unmasked frame closes the WebSocket with 1002"):
        with Tunnel(server.port) as tunnel:
            stream, _ = tunnel.connect(path)
            tunnel.h2.send_data(stream, b"\x81\x02{}")
            tunnel.flush()
            opcode, payload = tunnel.receive(stream)
            equal((opcode, int.from_bytes(payload[:2], "big")), (frames.Opcode.CLOSE, 1002), "close")
