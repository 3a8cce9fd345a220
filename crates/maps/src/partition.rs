//! Which addresses form which PID, and behind which routers a PID is (RFC 7285 sections 5.1 and 10.1).
//!
//! Names that are no PID names are made ones: runs of characters other than letters, digits, `-`, `:`, `@` and `_` become one `-`
//! (`.` too, which section 10.1 reserves), and what is longer than 64 characters, or has come to equal another name, ends in a hash of what it was.
//! Inside a PID prefixes are aggregated: one that the PID's own shorter prefix makes needless goes, two halves become their whole.
//!
//! Invariants: no prefix is in two PIDs (section 11.2.1.6); aggregation changes the longest match of no address.
use crate::{Error, Limits, PidIx, prefix_table::PrefixTable};
use alto::{
    endpoint::Prefix,
    id::Pid,
    network_map::{AddressGroup, NetworkMap},
};
use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};
use topology::graph::{Graph, PrefixAt, RouterIx};

/// What puts two prefixes into one PID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PartitionBy {
    /// The group the source named, else the router the prefix is behind, else its origin AS. A PID is at the routers its prefixes are
    /// behind and at the router of its own name, if there are any; without one it has only measured costs.
    #[default]
    Group,
    /// The router it is behind, or that its group is the name of. Other prefixes are in the default PID only.
    Router,
    /// The label of that router before its trailing number (`London209` and `London289` are one city), else of its group.
    City,
    /// The country of that router, else its label as for `City`, else the group.
    Country,
    /// The origin AS, `AS64496`. Prefixes without are in the default PID only.
    Asn,
}

/// How to partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartitionPolicy {
    /// By what.
    pub by: PartitionBy,
    /// Gets `0.0.0.0/0` and `::/0`, so that every address is in a PID.
    pub default_pid: Option<Pid>,
}

/// Prefixes in PIDs, PIDs at routers.
#[derive(Debug, Clone)]
pub struct Partition {
    /// The PIDs; no version tag yet.
    pub network_map: NetworkMap,
    /// Sorted: the keys of `network_map`. A [`PidIx`] is a place here.
    pub pids: Arc<[Pid]>,
    /// The same prefixes, to look up.
    pub table: Arc<PrefixTable>,
    /// Per PID the routers it is behind, sorted; none when the graph has none for it.
    pub routers: Vec<Vec<RouterIx>>,
    /// Prefixes of the graph that the policy has no PID for.
    pub unplaced: usize,
    /// Where each prefix of the graph is, in their order.
    pub placed: Arc<[Option<PidIx>]>,
}

impl Partition {
    /// The place of a PID.
    pub fn find(&self, pid: &Pid) -> Option<PidIx> {
        self.pids.binary_search(pid).ok().map(|at| PidIx(at as u32))
    }

    /// The routers a PID is behind.
    pub fn routers_of(&self, pid: PidIx) -> &[RouterIx] {
        &self.routers[pid.0 as usize]
    }
}

/// Partitions the prefixes of `graph`, with the default [`Limits`].
pub fn partition(graph: &Graph, policy: &PartitionPolicy) -> Result<Partition, Error> {
    partition_after(graph, policy, &Limits::default(), None)
}

/// The same; where `before` had the same prefixes in the same PIDs, its tables are shared.
pub(crate) fn partition_after(
    graph: &Graph,
    policy: &PartitionPolicy,
    limits: &Limits,
    before: Option<&Partition>,
) -> Result<Partition, Error> {
    let mut places = Places::new(graph, policy.by);
    let mut entries: Vec<(Prefix, u32)> = Vec::with_capacity(graph.prefixes.len() + 2);
    // Places are names as the sources have them; which routers prefixes name counts besides the places' own names.
    let mut attached: Vec<(u32, RouterIx)> = Vec::new();
    let mut unplaced = 0;
    let mut placed: Vec<Option<u32>> = Vec::with_capacity(graph.prefixes.len());
    for at in graph.prefixes.iter() {
        let place = places.place(at);
        placed.push(place);
        let Some(place) = place else {
            unplaced += 1;
            continue;
        };
        entries.push((at.prefix, place));
        if let Some(router) = at.router
            && attached.last() != Some(&(place, router))
        {
            attached.push((place, router));
        }
    }
    let default_place = policy.default_pid.as_ref().map(|pid| places.number(pid.as_str().into()));
    let names = pid_names(&places.names);
    let mut pids: Vec<Pid> = Vec::with_capacity(names.len());
    for name in &names {
        pids.push(name.parse().expect("pid_names makes valid PID names"));
    }
    // Only what has prefixes is a PID. From places to PIDs in the order of their names.
    let mut used = vec![false; pids.len()];
    entries.iter().for_each(|&(_, place)| used[place as usize] = true);
    if let Some(place) = default_place {
        used[place as usize] = true;
    }
    let mut order: Vec<u32> = (0..pids.len() as u32).filter(|&place| used[place as usize]).collect();
    order.sort_by(|&a, &b| pids[a as usize].cmp(&pids[b as usize]));
    if order.len() > limits.pids_max {
        return Err(Error::TooManyPids { asked: order.len(), limit: limits.pids_max });
    }
    let mut pid_of = vec![u32::MAX; pids.len()];
    for (at, &place) in order.iter().enumerate() {
        pid_of[place as usize] = at as u32;
    }
    let placed = placed.into_iter().map(|place| place.map(|place| PidIx(pid_of[place as usize]))).collect();
    let mut routers = vec![Vec::new(); order.len()];
    for (place, router) in attached {
        routers[pid_of[place as usize] as usize].push(router);
    }
    for router in (0..graph.routers.len() as u32).map(RouterIx) {
        if let Some(place) = places.of_router(router)
            && let Some(routers) = routers.get_mut(pid_of[place as usize] as usize)
        {
            routers.push(router);
        }
    }
    for routers in &mut routers {
        routers.sort_unstable();
        routers.dedup();
    }
    let mut entries: Vec<(Prefix, PidIx)> = entries.into_iter().map(|(prefix, place)| (prefix, PidIx(pid_of[place as usize]))).collect();
    if let Some(place) = default_place {
        for everything in ["0.0.0.0", "::"].map(|address| address.parse::<IpAddr>().expect("these are addresses")) {
            let everything = Prefix::new(everything, 0).expect("0 is a length");
            // A source that placed all of the address space itself knows better.
            if !entries.iter().any(|(prefix, _)| *prefix == everything) {
                entries.push((everything, PidIx(pid_of[place as usize])));
            }
        }
    }
    let entries = aggregate(entries);
    let mut groups = vec![AddressGroup::default(); order.len()];
    for (prefix, pid) in &entries {
        let group = &mut groups[pid.0 as usize];
        if prefix.address().is_ipv4() { &mut group.ipv4 } else { &mut group.ipv6 }.push(*prefix);
    }
    let pids: Vec<Pid> = order.iter().map(|&place| pids[place as usize].clone()).collect();
    let network_map = NetworkMap { vtag: None, pids: pids.iter().cloned().zip(groups).collect() };
    if let Some(before) = before.filter(|before| before.network_map.pids == network_map.pids) {
        return Ok(Partition { network_map, pids: before.pids.clone(), table: before.table.clone(), routers, unplaced, placed });
    }
    Ok(Partition { network_map, pids: pids.into(), table: Arc::new(PrefixTable::build(entries)), routers, unplaced, placed })
}

/// Numbers for the names of places, as prefixes turn up.
struct Places<'a> {
    graph: &'a Graph,
    by: PartitionBy,
    names: Vec<Cow<'a, str>>,
    numbers: HashMap<Cow<'a, str>, u32>,
    /// Routers by the PID name made of their id.
    routers: HashMap<Cow<'a, str>, RouterIx>,
    /// What the prefix before this one had: sources list neighbours together.
    last: Option<(&'a PrefixAt, Option<u32>)>,
}

impl<'a> Places<'a> {
    fn new(graph: &'a Graph, by: PartitionBy) -> Self {
        // The first of two ids that make one name keeps it.
        let routers = graph.routers.iter().enumerate().rev().map(|(at, router)| (pid_name(&router.id), RouterIx(at as u32))).collect();
        Self { graph, by, names: Vec::new(), numbers: HashMap::new(), routers, last: None }
    }

    fn place(&mut self, at: &'a PrefixAt) -> Option<u32> {
        if let Some((last, place)) = self.last
            && (last.group.as_ref(), last.router, last.asn) == (at.group.as_ref(), at.router, at.asn)
        {
            return place;
        }
        let place = self.name(at).map(|name| self.number(name));
        self.last = Some((at, place));
        place
    }

    fn number(&mut self, name: Cow<'a, str>) -> u32 {
        let next = self.names.len() as u32;
        *self.numbers.entry(name).or_insert_with_key(|name| {
            self.names.push(name.clone());
            next
        })
    }

    fn name(&self, at: &'a PrefixAt) -> Option<Cow<'a, str>> {
        let group = at.group.as_ref().map(Pid::as_str);
        let id = |router: RouterIx| -> &'a str { &self.graph.routers[router.0 as usize].id };
        let asn = || at.asn.map(|asn| Cow::Owned(format!("AS{asn}")));
        let router = at.router.or_else(|| self.routers.get(&*pid_name(group?)).copied());
        let name = match self.by {
            PartitionBy::Group => group.or_else(|| at.router.map(id)).map(Cow::Borrowed).or_else(asn),
            PartitionBy::Router => router.map(|router| id(router).into()),
            PartitionBy::City => router.map(id).or(group).map(|label| city(label).into()),
            PartitionBy::Country => router.map(|router| self.country(router)).or(group).map(Cow::Borrowed),
            PartitionBy::Asn => asn(),
        };
        name.filter(|name| !name.is_empty())
    }

    fn country(&self, router: RouterIx) -> &'a str {
        let router = &self.graph.routers[router.0 as usize];
        router.country.as_deref().unwrap_or_else(|| city(&router.id))
    }

    /// The place that a router itself belongs to.
    fn of_router(&self, router: RouterIx) -> Option<u32> {
        let id = &*self.graph.routers[router.0 as usize].id;
        match self.by {
            PartitionBy::Group | PartitionBy::Router => {
                // A group is named as a PID already, a router perhaps not.
                let name = pid_name(id);
                self.numbers.get(id).or_else(|| self.numbers.get(&*name).filter(|_| self.routers.get(&*name) == Some(&router)))
            }
            PartitionBy::City => self.numbers.get(city(id)),
            PartitionBy::Country => self.numbers.get(self.country(router)),
            PartitionBy::Asn => None,
        }
        .copied()
    }
}

/// A label without its trailing number and what joins it on; all of it when nothing else is there.
fn city(label: &str) -> &str {
    let city = label.trim_end_matches(|c: char| c.is_ascii_digit());
    let city = if city.len() < label.len() { city.trim_end_matches(['-', '_', '.', ' ', '#', ',']) } else { city };
    if city.is_empty() { label } else { city }
}

/// Longest PID name (RFC 7285 section 10.1).
const PID_NAME_MAX: usize = 64;

/// `name` as a PID name; names that differ may become alike.
pub(crate) fn pid_name(name: &str) -> Cow<'_, str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-:@_".contains(c);
    let mut valid = Cow::Borrowed(name);
    if name.contains(|c| !fits(c)) {
        let mut made = String::with_capacity(name.len());
        for c in name.chars() {
            // Of several in a row one is left: `London,+UK` is `London-UK`.
            match fits(c) {
                true => made.push(c),
                false if made.ends_with('-') => {}
                false => made.push('-'),
            }
        }
        valid = made.into();
    }
    match valid.len() {
        0 => "-".into(),
        1..=PID_NAME_MAX => valid,
        _ => hashed(&valid, name).into(),
    }
}

/// A PID name for each of these (all different), all different. A name that is a PID name keeps it.
fn pid_names(names: &[Cow<'_, str>]) -> Vec<String> {
    let made: Vec<Cow<'_, str>> = names.iter().map(|name| pid_name(name)).collect();
    let mut count: HashMap<&str, u32> = HashMap::new();
    made.iter().for_each(|name| *count.entry(name).or_default() += 1);
    let mut taken: HashSet<String> =
        names.iter().zip(&made).filter(|(name, made)| name == made).map(|(name, _)| name.clone().into_owned()).collect();
    let mut unique = |(name, made): (&Cow<'_, str>, &Cow<'_, str>)| {
        if name == made {
            return made.clone().into_owned();
        }
        let mut pid = if count[&**made] == 1 { made.clone().into_owned() } else { hashed(made, name) };
        while !taken.insert(pid.clone()) {
            pid = hashed(made, &pid);
        }
        pid
    };
    names.iter().zip(&made).map(&mut unique).collect()
}

/// The start of `valid` with a hash of the `whole` name behind it.
fn hashed(valid: &str, whole: &str) -> String {
    // FNV-1a: stable over builds and machines, which std's hashers do not promise.
    let hash = whole.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let kept = &valid[..valid.len().min(PID_NAME_MAX - 17)];
    format!("{kept}-{hash:016x}")
}

/// First address, left-aligned, and PID.
type Block = (u128, PidIx);

/// Fewer prefixes, halves joined, that lead every address to the same PID. Of equal prefixes the first counts.
fn aggregate(entries: Vec<(Prefix, PidIx)>) -> Vec<(Prefix, PidIx)> {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for (prefix, pid) in entries {
        match prefix.address() {
            IpAddr::V4(address) => v4.push((u128::from(u32::from(address)) << 96, prefix.length(), pid)),
            IpAddr::V6(address) => v6.push((u128::from(address), prefix.length(), pid)),
        }
    }
    let to_v4 = |(start, length, pid): (u128, u8, PidIx)| (Prefix::new(IpAddr::V4(((start >> 96) as u32).into()), length), pid);
    let to_v6 = |(start, length, pid): (u128, u8, PidIx)| (Prefix::new(IpAddr::V6(start.into()), length), pid);
    let blocks = aggregate_family(v4).into_iter().map(to_v4).chain(aggregate_family(v6).into_iter().map(to_v6));
    blocks.map(|(prefix, pid)| (prefix.expect("a length of its own family"), pid)).collect()
}

fn aggregate_family(mut entries: Vec<(u128, u8, PidIx)>) -> Vec<(u128, u8, PidIx)> {
    entries.sort_by_key(|&(start, length, _)| (start, length));
    entries.dedup_by_key(|&mut (start, length, _)| (start, length));
    let mut by_length: Vec<Vec<Block>> = vec![Vec::new(); 129];
    // The prefixes around the present one, innermost last.
    let mut around: Vec<(u128, u8, PidIx)> = Vec::new();
    for (start, length, pid) in entries {
        while around.pop_if(|&mut (outer, outer_length, _)| !contains(outer, outer_length, start)).is_some() {}
        let needless = around.last().is_some_and(|&(_, _, outer)| outer == pid);
        around.push((start, length, pid));
        if !needless {
            by_length[length as usize].push((start, pid));
        }
    }
    // Longest first, so that joined halves can be halves again.
    for length in (1..=128usize).rev() {
        let (shorter, longer) = by_length.split_at_mut(length);
        let (wholes, halves) = (&mut shorter[length - 1], &mut longer[0]);
        let given = wholes.len();
        let half_bit = 1u128 << (128 - length);
        let mut kept = Vec::with_capacity(halves.len());
        let mut rest = halves.iter().copied().peekable();
        while let Some((start, pid)) = rest.next() {
            let joins = start & half_bit == 0 && rest.peek() == Some(&(start | half_bit, pid));
            // A whole that another PID has stays with it, though no address leads there.
            if joins && wholes[..given].binary_search_by_key(&start, |&(start, _)| start).is_err() {
                rest.next();
                wholes.push((start, pid));
            } else {
                kept.push((start, pid));
            }
        }
        *halves = kept;
        if wholes.len() > given {
            wholes.sort_unstable_by_key(|&(start, _)| start);
        }
    }
    let mut all: Vec<_> = by_length
        .into_iter()
        .enumerate()
        .flat_map(|(length, blocks)| blocks.into_iter().map(move |(start, pid)| (start, length as u8, pid)))
        .collect();
    all.sort_unstable_by_key(|&(start, length, _)| (start, length));
    all
}

fn contains(outer: u128, outer_length: u8, address: u128) -> bool {
    outer_length == 0 || (outer ^ address) >> (128 - outer_length) == 0
}

#[cfg(test)]
#[path = "partition_tests.rs"]
mod tests;
