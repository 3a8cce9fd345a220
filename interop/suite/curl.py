"""curl over HTTP/1.1 and prior-knowledge HTTP/2: status codes, validators, codings, and what a wrong request gets."""
import json
import re
import subprocess
import tempfile

from . import alto
from .report import equal
from .schema import parse, parse_error


class Answer:
    def __init__(self, version, status, headers, body):
        self.version, self.status, self.headers, self.body = version, status, headers, body


def fetch(uri, *args, headers=(), body=None, method=None, timeout=60):
    """One curl call; `body` is sent from a file, so any bytes do."""
    with tempfile.NamedTemporaryFile() as data, tempfile.NamedTemporaryFile() as head, tempfile.NamedTemporaryFile() as out:
        command = ["curl", "--silent", "--show-error", "--max-time", str(timeout), "--dump-header", head.name, "--output", out.name, *args]
        for name, value in dict(headers).items():
            command += ["--header", f"{name}: {value}"]
        if body is not None:
            data.write(body)
            data.flush()
            command += ["--data-binary", f"@{data.name}", "--header", "Expect:"]
        if method == "HEAD":
            command += ["--head"]
        elif method:
            command += ["--request", method]
        command += ["--write-out", "%{http_version} %{response_code}", uri]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, f"curl ended with status {done.returncode}: {done.stderr.strip()}"
        version, status = done.stdout.split()
        blocks = re.split(r"\r?\n\r?\n", open(head.name).read().strip())
        fields = {}
        for line in blocks[-1].splitlines()[1:]:
            name, _, value = line.partition(":")
            fields[name.strip().lower()] = value.strip()
        # With --head curl writes the header block to the output too.
        return Answer(version, int(status), fields, b"" if method == "HEAD" else open(out.name, "rb").read())


def error(answer, status, code=None, field=None):
    """The answer is an ALTO error body (RFC 7285 section 8.5) with this status."""
    equal(answer.status, status, "status")
    return parse_error(answer.headers.get("content-type"), answer.body, code, field)


def features():
    return subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True).stdout


def run(report, url, option, name, body_bytes_max):
    version = {"--http1.1": "1.1", "--http2-prior-knowledge": "2", "--http2": "2"}[option.split()[0]]

    def check(what):
        return report.check(f"curl {name}: {what}")

    def go(uri, *args, **more):
        answer = fetch(uri, *option.split(), *args, **more)
        equal(answer.version, version, "HTTP version")
        return answer

    directory = None
    with check("GET /directory"):
        answer = go(f"{url}/directory")
        equal(answer.status, 200, "status")
        equal(answer.headers["content-type"], alto.DIRECTORY, "content-type")
        directory = alto.Directory(parse(answer.body, alto.DIRECTORY))
    if directory is None:
        return
    with check("GET / is the directory for an ALTO client and a page for a browser"):
        equal(go(f"{url}/", headers={"Accept": alto.DIRECTORY}).headers["content-type"], alto.DIRECTORY, "content-type for a client")
        page = go(f"{url}/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
        equal(page.status, 200, "status")
        assert page.headers["content-type"].startswith("text/html"), page.headers["content-type"]

    for resource in [*directory.of(alto.NETWORK_MAP), *directory.of(alto.COST_MAP)]:
        uri = directory.uri(resource)
        with check(f"{resource}: GET, HEAD, 304"):
            full = go(uri)
            equal(full.status, 200, "status")
            equal(full.headers["content-type"], directory.entries[resource]["media-type"], "content-type")
            assert re.fullmatch(r'"[!-~]{1,64}"', full.headers["etag"]), f"ETag {full.headers['etag']}"
            head = go(uri, method="HEAD")
            equal(head.status, 200, "status of HEAD")
            for field in ("etag", "content-type", "content-length"):
                equal(head.headers.get(field), full.headers.get(field), f"{field} of HEAD")
            equal(full.headers["content-length"], str(len(full.body)), "content-length")
            for condition in (full.headers["etag"], f'"other", {full.headers["etag"]}', f"W/{full.headers['etag']}", "*"):
                unchanged = go(uri, headers={"If-None-Match": condition})
                equal((unchanged.status, unchanged.body, unchanged.headers.get("etag")), (304, b"", full.headers["etag"]), f"answer to If-None-Match: {condition}")
            equal(go(uri, headers={"If-None-Match": '"other"'}).status, 200, "status for another tag")

    resource = next(iter(directory.of(alto.COST_MAP)))
    uri = directory.uri(resource)
    can = features()
    for coding, feature in (("gzip", "libz"), ("br", "brotli"), ("zstd", "zstd")):
        if feature not in can:
            print(f"note  curl {name}: this curl cannot decode {coding}")
            continue
        with check(f"{coding} is negotiated, decodes to the same bytes and has its own validator"):
            plain = go(uri)
            coded = go(uri, "--compressed", headers={"Accept-Encoding": coding})
            equal(coded.headers.get("content-encoding"), coding, "content-encoding")
            equal(coded.body, plain.body, "decoded body")
            assert coded.headers["etag"] != plain.headers["etag"], "two codings share a strong ETag (RFC 9110 section 8.8.3)"
            assert "accept-encoding" in coded.headers.get("vary", "").lower(), f"Vary: {coded.headers.get('vary')}"
            assert "accept-encoding" in plain.headers.get("vary", "").lower(), f"Vary of the plain form: {plain.headers.get('vary')}"
            assert int(coded.headers["content-length"]) < len(plain.body), "coded form is not smaller"
            again = go(uri, headers={"Accept-Encoding": coding, "If-None-Match": coded.headers["etag"]})
            equal(again.status, 304, "status for the coded validator")
    with check("identity is served to those who refuse the codings (RFC 9110 section 12.5.3)"):
        equal(go(uri, headers={"Accept-Encoding": "gzip;q=0, br;q=0, zstd;q=0"}).headers.get("content-encoding"), None, "content-encoding")
        equal(go(uri, headers={"Accept-Encoding": "gzip;q=0.1, identity;q=1"}).headers.get("content-encoding"), None, "content-encoding")

    wrong(check, go, url, directory, uri, body_bytes_max)


def wrong(check, go, url, directory, map_uri, body_bytes_max):
    """What a wrong request gets: the status of RFC 9110 and the error body of RFC 7285 section 8.5."""
    with check("404"):
        for path in ("/resources/no-such-resource", "/nowhere", "/resources/", "/directory/x"):
            error(go(f"{url}{path}"), 404)
    with check("405 names the methods that are allowed"):
        for uri, method in ((map_uri, "DELETE"), (map_uri, "PUT"), (f"{url}/directory", "PATCH")):
            answer = go(uri, method=method)
            error(answer, 405)
            allowed = {each.strip() for each in answer.headers["allow"].split(",")}
            assert {"GET", "HEAD"} <= allowed and method not in allowed, f"Allow: {answer.headers['allow']}"
    services = {
        alto.COST_MAP_FILTER: directory.of(alto.COST_MAP, alto.COST_MAP_FILTER),
        alto.ENDPOINT_COST_PARAMS: directory.of(alto.ENDPOINT_COST, alto.ENDPOINT_COST_PARAMS),
        alto.PROPERTIES_PARAMS: directory.of(alto.PROPERTIES, alto.PROPERTIES_PARAMS),
        alto.NETWORK_MAP_FILTER: directory.of(alto.NETWORK_MAP, alto.NETWORK_MAP_FILTER),
    }
    uris = {params: next(iter(entries.values()))["uri"] for params, entries in services.items() if entries}
    with check("405 for GET of a service that only answers POST"):
        for uri in uris.values():
            answer = go(uri)
            error(answer, 405)
            assert "POST" in answer.headers["allow"], f"Allow: {answer.headers['allow']}"
    with check("OPTIONS lists the methods"):
        answer = go(map_uri, method="OPTIONS")
        assert answer.status in (200, 204), f"status {answer.status}"
        assert {"GET", "HEAD", "OPTIONS"} <= {each.strip() for each in answer.headers["allow"].split(",")}, answer.headers["allow"]
    with check("406 when nothing acceptable is offered"):
        for uri in (map_uri, f"{url}/directory"):
            error(go(uri, headers={"Accept": "image/png"}), 406)
            error(go(uri, headers={"Accept": "application/alto-endpointcost+json"}), 406)
        for accept in ("*/*", "application/*", f"{alto.COST_MAP};q=0.5, image/png"):
            equal(go(map_uri, headers={"Accept": accept}).status, 200, f"status for Accept: {accept}")
    with check("415 for a body of another media type"):
        for uri in uris.values():
            error(go(uri, headers={"Content-Type": "text/plain"}, body=b"{}"), 415)
    # curl 7.88 drops an answer over HTTP/2 whose stream is reset before it has sent the whole body: the server has to read it.
    with check("413 for a body over the bound"):
        for params, uri in uris.items():
            error(go(uri, headers={"Content-Type": params}, body=b" " * (body_bytes_max + 1)), 413)

    numerical = {"cost-mode": "numerical", "cost-metric": "routingcost"}
    two = [numerical, {"cost-mode": "ordinal", "cost-metric": "routingcost"}]
    rows = [
        # service, request, code, field at fault; the sections say which
        (alto.COST_MAP_FILTER, b"{", "E_SYNTAX", None),
        (alto.COST_MAP_FILTER, b"", "E_SYNTAX", None),
        (alto.COST_MAP_FILTER, b"\xff\xfe", "E_SYNTAX", None),
        (alto.COST_MAP_FILTER, b'{"cost-type": {"cost-mode": "numerical"}} trailing', "E_SYNTAX", None),
        (alto.COST_MAP_FILTER, b"[" * 100_000, "E_SYNTAX", None),
        (alto.COST_MAP_FILTER, {}, "E_MISSING_FIELD", "cost-type"),
        (alto.COST_MAP_FILTER, {"cost-type": {"cost-mode": "numerical"}}, "E_MISSING_FIELD", "cost-type/cost-metric"),
        (alto.COST_MAP_FILTER, {"cost-type": {"cost-metric": "routingcost"}}, "E_MISSING_FIELD", "cost-type/cost-mode"),
        (alto.COST_MAP_FILTER, {"cost-type": "routingcost"}, "E_INVALID_FIELD_TYPE", "cost-type"),
        (alto.COST_MAP_FILTER, {"cost-type": {**numerical, "cost-mode": "cheap"}}, "E_INVALID_FIELD_VALUE", "cost-type/cost-mode"),
        (alto.COST_MAP_FILTER, {"cost-type": {**numerical, "cost-metric": "shoesize"}}, "E_INVALID_FIELD_VALUE", "cost-type/cost-metric"),
        (alto.COST_MAP_FILTER, {"cost-type": numerical, "pids": {"srcs": "PID1", "dsts": []}}, "E_INVALID_FIELD_TYPE", "pids/srcs"),
        # Section 8.5.2: an element of the wrong type is an invalid value of the array.
        (alto.COST_MAP_FILTER, {"cost-type": numerical, "pids": {"srcs": [7], "dsts": []}}, "E_INVALID_FIELD_VALUE", "pids/srcs"),
        (alto.COST_MAP_FILTER, {"cost-type": numerical, "pids": {"srcs": []}}, "E_MISSING_FIELD", "pids/dsts"),
        (alto.COST_MAP_FILTER, {"cost-type": numerical, "constraints": ["about 5"]}, "E_INVALID_FIELD_VALUE", "constraints"),
        (alto.COST_MAP_FILTER, {"cost-type": numerical, "constraints": ["[1] le 5"]}, "E_INVALID_FIELD_VALUE", "constraints"),
        (alto.COST_MAP_FILTER, {"cost-type": numerical, "multi-cost-types": two}, "E_INVALID_FIELD_VALUE", None),
        (alto.COST_MAP_FILTER, {"cost-type": numerical, "or-constraints": [[]]}, "E_INVALID_FIELD_VALUE", "or-constraints"),
        (alto.COST_MAP_FILTER, {"cost-type": numerical, "constraints": ["le 5"], "or-constraints": [["le 5"]]}, "E_INVALID_FIELD_VALUE", None),
        (alto.NETWORK_MAP_FILTER, {}, "E_MISSING_FIELD", "pids"),
        (alto.NETWORK_MAP_FILTER, {"pids": "PID1"}, "E_INVALID_FIELD_TYPE", "pids"),
        (alto.PROPERTIES_PARAMS, {"endpoints": ["ipv4:192.0.2.1"]}, "E_MISSING_FIELD", "properties"),
        (alto.PROPERTIES_PARAMS, {"properties": ["no-such-map.pid"], "endpoints": ["ipv4:192.0.2.1"]}, "E_INVALID_FIELD_VALUE", "properties"),
        (alto.ENDPOINT_COST_PARAMS, {"cost-type": numerical}, "E_MISSING_FIELD", "endpoints"),
        (alto.ENDPOINT_COST_PARAMS, {"cost-type": numerical, "endpoints": {"srcs": [], "dsts": []}}, "E_INVALID_FIELD_VALUE", "endpoints"),
        (alto.ENDPOINT_COST_PARAMS, {"cost-type": numerical, "endpoints": {"srcs": ["ipv4:192.0.2"], "dsts": []}}, "E_INVALID_FIELD_VALUE", "endpoints/srcs"),
        (alto.ENDPOINT_COST_PARAMS, {"cost-type": numerical, "endpoints": {"srcs": ["ipv4:192.0.2.1"], "dsts": ["192.0.2.9"]}}, "E_INVALID_FIELD_VALUE", "endpoints/dsts"),
    ]
    for params, request, code, field in rows:
        body = request if isinstance(request, bytes) else json.dumps(request).encode()
        kind = params.removeprefix("application/alto-").removesuffix("+json")
        with check(f"400 {code} {field or ''} for {kind} {body[:90].decode(errors='replace')}"):
            meta = error(go(uris[params], headers={"Content-Type": params}, body=body), 400, code, None)
            # The path may go on to the element at fault: pids/srcs, pids/srcs/0.
            got = meta.get("field", "")
            assert field is None or got == field or got.startswith(field + "/"), f"meta.field is {got!r}, should be {field!r}"
    with check("duplicate member names are refused"):
        body = b'{"cost-type": {"cost-mode": "numerical", "cost-metric": "routingcost"}, "cost-type": {"cost-mode": "ordinal", "cost-metric": "routingcost"}}'
        error(go(uris[alto.COST_MAP_FILTER], headers={"Content-Type": alto.COST_MAP_FILTER}, body=body), 400)
    with check("unknown members are ignored (RFC 7285 section 8.3.7)"):
        body = json.dumps({"cost-type": numerical, "x-unknown": {"a": [1, None]}, "pids": {"srcs": [], "dsts": [], "y": 1}}).encode()
        equal(go(uris[alto.COST_MAP_FILTER], headers={"Content-Type": alto.COST_MAP_FILTER}, body=body).status, 200, "status")
    with check("the server is well after all that"):
        equal(go(f"{url}/directory").status, 200, "status")
