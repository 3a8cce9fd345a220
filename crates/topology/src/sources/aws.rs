//! AWS `ip-ranges.json`, and the series of its revisions: JSON lines, the first `{"snapshot": [[prefix, region] ...]}`, then
//! `{"add": [...], "remove": [...]}`.
//!
//! The group of a prefix is its region. The same prefix stands in the list once for each service, and as a longer and a shorter one; of
//! several regions a real one goes before `GLOBAL`. Invariant: one place a prefix.
use super::{
    Options,
    error::{Error, Refusal, within},
    json::{self, Node},
    read::Collector,
};
use crate::observation::{Observation, PrefixAt, group_name};
use alto::{endpoint::Prefix, id::Pid};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// AWS's word for prefixes of no region (anycast).
const NO_REGION: &str = "GLOBAL";

pub(super) fn read(bytes: &[u8], options: &Options, into: &mut Collector<'_>) -> Result<(), Refusal> {
    if is_series(bytes) {
        let series = Series::parse_lines(bytes, options)?;
        for at in series.observation(options.revision.unwrap_or(usize::MAX)).prefixes {
            into.prefix(at)?;
        }
        return Ok(());
    }
    let document = json::parse(bytes)?;
    let document = Node::root(&document);
    let by = match options.columns.group.as_deref() {
        None | Some("region") => "region",
        Some("network_border_group") => "network_border_group",
        Some("service") => "service",
        Some(other) => {
            let what = format!("the list has no {other:?}");
            return Err(Refusal::whole(what, "set `columns.group` to \"region\", \"network_border_group\" or \"service\""));
        }
    };
    let mut pids = Pids::new(options);
    let mut places: BTreeSet<(Prefix, Pid)> = BTreeSet::new();
    for (list, member) in [("prefixes", "ip_prefix"), ("ipv6_prefixes", "ipv6_prefix")] {
        let list = document.need(list)?;
        within(list.value.as_array().map_or(0, Vec::len), options.limits.prefixes_max, "prefixes", "prefixes_max")?;
        for entry in list.items()? {
            let place = entry.need(by)?;
            let pid = pids.get(place.str()?).ok_or_else(|| place.wrong("an empty name"))?;
            places.insert((prefix(entry.need(member)?)?, pid));
        }
    }
    for (prefix, places) in by_prefix(&places) {
        if places.len() > 1 {
            into.odd(format!("prefix {}/{}", prefix.address(), prefix.length()), format!("in several places: {places:?}"));
        }
        into.prefix(best(prefix, &places))?;
    }
    Ok(())
}

/// Every published revision of a prefix list, for replay.
#[derive(Debug, Clone)]
pub struct Series {
    revisions: Vec<Revision>,
}

/// One change of the list; the first holds all of it.
#[derive(Debug, Clone)]
struct Revision {
    created: Box<str>,
    add: Vec<(Prefix, Pid)>,
    remove: Vec<(Prefix, Pid)>,
}

impl Series {
    /// Parses JSON lines, gzip or plain.
    pub fn parse(file: super::Input<'_>, options: &Options) -> Result<Self, Error> {
        let bytes = super::read::plain(file, &options.limits)?;
        Self::parse_lines(&bytes, options).map_err(|why| why.in_file(file.name))
    }

    /// How many revisions there are, the snapshot included: at least one.
    pub fn revisions(&self) -> usize {
        self.revisions.len()
    }

    /// When a revision was published, as AWS writes it.
    pub fn created(&self, revision: usize) -> Option<&str> {
        self.revisions.get(revision).map(|revision| &*revision.created)
    }

    /// The list as it stood at a revision, the snapshot being 0; past the end, the last.
    pub fn observation(&self, revision: usize) -> Observation {
        let mut places = BTreeSet::new();
        for change in self.revisions.iter().take(revision.saturating_add(1)) {
            for place in &change.remove {
                places.remove(place);
            }
            places.extend(change.add.iter().cloned());
        }
        let prefixes = by_prefix(&places).into_iter().map(|(prefix, places)| best(prefix, &places)).collect();
        Observation { prefixes, ..Observation::default() }
    }

    fn parse_lines(bytes: &[u8], options: &Options) -> Result<Self, Refusal> {
        let mut pids = Pids::new(options);
        let mut revisions = Vec::new();
        let mut total = 0;
        for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
            if line.trim_ascii().is_empty() {
                continue;
            }
            let on_line = |why: Refusal| match why {
                Refusal::Malformed(fault) => Refusal::line(number, format!("{}: {}", fault.place, fault.what), fault.advice),
                other => other,
            };
            let value = json::parse(line).map_err(|why| match why {
                // The line within the line says nothing.
                Refusal::Malformed(fault) => Refusal::line(number, fault.what, fault.advice),
                other => other,
            })?;
            let revision = revision(Node::root(&value), revisions.is_empty(), &mut pids).map_err(on_line)?;
            total += revision.add.len();
            within(total, options.limits.prefixes_max, "prefixes", "prefixes_max")?;
            revisions.push(revision);
        }
        if revisions.is_empty() {
            return Err(Refusal::whole("no revisions in it", "give a series that starts with a \"snapshot\""));
        }
        Ok(Self { revisions })
    }
}

fn revision(value: Node<'_, '_>, first: bool, pids: &mut Pids<'_>) -> Result<Revision, Refusal> {
    let created = value.need("createDate")?.str()?.into();
    if first {
        return Ok(Revision { created, add: pairs(value.need("snapshot")?, pids)?, remove: Vec::new() });
    }
    Ok(Revision { created, add: pairs(value.need("add")?, pids)?, remove: pairs(value.need("remove")?, pids)? })
}

fn pairs(list: Node<'_, '_>, pids: &mut Pids<'_>) -> Result<Vec<(Prefix, Pid)>, Refusal> {
    let mut pairs = Vec::new();
    for pair in list.items()? {
        let mut items = pair.items()?;
        let (Some(first), Some(place), None) = (items.next(), items.next(), items.next()) else {
            return Err(pair.wrong("not a pair of prefix and region"));
        };
        let pid = pids.get(place.str()?).ok_or_else(|| place.wrong("an empty name"))?;
        pairs.push((prefix(first)?, pid));
    }
    Ok(pairs)
}

fn prefix(node: Node<'_, '_>) -> Result<Prefix, Refusal> {
    let text = node.str()?;
    let parsed = text.split_once('/').and_then(|(base, length)| Prefix::new(base.parse().ok()?, length.parse().ok()?));
    parsed.ok_or_else(|| node.wrong(format!("{text:?} is not a prefix")))
}

fn by_prefix(places: &BTreeSet<(Prefix, Pid)>) -> BTreeMap<Prefix, Vec<Pid>> {
    let mut grouped: BTreeMap<Prefix, Vec<Pid>> = BTreeMap::new();
    for (prefix, pid) in places {
        grouped.entry(*prefix).or_default().push(pid.clone());
    }
    grouped
}

fn best(prefix: Prefix, places: &[Pid]) -> PrefixAt {
    let group = places.iter().find(|pid| pid.as_str() != NO_REGION).or(places.first()).cloned();
    PrefixAt { prefix, group, router: None, asn: None }
}

fn is_series(bytes: &[u8]) -> bool {
    let first = &bytes[..memchr::memchr(b'\n', bytes).unwrap_or(bytes.len())];
    memchr::memmem::find(first, b"\"snapshot\"").is_some()
}

/// Region names, each made a PID once.
struct Pids<'o> {
    options: &'o Options,
    known: HashMap<Box<str>, Option<Pid>>,
}

impl<'o> Pids<'o> {
    fn new(options: &'o Options) -> Self {
        Self { options, known: HashMap::new() }
    }

    fn get(&mut self, text: &str) -> Option<Pid> {
        if let Some(pid) = self.known.get(text) {
            return pid.clone();
        }
        let pid = group_name(self.options.names.get(text).map_or(text, |name| name));
        self.known.insert(text.into(), pid.clone());
        pid
    }
}
