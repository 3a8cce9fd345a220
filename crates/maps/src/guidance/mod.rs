//! Everything an ALTO server says at one instant (RFC 7285 sections 9 to 11, RFC 8189).
//!
//! [`Guidance::compose`] joins computed maps and published documents into resources and the services over them; the
//! result is immutable and answers any request, filtered or not. Unit: each metric's own, never rescaled.
//! Invariants: every cost map depends on a network map that is here, at its present tag, and names only PIDs of it; no
//! two cost maps have the same network map and cost type (section 11.2.3.5); a tag is made from the content and from
//! nothing else, so equal content has equal tags on every server and at any time.
mod answer;
mod canonical;
mod compose;
mod diff;
mod directory;
mod explain;
mod limits;
mod published;
mod render;
mod rerender;
mod selection;
mod write;

#[cfg(test)]
mod computed_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;

pub use answer::expiring_part;
pub use compose::{Inputs, is_reserved};
pub use diff::diff;
pub use explain::Explanation;
pub use limits::Limits;
pub use published::Published;

use crate::{PidIx, compute::Computed, expiry::Validity, prefix_table::PrefixTable};
use alto::{
    cost::{CostType, Metric, Mode},
    cost_map::CostTable,
    error::{Code, ErrorBody},
    id::{Pid, ResourceId, Tag, VersionTag},
    media_type,
    network_map::NetworkMap,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

/// Every resource at one instant.
#[derive(Debug, Clone)]
pub struct Guidance {
    /// The default network map first, the others in the order of their ids.
    networks: Vec<Arc<Network>>,
    /// In dependency order: network maps, then cost maps.
    resources: Vec<Resource>,
    services: BTreeMap<ResourceId, Service>,
    computed: Option<Arc<Computed>>,
    /// Resources that are as somebody wrote them, whatever is computed.
    written: BTreeSet<ResourceId>,
}

/// A network map with what is served beside it.
#[derive(Debug, Clone)]
pub struct NetworkView {
    /// Its resource id.
    pub id: ResourceId,
    /// Its PIDs, sorted; a [`PidIx`] is a place here.
    pub pids: Arc<[Pid]>,
    /// From addresses to PIDs.
    pub table: Arc<PrefixTable>,
    /// Made from the content.
    pub tag: Tag,
    source: published::MapSource,
    places: HashMap<Pid, PidIx>,
}

/// A cost map of one cost type.
#[derive(Debug, Clone)]
pub struct CostView {
    /// Its resource id.
    pub id: ResourceId,
    /// The network map it depends on, at its present tag.
    pub network_map: VersionTag,
    /// What the costs are.
    pub cost_type: CostType,
    /// The costs; rows and columns are PIDs of the network map.
    pub table: Arc<CostTable>,
    /// Made from the content.
    pub tag: Tag,
    /// Where `table` came from: the same origin over the same network map makes the same view.
    origin: Arc<CostTable>,
    /// Digest of `table` alone.
    content: Tag,
}

/// A network map, the cost maps over it, and how its PIDs lie in their tables.
#[derive(Debug, Clone)]
struct Network {
    view: Arc<NetworkView>,
    /// Each cost type that can be asked for, in the order of the directory.
    costs: Vec<Arc<CostSource>>,
    /// The cost maps to GET, in the order of their ids.
    resources: Vec<Arc<CostView>>,
}

/// Where the costs of one cost type are read.
#[derive(Debug, Clone)]
struct CostSource {
    cost_type: CostType,
    view: Arc<CostView>,
    /// The ranks of the whole table, when they are a resource of their own.
    whole: Option<Arc<CostView>>,
    /// Ranks of the numerical costs in `view`, made for each answer (RFC 7285 section 6.2: relative to its m*n entries).
    ranked: bool,
    /// Row of each PID of the network map in the table, [`ABSENT`] where it has none.
    rows: Arc<[u32]>,
    /// Column of each PID.
    columns: Arc<[u32]>,
}

/// In an index of rows or columns: this PID is not in the table.
const ABSENT: u32 = u32::MAX;

/// Something that is there to GET.
#[derive(Debug, Clone)]
pub enum Resource {
    /// RFC 7285 section 11.2.1.
    Network(Arc<NetworkView>),
    /// RFC 7285 section 11.2.3.
    Cost(Arc<CostView>),
}

impl Resource {
    /// Its id.
    pub fn id(&self) -> &ResourceId {
        match self {
            Self::Network(view) => &view.id,
            Self::Cost(view) => &view.id,
        }
    }

    /// The tag of its content.
    pub fn tag(&self) -> &Tag {
        match self {
            Self::Network(view) => &view.tag,
            Self::Cost(view) => &view.tag,
        }
    }

    /// What a GET of it answers.
    pub fn media_type(&self) -> &'static str {
        match self {
            Self::Network(_) => media_type::NETWORK_MAP,
            Self::Cost(_) => media_type::COST_MAP,
        }
    }

    /// The network map it depends on.
    pub fn depends_on(&self) -> Option<&ResourceId> {
        match self {
            Self::Network(_) => None,
            Self::Cost(view) => Some(&view.network_map.resource_id),
        }
    }

    /// Whether both are one value in memory: what a commit did not touch is.
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Network(a), Self::Network(b)) => Arc::ptr_eq(a, b),
            (Self::Cost(a), Self::Cost(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

/// What a resource id of the directory stands for.
#[derive(Debug, Clone)]
pub enum Service {
    /// GET of a ready resource.
    Get(Resource),
    /// POST, RFC 7285 section 11.3.1, over this network map.
    FilteredNetworkMap(ResourceId),
    /// POST, section 11.3.2.
    FilteredCostMap(ResourceId),
    /// POST, section 11.4, over every network map.
    EndpointProperties,
    /// POST, section 11.5.
    EndpointCost(ResourceId),
}

impl Service {
    /// Media type of the answer.
    pub fn media_type(&self) -> &'static str {
        match self {
            Self::Get(resource) => resource.media_type(),
            Self::FilteredNetworkMap(_) => media_type::NETWORK_MAP,
            Self::FilteredCostMap(_) => media_type::COST_MAP,
            Self::EndpointProperties => media_type::ENDPOINT_PROPERTIES,
            Self::EndpointCost(_) => media_type::ENDPOINT_COST,
        }
    }

    /// Media type of the request body; `None` is a GET.
    pub fn accepts(&self) -> Option<&'static str> {
        match self {
            Self::Get(_) => None,
            Self::FilteredNetworkMap(_) => Some(media_type::NETWORK_MAP_FILTER),
            Self::FilteredCostMap(_) => Some(media_type::COST_MAP_FILTER),
            Self::EndpointProperties => Some(media_type::ENDPOINT_PROPERTIES_PARAMS),
            Self::EndpointCost(_) => Some(media_type::ENDPOINT_COST_PARAMS),
        }
    }
}

/// An answer ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Bare, no parameters.
    pub media_type: &'static str,
    /// The JSON.
    pub body: Vec<u8>,
}

/// A resource as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// Bare, no parameters.
    pub media_type: &'static str,
    /// The JSON.
    pub body: Vec<u8>,
    /// The tag that stands in its `meta.vtag`.
    pub tag: Tag,
}

/// Why resources do not fit together; the ALTO error says where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{resource}: {why}")]
pub struct Refusal {
    /// The document at fault.
    pub resource: ResourceId,
    /// For people.
    pub why: String,
    /// For programs.
    pub body: ErrorBody,
}

fn refusal(resource: &ResourceId, code: Code, field: &str, value: &str, why: &str) -> Refusal {
    let value = (!value.is_empty()).then(|| value.to_owned());
    let body = ErrorBody { code, syntax_error: None, field: Some(field.to_owned()), value, value_is_json: false };
    Refusal { resource: resource.clone(), why: why.to_owned(), body }
}

impl Guidance {
    /// Everything there is to GET, dependencies first.
    pub fn resources(&self) -> impl Iterator<Item = &Resource> {
        self.resources.iter()
    }

    /// What `id` stands for.
    pub fn service(&self, id: &ResourceId) -> Option<&Service> {
        self.services.get(id)
    }

    /// Every id of the directory and what it stands for, in the order of the ids.
    pub fn services(&self) -> impl Iterator<Item = (&ResourceId, &Service)> {
        self.services.iter()
    }

    /// The network maps, the default one first.
    pub fn network_maps(&self) -> impl Iterator<Item = &Arc<NetworkView>> {
        self.networks.iter().map(|network| &network.view)
    }

    /// The computed maps this was composed of.
    pub fn computed(&self) -> Option<&Arc<Computed>> {
        self.computed.as_ref()
    }

    /// Until when a computed resource holds, by what its sources say.
    pub fn validity(&self, id: &ResourceId) -> Option<&Arc<Validity>> {
        self.computed.as_ref().filter(|_| !self.written.contains(id)).map(|computed| &computed.validity)
    }

    fn network(&self, id: &ResourceId) -> Option<&Arc<Network>> {
        self.networks.iter().find(|network| network.view.id == *id)
    }
}

impl NetworkView {
    /// PIDs and their addresses. The tag is [`Self::tag`]; the `vtag` in here is not to be read.
    pub fn map(&self) -> &NetworkMap {
        self.source.map()
    }

    /// `meta.vtag` of the map.
    pub fn vtag(&self) -> VersionTag {
        VersionTag { resource_id: self.id.clone(), tag: self.tag.clone() }
    }

    /// Where a PID is in [`Self::pids`].
    pub fn place(&self, pid: &str) -> Option<PidIx> {
        self.places.get(pid).copied()
    }

    /// The name of a place.
    pub fn pid(&self, place: PidIx) -> &Pid {
        &self.pids[place.0 as usize]
    }
}

impl CostView {
    /// `meta.vtag` of the map.
    pub fn vtag(&self) -> VersionTag {
        VersionTag { resource_id: self.id.clone(), tag: self.tag.clone() }
    }
}

impl Network {
    /// Where the costs of this metric and mode are.
    fn cost(&self, metric: &Metric, mode: Mode) -> Option<&Arc<CostSource>> {
        self.costs.iter().find(|source| source.cost_type.mode == mode && source.cost_type.metric == *metric)
    }
}
