//! Resources as bytes (RFC 7285 sections 11.2.1.6 and 11.2.3.6), and filtered network maps (11.3.1.6), which look alike.
use super::{CostView, Guidance, NetworkView, PidIx, Rendered, Resource, Service, rerender, selection, write, write::Keys};
use alto::{
    endpoint::Prefix,
    id::{Pid, ResourceId},
    media_type,
    network_map::AddressGroup,
};
use std::io::Write;

impl Guidance {
    /// The document of a resource; `None` when `id` is nothing to GET.
    pub fn render(&self, id: &ResourceId) -> Option<Rendered> {
        match self.services.get(id)? {
            Service::Get(resource) => Some(resource.render()),
            _ => None,
        }
    }
}

impl Resource {
    /// Its document. Equal tags have equal bytes.
    pub fn render(&self) -> Rendered {
        match self {
            Self::Network(view) => {
                Rendered { media_type: media_type::NETWORK_MAP, body: network_map(view, None, |_| true), tag: view.tag.clone() }
            }
            Self::Cost(view) => Rendered { media_type: media_type::COST_MAP, body: cost_map(view), tag: view.tag.clone() },
        }
    }

    /// The same, with less work: `body` is `old`, rendered.
    pub fn render_after(&self, old: &Self, body: &[u8]) -> Rendered {
        let (Self::Cost(view), Self::Cost(old)) = (self, old) else { return self.render() };
        match rerender::cost_map(view, old, body) {
            Some(body) => Rendered { media_type: media_type::COST_MAP, body, tag: view.tag.clone() },
            None => self.render(),
        }
    }
}

/// The map, or the part of it that a filter leaves. The tag is that of the whole map either way (section 11.3.1.6).
pub(super) fn network_map(view: &NetworkView, only: Option<&[PidIx]>, wanted: impl Fn(&str) -> bool) -> Vec<u8> {
    let map = view.map();
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"{\"meta\":{\"vtag\":");
    write::version_tag(&mut out, &view.vtag());
    out.extend_from_slice(b"},\"network-map\":{");
    let mut first = true;
    let mut pid = |pid: &Pid, group: &AddressGroup| {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        write::string(&mut out, pid.as_str());
        out.push(b':');
        address_group(&mut out, group, &wanted);
    };
    match only {
        None => map.pids.iter().for_each(|(name, group)| pid(name, group)),
        Some(places) => {
            for place in places {
                let name = view.pid(*place);
                pid(name, &map.pids[name]);
            }
        }
    }
    out.extend_from_slice(b"}}");
    out
}

fn address_group(out: &mut Vec<u8>, group: &AddressGroup, wanted: impl Fn(&str) -> bool) {
    out.push(b'{');
    let open = out.len();
    let key = |out: &mut Vec<u8>, kind: &str| {
        if out.len() > open {
            out.push(b',');
        }
        write::string(out, kind);
        out.extend_from_slice(b":[");
    };
    for (kind, prefixes) in [("ipv4", &group.ipv4), ("ipv6", &group.ipv6)] {
        if prefixes.is_empty() || !wanted(kind) {
            continue;
        }
        key(out, kind);
        for (at, prefix) in prefixes.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            self::prefix(out, prefix);
        }
        out.push(b']');
    }
    for (kind, addresses) in &group.other {
        if addresses.is_empty() || !wanted(kind) {
            continue;
        }
        key(out, kind);
        for (at, address) in addresses.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write::string(out, address);
        }
        out.push(b']');
    }
    out.push(b'}');
}

fn prefix(out: &mut Vec<u8>, prefix: &Prefix) {
    out.push(b'"');
    match prefix.address() {
        std::net::IpAddr::V4(address) => write::ipv4(out, address),
        // `Ipv6Addr` displays as RFC 5952 wants.
        std::net::IpAddr::V6(address) => write!(out, "{address}").expect("writing to memory does not fail"),
    }
    out.push(b'/');
    out.extend_from_slice(itoa::Buffer::new().format(prefix.length()).as_bytes());
    out.push(b'"');
}

/// Up to where the costs begin.
pub(super) fn cost_head(view: &CostView) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"{\"meta\":{\"dependent-vtags\":");
    write::version_tags(&mut out, [&view.network_map]);
    out.extend_from_slice(b",\"cost-type\":");
    write::cost_type(&mut out, &view.cost_type);
    out.extend_from_slice(b",\"vtag\":{\"resource-id\":");
    write::string(&mut out, view.id.as_str());
    out.extend_from_slice(b",\"tag\":");
    write::string(&mut out, view.tag.as_str());
    out.extend_from_slice(b"}},\"cost-map\":");
    out
}

pub(super) fn keys(names: &[Pid]) -> Keys {
    let mut keys = Keys::with_capacity(names.len());
    for name in names {
        keys.push(|out| write::string(out, name.as_str()));
    }
    keys
}

fn cost_map(view: &CostView) -> Vec<u8> {
    let table = &view.table;
    let mut out = cost_head(view);
    let (sources, destinations) = (keys(&table.sources), keys(&table.destinations));
    selection::write_costs(&mut out, &sources, &destinations, &[selection::Costs::whole(table)], false, None);
    out.push(b'}');
    // A version keeps these bytes: no spare room.
    out.shrink_to_fit();
    out
}
