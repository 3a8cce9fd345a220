"""What an ALTO client knows: the directory, prefixes, the order of costs. Written from the RFCs, not from the server."""
import ipaddress

DIRECTORY = "application/alto-directory+json"
NETWORK_MAP = "application/alto-networkmap+json"
NETWORK_MAP_FILTER = "application/alto-networkmapfilter+json"
COST_MAP = "application/alto-costmap+json"
COST_MAP_FILTER = "application/alto-costmapfilter+json"
PROPERTIES = "application/alto-endpointprop+json"
PROPERTIES_PARAMS = "application/alto-endpointpropparams+json"
ENDPOINT_COST = "application/alto-endpointcost+json"
ENDPOINT_COST_PARAMS = "application/alto-endpointcostparams+json"
ERROR = "application/alto-error+json"
EVENT_STREAM = "text/event-stream"
UPDATE_STREAM_PARAMS = "application/alto-updatestreamparams+json"
UPDATE_STREAM_CONTROL = "application/alto-updatestreamcontrol+json"
TIPS = "application/alto-tips+json"
TIPS_PARAMS = "application/alto-tipsparams+json"
TRANSPORT = "application/alto-transport+json"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"

HOLDS = {
    "eq": lambda cost, bound: cost == bound,
    "gt": lambda cost, bound: cost > bound,
    "lt": lambda cost, bound: cost < bound,
    "ge": lambda cost, bound: cost >= bound,
    "le": lambda cost, bound: cost <= bound,
}


class Directory:
    """An information resource directory (RFC 7285 section 9.2) with its questions."""

    def __init__(self, document):
        self.meta, self.entries = document["meta"], document["resources"]
        self.cost_types = self.meta.get("cost-types", {})

    def of(self, media_type, accepts=None, expires=False):
        """With `expires` those that say until when they hold, which a client that does not know of that leaves alone."""
        return {
            name: entry
            for name, entry in self.entries.items()
            if entry["media-type"] == media_type and entry.get("accepts") == accepts and entry.get("capabilities", {}).get("expires", False) == expires
        }

    def uri(self, name):
        return self.entries[name]["uri"]

    def types(self, name):
        """The cost types a resource offers, resolved (section 11.2.3.4)."""
        return [self.cost_types[each] for each in self.entries[name]["capabilities"]["cost-type-names"]]


class Places:
    """Which PID an address belongs to: the longest prefix wins (RFC 7285 section 11.2.2)."""

    def __init__(self, network_map):
        self.tables = {4: {}, 6: {}}
        for pid, group in network_map.items():
            for prefix in group.get("ipv4", []) + group.get("ipv6", []):
                net = ipaddress.ip_network(prefix)
                self.tables[net.version].setdefault(net.prefixlen, {})[int(net.network_address)] = pid

    def pid(self, address):
        version, value = address.version, int(address)
        for length in sorted(self.tables[version], reverse=True):
            shift = address.max_prefixlen - length
            pid = self.tables[version][length].get(value >> shift << shift)
            if pid is not None:
                return pid
        return None


def typed(address):
    return f"ipv{address.version}:{address}"


def sample_addresses(network_map, pids_max=12):
    """A host address of some prefixes of each family in some PIDs."""
    picked = []
    step = max(1, len(network_map) // pids_max)
    for pid in sorted(network_map)[::step]:
        for family in ("ipv4", "ipv6"):
            for prefix in network_map[pid].get(family, [])[:1]:
                net = ipaddress.ip_network(prefix)
                picked.append(net.network_address + (1 if net.num_addresses > 1 else 0))
    return picked


def wire(cost_type):
    return {"cost-mode": cost_type["cost-mode"], "cost-metric": cost_type["cost-metric"]}


def pairs(table):
    return {(src, dst): cost for src, row in table.items() for dst, cost in row.items()}
