"""Every patch that is emitted, applied with PyPI's jsonpatch and json-merge-patch: each must give the full document."""
import json
import time

import httpx

from . import alto
from .follow import PATIENCE, Admin, Copy, Stream, View, directory, service
from .report import equal
from .schema import parse

NET, COST = "my-default-network-map", "numerical-routing-cost-map"
# Steps of the demo that are followed: the whole of its replay.
DEMO_SECONDS = 8


def maps(known):
    return [*known.of(alto.NETWORK_MAP), *known.of(alto.COST_MAP)]


def demo(report, server):
    """All maps of a demo that moves once a second."""
    with report.check("PyPI patches: every update of a run of the demo, over update streams and TIPS"):
        known, client = directory(server.url), httpx.Client(timeout=PATIENCE, headers={"accept-encoding": "identity"})
        names = maps(known)
        uri = service(known, alto.EVENT_STREAM, alto.UPDATE_STREAM_PARAMS, names[0])
        tips = service(known, alto.TIPS, alto.TIPS_PARAMS, names[0])
        copies, seen = {name: Copy(name) for name in names}, {}
        deadline = time.monotonic() + DEMO_SECONDS
        with Stream(uri, {"add": {name: {"resource-id": name} for name in names}}) as stream:
            stream.next()
            while time.monotonic() < deadline or any(copy.value is None for copy in copies.values()):
                media, name, data = stream.next()
                copies[name].apply(media, data)
                seen[name, copies[name].tag] = json.dumps(copies[name].value, sort_keys=True)
        for name in names:
            view = View(client, tips, **{"resource-id": name})
            copy = Copy(name)
            # From the first version on, by every edge there is; full copies on the way are compared.
            first = next(seq for seq in range(view.start, view.end + 1) if view.get(0, seq).status_code == 200)
            view.edge(copy, 0, first)
            for seq in range(first, view.end):
                view.edge(copy, seq, seq + 1)
                text = json.dumps(copy.value, sort_keys=True)
                assert seen.setdefault((name, copy.tag), text) == text, f"{name}: version {seq + 1} differs between SSE and TIPS"
                full = view.get(0, seq + 1)
                if full.status_code == 200:
                    equal(copy.value, json.loads(full.content), f"{name}: version {seq + 1} and its full copy")
            answer = client.get(known.uri(name))
            text = json.dumps(parse(answer.content, known.entries[name]["media-type"]), sort_keys=True)
            assert seen.get((name, answer.headers["etag"].strip('"')), text) == text, f"{name}: what was followed is not what GET has"
        patches = sum(copy.patches[alto.MERGE_PATCH] + copy.patches[alto.JSON_PATCH] for copy in copies.values())
        assert patches > 5, f"the demo made only {patches} patches in {DEMO_SECONDS} s"


def documents():
    """Hand-made documents, each put after the one before: what is easily got wrong by those who make patches."""
    net = lambda groups: {"meta": {"vtag": {"resource-id": NET, "tag": "mine"}}, "network-map": groups}
    cost = lambda table, **more: {"meta": {"dependent-vtags": [{"resource-id": NET, "tag": "x"}], "cost-type": {"cost-mode": "numerical", "cost-metric": "routingcost"}, **more}, "cost-map": table}
    three = {"PID1": {"ipv4": ["192.0.2.0/24", "198.51.100.0/25"]}, "PID2": {"ipv4": ["198.51.100.128/25"]}, "PID3": {"ipv4": ["0.0.0.0/0"], "ipv6": ["::/0"]}}
    full = {src: {dst: 10 * i + j for j, dst in enumerate(three)} for i, src in enumerate(three)}
    many = {f"p{n}": {"ipv4": [f"10.{n}.0.0/16"]} for n in range(60)}
    yield "three PIDs", net(three)
    yield "nine costs", cost(full)
    yield "one cost", cost({**full, "PID1": {**full["PID1"], "PID2": 77}})
    yield "a number with a fraction and an exponent", cost({**full, "PID1": {"PID1": 0.1, "PID2": 1e-7, "PID3": 12345678.9}})
    yield "a row removed", cost({src: row for src, row in full.items() if src != "PID2"})
    yield "a cell removed", cost({"PID1": {"PID1": 1}, "PID3": full["PID3"]})
    yield "an empty map", cost({})
    yield "all back", cost(full)
    yield "a null member in a place for extensions", cost(full, **{"priv-note": None})
    yield "an object with null inside", cost(full, **{"priv-note": {"a": None, "b": [None, {"c": None}]}})
    yield "an array where an object was", cost(full, **{"priv-note": [1, 2, 3]})
    yield "without it", cost(full)
    yield "a PID renamed", net({("Renamed" if pid == "PID2" else pid): group for pid, group in three.items()})
    yield "prefixes moved between PIDs", net({"PID1": {"ipv4": ["198.51.100.0/25"]}, "Renamed": {"ipv4": ["192.0.2.0/24", "198.51.100.128/25"]}, "PID3": three["PID3"]})
    yield "a family gone", net({"PID1": {"ipv4": ["198.51.100.0/25"]}, "Renamed": {"ipv4": ["192.0.2.0/24"]}, "PID3": {"ipv4": ["0.0.0.0/0"]}})
    yield "prefixes in another order", net({"PID1": {"ipv4": ["198.51.100.0/25"]}, "Renamed": {"ipv4": ["203.0.113.0/24", "192.0.2.0/24"]}, "PID3": {"ipv4": ["0.0.0.0/0"]}})
    yield "names with all that a PID name may have", net({"a-b:c@d_e.f": {"ipv4": ["10.0.0.0/8"]}, "PID3": {"ipv4": ["0.0.0.0/0"]}})
    yield "sixty PIDs", net(many)
    yield "their costs", cost({src: {dst: 1 for dst in many} for src in many})
    yield "one column of sixty", cost({src: {dst: 2 if dst == "p7" else 1 for dst in many} for src in many})
    yield "every cost", cost({src: {dst: 3 for dst in many} for src in many})
    yield "one PID fewer", net({pid: group for pid, group in many.items() if pid != "p59"})
    yield "one PID", net({"p0": {"ipv4": ["0.0.0.0/0"]}})


def puts(report, server):
    known, admin = directory(server.url), Admin(server)
    client = httpx.Client(timeout=PATIENCE, headers={"accept-encoding": "identity"})
    uri = service(known, alto.EVENT_STREAM, alto.UPDATE_STREAM_PARAMS, COST)
    tips = service(known, alto.TIPS, alto.TIPS_PARAMS, COST)
    polled = {name: (Copy(name), View(client, tips, **{"resource-id": name})) for name in (NET, COST)}
    for copy, view in polled.values():
        view.edge(copy, 0, view.end)
    with Stream(uri, {"add": {name: {"resource-id": name} for name in (NET, COST)}}) as stream:
        copies = {name: Copy(name) for name in (NET, COST)}
        stream.next()
        for _ in copies:
            media, name, data = stream.next()
            copies[name].apply(media, data)
        for what, document in documents():
            with report.check(f"PyPI patches: PUT of {what}"):
                name = NET if "network-map" in document else COST
                admin.put(name, document)
                for each in (NET, COST):
                    answer = client.get(known.uri(each))
                    want, tag = parse(answer.content, known.entries[each]["media-type"]), answer.headers["etag"].strip('"')
                    while copies[each].tag != tag:
                        media, data_id, data = stream.next()
                        copies[data_id].apply(media, data)
                    equal(copies[each].value, want, f"{each} over the update stream")
                    copy, view = polled[each]
                    view.end = View(client, tips, **{"resource-id": each}).end
                    seq = getattr(copy, "seq", view.first[1])
                    while seq < view.end:
                        view.edge(copy, seq, seq + 1)
                        seq += 1
                    copy.seq = seq
                    equal(copy.value, want, f"{each} over TIPS")
    with report.check("PyPI patches: both languages were used"):
        kinds = {kind for copy in [*copies.values(), *(copy for copy, _ in polled.values())] for kind, count in copy.patches.items() if count}
        assert {alto.MERGE_PATCH, alto.JSON_PATCH} <= kinds, f"only {kinds}"
