//! Documents that an operator publishes, checked once and then shared (RFC 7285 sections 11.2.1 and 11.2.3).
//!
//! Invariants: no prefix is in two PIDs (section 11.2.2, the non-overlapping property); a cost map has one cost type
//! (section 11.2.3.4). Whether a cost map fits its network map is known only when they meet: [`super::Guidance::check`].
use super::{NetworkView, Refusal, refusal};
use crate::{PidIx, partition::Partition, prefix_table::PrefixTable};
use alto::{
    Document,
    cost::CostType,
    cost_map::CostTable,
    endpoint::Prefix,
    error::Code,
    id::{Content, Pid, ResourceId, Tag},
    network_map::{AddressGroup, NetworkMap},
};
use std::{net::IpAddr, sync::Arc};

/// A document that may become a resource.
#[derive(Debug, Clone)]
pub enum Published {
    /// A network map, ready to look up.
    Network(Arc<NetworkView>),
    /// A cost map of one cost type.
    Cost {
        /// The network map it names; `None` is the default one.
        network_map: Option<ResourceId>,
        /// What its costs are.
        cost_type: CostType,
        /// As published, before PIDs that left the network map leave it.
        table: Arc<CostTable>,
    },
}

/// Who keeps a network map alive.
#[derive(Debug, Clone)]
pub(super) enum MapSource {
    Partition(Arc<Partition>),
    Document(Arc<NetworkMap>),
}

impl MapSource {
    pub(super) fn map(&self) -> &NetworkMap {
        match self {
            Self::Partition(partition) => &partition.network_map,
            Self::Document(map) => map,
        }
    }
}

impl Published {
    /// Takes a document that is to be resource `id`.
    pub fn take(id: &ResourceId, document: Document) -> Result<Self, Refusal> {
        match document {
            Document::NetworkMap(map) => {
                if let Some(vtag) = &map.vtag
                    && vtag.resource_id != *id
                {
                    return Err(other_id(id, &vtag.resource_id));
                }
                Ok(Self::Network(Arc::new(NetworkView::of_document(id, map)?)))
            }
            Document::CostMap(map) => {
                if let Some(vtag) = &map.vtag
                    && vtag.resource_id != *id
                {
                    return Err(other_id(id, &vtag.resource_id));
                }
                if map.dependent_vtags.len() > 1 {
                    let why = "a cost map depends on one network map (RFC 7285 section 11.2.3.6)";
                    let second = map.dependent_vtags[1].resource_id.as_str();
                    return Err(refusal(id, Code::InvalidFieldValue, "meta/dependent-vtags", second, why));
                }
                let mut tables = map.tables;
                let (Some((cost_type, table)), true) = (tables.pop(), tables.is_empty()) else {
                    let why = "an unfiltered cost map has one cost type (RFC 7285 section 11.2.3.4)";
                    return Err(refusal(id, Code::InvalidFieldValue, "meta/multi-cost-types", "", why));
                };
                let network_map = map.dependent_vtags.into_iter().next().map(|vtag| vtag.resource_id);
                Ok(Self::Cost { network_map, cost_type, table: Arc::new(table) })
            }
            other => {
                let why = format!("{} cannot be published as a resource, only network maps and cost maps", other.media_type());
                Err(refusal(id, Code::InvalidFieldValue, "media-type", other.media_type(), &why))
            }
        }
    }

    /// The media type of the document.
    pub fn media_type(&self) -> &'static str {
        match self {
            Self::Network(_) => alto::media_type::NETWORK_MAP,
            Self::Cost { .. } => alto::media_type::COST_MAP,
        }
    }
}

impl NetworkView {
    /// A computed map.
    pub(super) fn of_partition(id: &ResourceId, partition: &Arc<Partition>) -> Self {
        Self::new(id, MapSource::Partition(partition.clone()), partition.pids.clone(), partition.table.clone())
    }

    /// A published map.
    fn of_document(id: &ResourceId, map: NetworkMap) -> Result<Self, Refusal> {
        let pids: Arc<[Pid]> = map.pids.keys().cloned().collect();
        let mut entries: Vec<(Prefix, PidIx)> =
            Vec::with_capacity(map.pids.values().map(|group| group.ipv4.len() + group.ipv6.len()).sum());
        for (place, group) in map.pids.values().enumerate() {
            let place = PidIx(u32::try_from(place).expect("a document's limits keep its PIDs below 2^32"));
            entries.extend(group.ipv4.iter().chain(&group.ipv6).map(|prefix| (*prefix, place)));
        }
        entries.sort_unstable();
        if let Some(pair) = entries.windows(2).find(|pair| pair[0].0 == pair[1].0 && pair[0].1 != pair[1].1) {
            let (first, second) = (&pids[pair[0].1.0 as usize], &pids[pair[1].1.0 as usize]);
            let family = if pair[0].0.address().is_ipv4() { "ipv4" } else { "ipv6" };
            let why = format!("{} is in both {first} and {second} (RFC 7285 section 11.2.2)", pair[0].0);
            let field = format!("network-map/{second}/{family}");
            return Err(refusal(id, Code::InvalidFieldValue, &field, &pair[0].0.to_string(), &why));
        }
        let table = Arc::new(PrefixTable::build(entries));
        Ok(Self::new(id, MapSource::Document(Arc::new(map)), pids, table))
    }

    fn new(id: &ResourceId, source: MapSource, pids: Arc<[Pid]>, table: Arc<PrefixTable>) -> Self {
        let places = pids.iter().zip(0..).map(|(pid, place)| (pid.clone(), PidIx(place))).collect();
        let tag = network_tag(source.map());
        Self { id: id.clone(), pids, table, tag, source, places }
    }
}

/// Names the PIDs and addresses, in an order that equal maps share. Each list is led by its length, so that no two maps
/// give the same bytes.
fn network_tag(map: &NetworkMap) -> Tag {
    let mut content = Vec::with_capacity(64 * map.pids.len());
    for (pid, group) in &map.pids {
        text(&mut content, pid.as_str());
        let AddressGroup { ipv4, ipv6, other } = group;
        for prefixes in [ipv4, ipv6] {
            content.extend((prefixes.len() as u64).to_le_bytes());
            for prefix in prefixes {
                match prefix.address() {
                    IpAddr::V4(address) => content.extend(address.octets()),
                    IpAddr::V6(address) => content.extend(address.octets()),
                }
                content.push(prefix.length());
            }
        }
        content.extend((other.len() as u64).to_le_bytes());
        for (kind, addresses) in other {
            text(&mut content, kind);
            content.extend((addresses.len() as u64).to_le_bytes());
            for address in addresses {
                text(&mut content, address);
            }
        }
    }
    Tag::of_content(&[b"network-map", &content])
}

/// Names the costs of a table. A row or column without any cost is not on the wire, and so not in the name.
pub(super) fn table_tag(table: &CostTable) -> Tag {
    let width = table.destinations.len();
    let mut columns = vec![false; width];
    let mut rows = vec![false; table.sources.len()];
    for (at, used) in rows.iter_mut().enumerate() {
        for (column, value) in columns.iter_mut().zip(table.row(at)) {
            let there = !value.is_nan();
            *used |= there;
            *column |= there;
        }
    }
    let mut names = Vec::new();
    let mut counts = [0; 2];
    for ((pids, used), count) in [(&table.sources, &rows), (&table.destinations, &columns)].into_iter().zip(&mut counts) {
        *count = used.iter().filter(|used| **used).count();
        names.extend((*count as u64).to_le_bytes());
        for (pid, _) in pids.iter().zip(used).filter(|(_, used)| **used) {
            text(&mut names, pid.as_str());
        }
    }
    // As it comes: the costs are too many to be copied first.
    let mut content = Content::default();
    content.part(b"cost-table".len());
    content.bytes(b"cost-table");
    content.part(names.len() + counts[0] * counts[1] * size_of::<f64>());
    content.bytes(&names);
    let mut bytes = vec![0; counts[1] * size_of::<f64>()];
    for (at, _) in rows.iter().enumerate().filter(|(_, used)| **used) {
        let costs = table.row(at).iter().zip(&columns).filter(|(_, used)| **used);
        for (bytes, (value, _)) in bytes.chunks_exact_mut(size_of::<f64>()).zip(costs) {
            // One NaN and one zero: equal tables have equal bytes.
            let value = if value.is_nan() { f64::NAN } else { value + 0.0 };
            bytes.copy_from_slice(&value.to_bits().to_le_bytes());
        }
        content.bytes(&bytes);
    }
    content.tag()
}

fn text(content: &mut Vec<u8>, text: &str) {
    content.extend((text.len() as u64).to_le_bytes());
    content.extend(text.as_bytes());
}

fn other_id(id: &ResourceId, found: &ResourceId) -> Refusal {
    let why = format!("its meta.vtag names resource {found}");
    refusal(id, Code::InvalidFieldValue, "meta/vtag/resource-id", found.as_str(), &why)
}
