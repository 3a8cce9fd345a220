"""A Python client (httpx, h2) that walks the whole directory: every answer is valid for its schema and agrees with every other."""
import email.utils
import itertools
import json

import httpx

from . import alto
from .report import equal
from .schema import parse


class Walk:
    def __init__(self, report, url, http2):
        self.report, self.url, self.version = report, url, "HTTP/2" if http2 else "HTTP/1.1"
        self.client = httpx.Client(http1=not http2, http2=http2, timeout=30)

    def check(self, name):
        return self.report.check(f"httpx {self.version}: {name}")

    def get(self, uri, media_type):
        accept = {"accept": f"{media_type}, {alto.ERROR}"}
        # The ETag of the identity form is the tag; httpx itself would ask for gzip, and then gets the same content.
        answer = self.client.get(uri, headers={**accept, "accept-encoding": "identity"})
        equal(answer.status_code, 200, f"status of GET {uri}")
        equal(answer.http_version, self.version, "HTTP version")
        equal(answer.headers["content-type"], media_type, "content-type")
        equal(self.client.get(uri, headers=accept).content, answer.content, "content in the coding that httpx asks for")
        return answer, parse(answer.content, media_type)

    def post(self, uri, params_type, body, media_type):
        answer = self.client.post(uri, json=body, headers={"content-type": params_type, "accept": f"{media_type}, {alto.ERROR}"})
        assert answer.status_code == 200, f"POST {uri} {body!r}: status {answer.status_code}: {answer.text[:300]}"
        equal(answer.http_version, self.version, "HTTP version")
        equal(answer.headers["content-type"], media_type, "content-type")
        return parse(answer.content, media_type)

    def run(self):
        self.directory = None
        with self.check("the directory is valid, and GET / finds it too"):
            answer, document = self.get(f"{self.url}/directory", alto.DIRECTORY)
            self.directory = alto.Directory(document)
            equal(self.get(f"{self.url}/", alto.DIRECTORY)[1], document, "GET / as a directory")
        if self.directory is None:
            return
        self.names()
        self.network_maps, self.cost_maps = {}, {}
        for name in self.directory.of(alto.NETWORK_MAP):
            with self.check(f"network map {name}"):
                self.network_map(name)
        if len(self.network_maps) < len(self.directory.of(alto.NETWORK_MAP)):
            return  # without them there is nothing to compare the rest with
        for name in self.directory.of(alto.COST_MAP):
            with self.check(f"cost map {name}"):
                self.cost_map(name)
        self.ordinal_maps()
        for name, entry in self.directory.of(alto.NETWORK_MAP, alto.NETWORK_MAP_FILTER).items():
            with self.check(f"{name}: answers are subsets with the full map's tag"):
                self.filtered_network_map(name, entry)
        for accepts in (None, alto.NETWORK_MAP_FILTER):
            for name, entry in self.directory.of(alto.NETWORK_MAP, accepts, expires=True).items():
                with self.check(f"{name}: the plain map but for its dates, in the future and in the form of RFC 9110 section 5.6.7"):
                    self.expiring_map(entry)
        for name, entry in self.directory.of(alto.COST_MAP, alto.COST_MAP_FILTER).items():
            self.filtered_cost_map(name, entry)
        for name, entry in self.directory.of(alto.PROPERTIES, alto.PROPERTIES_PARAMS).items():
            with self.check(f"{name}: every address has the PID of its longest prefix"):
                self.properties(name, entry)
        for name, entry in self.directory.of(alto.ENDPOINT_COST, alto.ENDPOINT_COST_PARAMS).items():
            self.endpoint_cost(name, entry)
        self.client.close()

    def names(self):
        directory = self.directory
        with self.check("every name in the directory leads somewhere (RFC 7285 section 9.2.2)"):
            default = directory.meta["default-alto-network-map"]
            equal(directory.entries[default]["media-type"], alto.NETWORK_MAP, "media type of the default network map")
            for name, entry in directory.entries.items():
                assert entry["uri"].startswith(self.url), f"URI of {name} is {entry['uri']}, the directory came from {self.url}"
                for used in entry.get("uses", []):
                    assert used in directory.entries, f"{name} uses {used}, which is not in the directory"
                capabilities = entry.get("capabilities", {})
                known = capabilities.get("cost-type-names", [])
                for each in known:
                    assert each in directory.cost_types, f"{name}: cost type {each} is not in meta"
                assert set(capabilities.get("testable-cost-type-names", [])) <= set(known), f"{name}: testable but not offered"
        with self.check("the pid of every network map can be looked up (section 11.4.1.4)"):
            offered = {kind for entry in directory.of(alto.PROPERTIES, alto.PROPERTIES_PARAMS).values() for kind in entry["capabilities"]["prop-types"]}
            missing = {f"{name}.pid" for name in directory.of(alto.NETWORK_MAP)} - offered
            assert not missing, f"no service offers {sorted(missing)}"
        with self.check("what the default server announces is there"):
            for media_type, accepts in [
                (alto.NETWORK_MAP, None),
                (alto.COST_MAP, None),
                (alto.NETWORK_MAP, alto.NETWORK_MAP_FILTER),
                (alto.COST_MAP, alto.COST_MAP_FILTER),
                (alto.PROPERTIES, alto.PROPERTIES_PARAMS),
                (alto.ENDPOINT_COST, alto.ENDPOINT_COST_PARAMS),
            ]:
                assert directory.of(media_type, accepts), f"no resource of {media_type} that accepts {accepts}"
            modes = {wire["cost-mode"] for wire in directory.cost_types.values()}
            equal(modes, {"numerical", "ordinal"}, "cost modes")

    def network_map(self, name):
        answer, document = self.get(self.directory.uri(name), alto.NETWORK_MAP)
        tag = document["meta"]["vtag"]
        equal(tag["resource-id"], name, "resource-id of the vtag")
        equal(answer.headers["etag"], f'"{tag["tag"]}"', "ETag")
        places = alto.Places(document["network-map"])
        self.network_maps[name] = (tag, document["network-map"], places)
        count = sum(len(group.get("ipv4", [])) + len(group.get("ipv6", [])) for group in document["network-map"].values())
        distinct = sum(len(table) for tables in places.tables.values() for table in tables.values())
        equal(distinct, count, "distinct prefixes (section 11.2.2: a prefix belongs to one PID)")

    def dependent(self, document, name):
        [tag] = document["meta"]["dependent-vtags"]
        [used] = self.directory.entries[name]["uses"]
        equal(tag, self.network_maps[used][0], "dependent-vtags")
        return self.network_maps[used][1]

    def cost_map(self, name):
        answer, document = self.get(self.directory.uri(name), alto.COST_MAP)
        network_map = self.dependent(document, name)
        [offered] = self.directory.types(name)
        equal(alto.wire(document["meta"]["cost-type"]), alto.wire(offered), "cost type")
        if "vtag" in document["meta"]:
            equal(answer.headers["etag"], f'"{document["meta"]["vtag"]["tag"]}"', "ETag")
        table = document["cost-map"]
        strangers = {pid for pair in alto.pairs(table) for pid in pair} - set(network_map)
        assert not strangers, f"PIDs that the network map does not have: {sorted(strangers)[:5]}"
        assert table, "a cost map without costs"
        self.cost_maps[offered["cost-metric"], offered["cost-mode"]] = (name, table)

    def ordinal_maps(self):
        for (metric, mode), (name, ranks) in self.cost_maps.items():
            if mode != "ordinal" or (metric, "numerical") not in self.cost_maps:
                continue
            with self.check(f"{name} orders pairs as the numbers do (section 6.1.2)"):
                costs = alto.pairs(self.cost_maps[metric, "numerical"][1])
                ranks = alto.pairs(ranks)
                equal(set(ranks), set(costs), "pairs")
                assert all(rank == int(rank) and rank >= 0 for rank in ranks.values()), "a rank is not a non-negative integer"
                # More bandwidth is better, so its ranks run against its numbers.
                sign = -1 if metric.startswith("bw-") else 1
                by_rank = sorted((rank, sign * costs[pair]) for pair, rank in ranks.items())
                for (rank, cost), (next_rank, next_cost) in itertools.pairwise(by_rank):
                    assert (rank == next_rank) == (cost == next_cost) and cost <= next_cost, f"rank {rank} has {cost}, rank {next_rank} has {next_cost}"

    def filtered_network_map(self, name, entry):
        [used] = entry["uses"]
        tag, full, _ = self.network_maps[used]
        some = sorted(full)[:: max(1, len(full) // 5)]
        for body, pids, families in [
            ({"pids": some}, some, None),
            ({"pids": [*some, *some, "no-such-pid"]}, some, None),
            ({"pids": []}, sorted(full), None),
            ({"pids": some, "address-types": ["ipv6"]}, some, {"ipv6"}),
            ({"pids": some, "address-types": ["ipv4", "mac48"]}, some, {"ipv4"}),
        ]:
            document = self.post(entry["uri"], alto.NETWORK_MAP_FILTER, body, alto.NETWORK_MAP)
            equal(document["meta"]["vtag"], tag, "vtag (section 11.3.1.6)")
            got = document["network-map"]
            assert set(got) <= set(pids), f"PIDs that were not asked for: {set(got) - set(pids)}"
            for pid in pids:
                want = {kind: group for kind, group in full[pid].items() if families is None or kind in families}
                equal({kind: group for kind, group in got.get(pid, {}).items() if group}, {kind: group for kind, group in want.items() if group}, f"addresses of {pid} for {body}")

    def expiring_map(self, entry):
        [used] = entry["uses"]
        tag, full, _ = self.network_maps[used]
        some = sorted(full)[:: max(1, len(full) // 5)] if "accepts" in entry else sorted(full)
        if "accepts" in entry:
            answer = self.client.post(entry["uri"], json={"pids": some}, headers={"content-type": entry["accepts"]})
        else:
            answer = self.client.get(entry["uri"])
        equal((answer.status_code, answer.headers["content-type"]), (200, alto.NETWORK_MAP), "status and content-type")
        document = answer.json()
        pids = document["network-map"]
        dates = [pids.pop("expires")] if isinstance(pids.get("expires"), str) else []
        whole = bool(dates)
        for name, group in pids.items():
            if isinstance(group.get("expires"), str):
                dates.append(group.pop("expires"))
            else:
                assert whole, f"nothing is said of {name}"
        equal(parse(json.dumps(document), alto.NETWORK_MAP), {"meta": {"vtag": tag}, "network-map": {name: full[name] for name in some}}, "the map without its dates")
        for date in set(dates):
            read = email.utils.parsedate_to_datetime(date)
            equal(email.utils.format_datetime(read, usegmt=True), date, "date")
            assert read > email.utils.parsedate_to_datetime(answer.headers["date"]), f"{date} is past"

    def numerical(self, offered):
        return [each for each in offered if (each["cost-metric"], each["cost-mode"]) in self.cost_maps and each["cost-mode"] == "numerical"]

    def full(self, cost_type):
        return alto.pairs(self.cost_maps[cost_type["cost-metric"], cost_type["cost-mode"]][1])

    def filtered_cost_map(self, name, entry):
        numbers = self.numerical(self.directory.types(name))
        capabilities = entry["capabilities"]

        def ask(**body):
            document = self.post(entry["uri"], alto.COST_MAP_FILTER, body, alto.COST_MAP)
            self.dependent(document, name)
            return alto.pairs(document["cost-map"])

        for cost_type in numbers:
            full = self.full(cost_type)
            pids = sorted({pid for pair in full for pid in pair})
            srcs, dsts = pids[::4], pids[1::5]
            kind = alto.wire(cost_type)
            with self.check(f"{name} {kind['cost-metric']}: a filtered answer is that part of the full map"):
                equal(ask(**{"cost-type": kind}), full, "the map without a filter")
                equal(ask(**{"cost-type": kind, "pids": {"srcs": [], "dsts": []}}), full, "the map with an empty filter (section 11.3.2.3)")
                want = {pair: cost for pair, cost in full.items() if pair[0] in srcs and pair[1] in dsts}
                equal(ask(**{"cost-type": kind, "pids": {"srcs": srcs, "dsts": [*dsts, *dsts, "no-such-pid"]}}), want, "rows and columns asked for")
            if not capabilities.get("cost-constraints"):
                continue
            with self.check(f"{name} {kind['cost-metric']}: constraints hold, and nothing that meets them is left out"):
                middle = sorted(full.values())[len(full) // 2]
                for op, holds in alto.HOLDS.items():
                    want = {pair: cost for pair, cost in full.items() if holds(cost, middle)}
                    equal(ask(**{"cost-type": kind, "constraints": [f"{op} {middle}"]}), want, f"pairs with cost {op} {middle}")
                low = sorted(full.values())[len(full) // 4]
                want = {pair: cost for pair, cost in full.items() if low <= cost < middle}
                equal(ask(**{"cost-type": kind, "constraints": [f"ge {low}", f"lt {middle}"]}), want, "two constraints at once")
        ordinals = [each for each in self.directory.types(name) if each["cost-mode"] == "ordinal"]
        for cost_type in ordinals[:1]:
            with self.check(f"{name} {cost_type['cost-metric']}: ordinal answers order as the numbers do"):
                costs = self.full({**cost_type, "cost-mode": "numerical"})
                srcs = sorted({src for src, _ in costs})[:3]
                ranks = ask(**{"cost-type": alto.wire(cost_type), "pids": {"srcs": srcs, "dsts": []}})
                sign = -1 if cost_type["cost-metric"].startswith("bw-") else 1
                for one, two in itertools.combinations(ranks, 2):
                    assert (ranks[one] < ranks[two]) == (sign * costs[one] < sign * costs[two]), f"{one} and {two}"
        if capabilities.get("max-cost-types", 0) >= 2 and len(numbers) >= 2:
            self.multi_cost(name, ask, numbers)

    def multi_cost(self, name, ask, numbers):
        one, two = numbers[:2]
        first, second = self.full(one), self.full(two)
        both = {pair: [first.get(pair), second.get(pair)] for pair in first.keys() | second.keys()}
        kinds = [alto.wire(one), alto.wire(two)]
        with self.check(f"{name}: several cost types at once (RFC 8189 section 4.1)"):
            equal(ask(**{"multi-cost-types": kinds}), both, "arrays of costs")
        with self.check(f"{name}: or-constraints and testable-cost-types (RFC 8189 section 4.1.2)"):
            low, high = sorted(first.values())[len(first) // 5], sorted(second.values())[len(second) * 4 // 5]
            want = {pair: costs for pair, costs in both.items() if (costs[0] is not None and costs[0] <= low) or (costs[1] is not None and costs[1] > high)}
            equal(ask(**{"multi-cost-types": kinds, "or-constraints": [[f"[0] le {low}"], [f"[1] gt {high}"]]}), want, "one or the other")
            want = {pair: cost for pair, cost in first.items() if pair in second and second[pair] > high}
            equal(ask(**{"cost-type": kinds[0], "testable-cost-types": [kinds[1]], "constraints": [f"[0] gt {high}"]}), want, "a test on a metric that is not returned")

    def addresses(self):
        _, network_map, places = self.network_maps[self.directory.meta["default-alto-network-map"]]
        return [(address, places.pid(address)) for address in alto.sample_addresses(network_map)]

    def properties(self, name, entry):
        for kind in entry["capabilities"]["prop-types"]:
            used, _, what = kind.rpartition(".")
            if what != "pid":
                continue
            tag, network_map, places = self.network_maps[used]
            endpoints = alto.sample_addresses(network_map, 40)
            document = self.post(entry["uri"], alto.PROPERTIES_PARAMS, {"properties": [kind], "endpoints": [alto.typed(each) for each in endpoints]}, alto.PROPERTIES)
            assert tag in document["meta"]["dependent-vtags"], "dependent-vtags lack the map that was queried (section 11.4.1.6)"
            want = {alto.typed(each): {kind: places.pid(each)} for each in endpoints}
            equal(document["endpoint-properties"], want, "PIDs")

    def endpoint_cost(self, name, entry):
        addresses = self.addresses()
        half = len(addresses) // 2
        srcs, dsts = addresses[:half], addresses[half:]
        endpoints = {"srcs": [alto.typed(each) for each, _ in srcs], "dsts": [alto.typed(each) for each, _ in dsts]}
        for cost_type in self.numerical(self.directory.types(name)):
            with self.check(f"{name} {cost_type['cost-metric']}: endpoints cost what their PIDs do"):
                full = self.full(cost_type)
                body = {"cost-type": alto.wire(cost_type), "endpoints": endpoints}
                document = self.post(entry["uri"], alto.ENDPOINT_COST_PARAMS, body, alto.ENDPOINT_COST)
                equal(alto.wire(document["meta"]["cost-type"]), alto.wire(cost_type), "cost type (section 11.5.1.6)")
                want = {
                    (alto.typed(src), alto.typed(dst)): full[src_pid, dst_pid]
                    for (src, src_pid), (dst, dst_pid) in itertools.product(srcs, dsts)
                    if (src_pid, dst_pid) in full
                }
                equal(alto.pairs(document["endpoint-cost-map"]), want, "costs")
                if want and entry["capabilities"].get("cost-constraints"):
                    middle = sorted(want.values())[len(want) // 2]
                    document = self.post(entry["uri"], alto.ENDPOINT_COST_PARAMS, {**body, "constraints": [f"le {middle}"]}, alto.ENDPOINT_COST)
                    equal(alto.pairs(document["endpoint-cost-map"]), {pair: cost for pair, cost in want.items() if cost <= middle}, "costs under a constraint")
        with self.check(f"{name}: a list left empty stands for the client itself (section 11.5.1.3)"):
            kind = alto.wire(self.numerical(self.directory.types(name))[0])
            document = self.post(entry["uri"], alto.ENDPOINT_COST_PARAMS, {"cost-type": kind, "endpoints": {"dsts": endpoints["dsts"]}}, alto.ENDPOINT_COST)
            assert set(document["endpoint-cost-map"]) <= {"ipv4:127.0.0.1"}, f"sources {set(document['endpoint-cost-map'])}"
        with self.check(f"{name}: ranks order endpoints as the numbers do"):
            [cost_type] = [each for each in self.directory.types(name) if each["cost-mode"] == "ordinal" and each["cost-metric"] == "routingcost"]
            body = {"cost-type": alto.wire(cost_type), "endpoints": endpoints}
            ranks = alto.pairs(self.post(entry["uri"], alto.ENDPOINT_COST_PARAMS, body, alto.ENDPOINT_COST)["endpoint-cost-map"])
            body["cost-type"] = {**body["cost-type"], "cost-mode": "numerical"}
            costs = alto.pairs(self.post(entry["uri"], alto.ENDPOINT_COST_PARAMS, body, alto.ENDPOINT_COST)["endpoint-cost-map"])
            equal(set(ranks), set(costs), "pairs")
            for one, two in itertools.combinations(ranks, 2):
                assert (ranks[one] < ranks[two]) == (costs[one] < costs[two]), f"{one} and {two}"
