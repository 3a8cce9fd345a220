"""HTTP/3 with aioquic: the directory, maps, a service, an update stream; `Alt-Svc` says where."""
import asyncio
import json
import ssl

import httpx
from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration

from . import alto
from .follow import PATIENCE, Admin, Copy, service
from .report import equal
from .schema import parse

COST = "numerical-routing-cost-map"


class Client(QuicConnectionProtocol):
    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.http, self.queues = H3Connection(self._quic), {}

    def quic_event_received(self, event):
        for each in self.http.handle_event(event):
            if isinstance(each, (HeadersReceived, DataReceived)):
                self.queues[each.stream_id].put_nowait(each)

    def send(self, authority, method, path, body=None, media_type=None):
        stream = self._quic.get_next_available_stream_id()
        self.queues[stream] = asyncio.Queue()
        headers = [(b":method", method.encode()), (b":scheme", b"https"), (b":authority", authority.encode()), (b":path", path.encode())]
        headers += [(b"content-type", media_type.encode())] if media_type else []
        self.http.send_headers(stream, headers, end_stream=body is None)
        if body is not None:
            self.http.send_data(stream, body, end_stream=True)
        self.transmit()
        return stream

    async def next(self, stream):
        return await asyncio.wait_for(self.queues[stream].get(), PATIENCE)

    async def ask(self, *request, **more):
        stream = self.send(*request, **more)
        status, fields, body = None, {}, b""
        while True:
            event = await self.next(stream)
            if isinstance(event, HeadersReceived):
                fields = {name.decode(): value.decode() for name, value in event.headers} if status is None else fields
                status = int(fields[":status"])
            else:
                body += event.data
            if event.stream_ended:
                return status, fields, body


def run(report, server, scratch):
    trust = ssl.create_default_context(cafile=str(scratch / "certificate.pem"))
    authority = f"localhost:{server.port}"
    with report.check("HTTP/3: Alt-Svc announces it on the same port"):
        answer = httpx.get(f"{server.url}/directory", verify=trust, timeout=PATIENCE)
        assert f'h3=":{server.port}"' in answer.headers.get("alt-svc", ""), f"alt-svc is {answer.headers.get('alt-svc')}"

    async def session(work):
        configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name="localhost")
        configuration.load_verify_locations(str(scratch / "certificate.pem"))
        async with connect("127.0.0.1", server.port, configuration=configuration, create_protocol=Client) as client:
            await work(client)

    async def walk(client):
        status, fields, body = await client.ask(authority, "GET", "/directory")
        equal((status, fields["content-type"]), (200, alto.DIRECTORY), "directory")
        known = alto.Directory(parse(body, alto.DIRECTORY))
        for name in [*known.of(alto.NETWORK_MAP), *known.of(alto.COST_MAP)]:
            path = httpx.URL(known.uri(name)).path
            status, fields, body = await client.ask(authority, "GET", path)
            equal(status, 200, f"status of {name}")
            parse(body, known.entries[name]["media-type"])
            equal(body, httpx.get(known.uri(name), verify=trust, headers={"accept-encoding": "identity"}).content, "the same over TCP")
        asked = b'{"pids": ["PID1"]}'
        [entry] = known.of(alto.NETWORK_MAP, alto.NETWORK_MAP_FILTER).values()
        status, _, body = await client.ask(authority, "POST", httpx.URL(entry["uri"]).path, asked, alto.NETWORK_MAP_FILTER)
        equal((status, set(parse(body, alto.NETWORK_MAP)["network-map"])), (200, {"PID1"}), "filtered network map")
        status, fields, body = await client.ask(authority, "GET", "/resources/no-such")
        equal((status, fields["content-type"]), (404, alto.ERROR), "an unknown resource")

    with report.check("aioquic HTTP/3: directory, maps, a service, an error: the same as over TCP"):
        asyncio.run(session(walk))

    async def stream(client):
        _, _, body = await client.ask(authority, "GET", "/directory")
        known = alto.Directory(parse(body, alto.DIRECTORY))
        uri = service(known, alto.EVENT_STREAM, alto.UPDATE_STREAM_PARAMS, COST)
        asked = json.dumps({"add": {"1": {"resource-id": COST}}}).encode()
        request = client.send(authority, "POST", httpx.URL(uri).path, asked, alto.UPDATE_STREAM_PARAMS)
        head = dict((await client.next(request)).headers)
        equal((head[b":status"], head[b"content-type"]), (b"200", alto.EVENT_STREAM.encode()), "head")
        text, copy = "", Copy(COST)

        async def event():
            nonlocal text
            while "\n\n" not in text:
                text += (await client.next(request)).data.decode()
            block, text = text.split("\n\n", 1)
            fields = dict(line.split(": ", 1) for line in block.split("\n"))
            return fields["event"].partition(",")[0], json.loads(fields["data"])

        equal((await event())[0], alto.UPDATE_STREAM_CONTROL, "first event")
        copy.apply(*await event())
        admin = Admin(server)
        for cost in (501, 502):
            tag = (await asyncio.to_thread(admin.merge, COST, {"cost-map": {"PID1": {"PID2": cost}}}))["tag"]
            copy.apply(*await event())
            equal((copy.tag, copy.value["cost-map"]["PID1"]["PID2"]), (tag, cost), "tag and cost")

    with report.check("aioquic HTTP/3: an update stream"):
        asyncio.run(session(stream))
