"""WebSocket update services (draft-marocco-alto-ws) with PyPI's `websockets`, whole and frame by frame."""
import contextlib
import json
import socket
import urllib.parse

import httpx
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from . import alto
from .follow import PATIENCE, Admin, Copy, directory
from .report import equal
from .schema import parse

NET, COST = "my-default-network-map", "numerical-routing-cost-map"


def opened(uri, **more):
    headers = more.pop("headers", None)
    return connect(uri, subprotocols=["alto-updates"], additional_headers=headers, proxy=None, open_timeout=PATIENCE, max_size=None, **more)


def update(socket):
    return parse(socket.recv(timeout=PATIENCE), "websocket update")


def closed(socket):
    """Reads on until the server closed; returns the code."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            socket.recv(timeout=PATIENCE)
    return socket.protocol.close_rcvd.code if socket.protocol.close_rcvd else None


def run(report, server, known=None, name="websockets", **tls):
    known, admin = known or directory(server.url), Admin(server)
    uri = known.entries[COST]["updates"]
    client = httpx.Client(timeout=PATIENCE, headers={"accept-encoding": "identity"}, verify=tls.get("ssl", True))

    def current(resource):
        return parse(client.get(known.uri(resource)).content, known.entries[resource]["media-type"])

    with report.check(f"{name}: If-None-Match with the newest tag is told that it is, then gets patches"):
        tag = current(COST)["meta"]["vtag"]["tag"]
        with opened(uri, headers={"If-None-Match": f'"{tag}"'}, **tls) as socket:
            equal(socket.subprotocol, "alto-updates", "subprotocol")
            said = update(socket)
            equal((said["resource-id"], said["tag"], said["media-type"]), (COST, tag, None), "first message")
            copy, seq = Copy(COST), said["seq"]
            copy.value = current(COST)
            for cost in (91, 92):
                done = admin.merge(COST, {"cost-map": {"PID1": {"PID2": cost}}})
                said = update(socket)
                copy.apply(said["media-type"], said["data"])
                equal((said["seq"], said["tag"], copy.tag), (seq + 1, done["tag"], done["tag"]), "seq and tag")
                equal(copy.value, current(COST), "copy")
                seq = said["seq"]
            equal(copy.patches["copy"], 0, "full copies")
    with report.check(f"{name}: a first message with a tag that nobody knows gets a full copy; another brings the client back"):
        with opened(uri, **tls) as socket:
            socket.send(json.dumps({"reference-tag": "no-such-tag"}))
            said = update(socket)
            equal((said["media-type"], said["data"]), (alto.COST_MAP, current(COST)), "first message")
            socket.send(json.dumps({"reference-tag": said["tag"]}))
            again = update(socket)
            equal((again["media-type"], again["tag"]), (None, said["tag"]), "answer to the newest tag")
    if name != "websockets":
        return
    with report.check("websockets: a client that says nothing gets a full copy within 5 s"):
        with opened(uri) as socket:
            said = parse(socket.recv(timeout=8), "websocket update")
            equal((said["media-type"], said["data"]), (alto.COST_MAP, current(COST)), "message")
    with report.check("websockets: a POST-mode resource with its input"):
        kind = {"cost-mode": "numerical", "cost-metric": "routingcost"}
        with opened(known.entries["filtered-cost-map"]["updates"]) as socket:
            socket.send(json.dumps({"input": {"cost-type": kind, "pids": {"srcs": ["PID1"], "dsts": ["PID2"]}}}))
            said = update(socket)
            copy = Copy("filtered-cost-map")
            copy.apply(said["media-type"], said["data"])
            equal(set(copy.value["cost-map"]), {"PID1"}, "rows")
            admin.merge(COST, {"cost-map": {"PID1": {"PID2": 93}}})
            said = update(socket)
            copy.apply(said["media-type"], said["data"])
            equal(copy.value["cost-map"], {"PID1": {"PID2": 93}}, "costs")
    with report.check("websockets: what the service does not know closes with 1008"):
        for message in ("[]", "{", "{}", json.dumps({"reference-tag": 1}), json.dumps({"reference-tag": "x y"})):
            with opened(uri) as socket:
                socket.send(message)
                equal(closed(socket), 1008, f"close code after {message}")
        with opened(uri) as socket:
            socket.send(b"binary")
            assert closed(socket) in (1003, 1008), "a binary message was taken"
    with report.check("websockets: a fragmented message, pings between its parts, the client's own close"):
        with opened(uri) as socket:
            socket.send([json.dumps({"reference-tag": "none"})[:5], json.dumps({"reference-tag": "none"})[5:]])
            equal(update(socket)["media-type"], alto.COST_MAP, "media type")
            assert socket.ping(b"payload of a ping").wait(PATIENCE), "no pong"
            socket.close(1000, "thank you")
            equal(socket.protocol.close_rcvd.code, 1000, "close code")
    with report.check("websockets: an unknown resource is 404, a request without a handshake 426"):
        base = uri.rsplit("/", 1)[0]
        try:
            opened(f"{base}/no-such-resource").close()
            raise AssertionError("opened")
        except InvalidStatus as refusal:
            equal(refusal.response.status_code, 404, "status")
        answer = client.get(uri.replace("ws:", "http:"))
        equal(answer.status_code, 426, "status of a plain GET")
        equal(answer.headers.get("upgrade"), "websocket", "upgrade")
    frames(report, uri)


def frame(head, payload=b"", masked=True):
    """A frame with this first byte; the mask is zero."""
    length = bytes([len(payload) | masked << 7]) if len(payload) < 126 else bytes([126 | masked << 7]) + len(payload).to_bytes(2, "big")
    return bytes([head]) + length + (bytes(4) if masked else b"") + payload


def frames(report, uri):
    """What no library would send (RFC 6455 section 5; the cases of Autobahn that need no echo)."""
    place = urllib.parse.urlsplit(uri)

    def code(*sent):
        with socket.create_connection((place.hostname, place.port), timeout=PATIENCE) as raw:
            raw.sendall(f"GET {place.path} HTTP/1.1\r\nHost: {place.netloc}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode())
            stream = raw.makefile("rb")
            assert b" 101 " in stream.readline(), "no upgrade"
            accept = [line for line in iter(stream.readline, b"\r\n") if line.lower().startswith(b"sec-websocket-accept")]
            assert accept and accept[0].strip().endswith(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), accept
            raw.sendall(b"".join(sent))
            while head := stream.read(2):
                length = head[1] & 127
                length = int.from_bytes(stream.read({126: 2, 127: 8}[length]), "big") if length > 125 else length
                payload = stream.read(length)
                if head[0] & 15 == 8:
                    return int.from_bytes(payload[:2], "big")
            return None

    for name, want, sent in [
        ("an unmasked frame (5.1)", 1002, [frame(0x81, b"{}", masked=False)]),
        ("reserved bits (5.2)", 1002, [frame(0xC1, b"{}")]),
        ("a reserved opcode (5.2)", 1002, [frame(0x83, b"{}")]),
        ("a fragmented ping (5.5)", 1002, [frame(0x09, b"a")]),
        ("a ping of 126 bytes (5.5)", 1002, [frame(0x89, bytes(126))]),
        ("a continuation of nothing (5.4)", 1002, [frame(0x80, b"a")]),
        ("a new message inside another (5.4)", 1002, [frame(0x01, b"{"), frame(0x81, b"}")]),
        ("text that is not UTF-8 (8.1)", 1007, [frame(0x81, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80")]),
        ("a code point cut by the end of its message (8.1)", 1007, [frame(0x01, b"\xce"), frame(0x80, b"")]),
        ("a close frame of one byte (5.5.1)", 1002, [frame(0x88, b"\x03")]),
        ("a close code that may not be sent (7.4.1)", 1002, [frame(0x88, (1005).to_bytes(2, "big"))]),
        ("a close reason that is not UTF-8 (5.5.1)", 1007, [frame(0x88, (1000).to_bytes(2, "big") + b"\xff")]),
        ("a close without a code is answered (5.5.1)", (None, 0, 1000), [frame(0x88)]),
        ("the code of a close is echoed (5.5.1)", 3999, [frame(0x88, (3999).to_bytes(2, "big"))]),
    ]:
        with report.check(f"WebSocket frames: {name}"):
            got = code(*sent)
            assert got in (want if isinstance(want, tuple) else (want,)), f"close code {got}, should be {want}"
