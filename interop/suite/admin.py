"""The admin listener from outside: put, patch, commit, withdraw; what the public side then serves."""
import json

import httpx

from . import alto
from .report import equal
from .schema import parse

NET, COST = "my-default-network-map", "numerical-routing-cost-map"
# A published map needs a tag (RFC 7285 section 11.2.1.6); the one it is served with comes from its content.
VTAG = {"vtag": {"resource-id": NET, "tag": "mine"}}


def run(report, server):
    client = httpx.Client(timeout=30, headers={"accept-encoding": "identity"})

    def get(resource, **headers):
        directory = alto.Directory(parse(client.get(f"{server.url}/directory").content, alto.DIRECTORY))
        return client.get(directory.uri(resource), headers=headers)

    def admin(method, path, *statuses, **more):
        answer = client.request(method, f"{server.admin}{path}", **more)
        assert answer.status_code in (statuses or (200,)), f"{method} {path}: status {answer.status_code}: {answer.text[:300]}"
        return answer

    with report.check("admin: a folder of the documents of RFC 7285 is served under its file names"):
        for resource, media in ((NET, alto.NETWORK_MAP), (COST, alto.COST_MAP)):
            answer = get(resource)
            equal(answer.status_code, 200, f"status of {resource}")
            parse(answer.content, media)
    with report.check("admin: PUT of a network map takes the cost map along, without the PID that is gone"):
        before = get(COST)
        document = {"meta": VTAG, "network-map": {"PID1": {"ipv4": ["192.0.2.0/24"]}, "PID3": {"ipv4": ["0.0.0.0/0"], "ipv6": ["::/0"]}}}
        done = admin("PUT", f"/v1/resources/{NET}", content=json.dumps(document), headers={"content-type": alto.NETWORK_MAP}).json()
        equal(done["resource-id"], NET, "resource-id")
        answer = get(NET)
        equal(parse(answer.content, alto.NETWORK_MAP)["meta"]["vtag"], {"resource-id": NET, "tag": done["tag"]}, "vtag")
        after = get(COST)
        costs = parse(after.content, alto.COST_MAP)
        equal(costs["meta"]["dependent-vtags"], [{"resource-id": NET, "tag": done["tag"]}], "dependent-vtags")
        assert "PID2" not in {pid for pair in alto.pairs(costs["cost-map"]) for pid in pair}, "PID2 is still in the cost map"
        assert after.headers["etag"] != before.headers["etag"], "the cost map kept its tag"
        equal(get(COST, **{"if-none-match": before.headers["etag"]}).status_code, 200, "status for the old tag")
        equal(get(COST, **{"if-none-match": after.headers["etag"]}).status_code, 304, "status for the new tag")
    with report.check("admin: merge patch and JSON patch"):
        done = admin("PATCH", f"/v1/resources/{COST}", content=b'{"cost-map": {"PID1": {"PID3": 42}}}', headers={"content-type": "application/merge-patch+json"}).json()
        equal(parse(get(COST).content, alto.COST_MAP)["cost-map"]["PID1"]["PID3"], 42, "patched cost")
        patch = [{"op": "test", "path": "/cost-map/PID1/PID3", "value": 42}, {"op": "replace", "path": "/cost-map/PID1/PID3", "value": 43}]
        again = admin("PATCH", f"/v1/resources/{COST}", content=json.dumps(patch), headers={"content-type": "application/json-patch+json"}).json()
        equal(parse(get(COST).content, alto.COST_MAP)["cost-map"]["PID1"]["PID3"], 43, "patched cost")
        assert again["seq"] > done["seq"], f"seq {done['seq']} then {again['seq']}"
        failing = [{"op": "replace", "path": "/cost-map/PID1/PID3", "value": 1}, {"op": "test", "path": "/cost-map/PID1/PID1", "value": 999}]
        answer = client.patch(f"{server.admin}/v1/resources/{COST}", content=json.dumps(failing), headers={"content-type": "application/json-patch+json"})
        assert 400 <= answer.status_code < 500, f"status {answer.status_code} for a patch whose test fails"
        equal(parse(get(COST).content, alto.COST_MAP)["cost-map"]["PID1"]["PID3"], 43, "cost after a refused patch")
    with report.check("admin: a commit is all or nothing"):
        seen = get(COST).headers["etag"], get(NET).headers["etag"]
        network = {"meta": VTAG, "network-map": {"A": {"ipv4": ["10.0.0.0/8"]}, "B": {"ipv4": ["0.0.0.0/0"]}}}
        cost = {"meta": {"dependent-vtags": [{"resource-id": NET, "tag": "x"}], "cost-type": {"cost-mode": "numerical", "cost-metric": "routingcost"}}, "cost-map": {"A": {"B": 7}}}
        half = {"changes": {NET: {"media-type": alto.NETWORK_MAP, "data": network}, COST: {"media-type": alto.COST_MAP, "data": {"cost-map": 1}}}}
        answer = client.post(f"{server.admin}/v1/commits", json=half)
        assert 400 <= answer.status_code < 500, f"status {answer.status_code} for a commit with a broken part"
        equal((get(COST).headers["etag"], get(NET).headers["etag"]), seen, "tags after a refused commit")
        half["changes"][COST]["data"] = cost
        admin("POST", "/v1/commits", json=half)
        equal(parse(get(COST).content, alto.COST_MAP)["cost-map"], {"A": {"B": 7}}, "costs")
        equal(set(parse(get(NET).content, alto.NETWORK_MAP)["network-map"]), {"A", "B"}, "PIDs")
    with report.check("admin: what there is, and its history"):
        listed = {each["resource-id"]: each for each in admin("GET", "/v1/resources").json()["resources"]}
        assert {NET, COST} <= set(listed), f"resources {sorted(listed)}"
        history = admin("GET", f"/v1/resources/{COST}/history").json()
        equal(history["seq"], listed[COST]["seq"], "seq")
        equal(f'"{history["versions"][-1]["tag"]}"', get(COST).headers["etag"], "newest tag")
        equal([each["seq"] for each in history["versions"]], list(range(history["oldest-seq"], history["seq"] + 1)), "seq of the versions")
        status = admin("GET", "/v1/status").json()
        equal((status["ready"], status["troubles"]), (True, []), "readiness and troubles")
        admin("GET", "/v1/resources/no-such-resource/history", 404)
    with report.check("admin: DELETE withdraws, PUT brings back"):
        admin("DELETE", f"/v1/resources/{COST}", 204)
        entries = parse(client.get(f"{server.url}/directory").content, alto.DIRECTORY)["resources"]
        assert COST not in entries, "still in the directory"
        admin("PUT", f"/v1/resources/{COST}", 201, content=json.dumps(cost), headers={"content-type": alto.COST_MAP})
        equal(get(COST).status_code, 200, "status")
    with report.check("admin: health, readiness and Prometheus text"):
        admin("GET", "/healthz")
        admin("GET", "/readyz")
        text = admin("GET", "/metrics").text
        for line in text.splitlines():
            assert not line or line.startswith("#") or len(line.rsplit(" ", 1)) == 2 and float(line.rsplit(" ", 1)[1]) is not None, line
        assert "# TYPE" in text, "no metric has a type"
    client.close()
