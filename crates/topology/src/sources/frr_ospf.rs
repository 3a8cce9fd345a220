//! OSPFv2 link-state database as FRR prints it: `show ip ospf database router json`, `... network json`, `... external json`,
//! `... nssa-external json`; one file each, any of them in any order.
//!
//! RFC 2328 sections 12.4 (what LSAs say) and 16.1 (how they make a graph). Costs are the interface output costs; a network costs nothing to
//! leave, so the routers of a transit network are linked in pairs. LSAs of age 3600 (MaxAge) are being flushed and say nothing; one that nobody
//! refreshes is when it gets there, so what a prefix rests on, its own LSA and those of its router, says how long it holds.
//! Invariant: every link asks for the two-way check, which is for fusion: a dead router's LSA stays in the database for an hour.
use super::{
    Options,
    error::{Refusal, within},
    json::Node,
    read::Collector,
};
use crate::{
    observation::{Link, PrefixAt, Router},
    validity::Stated,
};
use alto::endpoint::Prefix;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

/// RFC 2328 appendix B.
const AGE_MAX: u32 = 3600;
/// RFC 2328 appendix B, LSInfinity: an external destination at this metric is unreachable.
const EXTERNAL_INFINITY: u32 = 0xff_ffff;

/// What the files of one source have said so far.
#[derive(Default)]
pub(super) struct Database {
    /// By area and address of the designated router's interface: who is attached, at which address and cost.
    transit: BTreeMap<(String, IpAddr), Vec<Attached>>,
    /// From network LSAs: whom the designated router has as neighbours.
    members: HashMap<IpAddr, BTreeSet<String>>,
    /// The best advertisement of each external prefix.
    external: BTreeMap<Prefix, (Advertisement, Lifetime)>,
    seen: BTreeSet<String>,
    ages: Ages,
}

/// How long the LSAs live that are not refreshed (RFC 2328 sections 12.1.1 and 14), in seconds.
#[derive(Default)]
struct Ages {
    /// All of them.
    whole: Lifetime,
    /// Those of each router: with them goes the router.
    routers: HashMap<String, Lifetime>,
    /// Stub networks, and whose LSA says so.
    stubs: Vec<(Prefix, String)>,
}

/// Of several LSAs: until the first of them ends.
#[derive(Clone, Copy, Default)]
enum Lifetime {
    #[default]
    NoLsa,
    Seconds(u32),
    /// One says no age.
    Unknown,
}

impl Lifetime {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::NoLsa, one) | (one, Self::NoLsa) => one,
            (Self::Seconds(a), Self::Seconds(b)) => Self::Seconds(a.min(b)),
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
        }
    }

    fn known(self) -> Option<Duration> {
        match self {
            Self::Seconds(seconds) => Some(Duration::from_secs(seconds.into())),
            Self::NoLsa | Self::Unknown => None,
        }
    }
}

struct Attached {
    router: String,
    address: Option<IpAddr>,
    cost: u32,
}

/// RFC 2328 section 16.4: type 1 before type 2, then the lower metric; the lower router id makes it definite.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Advertisement {
    type_two: bool,
    metric: u32,
    router: String,
}

const NOT_THIS: &str = "give the output of `show ip ospf database router json`, `network json` or `external json`";

impl Database {
    pub(super) fn read(&mut self, document: Node<'_, '_>, options: &Options, into: &mut Collector<'_>) -> Result<(), Refusal> {
        let mut found = false;
        if let Some(areas) = document.get("routerLinkStates") {
            found = true;
            each_lsa(areas, |area, lsa| self.router_lsa(area, lsa, options, into))?;
        }
        if let Some(areas) = document.get("networkLinkStates") {
            found = true;
            each_lsa(areas, |_, lsa| self.network_lsa(lsa))?;
        }
        for name in ["asExternalLinkStates", "nssaExternalLinkStates"] {
            if let Some(areas) = document.get(name) {
                found = true;
                each_lsa(areas, |_, lsa| self.external_lsa(lsa, options, into))?;
            }
        }
        if found {
            return Ok(());
        }
        Err(Refusal::whole("no \"routerLinkStates\", \"networkLinkStates\" or \"asExternalLinkStates\" in it", NOT_THIS))
    }

    /// What only the whole database tells: transit networks and external prefixes.
    pub(super) fn finish(self, options: &Options, into: &mut Collector<'_>) -> Result<(), Refusal> {
        for ((area, network), attached) in &self.transit {
            let member = |router: &str| self.members.get(network).is_none_or(|members| members.contains(router));
            let attached: Vec<&Attached> = attached.iter().filter(|at| member(&at.router)).collect();
            // Bounded before the pairs are made: a crafted network of all routers would be their square.
            let pairs = attached.len().saturating_mul(attached.len().saturating_sub(1));
            within(into.observation.links.len().saturating_add(pairs), options.limits.links_max, "links", "links_max")?;
            if attached.len() == 1 {
                into.odd(format!("area {area}"), format!("transit network {network} has one router"));
            }
            for from in &attached {
                for to in attached.iter().filter(|to| to.router != from.router) {
                    into.link(Link {
                        from: from.router.as_str().into(),
                        to: to.router.as_str().into(),
                        local_address: from.address,
                        remote_address: to.address,
                        igp_cost: Some(from.cost),
                        needs_both_ends: true,
                        ..Link::default()
                    })?;
                }
            }
        }
        let mut lives: BTreeMap<Prefix, Lifetime> = BTreeMap::new();
        let of_router = |router: &str| self.ages.routers.get(router).copied().unwrap_or_default();
        for (prefix, router) in &self.ages.stubs {
            let known = lives.entry(*prefix).or_default();
            *known = known.and(of_router(router));
        }
        for (prefix, (best, lifetime)) in self.external {
            let known = lives.entry(prefix).or_default();
            *known = known.and(lifetime).and(of_router(&best.router));
            into.prefix(PrefixAt { prefix, group: None, router: Some(best.router.into()), asn: None })?;
        }
        let prefixes = lives.into_iter().filter_map(|(prefix, lifetime)| Some((prefix, lifetime.known()?))).collect();
        into.observation.validity = Stated { from: None, whole: self.ages.whole.known(), prefixes };
        Ok(())
    }

    fn router_lsa(&mut self, area: &str, lsa: Node<'_, '_>, options: &Options, into: &mut Collector<'_>) -> Result<(), Refusal> {
        let router = lsa.need("advertisingRouter")?.str()?;
        let Some(lifetime) = lifetime(&lsa)? else {
            into.odd(lsa.pointer(), format!("router LSA of {router} is at MaxAge: skipped"));
            return Ok(());
        };
        self.ages.whole = self.ages.whole.and(lifetime);
        let known = self.ages.routers.entry(router.into()).or_default();
        *known = known.and(lifetime);
        let mut addresses = Vec::new();
        // An LSA without links has no "routerLinks".
        if let Some(links) = lsa.get("routerLinks") {
            for (_, link) in links.members()? {
                self.router_link(area, router, link, options, into, &mut addresses)?;
            }
        }
        // A border router has one LSA for each of its areas.
        if self.seen.insert(router.into()) {
            into.router(Router { id: router.into(), addresses, ..Router::default() })?;
        }
        Ok(())
    }

    fn router_link(
        &mut self,
        area: &str,
        router: &str,
        link: Node<'_, '_>,
        options: &Options,
        into: &mut Collector<'_>,
        addresses: &mut Vec<IpAddr>,
    ) -> Result<(), Refusal> {
        let kind = link.need("linkType")?.str()?;
        let cost = || -> Result<u32, Refusal> { link.need("tos0Metric")?.u32() };
        // An unnumbered interface gives its index in place of an address (RFC 2328 section 12.4.1.1): 0.x.x.x.
        let local = || -> Result<Option<IpAddr>, Refusal> {
            let Some(address) = link.get("routerInterfaceAddress") else { return Ok(None) };
            Ok(Some(address.ip()?).filter(|address| !matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 0)))
        };
        if kind.contains("point-to-point") || kind.starts_with("Virtual") {
            into.link(Link {
                from: router.into(),
                to: link.need("neighborRouterId")?.str()?.into(),
                local_address: local()?,
                igp_cost: Some(cost()?),
                needs_both_ends: true,
                ..Link::default()
            })?;
        } else if kind.contains("Transit") {
            let network = link.need("designatedRouterAddress")?.ip()?;
            let attached = Attached { router: router.into(), address: local()?, cost: cost()? };
            self.transit.entry((area.into(), network)).or_default().push(attached);
        } else if kind.starts_with("Stub") {
            let prefix = prefix_of(link.need("networkAddress")?, link.need("networkMask")?)?;
            if prefix.length() == 32 {
                addresses.push(prefix.address());
            }
            if options.stub_prefixes {
                self.ages.stubs.push((prefix, router.into()));
                into.prefix(PrefixAt { prefix, group: None, router: Some(router.into()), asn: None })?;
            }
        } else {
            into.odd(link.pointer(), format!("link of unknown type {kind:?}: skipped"));
        }
        Ok(())
    }

    fn network_lsa(&mut self, lsa: Node<'_, '_>) -> Result<(), Refusal> {
        let Some(lifetime) = lifetime(&lsa)? else { return Ok(()) };
        self.ages.whole = self.ages.whole.and(lifetime);
        let members = self.members.entry(lsa.need("linkStateId")?.ip()?).or_default();
        // Spelled so in FRR up to 8; both are in the field.
        for name in ["attchedRouters", "attachedRouters"] {
            let Some(list) = lsa.get(name) else { continue };
            for (address, entry) in list.members()? {
                let id = entry.get("attachedRouterId").map(|id| id.str()).transpose()?.unwrap_or(address);
                members.insert(id.into());
            }
        }
        Ok(())
    }

    fn external_lsa(&mut self, lsa: Node<'_, '_>, options: &Options, into: &mut Collector<'_>) -> Result<(), Refusal> {
        let router = lsa.need("advertisingRouter")?.str()?;
        let metric = lsa.need("metric")?.u32()?;
        let Some(lifetime) = lifetime(&lsa)?.filter(|_| metric < EXTERNAL_INFINITY) else {
            into.odd(lsa.pointer(), format!("external LSA of {router} is at MaxAge or at infinity: skipped"));
            return Ok(());
        };
        self.ages.whole = self.ages.whole.and(lifetime);
        let prefix = prefix_of(lsa.need("linkStateId")?, lsa.need("networkMask")?)?;
        let type_two = lsa.get("metricType").map(|kind| kind.str()).transpose()?.is_some_and(|kind| kind.contains('2'));
        let new = Advertisement { type_two, metric, router: router.into() };
        within(self.external.len() + 1, options.limits.prefixes_max, "prefixes", "prefixes_max")?;
        match self.external.entry(prefix) {
            std::collections::btree_map::Entry::Vacant(free) => {
                free.insert((new, lifetime));
            }
            std::collections::btree_map::Entry::Occupied(mut best) => {
                into.odd(lsa.pointer(), format!("{prefix:?} is advertised by {} and {router}: the lower metric wins", best.get().0.router));
                if new < best.get().0 {
                    best.insert((new, lifetime));
                }
            }
        }
        Ok(())
    }
}

/// LSAs lie in an array, or in one array for each area.
fn each_lsa<'v>(lsas: Node<'v, '_>, mut each: impl FnMut(&str, Node<'v, '_>) -> Result<(), Refusal>) -> Result<(), Refusal> {
    if lsas.value.is_array() {
        for lsa in lsas.items()? {
            each("", lsa)?;
        }
        return Ok(());
    }
    let areas = lsas.need("areas")?;
    for (area, list) in areas.members()? {
        for lsa in list.items()? {
            each(area, lsa)?;
        }
    }
    Ok(())
}

/// How long the LSA lives if nobody refreshes it; `None` when it is being flushed.
fn lifetime(lsa: &Node<'_, '_>) -> Result<Option<Lifetime>, Refusal> {
    let Some(age) = lsa.get("lsaAge") else { return Ok(Some(Lifetime::Unknown)) };
    Ok(AGE_MAX.checked_sub(age.u32()?).filter(|left| *left > 0).map(Lifetime::Seconds))
}

/// An IPv4 prefix from an address and a mask: a length or a dotted mask, FRR prints both.
fn prefix_of(address: Node<'_, '_>, mask: Node<'_, '_>) -> Result<Prefix, Refusal> {
    let base = address.ip()?;
    let length = if mask.value.is_string() {
        let dotted = match mask.ip()? {
            IpAddr::V4(v4) => Ipv4Addr::to_bits(v4),
            IpAddr::V6(_) => return Err(mask.wrong("an IPv6 address where an IPv4 mask was expected")),
        };
        if dotted.leading_ones() + dotted.trailing_zeros() < 32 {
            return Err(mask.wrong("a mask with a hole in it"));
        }
        dotted.leading_ones()
    } else {
        mask.u32()?
    };
    let prefix = u8::try_from(length).ok().and_then(|length| Prefix::new(base, length));
    prefix.ok_or_else(|| mask.wrong(format!("{length} is no prefix length of {base}")))
}
