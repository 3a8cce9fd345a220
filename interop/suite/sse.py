"""Update streams (RFC 8895) with a PyPI SSE client: every event applied, stream control, and what a wrong request gets."""
import json

import httpx

from . import alto
from .follow import PATIENCE, Admin, Copy, Stream, directory, refused, service
from .report import equal
from .schema import parse

NET, COST = "my-default-network-map", "numerical-routing-cost-map"


def run(report, server):
    known, admin = directory(server.url), Admin(server)
    uri = service(known, alto.EVENT_STREAM, alto.UPDATE_STREAM_PARAMS, COST)
    client = httpx.Client(timeout=PATIENCE, headers={"accept-encoding": "identity"})

    def current(name):
        return parse(client.get(known.uri(name)).content, known.entries[name]["media-type"])

    def started(stream, *ids):
        media, _, control = stream.next()
        equal(media, alto.UPDATE_STREAM_CONTROL, "first event (section 5.3)")
        assert set(control.get("started", ids)) >= set(ids), f"started is {control.get('started')}"
        return control["control-uri"]

    for http2 in (False, True):
        with report.check(f"httpx-sse HTTP/{'2' if http2 else '1.1'}: a full copy, then patches, each giving the document that GET has"):
            with Stream(uri, {"add": {"1": {"resource-id": COST}}}, http2=http2) as stream:
                started(stream)
                copy = Copy(COST)
                media, data_id, data = stream.next()
                equal((media, data_id), (alto.COST_MAP, "1"), "event")
                copy.apply(media, data)
                equal(copy.value, current(COST), "copy")
                for cost in (31, 32, 33):
                    tag = admin.merge(COST, {"cost-map": {"PID1": {"PID2": cost + http2 * 10}}})["tag"]
                    media, data_id, data = stream.next()
                    copy.apply(media, data)
                    equal((data_id, copy.tag), ("1", tag), "data id and tag")
                    equal(copy.value, current(COST), "copy")
                equal(copy.patches["copy"], 1, "full copies")
    with report.check("httpx-sse: a network map comes before the cost map that depends on it (section 6.7.1)"):
        with Stream(uri, {"add": {"net": {"resource-id": NET}, "cost": {"resource-id": COST}}}) as stream:
            started(stream)
            copies = {"net": Copy(NET), "cost": Copy(COST)}

            def take_both(what):
                """One event for each, the network map first."""
                events = [stream.next() for _ in copies]
                for media, data_id, data in events:
                    copies[data_id].apply(media, data)
                equal([data_id for _, data_id, _ in events], ["net", "cost"], f"order of the {what}")

            take_both("copies")
            document = current(NET)
            document["network-map"]["PID1"]["ipv4"] = ["192.0.2.0/24", "203.0.113.0/24"]
            admin.put(NET, document)
            take_both("changes")
            equal(copies["cost"].value["meta"]["dependent-vtags"], [copies["net"].value["meta"]["vtag"]], "dependent-vtags")
            equal((copies["net"].value, copies["cost"].value), (current(NET), current(COST)), "copies")
    with report.check("httpx-sse: a client that has the newest version gets changes only; without incremental changes, copies only"):
        with Stream(uri, {"add": {"1": {"resource-id": COST, "tag": current(COST)["meta"]["vtag"]["tag"]}, "2": {"resource-id": COST, "incremental-changes": False}}}) as stream:
            started(stream)
            media, data_id, data = stream.next()
            equal((media, data_id), (alto.COST_MAP, "2"), "first event")
            admin.merge(COST, {"cost-map": {"PID1": {"PID2": 44}}})
            seen = dict(stream.next()[1::-1] for _ in range(2))
            equal(set(seen), {"1", "2"}, "substreams")
            assert seen["1"] in (alto.MERGE_PATCH, alto.JSON_PATCH), f"substream 1 got {seen['1']}"
            equal(seen["2"], alto.COST_MAP, "media type of substream 2")
    with report.check("httpx-sse: stream control adds and removes; the stream ends with its last substream (section 6.7)"):
        with Stream(uri, {"add": {"1": {"resource-id": COST}}}) as stream:
            control = started(stream)
            stream.next()
            headers = {"content-type": alto.UPDATE_STREAM_PARAMS}
            added = client.post(control, content=json.dumps({"add": {"2": {"resource-id": NET}}}), headers=headers)
            equal(added.status_code, 204, "status")
            media, _, data = stream.next()
            equal((media, data.get("started")), (alto.UPDATE_STREAM_CONTROL, ["2"]), "event")
            equal(stream.next()[:2], (alto.NETWORK_MAP, "2"), "event")
            refused(client.post(control, content=json.dumps({"remove": ["no-such"]}), headers=headers), 400, "E_INVALID_FIELD_VALUE")
            equal(client.post(control, content=json.dumps({"remove": ["1"]}), headers=headers).status_code, 204, "status")
            media, _, data = stream.next()
            equal((media, data.get("stopped")), (alto.UPDATE_STREAM_CONTROL, ["1"]), "event")
            equal(client.post(control, content=json.dumps({"remove": []}), headers=headers).status_code, 204, "status")
            equal(stream.ended(), "the stream ended", "end")
            equal(client.post(control, content=json.dumps({"remove": []}), headers=headers).status_code, 404, "status once the stream has ended")
    with report.check("httpx-sse: a POST-mode resource is followed with its input (section 6.5)"):
        uri_cost = service(known, alto.EVENT_STREAM, alto.UPDATE_STREAM_PARAMS, "filtered-cost-map")
        kind = {"cost-mode": "numerical", "cost-metric": "routingcost"}
        given = {"cost-type": kind, "pids": {"srcs": ["PID1"], "dsts": ["PID2"]}}
        with Stream(uri_cost, {"add": {"f": {"resource-id": "filtered-cost-map", "input": given}}}) as stream:
            started(stream)
            copy = Copy("filtered-cost-map")
            media, _, data = stream.next()
            copy.apply(media, data)
            admin.merge(COST, {"cost-map": {"PID2": {"PID1": 6}}})
            admin.merge(COST, {"cost-map": {"PID1": {"PID2": 45}}})
            while copy.value["cost-map"] != {"PID1": {"PID2": 45}}:
                media, _, data = stream.next()
                copy.apply(media, data)
            answer = client.post(known.uri("filtered-cost-map"), content=json.dumps(given), headers={"content-type": alto.COST_MAP_FILTER})
            equal(copy.value["cost-map"], answer.json()["cost-map"], "copy")
    with report.check("httpx-sse: wrong requests get the errors of section 6.6, and those of the resource itself for its input"):
        post = lambda body, media=alto.UPDATE_STREAM_PARAMS: client.post(uri, content=body if isinstance(body, bytes) else json.dumps(body), headers={"content-type": media})
        refused(post(b"{"), 400, "E_SYNTAX")
        refused(post({}), 400, "E_MISSING_FIELD")
        refused(post({"add": {"1": {}}}), 400, "E_MISSING_FIELD")
        refused(post({"add": {"1": {"resource-id": "no-such-resource"}}}), 400, "E_INVALID_FIELD_VALUE")
        refused(post({"add": {"1": {"resource-id": 7}}}), 400, "E_INVALID_FIELD_TYPE")
        wrong = {"cost-type": {"cost-mode": "numerical", "cost-metric": "no-such-metric"}}
        own = client.post(known.uri("filtered-cost-map"), content=json.dumps(wrong), headers={"content-type": alto.COST_MAP_FILTER}).json()["meta"]
        here = refused(post({"add": {"1": {"resource-id": "filtered-cost-map", "input": wrong}}}), 400).json()["meta"]
        equal((here["code"], here.get("value")), (own["code"], own.get("value")), "code and value")
        refused(post({"add": {"1": {"resource-id": COST}}}, "text/plain"), 415)
        refused(client.post(f"{uri.rsplit('/', 1)[0]}/sse/control/0123456789abcdef0123456789abcdef", content=b"{}", headers={"content-type": alto.UPDATE_STREAM_PARAMS}), 404)
        equal(client.get(uri).status_code, 405, "status of GET")
