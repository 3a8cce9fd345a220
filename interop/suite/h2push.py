"""Transport queues and pushes (draft-ietf-alto-new-transport-01) with Python's h2, nghttp and Node: the usual and the awkward cases."""
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import threading
import time

import h2.events
import h2.settings

from . import alto
from .follow import PATIENCE, Admin, Copy, directory, service
from .h2client import Connection
from .report import equal
from .schema import parse

COST = "numerical-routing-cost-map"


class Client(Connection):
    """A small HTTP/2 client on one socket: requests, and whatever the server pushes."""

    def __init__(self, port, path, settings=()):
        self.path = path
        self.streams, self.pushed, self.order, self.ended, self.goaway = {}, {}, [], [], None
        super().__init__(port, {h2.settings.SettingCodes.ENABLE_PUSH: 1, h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1 << 20, **dict(settings)})

    def send(self, method, path, body=None, media_type=alto.TRANSPORT, end=True):
        stream = self.h2.get_next_available_stream_id()
        headers = [(":method", method), (":path", path), (":scheme", "http"), (":authority", self.authority)]
        headers += [("content-type", media_type), ("content-length", str(len(body)))] if body is not None else []
        self.h2.send_headers(stream, headers, end_stream=body is None)
        if body is not None:
            self.h2.send_data(stream, body, end_stream=end)
        self.flush()
        return stream

    def take(self, event):
        if isinstance(event, h2.events.PushedStreamReceived):
            self.pushed[event.pushed_stream_id] = dict(event.headers)
            self.order.append(event.pushed_stream_id)
            self.streams[event.pushed_stream_id] = [None, b"", False]
            equal(event.parent_stream_id, getattr(self, "queue_stream", event.parent_stream_id), "stream that the push is promised on")
        elif isinstance(event, h2.events.ResponseReceived):
            self.streams.setdefault(event.stream_id, [None, b"", False])[0] = dict(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            self.streams[event.stream_id][1] += event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
            self.streams.setdefault(event.stream_id, [None, b"", False])[2] = True
            if event.stream_id % 2 == 0 and isinstance(event, h2.events.StreamEnded):
                self.ended.append(event.stream_id)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = event.error_code

    def ask(self, method, path, body=None, **more):
        """One request and its whole answer: status, headers, body."""
        stream = self.send(method, path, body, **more)
        self.pump(lambda: stream in self.streams and self.streams[stream][2])
        headers, body, _ = self.streams[stream]
        return int(headers[":status"]), headers, body

    def create(self, end=True, **request):
        """Makes a queue; returns its path."""
        self.queue_stream = self.send("POST", self.path, json.dumps({"resource-id": COST, **request}).encode(), end=end)
        self.pump(lambda: self.queue_stream in self.streams and self.streams[self.queue_stream][1].endswith(b"}"))
        headers, body, _ = self.streams[self.queue_stream]
        equal((headers[":status"], headers["content-type"]), ("200", alto.TRANSPORT), "status and content-type")
        uri = parse(body, alto.TRANSPORT)["tq"]
        return re.sub("^https?://[^/]+", "", uri)

    def gone(self, queue):
        """Asks until the queue is not there any more."""
        deadline = time.monotonic() + PATIENCE
        while (status := self.ask("GET", queue)[0]) != 404:
            assert time.monotonic() < deadline, f"the queue still answers with {status}"
            time.sleep(0.02)

    def body(self, stream):
        headers, body, _ = self.streams[stream]
        return headers["content-type"], json.loads(body)


def run(report, server, node_modules):
    known, admin = directory(server.url), Admin(server)
    uri = service(known, alto.TRANSPORT, alto.UPDATE_STREAM_PARAMS, COST)
    path = re.sub("^https?://[^/]+", "", uri)

    def client(**settings):
        return Client(server.port, path, [(getattr(h2.settings.SettingCodes, name), value) for name, value in settings.items()])

    def change(cost):
        return admin.merge(COST, {"cost-map": {"PID1": {"PID2": cost}}})

    for name, end in (("a request that ends", True), ("a request without END_STREAM", False)):
        with report.check(f"Python h2: {name}: a copy is pushed, then every change, in order"):
            with client() as peer:
                queue = peer.create(end=end)
                peer.pump(lambda: len(peer.ended) >= 1)
                tags = [change(cost + end * 10)["tag"] for cost in (110, 111, 112)]
                copy = Copy(COST)

                def caught_up():
                    while copy.patches["copy"] + copy.patches[alto.MERGE_PATCH] + copy.patches[alto.JSON_PATCH] < len(peer.ended):
                        stream = peer.ended[sum(copy.patches.values())]
                        copy.apply(*peer.body(stream))
                    return copy.value and copy.tag == tags[-1]

                peer.pump(caught_up)
                equal(peer.ended, peer.order, "order in which pushes end")
                promised = [peer.pushed[stream] for stream in peer.order]
                assert all(each[":method"] == "GET" and re.fullmatch(rf"{queue}/uq/\d+", each[":path"]) for each in promised), promised
                numbers = [int(each[":path"].rsplit("/", 1)[1]) for each in promised]
                equal(numbers, list(range(numbers[0], numbers[0] + len(numbers))), "sequence numbers")
                status, _, body = peer.ask("GET", queue)
                equal((status, parse(body, alto.TRANSPORT)["rs"]), (200, ["self"]), "status of the queue")
                status, _, body = peer.ask("GET", f"{queue}/uq")
                entries = parse(body, alto.TRANSPORT)
                equal((status, entries[-1]["tag"]), (200, tags[-1]), "updates queue")
                equal(peer.ask("GET", f"{queue}/uq/{entries[-1]['seq']}")[0], 200, "status of one update")
                equal([(peer.ask(method, f"{queue}/uq")[0]) for method in ("PUT", "DELETE")], [405, 405], "status of writing the updates queue")
                equal(peer.ask("DELETE", f"{queue}/rs/self")[0], 200, "status of leaving the receivers")
                before = len(peer.ended)
                change(113 + end)
                equal(peer.ask("GET", f"{queue}/rs/self")[0], 404, "status of rs/self afterwards")
                equal(len(peer.ended), before, "pushes to who left")
                equal(peer.ask("PUT", f"{queue}/rs/self")[0], 200, "status of coming back")
                peer.pump(lambda: len(peer.ended) > before)
                equal(peer.ask("DELETE", queue)[0], 200, "status of closing")
                equal(peer.ask("GET", queue)[0], 404, "status of a closed queue")
    with report.check("Python h2: a queue belongs to its connection"):
        with client() as one, client() as two:
            queue = one.create()
            for place in ("", "/uq", "/rs", "/rs/self"):
                status, headers, body = two.ask("GET", queue + place)
                equal((status, headers["content-type"]), (404, alto.ERROR), f"answer for {place or 'the queue'} elsewhere")
                parse(body, alto.ERROR)
            equal(two.ask("DELETE", queue)[0], 404, "status of DELETE elsewhere")
            equal(one.ask("GET", queue)[0], 200, "status at home")
    with report.check("Python h2: END_STREAM, then RST_STREAM of the stream that made a queue close it"):
        with client() as peer:
            queue = peer.create(end=False)
            peer.pump(lambda: peer.ended)
            peer.h2.end_stream(peer.queue_stream)
            peer.gone(queue)
            before, queue = len(peer.ended), peer.create()
            # The first push is waited for: this library takes a push that crosses its reset of the parent for a request.
            peer.pump(lambda: len(peer.ended) > before)
            peer.h2.reset_stream(peer.queue_stream, 8)
            peer.gone(queue)
    with report.check("Python h2: with push disabled a queue is for pulling, and PUT rs/self is 409"):
        with client(ENABLE_PUSH=0) as peer:
            queue = peer.create()
            status, _, body = peer.ask("GET", queue)
            equal((status, parse(body, alto.TRANSPORT)["rs"]), (200, []), "status and receivers")
            status, headers, body = peer.ask("PUT", f"{queue}/rs/self")
            equal((status, headers["content-type"]), (409, alto.ERROR), "PUT rs/self")
            entry = parse(peer.ask("GET", f"{queue}/uq")[2], alto.TRANSPORT)[-1]
            equal(peer.ask("GET", f"{queue}/uq/{entry['seq']}")[0], 200, "status of an update")
            equal(peer.order, [], "pushes")
    with report.check("Python h2: MAX_CONCURRENT_STREAMS 1: one push at a time, and all of them"):
        with client(MAX_CONCURRENT_STREAMS=1, INITIAL_WINDOW_SIZE=64) as peer:
            # Windows are opened by hand: a push stays open until its bytes are taken.
            peer.create()
            copy = Copy(COST)
            for cost in (120, 121, 122):
                tag = change(cost)["tag"]
            peer.pump(lambda: len(peer.ended) and b"cost-map" in peer.streams[peer.ended[-1]][1] and reached(peer, copy, tag))
            equal(peer.ended, peer.order, "order")
    with report.check("Python h2: a pushed stream is reset: the connection lives, and the client gets a whole copy again"):
        with client(INITIAL_WINDOW_SIZE=16) as peer:
            peer.create()
            peer.pump(lambda: len(peer.order) == 1)
            peer.h2.reset_stream(peer.order[0], 8)
            peer.flush()
            change(130)
            peer.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1 << 20})
            peer.flush()
            peer.pump(lambda: peer.ended)
            equal(peer.body(peer.ended[0])[0], alto.COST_MAP, "media type after a reset")
            equal(peer.goaway, None, "GOAWAY")
    with report.check("Python h2: GOAWAY from the client with a queue open harms nobody else"):
        with client() as other:
            other.create()
            with client() as peer:
                peer.create()
                peer.h2.close_connection()
                peer.flush()
            before = len(other.ended)
            change(140)
            other.pump(lambda: len(other.ended) > before)
    with report.check("Python h2: wrong requests for queues get ALTO errors"):
        with client() as peer:
            for body, media, want in [(b"{", alto.TRANSPORT, 400), (b"{}", alto.TRANSPORT, 400), (b'{"resource-id": "none"}', alto.TRANSPORT, 400), (b"{}", "text/plain", 415)]:
                status, headers, body = peer.ask("POST", path, body, media_type=media)
                equal((status, headers["content-type"]), (want, alto.ERROR), f"answer to {body!r}")
            for place in ("/tqs/none", "/tqs/0", "/tqs/18446744073709551616"):
                equal(peer.ask("GET", place)[0], 404, f"status of {place}")
            queue = peer.create()
            for seq in ("0", "01", "x", "-1", "9007199254740993", "99999999999999999999"):
                status = peer.ask("GET", f"{queue}/uq/{seq}")[0]
                assert status in (404, 410), f"status {status} of update {seq}"
    nghttp(report, uri, change)
    node(report, uri, change, node_modules)


def reached(peer, copy, tag):
    while sum(copy.patches.values()) < len(peer.ended):
        copy.apply(*peer.body(peer.ended[sum(copy.patches.values())]))
    return copy.tag == tag


def nghttp(report, uri, change):
    with report.check("nghttp: takes pushes of a queue, each promised on the stream that made it"):
        with tempfile.NamedTemporaryFile() as body, tempfile.TemporaryFile() as log:
            body.write(json.dumps({"resource-id": COST}).encode())
            body.flush()
            process = subprocess.Popen(["stdbuf", "-oL", "nghttp", "--verbose", "--no-dep", f"--data={body.name}", f"--header=content-type: {alto.TRANSPORT}", uri], stdout=log, stderr=log)

            def pushes():
                log.seek(0)
                text = re.sub(r"\x1b\[[0-9;]*m", "", log.read().decode(errors="replace"))
                return re.findall(r"recv PUSH_PROMISE frame <[^>]*stream_id=(\d+)", text), re.findall(r"recv \(stream_id=(\d*[02468])\) :status: (\d+)", text)

            try:
                for count in (1, 2, 3):
                    deadline = time.monotonic() + PATIENCE
                    while len(pushes()[1]) < count:
                        assert time.monotonic() < deadline and process.poll() is None, f"push {count} did not come: {pushes()}"
                        time.sleep(0.02)
                    change(150 + count)
                promised, answered = pushes()
                assert len(set(promised)) == 1, f"promised on streams {promised}"
                assert all(status == "200" for _, status in answered), answered
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=10)


def node(report, uri, change, node_modules):
    with report.check("Node http2: takes pushes of a queue and parses each"):
        script = pathlib.Path(__file__).parent.parent / "node" / "push.js"
        process = subprocess.Popen(["node", str(script), uri, COST], stdout=subprocess.PIPE, text=True, env={**os.environ, "NODE_PATH": node_modules})
        killer = threading.Timer(PATIENCE * 2, process.kill)
        killer.start()
        try:
            copy, tag = Copy(COST), None
            for line in process.stdout:
                pushed = json.loads(line)
                copy.apply(pushed["type"], pushed["body"])
                if sum(copy.patches.values()) > 3:
                    break
                tag = change(160 + sum(copy.patches.values()))["tag"]
            equal(copy.value and copy.tag, tag, "tag of what Node was pushed")
        finally:
            killer.cancel()
            process.kill()
            process.wait()
