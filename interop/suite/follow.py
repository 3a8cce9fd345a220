"""Following resources: copies kept with PyPI's jsonpatch and json-merge-patch, a PyPI SSE client, the graph of a TIPS view."""
import contextlib
import json
import queue
import socket
import threading

import httpx
import httpx_sse
import json_merge_patch
import jsonpatch

from . import alto
from .report import equal
from .schema import parse, parse_error

# An event has this long to come: far more than it takes, so that a slow machine fails nothing.
PATIENCE = 30


class Copy:
    """What a client has of one resource."""

    def __init__(self, name):
        self.name, self.value, self.patches = name, None, {alto.MERGE_PATCH: 0, alto.JSON_PATCH: 0, "copy": 0}

    def apply(self, media_type, data):
        """`data` is the parsed body of an update."""
        self.patches[media_type if media_type in self.patches else "copy"] += 1
        if media_type == alto.MERGE_PATCH:
            assert self.value is not None, f"{self.name}: a merge patch before any copy"
            self.value = json_merge_patch.merge(json.loads(json.dumps(self.value)), data)
        elif media_type == alto.JSON_PATCH:
            assert self.value is not None, f"{self.name}: a JSON patch before any copy"
            self.value = jsonpatch.apply_patch(self.value, data)
        else:
            self.value = data
        parse(json.dumps(self.value), alto.NETWORK_MAP if "network-map" in self.value else alto.COST_MAP if "cost-map" in self.value else alto.ENDPOINT_COST if "endpoint-cost-map" in self.value else alto.PROPERTIES)

    @property
    def tag(self):
        return self.value["meta"]["vtag"]["tag"]


class Stream:
    """An update stream (RFC 8895) read by httpx-sse in a thread of its own."""

    def __init__(self, uri, request, http2=False, verify=True, params=alto.UPDATE_STREAM_PARAMS):
        self.events, self.answer = queue.Queue(), None
        self.client = httpx.Client(http1=not http2, http2=http2, verify=verify, timeout=httpx.Timeout(PATIENCE, read=120))
        self.arguments = ("POST", uri), {"content": json.dumps(request), "headers": {"content-type": params, "accept": f"{alto.EVENT_STREAM}, {alto.ERROR}"}}
        self.thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        # The reader ends before anything is closed: a descriptor that is closed under it may be another connection's when it reads again, and
        # what it reads then is missing there.
        if self.answer is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self.answer.extensions["network_stream"].get_extra_info("socket"), socket.SHUT_RDWR)
        self.thread.join(PATIENCE)
        self.client.close()

    def _read(self):
        try:
            with self.client.stream(*self.arguments[0], **self.arguments[1]) as answer:
                assert answer.status_code == 200, f"status {answer.status_code}: {answer.read()[:300]!r}"
                self.answer = answer
                for event in httpx_sse.EventSource(answer).iter_sse():
                    self.events.put((event.event, event.data))
            self.events.put((None, "the stream ended"))
        except Exception as error:
            self.events.put((None, f"{type(error).__name__}: {error}"))

    def next(self):
        """The next event: its media type, its data id, its data parsed."""
        event, data = self.events.get(timeout=PATIENCE)
        assert event is not None, data
        media_type, _, data_id = event.partition(",")
        return media_type, data_id, parse(data, media_type) if media_type == alto.UPDATE_STREAM_CONTROL else json.loads(data)

    def ended(self):
        """Waits for the end of the stream; events before it are passed over."""
        while True:
            event, data = self.events.get(timeout=PATIENCE)
            if event is None:
                return data

    def quiet(self, seconds):
        """Nothing comes for a while."""
        with contextlib.suppress(queue.Empty):
            raise AssertionError(f"unexpected event {self.events.get(timeout=seconds)}")


class View:
    """A TIPS view and its graph (draft-ietf-alto-new-transport)."""

    def __init__(self, client, uri, **request):
        self.client = client
        answer = client.post(uri, content=json.dumps(request), headers={"content-type": alto.TIPS_PARAMS, "accept": f"{alto.TIPS}, {alto.ERROR}"})
        assert answer.status_code == 200, f"status {answer.status_code}: {answer.text[:300]}"
        equal(answer.headers["content-type"], alto.TIPS, "content-type")
        body = parse(answer.content, alto.TIPS)
        self.uri = body["tips-view-uri"]
        summary = body["tips-view-summary"]["updates-graph-summary"]
        self.start, self.end = summary["start-seq"], summary["end-seq"]
        self.first = summary["start-edge-rec"]["seq-i"], summary["start-edge-rec"]["seq-j"]

    def get(self, i, j, **headers):
        return self.client.get(f"{self.uri}/ug/{i}/{j}", headers=headers)

    def edge(self, copy, i, j):
        """Gets an edge and takes it into the copy; returns the answer."""
        answer = self.get(i, j)
        equal(answer.status_code, 200, f"status of edge {i}/{j}")
        copy.apply(answer.headers["content-type"], json.loads(answer.content))
        return answer


class Admin:
    """Changes made through the admin listener."""

    def __init__(self, server):
        self.base, self.client = f"{server.admin}/v1", httpx.Client(timeout=PATIENCE)

    def change(self, method, name, body, media_type):
        answer = self.client.request(method, f"{self.base}/resources/{name}", content=json.dumps(body), headers={"content-type": media_type})
        assert answer.status_code in (200, 201), f"{method} {name}: status {answer.status_code}: {answer.text[:300]}"
        return answer.json()

    def merge(self, name, patch):
        return self.change("PATCH", name, patch, alto.MERGE_PATCH)

    def put(self, name, document):
        return self.change("PUT", name, document, alto.NETWORK_MAP if "network-map" in document else alto.COST_MAP)


def directory(url, **options):
    answer = httpx.get(f"{url}/directory", timeout=PATIENCE, **options)
    return alto.Directory(parse(answer.content, alto.DIRECTORY))


def service(directory, media_type, accepts, resource):
    """URI of the service with these media types that offers the resource; of several update streams only one lists it."""
    found = [entry["uri"] for entry in directory.entries.values() if (entry["media-type"], entry.get("accepts")) == (media_type, accepts) and resource in entry.get("uses", [])]
    assert len(found) == 1, f"{len(found)} services of {media_type} for {resource}"
    return found[0]


def refused(answer, status, code=None, field=None):
    """The answer is an ALTO error body with this status."""
    equal(answer.status_code, status, f"status of {answer.request.method} {answer.request.url}")
    parse_error(answer.headers.get("content-type"), answer.content, code, field)
    return answer
