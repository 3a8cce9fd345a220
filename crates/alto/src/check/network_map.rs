//! Network maps: names, prefixes, and the two properties of RFC 7285 section 11.2.2, complete and non-overlapping.
use super::{
    findings::{Findings, Pointer},
    tree::{Member, Node},
};
use crate::{
    endpoint::{InvalidPrefix, Prefix},
    id::Pid,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One prefix and its place in the text.
struct Place<'n> {
    prefix: Prefix,
    pid: &'n str,
    family: &'n str,
    index: usize,
    at: usize,
}

pub(super) fn check(root: &Node<'_>, findings: &mut Findings<'_>) {
    const SECTION: &str = "RFC 7285 section 11.2.1.6";
    let top = Pointer::ROOT;
    if let Some(meta) = findings.required(root, &top, "meta", "RFC 7285 section 8.4") {
        let pointer = top.name("meta");
        if let Some(vtag) = findings.required(meta, &pointer, "vtag", SECTION) {
            findings.version_tag(vtag, &pointer.name("vtag"));
        }
    }
    let Some(data) = findings.required(root, &top, "network-map", SECTION) else { return };
    let pointer = top.name("network-map");
    let Some(pids) = findings.object(data, &pointer, SECTION) else { return };
    let mut places = Vec::new();
    for pid in pids {
        check_pid(pid, &pointer, findings, &mut places);
    }
    places.sort_by_key(|place| (place.prefix, place.at));
    check_repeated(&places, &pointer, findings);
    check_nested(&places, &pointer, findings);
    check_complete(&places, data, &pointer, findings);
}

fn check_pid<'n>(pid: &'n Member<'_>, map: &Pointer<'_>, findings: &mut Findings<'_>, places: &mut Vec<Place<'n>>) {
    let pointer = map.name(&pid.name);
    if findings.parsed_name::<Pid>(pid, &pointer, "RFC 7285 section 10.1").is_some() && pid.name.contains('.') {
        let message = format!("{:?} has a '.', which is reserved for extensions", pid.name);
        findings.warning_at(pid.name_at, &pointer, "reserved-character", "RFC 7285 section 10.1", message);
    }
    let Some(types) = findings.object(&pid.node, &pointer, "RFC 7285 section 10.4.5") else { return };
    let mut empty = true;
    for addresses in types {
        let pointer = pointer.name(&addresses.name);
        let family = &*addresses.name;
        if !matches!(family, "ipv4" | "ipv6") {
            let message = format!("address type {family:?} is neither ipv4 nor ipv6; clients ignore it");
            findings.note(addresses.name_at, &pointer, "unknown-address-type", "RFC 7285 section 11.2.1.7", message);
            continue;
        }
        let Some(nodes) = findings.array(&addresses.node, &pointer, "RFC 7285 section 10.4.5") else { continue };
        empty &= nodes.is_empty();
        for (index, node) in nodes.iter().enumerate() {
            let pointer = pointer.index(index);
            if let Some(prefix) = check_prefix(node, &pointer, family, findings) {
                places.push(Place { prefix, pid: &pid.name, family, index, at: node.at });
            }
        }
    }
    if empty {
        let message = format!("{:?} has no prefix: no endpoint is ever in it", pid.name);
        findings.warning_at(pid.name_at, &pointer, "pid-without-prefixes", "RFC 7285 section 11.2.1.7", message);
    }
}

fn check_prefix(node: &Node<'_>, pointer: &Pointer<'_>, family: &str, findings: &mut Findings<'_>) -> Option<Prefix> {
    let (section, standard) = match family {
        "ipv4" => ("RFC 7285 section 10.4.4.1", "RFC 4632 section 3.1"),
        _ => ("RFC 7285 section 10.4.4.2", "RFC 5952 section 7"),
    };
    let text = findings.string(node, pointer, section)?;
    let prefix = match text.parse::<Prefix>() {
        Ok(prefix) => prefix,
        Err(why @ InvalidPrefix::HostBits { .. }) => {
            findings.error(node, pointer, "host-bits", standard, why.to_string());
            let InvalidPrefix::HostBits { prefix, .. } = why else { return None };
            prefix
        }
        Err(_) => {
            findings.parsed::<Prefix>(node, pointer, section);
            return None;
        }
    };
    if prefix.is_ipv4() != (family == "ipv4") {
        findings.error(node, pointer, "wrong-family", section, format!("{prefix} is not of type {family}"));
        return None;
    }
    Some(prefix)
}

/// The same prefix again: in another PID against the non-overlapping property, in the same one for nothing.
fn check_repeated(places: &[Place<'_>], map: &Pointer<'_>, findings: &mut Findings<'_>) {
    const SECTION: &str = "RFC 7285 section 11.2.2";
    for same in places.chunk_by(|a, b| a.prefix == b.prefix) {
        for again in &same[1..] {
            let (pid, first) = (map.name(again.pid), &same[0]);
            let family = pid.name(again.family);
            let pointer = family.index(again.index);
            if again.pid == first.pid {
                findings.warning_at(
                    again.at,
                    &pointer,
                    "repeated-prefix",
                    SECTION,
                    format!("{} is in {} already", again.prefix, again.pid),
                );
            } else {
                let message = format!("{} is in {} too: no longest match tells which", again.prefix, first.pid);
                findings.error_at(again.at, &pointer, "duplicate-prefix", SECTION, message);
            }
        }
    }
}

/// Prefixes inside others. Legal, and how exceptions are written; but also what a slip of a digit looks like. One note for each
/// enclosing prefix; the defaults 0.0.0.0/0 and ::/0, which section 11.2.2 recommends, enclose everything and get none.
fn check_nested(places: &[Place<'_>], map: &Pointer<'_>, findings: &mut Findings<'_>) {
    struct Inside<'p> {
        count: usize,
        example: &'p Place<'p>,
    }
    let mut elsewhere: Vec<Option<Inside<'_>>> = places.iter().map(|_| None).collect();
    let mut same: Vec<Option<Inside<'_>>> = places.iter().map(|_| None).collect();
    let mut enclosing: Vec<usize> = Vec::new();
    for (index, place) in places.iter().enumerate() {
        while enclosing.last().is_some_and(|&outer| !places[outer].prefix.covers(&place.prefix)) {
            enclosing.pop();
        }
        if let Some(&outer) = enclosing.last()
            && places[outer].prefix != place.prefix
        {
            let list = if places[outer].pid == place.pid { &mut same } else { &mut elsewhere };
            list[outer].get_or_insert(Inside { count: 0, example: place }).count += 1;
        }
        enclosing.push(index);
    }
    for (outer, place) in places.iter().enumerate() {
        let pid = map.name(place.pid);
        let family = pid.name(place.family);
        let pointer = family.index(place.index);
        let more = |count: usize| if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
        if let Some(Inside { count, example }) = elsewhere[outer].as_ref().filter(|_| place.prefix.length() > 0) {
            let message =
                format!("{}{} of other PIDs ({}) lie inside {} and win there", example.prefix, more(*count), example.pid, place.prefix);
            findings.note(place.at, &pointer, "overlapping-prefix", "RFC 7285 section 11.2.2", message);
        }
        if let Some(Inside { count, example }) = &same[outer] {
            let message = format!("{}{} lie inside {} of the same PID and change nothing", example.prefix, more(*count), place.prefix);
            findings.note(place.at, &pointer, "redundant-prefix", "RFC 7285 section 11.2.2", message);
        }
    }
}

/// "MUST define a PID for each possible address in the IP address space for all of the address types contained in the map."
fn check_complete(places: &[Place<'_>], data: &Node<'_>, pointer: &Pointer<'_>, findings: &mut Findings<'_>) {
    for (family, ipv4) in [("ipv4", true), ("ipv6", false)] {
        let gaps = gaps(places.iter().map(|place| place.prefix).filter(|prefix| prefix.is_ipv4() == ipv4), ipv4);
        // A family that is not there at all is not contained in the map.
        if gaps.is_empty() || !places.iter().any(|place| place.prefix.is_ipv4() == ipv4) {
            continue;
        }
        let shown: Vec<String> = gaps.iter().take(3).map(|gap| format!("{} to {}", address(gap.0, ipv4), address(gap.1, ipv4))).collect();
        let more = match gaps.len().saturating_sub(3) {
            0 => String::new(),
            1 => " and 1 more range".to_owned(),
            more => format!(" and {more} more ranges"),
        };
        let default = if ipv4 { "0.0.0.0/0" } else { "::/0" };
        let message =
            format!("no PID for {}{more}; {default} in one PID would cover them (a filtered map may leave them out)", shown.join(", "));
        let rule = if family == "ipv4" { "uncovered-ipv4" } else { "uncovered-ipv6" };
        findings.error(data, pointer, rule, "RFC 7285 section 11.2.2", message);
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => v6.into(),
    }
}

fn address(number: u128, ipv4: bool) -> IpAddr {
    if ipv4 { Ipv4Addr::from(u32::try_from(number).expect("from an IPv4 address")).into() } else { Ipv6Addr::from(number).into() }
}

/// Ranges, ends included, that no prefix covers. The prefixes are sorted by address.
fn gaps(prefixes: impl Iterator<Item = Prefix>, ipv4: bool) -> Vec<(u128, u128)> {
    let last = if ipv4 { u128::from(u32::MAX) } else { u128::MAX };
    let mut gaps = Vec::new();
    // The first address not known to be covered; `None` once the last is.
    let mut next = Some(0);
    for prefix in prefixes {
        let Some(at) = next else { break };
        let (start, end) = (number(prefix.address()), number(prefix.last_address()));
        if start > at {
            gaps.push((at, start - 1));
        }
        next = if end >= last { None } else { Some(at.max(end + 1)) };
    }
    if let Some(at) = next {
        gaps.push((at, last));
    }
    gaps
}
