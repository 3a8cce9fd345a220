"""nghttp and h2load: another HTTP/2 client, many requests on one connection."""
import re
import subprocess
import tempfile

from . import alto, curl
from .report import equal
from .schema import parse


def command(*args):
    done = subprocess.run(args, capture_output=True, timeout=120)
    assert done.returncode == 0, f"{' '.join(args)} ended with status {done.returncode}: {done.stderr.decode(errors='replace')[-300:]}"
    return done.stdout


def run(report, url, body_bytes_max):
    document = parse(curl.fetch(f"{url}/directory").body, alto.DIRECTORY)
    directory = alto.Directory(document)
    with report.check("nghttp: the directory, byte for byte what curl got"):
        equal(command("nghttp", f"{url}/directory"), curl.fetch(f"{url}/directory", "--http2-prior-knowledge").body, "body")
    maps = [directory.uri(name) for name in [*directory.of(alto.NETWORK_MAP), *directory.of(alto.COST_MAP)]]
    with report.check("nghttp: every map on one connection"):
        log = command("nghttp", "--null-out", "--verbose", "--no-dep", *maps).decode(errors="replace")
        log = re.sub(r"\x1b\[[0-9;]*m", "", log)
        equal(re.findall(r":status: (\d+)", log), ["200"] * len(maps), "statuses")
        assert "GOAWAY" not in log or "NO_ERROR" in log, "the server ended the connection with an error"
    with report.check("nghttp: gzip, asked for by the client itself"):
        log = command("nghttp", "--null-out", "--verbose", "--header=accept-encoding: gzip", maps[0]).decode(errors="replace")
        assert "content-encoding: gzip" in re.sub(r"\x1b\[[0-9;]*m", "", log), "no content-encoding: gzip"
    with report.check("nghttp: POST to a service"):
        [entry, *_] = directory.of(alto.NETWORK_MAP, alto.NETWORK_MAP_FILTER).values()
        with tempfile.NamedTemporaryFile() as body:
            body.write(b'{"pids": []}')
            body.flush()
            answer = command("nghttp", f"--data={body.name}", f"--header=content-type: {alto.NETWORK_MAP_FILTER}", entry["uri"])
        parse(answer, alto.NETWORK_MAP)
    with report.check("nghttp: 413 with an error body while the request body is still on its way"):
        with tempfile.NamedTemporaryFile() as body:
            body.write(b" " * (body_bytes_max + 1))
            body.flush()
            log = command("nghttp", "--verbose", f"--data={body.name}", f"--header=content-type: {alto.NETWORK_MAP_FILTER}", entry["uri"])
        log = re.sub(r"\x1b\[[0-9;]*m", "", log.decode(errors="replace"))
        equal(re.findall(r":status: (\d+)", log), ["413"], "status")
        parse(re.search(r'^\{"meta".*?\}\}', log, re.MULTILINE).group(), alto.ERROR)
    with report.check("nghttp: a small flow-control window (RFC 9113 section 5.2)"):
        largest = max(maps, key=lambda uri: len(curl.fetch(uri).body))
        equal(command("nghttp", "--window-bits=8", "--connection-window-bits=16", largest), curl.fetch(largest).body, "body")
    with report.check("h2load: 2,000 requests over 8 connections with 10 streams each, none failed"):
        out = command("h2load", "-n2000", "-c8", "-m10", *maps[:3]).decode()
        assert "2000 succeeded, 0 failed, 0 errored, 0 timeout" in out, out
        assert re.search(r"status codes: 2000 2xx", out), out
