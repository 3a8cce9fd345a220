"""A page in headless Chromium follows a cost map with fetch."""
import json
import os
import pathlib
import shutil
import subprocess
import threading

from . import alto
from .follow import PATIENCE, Admin, directory, service
from .report import equal

COST = "numerical-routing-cost-map"


def run(report, server, node_modules):
    known, admin = directory(server.url), Admin(server)
    with report.check("Chromium: a page follows an update stream with fetch, from the server's own origin"):
        follow(server.url, known, admin, node_modules, 400)
    with report.check("Chromium: a page of another origin may do so, too (CORS)"):
        # Another port is another origin; the admin listener serves something there.
        follow(f"{server.admin}/healthz", known, admin, node_modules, 410)


def follow(page, known, admin, node_modules, cost):
    uri = service(known, alto.EVENT_STREAM, alto.UPDATE_STREAM_PARAMS, COST)
    script = pathlib.Path(__file__).parent.parent / "node" / "page.js"
    chrome = shutil.which("chromium") or shutil.which("chromium-browser")
    process = subprocess.Popen(["node", str(script), page, uri, COST, chrome], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "NODE_PATH": node_modules})
    killer = threading.Timer(PATIENCE * 3, process.kill)
    killer.start()
    try:
        events, wanted = [], [cost, cost + 1]
        for line in process.stdout:
            events.append(json.loads(line))
            media = events[-1]["event"].partition(",")[0]
            if len(events) == 1:
                equal(media, alto.UPDATE_STREAM_CONTROL, "first event")
            elif len(events) == 2:
                equal(media, alto.COST_MAP, "second event")
            else:
                equal(media, alto.MERGE_PATCH, "media type of a change")
                equal(events[-1]["copy"]["cost-map"]["PID1"]["PID2"], wanted.pop(0), "cost that the page has")
            if len(events) > 1:
                if not wanted:
                    return
                admin.merge(COST, {"cost-map": {"PID1": {"PID2": wanted[0]}}})
        raise AssertionError(f"Chromium ended after {len(events)} events: {process.stderr.read()[-400:]}")
    finally:
        killer.cancel()
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
