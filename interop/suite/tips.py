"""TIPS (draft-ietf-alto-new-transport) with httpx: the updates graph, long polls, and the refusals of section 7."""
import json
import threading
import time

import httpx

from . import alto
from .follow import PATIENCE, Admin, Copy, Stream, View, directory, refused, service
from .report import equal
from .schema import parse

NET, COST = "my-default-network-map", "numerical-routing-cost-map"


def run(report, server):
    known, admin = directory(server.url), Admin(server)
    uri = service(known, alto.TIPS, alto.TIPS_PARAMS, COST)
    for http2 in (False, True):
        with httpx.Client(http1=not http2, http2=http2, timeout=120, headers={"accept-encoding": "identity"}) as client:
            parts(report, "HTTP/2" if http2 else "HTTP/1.1", client, server, known, admin, uri)
    with report.check("httpx-sse: SSE over TIPS tells of new versions, and TIPS has them"):
        [(_, entry)] = [each for each in known.entries.items() if each[1]["media-type"] == alto.EVENT_STREAM and each[1]["uri"] != service(known, alto.EVENT_STREAM, alto.UPDATE_STREAM_PARAMS, COST)]
        with httpx.Client(timeout=PATIENCE) as client:
            view = View(client, uri, **{"resource-id": COST})
            [tips] = entry["uses"]
            with Stream(entry["uri"], {"add": {"1": {"resource-id": tips, "input": {"resource-id": COST}}}}) as stream:
                media, _, _ = stream.next()
                equal(media, alto.UPDATE_STREAM_CONTROL, "first event")
                media, _, summary = stream.next()
                equal(media, alto.TIPS, "media type of the first update")
                equal(summary["tips-view-uri"], view.uri, "tips-view-uri")
                end = summary["tips-view-summary"]["updates-graph-summary"]["end-seq"]
                admin.merge(COST, {"cost-map": {"PID1": {"PID2": 81}}})
                media, _, change = stream.next()
                equal(media, alto.MERGE_PATCH, "media type of the change")
                equal(change["tips-view-summary"]["updates-graph-summary"]["end-seq"], end + 1, "end-seq")
                equal(view.get(end, end + 1).status_code, 200, "status of the edge")


def parts(report, version, client, server, known, admin, uri):
    def check(name):
        return report.check(f"TIPS {version}: {name}")

    def current(name):
        return parse(client.get(known.uri(name)).content, known.entries[name]["media-type"])

    with check("every edge of the graph leads to the same documents (path independence, feasibility, continuity)"):
        for cost in (51, 52, 53):
            admin.merge(COST, {"cost-map": {"PID1": {"PID2": cost + (version == "HTTP/2") * 10}}})
        view = View(client, uri, **{"resource-id": COST})
        documents = {}
        for seq in range(view.start, view.end + 1):
            answer = view.get(0, seq)
            if answer.status_code == 200:
                equal(answer.headers["content-type"], alto.COST_MAP, "media type of a full copy")
                documents[seq] = json.loads(answer.content)
        assert view.first[0] == 0 and view.first[1] in documents, f"the recommended edge {view.first} is not there"
        assert min(documents) <= view.start, f"no full copy of the first version {view.start} (feasibility)"
        copy = Copy(COST)
        copy.value = documents[min(documents)]
        for seq in range(min(documents), view.end):
            view.edge(copy, seq, seq + 1)
            if seq + 1 in documents:
                equal(copy.value, documents[seq + 1], f"version {seq + 1}")
        equal(copy.value, current(COST), "the newest version")
    with check("edges may be kept for ever, refusals not at all"):
        answer = view.get(view.end - 1, view.end)
        control = answer.headers["cache-control"].replace(" ", "").split(",")
        assert {"public", "immutable"} <= set(control) and any(each.startswith("max-age=") and int(each[8:]) >= 86400 for each in control), control
        again = view.get(view.end - 1, view.end, **{"if-none-match": answer.headers["etag"]})
        equal(again.status_code, 304, "status with the tag of the edge")
        refusal = view.get(view.end, view.end + 1000)
        assert "no-store" in refusal.headers.get("cache-control", "") or refusal.status_code == 425, refusal.headers
    with check("a long poll for what is to come is answered by the commit"):
        answers = []
        waiting = httpx.Client(http1=version != "HTTP/2", http2=version == "HTTP/2", timeout=PATIENCE)
        poll = threading.Thread(target=lambda: answers.append((waiting.get(f"{view.uri}/ug/{view.end}/{view.end + 1}"), time.monotonic())))
        poll.start()
        poll.join(0.3)
        assert not answers, f"answered before there was a change: status {answers[0][0].status_code}"
        began = time.monotonic()
        admin.merge(COST, {"cost-map": {"PID1": {"PID2": 71 + (version == "HTTP/2")}}})
        poll.join(PATIENCE)
        [(answer, when)] = answers
        equal(answer.status_code, 200, "status")
        assert when - began < 5, f"the poll was answered {when - began:.1f} s after the change"
        copy.apply(answer.headers["content-type"], json.loads(answer.content))
        equal(copy.value, current(COST), "copy")
        waiting.close()
    with check("the next edge is recommended for what the client has (section 6.3)"):
        post = lambda body: client.post(f"{view.uri}/ug", content=json.dumps(body), headers={"content-type": alto.TIPS_PARAMS})
        answer = post({"resource-id": COST, "tag": copy.tag})
        assert answer.status_code == 200, f"status {answer.status_code}: {answer.text[:200]}"
        fresh = View(client, uri, **{"resource-id": COST, "tag": documents[max(documents)]["meta"]["vtag"]["tag"]})
        equal(fresh.uri, view.uri, "URI of the view of the same resource")
    with check("a POST-mode resource has a view for each input, the same for the same meaning"):
        kind = {"cost-mode": "numerical", "cost-metric": "routingcost"}
        one = View(client, service(known, alto.TIPS, alto.TIPS_PARAMS, "filtered-cost-map"), **{"resource-id": "filtered-cost-map", "input": {"cost-type": kind, "pids": {"srcs": ["PID1"], "dsts": ["PID2", "PID3"]}}})
        two = View(client, uri, **{"resource-id": "filtered-cost-map", "input": {"pids": {"dsts": ["PID3", "PID2"], "srcs": ["PID1", "PID1"]}, "cost-type": kind}})
        other = View(client, uri, **{"resource-id": "filtered-cost-map", "input": {"cost-type": kind, "pids": {"srcs": ["PID2"], "dsts": ["PID3"]}}})
        equal(one.uri, two.uri, "URI of one input in two spellings")
        assert one.uri != other.uri, "two inputs have one view"
        mine = Copy("filtered-cost-map")
        one.edge(mine, *one.first)
        equal(set(mine.value["cost-map"]), {"PID1"}, "rows")
    with check("refusals: 400, 404, 410 or 404, 415, 425 with ALTO error bodies"):
        post = lambda body, media=alto.TIPS_PARAMS: client.post(uri, content=body if isinstance(body, bytes) else json.dumps(body), headers={"content-type": media})
        refused(post(b"[1"), 400, "E_SYNTAX")
        refused(post({}), 400, "E_MISSING_FIELD", "resource-id")
        refused(post({"resource-id": "no-such"}), 400, "E_INVALID_FIELD_VALUE", "resource-id")
        refused(post({"resource-id": COST}, "application/json"), 415)
        refused(client.get(f"{view.uri}x/ug/0/1"), 404)
        for i, j in (("x", "1"), ("01", "2"), ("1", "1"), ("2", "1"), ("-1", "1"), ("1", "")):
            refused(view.get(i, j), 404)
        refused(view.get(view.end, view.end + 100_000), 425)
        refused(view.get(view.end, 2**53 + 5), 425)
        refused(view.get(view.end - 1, view.end, accept=alto.COST_MAP), 415)
        equal(client.post(f"{view.uri}/ug/0/1", content=b"").status_code, 405, "status of POST")
