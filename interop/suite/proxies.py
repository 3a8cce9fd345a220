"""nginx and Varnish in front of the server, with the configurations of docs/proxies: caches before TIPS, TLS before streams and sockets."""
import asyncio
import contextlib
import gzip
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time

import httpx

from . import alto, websocket
from .follow import PATIENCE, Admin, Copy, Stream, View, directory, service
from .report import equal
from .server import Server, free_port
from .tls import make_certificate

COST = "numerical-routing-cost-map"
DOCS = pathlib.Path(__file__).parents[2] / "docs" / "proxies"
POLLERS = 1000


def documented(name, **changes):
    """A configuration as documented, with addresses and paths of its own."""
    text = (DOCS / name).read_text()
    for there, here in changes.items():
        assert there in text, f"{name} does not say {there}"
        text = text.replace(there, str(here))
    return text


class Proxy:
    """A process that listens on a port for the length of a `with` block."""

    def __init__(self, command, port, scratch, name):
        self.command, self.port, self.log = command, port, open(scratch / f"{name}.log", "w+")

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return self
            assert self.process.poll() is None, f"{self.command[0]} ended: {self.output()}"
            time.sleep(0.05)
        raise AssertionError(f"{self.command[0]} does not listen: {self.output()}")

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def output(self):
        self.log.seek(0)
        return self.log.read()[-800:]


def nginx(scratch, name, text, port):
    folder = scratch / name
    folder.mkdir()
    temp = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    main = f"daemon off; pid {folder}/pid; error_log {folder}/error.log;\nworker_processes 2;\nevents {{ worker_connections 4000; }}\n"
    user = "user root;\n" if pathlib.Path("/proc/self").owner() == "root" else ""
    (folder / "nginx.conf").write_text(f"{user}{main}http {{\naccess_log off;\n{temp}\n{text}\n}}\n")
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    return Proxy([program, "-c", str(folder / "nginx.conf"), "-e", str(folder / "start.log")], port, scratch, name)


def varnish(scratch, name, port, backend):
    folder = scratch / name
    (scratch / f"{name}.vcl").write_text(documented("varnish.vcl", **{'"6671"': f'"{backend}"'}))
    # The jail would change to users that cannot see the folder; there is nothing to hold here.
    program = shutil.which("varnishd") or "/usr/sbin/varnishd"
    return Proxy([program, "-F", "-j", "none", "-a", f"127.0.0.1:{port}", "-f", str(scratch / f"{name}.vcl"), "-n", str(folder), "-s", "malloc,64m"], port, scratch, name)


class Counter:
    """Passes connections on to the server and counts the requests in them by their request line, and the answers by their status."""

    def __init__(self, port):
        self.upstream, self.lines, self.statuses = port, {}, {}
        self.ready, self.loop = threading.Event(), asyncio.new_event_loop()
        threading.Thread(target=self._run, daemon=True).start()
        assert self.ready.wait(PATIENCE)

    def _run(self):
        asyncio.set_event_loop(self.loop)

        async def serve():
            self.server = await asyncio.start_server(self._connection, "127.0.0.1", 0, backlog=4096)
            self.port = self.server.sockets[0].getsockname()[1]
            self.ready.set()
            await self.server.serve_forever()

        with contextlib.suppress(asyncio.CancelledError, RuntimeError):
            self.loop.run_until_complete(serve())

    async def _connection(self, reader, writer):
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.upstream)

        async def back():
            with contextlib.suppress(OSError):
                while data := await up_reader.read(65536):
                    for status in re.findall(rb"(?:^|\n)HTTP/1\.[01] (\d{3}) ", data):
                        self.statuses[int(status)] = self.statuses.get(int(status), 0) + 1
                    writer.write(data)
            writer.close()

        task = asyncio.create_task(back())
        rest = b""
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                rest += data
                *whole, rest = rest.split(b"\r\n")
                for line in whole:
                    if found := re.fullmatch(rb"([A-Z]+) (\S+) HTTP/1\.[01]", line):
                        key = found[1].decode(), found[2].decode()
                        self.lines[key] = self.lines.get(key, 0) + 1
                up_writer.write(data)
        up_writer.close()
        await task

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)


async def poll(port, path, count, change):
    """`count` connections ask for one edge; the change is made when all have asked. Returns the bodies."""

    async def one(coding):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept-Encoding: {coding}\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        asked.release()
        answer = await reader.read()
        writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        if b"content-encoding: gzip" in head.lower():
            assert coding == "gzip", f"gzip for a client that takes {coding}"
            body = gzip.decompress(body)
        return head.split(b"\r\n", 1)[0], body

    asked = asyncio.Semaphore(0)
    tasks = [asyncio.create_task(one(("gzip", "identity")[at % 2])) for at in range(count)]
    for _ in tasks:
        await asked.acquire()
    # Asked is not yet passed on: leave the cache a moment.
    await asyncio.sleep(1)
    await asyncio.get_running_loop().run_in_executor(None, change)
    return await asyncio.wait_for(asyncio.gather(*tasks), 60)


def run(report, server, scratch, program):
    admin = Admin(server)
    for name in ("nginx", "Varnish"):
        with report.check(f"{name}, docs/proxies: {POLLERS} pollers of TIPS behind the cache, one request for each edge"):
            counter, port = Counter(server.port), free_port()
            if name == "nginx":
                (scratch / "cache").mkdir()
                text = documented("nginx-tips-cache.conf", **{"127.0.0.1:6671": f"127.0.0.1:{counter.port}", "127.0.0.1:8080": f"127.0.0.1:{port}", "/var/cache/nginx/altocast": scratch / "cache"})
                proxy = nginx(scratch, "nginx-cache", text, port)
            else:
                proxy = varnish(scratch, "varnish", port, counter.port)
            with proxy, httpx.Client(timeout=PATIENCE, headers={"accept-encoding": "identity"}) as client:
                known = directory(f"http://127.0.0.1:{port}")
                uri = service(known, alto.TIPS, alto.TIPS_PARAMS, COST)
                assert uri.startswith(f"http://127.0.0.1:{port}/"), f"TIPS is at {uri}"
                view = View(client, uri, **{"resource-id": COST})
                copy = Copy(COST)
                view.edge(copy, *view.first)
                for step in range(3):
                    path = f"{httpx.URL(view.uri).path}/ug/{view.end + step}/{view.end + step + 1}"
                    cost = 200 + step + 10 * (name == "nginx")
                    answers = asyncio.run(poll(port, path, POLLERS, lambda: admin.merge(COST, {"cost-map": {"PID1": {"PID2": cost}}})))
                    statuses = {status for status, _ in answers}
                    equal(statuses, {b"HTTP/1.1 200 OK"}, "statuses")
                    edge = view.edge(copy, view.end + step, view.end + step + 1)
                    equal({body for _, body in answers}, {edge.content}, "bodies")
                    equal(copy.value["cost-map"]["PID1"]["PID2"], cost, "cost")
                    equal(counter.lines.get(("GET", path)), 1, f"requests for {path} that reached the server")
            counter.close()
    tls(report, server, scratch, program)


def tls(report, server, scratch, program):
    make_certificate(scratch, "localhost")
    port = free_port()
    maps = scratch / "tls-maps"
    shutil.copytree(pathlib.Path(__file__).parents[1] / "maps", maps)
    with Server(program, "--maps", str(maps), ALTOCAST_SERVER_PUBLIC_URL=f"https://localhost:{port}") as behind:
        text = documented("nginx-tls.conf", **{"127.0.0.1:6671": f"127.0.0.1:{behind.port}", "127.0.0.1:8443": f"127.0.0.1:{port}", "/etc/altocast": scratch})
        trust = ssl.create_default_context(cafile=str(scratch / "certificate.pem"))
        with nginx(scratch, "nginx-tls", text, port):
            known = directory(f"https://localhost:{port}", verify=trust)
            admin = Admin(behind)
            for http2 in (False, True):
                with report.check(f"nginx TLS proxy, docs/proxies: an update stream over HTTP/{'2' if http2 else '1.1'}, events at once"):
                    uri = service(known, alto.EVENT_STREAM, alto.UPDATE_STREAM_PARAMS, COST)
                    assert uri.startswith(f"https://localhost:{port}/"), uri
                    with Stream(uri, {"add": {"1": {"resource-id": COST}}}, http2=http2, verify=trust) as stream:
                        assert stream.next()[2]["control-uri"].startswith(f"https://localhost:{port}/"), "the control URI is not the proxy's"
                        copy = Copy(COST)
                        media, _, data = stream.next()
                        copy.apply(media, data)
                        for cost in (301, 302):
                            began = time.monotonic()
                            admin.merge(COST, {"cost-map": {"PID1": {"PID2": cost + http2 * 10}}})
                            media, _, data = stream.next()
                            copy.apply(media, data)
                            equal(copy.value["cost-map"]["PID1"]["PID2"], cost + http2 * 10, "cost")
                            assert time.monotonic() - began < 5, "the event was held back"
            websocket.run(report, behind, known, "nginx TLS proxy, docs/proxies: WebSocket", ssl=trust)
