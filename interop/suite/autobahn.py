"""Autobahn's fuzzing client (`wstest`) against the WebSocket endpoint.

wstest is a program for Python 2.7; where none is found the part says so and the frame tests of websocket.py stand alone. The endpoint is no
echo server: it closes with 1008 what it does not know. So of Autobahn's cases those are run on it that do not wait for an echo, and all of
them on a server that echoes over the same framing. Not run: compression, which we do not offer, and the timing of bulk messages but for one.
"""
import json
import subprocess

from .follow import directory
from .proxies import Proxy
from .report import equal
from .server import free_port

COST = "numerical-routing-cost-map"
CASES = ["2.*", "3.*", "4.*", "5.1", "5.2", "5.9", "5.10", "5.11", "5.12", "5.13", "5.14", "5.15", "5.16", "5.17", "5.18", "6.3.*", "6.4.*"]
CASES += ["6.6.1", "6.6.3", "6.6.4", "6.6.6", "6.6.8", "6.6.10", "6.8.*", "6.10.*", "6.12.*", "6.13.*", "6.14.*", "6.15.*", "6.16.*", "6.17.*", "6.18.*", "6.19.*"]
CASES += ["6.20.*", "6.21.*", "7.1.2", "7.1.3", "7.1.4", "7.1.5", "7.3.*", "7.5.*", "7.7.*", "7.9.*"]
ECHOED = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.1.1", "9.2.1", "9.3.1", "9.5.1", "10.*"]
# What a client may see of a broken frame that follows a text message that is itself refused.
GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}


def run(report, server, scratch, wstest, echo):
    if not wstest:
        print("note  Autobahn: there is no Python 2.7 here that wstest could run on")
        return
    uri = directory(server.url).entries[COST]["updates"]
    results(report, "Autobahn wstest", uri, CASES, scratch, wstest, 140)
    port = free_port()
    with Proxy([echo, f"127.0.0.1:{port}"], port, scratch, "echo"):
        results(report, "Autobahn wstest, echo", f"ws://127.0.0.1:{port}/", ECHOED, scratch, wstest, 245)


def results(report, name, uri, cases, scratch, wstest, cases_min):
    out = scratch / f"autobahn-{len(cases)}"
    spec = scratch / "autobahn.json"
    spec.write_text(json.dumps({"outdir": str(out), "servers": [{"agent": "altocast", "url": uri, "options": {"version": 18}}], "cases": cases, "exclude-cases": [], "exclude-agent-cases": {}}))
    with report.check(f"{name}: the fuzzing client runs to its end"):
        done = subprocess.run([wstest, "-m", "fuzzingclient", "-s", str(spec)], capture_output=True, timeout=300, cwd=scratch)
        equal(done.returncode, 0, f"status of wstest ({done.stderr.decode(errors='replace')[-300:]})")
        found = json.loads((out / "index.json").read_text())["altocast"]
        assert len(found) >= cases_min, f"only {len(found)} cases were run"
    if not (out / "index.json").exists():
        return
    groups = {}
    for case, result in json.loads((out / "index.json").read_text())["altocast"].items():
        groups.setdefault(case.split(".")[0], []).append((case, result["behavior"], result["behaviorClose"]))
    for group in sorted(groups, key=int):
        with report.check(f"{name}: cases {group}.* ({len(groups[group])})"):
            bad = [case for case in groups[group] if case[1] not in GOOD or case[2] not in GOOD]
            assert not bad, f"{bad}"
