"""Subscriptions made with curl, as docs/updates.md has it word for word; notifications taken by nginx and by a Python web server (uvicorn)."""
import contextlib
import json
import pathlib
import re
import subprocess
import sys
import time

import jsonpatch
import json_merge_patch

from . import curl
from .follow import PATIENCE
from .proxies import Proxy, nginx
from .report import equal
from .server import Server, free_port

DOCS = pathlib.Path(__file__).parents[2] / "docs" / "updates.md"
# The server and the subscriber of the examples.
SERVER, PORT, SUBSCRID = "http://127.0.0.1:6671", "5828", "6f89e58c069f92ef96ff6fe21017a67e"
SUBSCRIBE, DATA = "application/alto-subscribeinput+json", "application/alto-subscriptiondata+json"

# Takes every notification and writes it down, one a line.
APPLICATION = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    with open(__file__ + ".notifications", "ab") as out:
        out.write(body + b"\\n")
    await send({"type": "http.response.start", "status": 200 if scope["path"] == "/notification" else 404, "headers": []})
    await send({"type": "http.response.body", "body": b"taken"})
"""


def examples():
    """The curl commands of the section on subscriptions."""
    section = DOCS.read_text().split("\nA subscription (", 1)[1].split("\nFrom a browser", 1)[0]
    # From "$ curl" to the quote that ends its body.
    return [command.strip() for command in re.findall(r"^    \$ (curl [^']*'[^']*'[^']*'[^']*')", section, re.MULTILINE)]


class Notifications:
    """What a web server wrote down, one notification a line."""

    def __init__(self, path):
        self.path, self.taken = path, 0

    def next(self):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            lines = self.path.read_bytes().split(b"\n")[:-1] if self.path.exists() else []
            if len(lines) > self.taken:
                self.taken += 1
                return json.loads(lines[self.taken - 1])
            time.sleep(0.01)
        raise AssertionError(f"no notification {self.taken + 1}")


@contextlib.contextmanager
def taken_by_nginx(scratch):
    port, other, log = free_port(), free_port(), scratch / "nginx-notifications"
    text = f"""
log_format body escape=none '$request_body';
server {{
  listen 127.0.0.1:{port}; client_max_body_size 10m; client_body_buffer_size 10m;
  location = /notification {{ access_log {log} body; proxy_pass http://127.0.0.1:{other}; }}
}}
server {{ listen 127.0.0.1:{other}; return 200; }}
"""
    with nginx(scratch, "sink", text, port):
        yield port, Notifications(log)


@contextlib.contextmanager
def taken_by_uvicorn(scratch):
    port, folder = free_port(), scratch / "uvicorn"
    folder.mkdir()
    (folder / "sink.py").write_text(APPLICATION)
    command = [sys.executable, "-m", "uvicorn", "sink:app", "--app-dir", str(folder), "--port", str(port), "--log-level", "warning"]
    with Proxy(command, port, scratch, "uvicorn-log"):
        yield port, Notifications(folder / "sink.py.notifications")


def run(report, scratch, program):
    with Server(program, ALTOCAST_DEMO_INTERVAL_SECONDS="3600") as server:
        for name, sink in [("nginx", taken_by_nginx), ("uvicorn", taken_by_uvicorn)]:
            with sink(scratch) as (port, notifications):
                with report.check(f"subscription, {name}: the examples of docs/updates.md, with curl alone"):
                    scenario(server, port, notifications)
                with report.check(f"subscription, {name}: incremental notifications lead from version to version"):
                    incremental(server, port, notifications)
        with report.check("subscription: curl gets no notification sent elsewhere, however the address is written"):
            relay(server)


def change(server, prefixes):
    patch = json.dumps({"network-map": {"DE": {"ipv4": prefixes}}}).encode()
    answer = curl.fetch(f"{server.admin}/v1/resources/network-map", body=patch, method="PATCH", headers={"Content-Type": "application/merge-patch+json"})
    equal(answer.status, 200, "status of PATCH")
    return json.loads(answer.body)["tag"]


def scenario(server, port, notifications):
    """Section 8.7 of the draft: subscribe, be notified at once, change, be notified, refresh, unsubscribe."""
    subscribe, refresh, unsubscribe = examples()

    def say(command, subscrid=SUBSCRID):
        command = command.replace(SERVER, server.url).replace(PORT, str(port)).replace(SUBSCRID, subscrid)
        done = subprocess.run(["bash", "-c", command.replace("curl ", "curl --silent --show-error --fail-with-body ", 1)], capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stdout} {done.stderr}"
        return json.loads(done.stdout)

    subscribed = say(subscribe)
    subscrid = subscribed["subscrid"]
    equal(subscribed, {"subscrid": subscrid, "expires": 3600, "event-types": ["NetworkMapFilter"]}, "the answer")
    first = notifications.next()
    equal((first["subscrid"], first["substate"], first["event-types"]), (subscrid, "active", ["NetworkMapFilter"]), "the first notification")
    equal(sorted(first["networkmap"]["network-map"]), ["DE", "NL"], "its PIDs")
    tag = change(server, [f"198.51.100.{port % 200}/32"])
    second = notifications.next()
    equal(second["networkmap"]["network-map"]["DE"], {"ipv4": [f"198.51.100.{port % 200}/32"], **{k: v for k, v in first["networkmap"]["network-map"]["DE"].items() if k == "ipv6"}}, "DE")
    equal(second["networkmap"]["meta"]["vtag"]["tag"], tag, "its tag")
    equal(say(refresh, subscrid), {"subscrid": subscrid, "expires": 3600, "event-types": ["NetworkMapFilter"]}, "the refresh")
    equal(say(unsubscribe, subscrid)["expires"], 0, "expires after the end")
    last = notifications.next()
    equal((last["subscrid"], last["substate"], last["reason"]), (subscrid, "terminated", "unsubscribed"), "the last notification")
    gone = curl.fetch(f"{server.url}/subscription", body=json.dumps({"subscrid": subscrid, "event-types": ["NetworkMapFilter"]}).encode(), headers={"Content-Type": SUBSCRIBE})
    curl.error(gone, 404)


def incremental(server, port, notifications):
    wish = {"event-types": ["NetworkMap"], "expires": 60, "incremental": True, "contactaddr": {"ipv4": [{"addr": "127.0.0.1", "port": port}]}}
    answer = curl.fetch(f"{server.url}/subscription", body=json.dumps(wish).encode(), headers={"Content-Type": SUBSCRIBE})
    equal(answer.status, 200, "status")
    subscrid = json.loads(answer.body)["subscrid"]
    document = notifications.next()["networkmap"]
    for at in range(3):
        change(server, [f"203.0.113.{10 * at + port % 10}/32"])
        patch = notifications.next()["patch"]
        if patch["media-type"] == "application/merge-patch+json":
            document = json_merge_patch.merge(document, patch["data"])
        else:
            document = jsonpatch.apply_patch(document, patch["data"])
        equal(document, json.loads(curl.fetch(f"{server.url}/resources/network-map").body), "the patched map")
    curl.fetch(f"{server.url}/unsubscribe", body=json.dumps({"subscrid": subscrid}).encode(), headers={"Content-Type": DATA})
    equal(notifications.next()["substate"], "terminated", "substate")


def relay(server):
    for family, address in [
        ("ipv4", "192.0.2.1"),
        ("ipv4", "169.254.169.254"),
        ("ipv4", "127.0.0.2"),
        ("ipv4", "0177.0.0.1"),
        ("ipv4", "2130706433"),
        ("ipv4", "localhost"),
        ("ipv4", "127.0.0.1.nip.io"),
        ("ipv6", "::ffff:127.0.0.1"),
        ("ipv6", "::1"),
        ("ipv6", "fe80::1"),
    ]:
        wish = {"event-types": ["NetworkMap"], "expires": 60, "contactaddr": {family: [{"addr": address, "port": 80}]}}
        answer = curl.fetch(f"{server.url}/subscription", body=json.dumps(wish).encode(), headers={"Content-Type": SUBSCRIBE})
        curl.error(answer, 400, "E_INVALID_FIELD_VALUE", f"contactaddr/{family}/addr")
