"""Varnish in front of the maps, with the configuration of docs/proxies: what RFC 9111 makes of what the server says of their validity."""
import email.utils
import pathlib
import shutil
import time

import httpx

from .follow import PATIENCE, Admin
from .proxies import Counter, varnish
from .report import equal
from .server import Server, free_port

NETWORK, COST = "my-default-network-map", "numerical-routing-cost-map"
# An answer is valid for half of it to all of it.
LIFETIME = 6
TABLES = f"""
[[expiry]]
resource = "{NETWORK}"
seconds = {LIFETIME}
"""


def instant(answer, name):
    return email.utils.parsedate_to_datetime(answer.headers[name]).timestamp()


def left(answer):
    """Seconds for which it is fresh, as a client reckons (RFC 9111 sections 4.2.1 and 4.2.3)."""
    directives = dict(each.strip().partition("=")[::2] for each in answer.headers["cache-control"].split(","))
    return int(directives["max-age"]) - int(answer.headers.get("age", 0))


def expire(answer):
    """Waits until the answer is stale; half a second more, for clocks are read in whole seconds."""
    time.sleep(max(0, instant(answer, "expires") - time.time()) + 1.5)


def run(report, scratch, program):
    maps = scratch / "caching-maps"
    shutil.copytree(pathlib.Path(__file__).parents[1] / "maps", maps)
    (scratch / "caching.toml").write_text(f'[maps]\nfolder = "{maps}"\n{TABLES}')
    with Server(program, "--config", str(scratch / "caching.toml")) as server:
        counter, port = Counter(server.port), free_port()
        with varnish(scratch, "varnish-maps", port, counter.port), httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, headers={"accept-encoding": "identity"}) as client:
            checks(report, client, counter, Admin(server), httpx.Client(base_url=server.url, timeout=PATIENCE))
        counter.close()


def checks(report, client, counter, admin, direct):
    plain, expiring, costs = (f"/resources/{name}" for name in (NETWORK, f"{NETWORK}-expiring", COST))

    def asked(method, path):
        return counter.lines.get((method, path), 0)

    with report.check("Varnish, docs/proxies: a map is a hit while it is fresh, and its Age counts down what max-age leaves (RFC 9111 section 4.2)"):
        first = client.get(plain)
        # The date is set when the answer is sent.
        assert abs(instant(first, "date") + left(first) - instant(first, "expires")) <= 1, "Date and max-age do not agree with Expires"
        assert LIFETIME / 2 - 1 <= left(first) <= LIFETIME, f"{left(first)} s are left at first"
        before = asked("GET", plain)
        time.sleep(1.2)
        second = client.get(plain)
        equal(asked("GET", plain), before, "requests that reached the server")
        equal((second.content, second.headers["etag"], second.headers["expires"]), (first.content, first.headers["etag"], first.headers["expires"]), "the stored answer")
        assert int(second.headers["age"]) >= 1 and left(second) < left(first), f"{left(second)} s are left after {left(first)}"
        assert time.time() + left(second) <= instant(second, "expires") + 1, "it would be fresh for longer than it says"

    with report.check("Varnish, docs/proxies: HEAD and If-None-Match are answered from the stored map"):
        whole = client.get(plain)
        before = asked("GET", plain)
        head = client.head(plain)
        equal((head.status_code, head.content, head.headers["etag"], head.headers["expires"]), (200, b"", whole.headers["etag"], whole.headers["expires"]), "HEAD")
        known = client.get(plain, headers={"if-none-match": whole.headers["etag"]})
        equal((known.status_code, known.headers["etag"], known.headers["expires"]), (304, whole.headers["etag"], whole.headers["expires"]), "304")
        since = client.get(plain, headers={"if-modified-since": whole.headers["last-modified"]})
        equal(since.status_code, 304, "status for If-Modified-Since")
        equal((asked("GET", plain), asked("HEAD", plain)), (before, 0), "requests that reached the server")

    with report.check("Varnish, docs/proxies: a stale map is revalidated with one 304, and fresh again (RFC 9111 section 4.3)"):
        first = client.get(plain)
        expire(first)
        before, confirmed = asked("GET", plain), counter.statuses.get(304, 0)
        again = client.get(plain)
        equal((asked("GET", plain) - before, counter.statuses.get(304, 0) - confirmed), (1, 1), "requests, and answers 304")
        equal((again.status_code, again.content, again.headers["etag"]), (200, first.content, first.headers["etag"]), "the map")
        assert instant(again, "expires") > instant(first, "expires") and left(again) > 0, "it is not fresh again"
        client.get(plain)
        equal(asked("GET", plain) - before, 1, "requests after that")

    with report.check("Varnish, docs/proxies: a map that says its expiry is stored as long as it says, and is another after that"):
        first = client.get(expiring)
        equal(instant(first, "expires"), email.utils.parsedate_to_datetime(first.json()["network-map"]["expires"]).timestamp(), "Expires beside the map's own")
        before = asked("GET", expiring)
        equal(client.get(expiring).content, first.content, "the stored map")
        equal(asked("GET", expiring), before, "requests that reached the server")
        expire(first)
        later = client.get(expiring)
        assert later.headers["etag"] != first.headers["etag"], "another date under one ETag"
        assert instant(later, "expires") > time.time() - 1, "what is delivered is past"

    with report.check("Varnish, docs/proxies: a map of which nothing is known is asked for each time"):
        before = asked("GET", costs)
        for _ in range(3):
            equal(client.get(costs).headers["cache-control"], "no-cache", "cache-control")
        equal(asked("GET", costs) - before, 3, "requests that reached the server")

    with report.check("Varnish, docs/proxies: a new version shows when the one before expires, and no later"):
        # Fresh for a while yet, so that the change comes in the middle.
        held = client.get(plain)
        if left(held) < 2:
            expire(held)
            held = client.get(plain)
        admin.merge(NETWORK, {"network-map": {"PID1": {"ipv4": ["192.0.2.0/24"]}}})
        assert direct.get(plain).headers["etag"] != held.headers["etag"], "nothing changed"
        if time.time() < instant(held, "expires") - 1:
            equal(client.get(plain).headers["etag"], held.headers["etag"], "ETag while it is fresh")
        expire(held)
        equal(client.get(plain).content, direct.get(plain).content, "the map after that")
