//! From computed maps and published documents to one [`Guidance`].
//!
//! A document wins over the computed resource of the same id, and over the computed cost map of the same network map and
//! cost type (RFC 7285 section 11.2.3.5 allows one). What did not change is shared with the guidance before: equal
//! content is found by identity first, by digest second, and only new content is ranked, shrunk or indexed.
use super::{
    ABSENT, CostSource, CostView, Guidance, Network, NetworkView, Published, Refusal, Resource, Service, published::MapSource,
    published::table_tag, refusal,
};
use crate::{compute::Computed, costs, partition::Partition};
use alto::{
    cost::{CostType, Metric, Mode},
    cost_map::CostTable,
    error::Code,
    id::{Pid, ResourceId, Tag},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What guidance is made of.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// The newest computed maps.
    pub computed: Option<Arc<Computed>>,
    /// What operators published, by resource id.
    pub documents: BTreeMap<ResourceId, Arc<Published>>,
    /// Computed maps as they were served before a restart, until there are computed maps again. Documents go before them.
    pub restored: BTreeMap<ResourceId, Arc<Published>>,
    /// Computed resources that an operator withdrew.
    pub withdrawn: BTreeSet<ResourceId>,
    /// The network map that was the default one before. It stays that while it is there, since the ids of the services are of the
    /// default map, and "IDs SHOULD NOT be reused for different resources over time" (RFC 7285 section 9.1.1).
    pub default_network_map: Option<ResourceId>,
}

impl Guidance {
    /// Joins the inputs. `previous` only saves work and memory: the result is the same without it.
    pub fn compose(inputs: &Inputs, previous: Option<&Self>) -> Result<Self, Refusal> {
        let composer = Composer { inputs, previous };
        let networks = composer.networks();
        let default = composer.default_network(&networks);
        let mut views: BTreeMap<ResourceId, Arc<CostView>> = BTreeMap::new();
        for (id, view) in composer.published_costs(&networks, default.as_ref())? {
            views.insert(id, view);
        }
        composer.computed_costs(&networks, &mut views);

        let mut order: Vec<Arc<NetworkView>> = networks.values().cloned().collect();
        order.sort_by_key(|view| (Some(&view.id) != default.as_ref(), view.id.clone()));
        let networks: Vec<Arc<Network>> = order.iter().map(|view| composer.network(view, &views)).collect();
        let mut resources: Vec<Resource> = order.into_iter().map(Resource::Network).collect();
        resources.extend(views.into_values().map(Resource::Cost));
        let services = services(&networks, &resources)?;
        let written = inputs.documents.keys().chain(inputs.restored.keys()).cloned().collect();
        Ok(Self { networks, resources, services, computed: inputs.computed.clone(), written })
    }

    /// Whether a document, just published, fits what it is published into: one with the name of a service is refused, whether there
    /// is that service yet or not; a cost map whose PIDs the network map does not have is refused, where one that was there before only loses them.
    pub fn check(&self, id: &ResourceId, document: &Published) -> Result<(), Refusal> {
        if is_reserved(id) {
            return Err(name_of_a_service(id));
        }
        let Published::Cost { table, .. } = document else { return Ok(()) };
        let Some(Service::Get(Resource::Cost(view))) = self.services.get(id) else { return Ok(()) };
        let Some(network) = self.network(&view.network_map.resource_id) else { return Ok(()) };
        let unknown = table.sources.iter().chain(table.destinations.iter()).find(|pid| network.view.place(pid.as_str()).is_none());
        match unknown {
            None => Ok(()),
            Some(pid) => {
                let why = format!("network map {} has no PID {pid}", network.view.id);
                Err(refusal(id, Code::InvalidFieldValue, "cost-map", pid.as_str(), &why))
            }
        }
    }
    /// A document that named no network map, naming the one it was composed with: it stays with that, whichever map is the
    /// default later. `None` when there is nothing to settle.
    pub fn settle(&self, id: &ResourceId, document: &Published) -> Option<Published> {
        let Published::Cost { network_map: None, cost_type, table } = document else { return None };
        let Some(Service::Get(Resource::Cost(view))) = self.services.get(id) else { return None };
        let network_map = Some(view.network_map.resource_id.clone());
        Some(Published::Cost { network_map, cost_type: cost_type.clone(), table: table.clone() })
    }
}

struct Composer<'a> {
    inputs: &'a Inputs,
    previous: Option<&'a Guidance>,
}

impl Composer<'_> {
    fn networks(&self) -> BTreeMap<ResourceId, Arc<NetworkView>> {
        let mut networks = BTreeMap::new();
        for (id, document) in &self.inputs.documents {
            if let Published::Network(view) = &**document {
                let before = self.previous_network(id).filter(|before| before.tag == view.tag);
                networks.insert(id.clone(), before.unwrap_or(view).clone());
            }
        }
        if let Some(computed) = &self.inputs.computed {
            let id = &computed.policy.network_map_id;
            if self.free(id) {
                networks.insert(id.clone(), self.computed_network(id, &computed.partition));
            }
        }
        for (id, document) in self.restored() {
            if let Published::Network(view) = &**document {
                let before = self.previous_network(id).filter(|before| before.tag == view.tag);
                networks.entry(id.clone()).or_insert_with(|| before.unwrap_or(view).clone());
            }
        }
        networks
    }

    fn restored(&self) -> impl Iterator<Item = (&ResourceId, &Arc<Published>)> {
        self.inputs.restored.iter().filter(|(id, _)| self.free(id))
    }

    fn previous_network(&self, id: &ResourceId) -> Option<&Arc<NetworkView>> {
        Some(&self.previous?.network(id)?.view)
    }

    fn computed_network(&self, id: &ResourceId, partition: &Arc<Partition>) -> Arc<NetworkView> {
        let before = self.previous_network(id);
        if let Some(before) = before
            && matches!(&before.source, MapSource::Partition(old) if Arc::ptr_eq(old, partition))
        {
            return before.clone();
        }
        let view = NetworkView::of_partition(id, partition);
        match before {
            // A later partition of equal content: keep the one that readers hold. One that was restored gives way.
            Some(before) if before.tag == view.tag && matches!(before.source, MapSource::Partition(_)) => before.clone(),
            _ => Arc::new(view),
        }
    }

    /// RFC 7285 section 9.2.2: a root directory names one. The computed map, else the one that is it already, else the first.
    fn default_network(&self, networks: &BTreeMap<ResourceId, Arc<NetworkView>>) -> Option<ResourceId> {
        let computed = self.inputs.computed.as_ref().map(|computed| computed.policy.network_map_id.as_str());
        let before = self.inputs.default_network_map.as_ref().map(ResourceId::as_str);
        let named = computed.into_iter().chain(before).chain(["network-map"]).find_map(|id| networks.get_key_value(id));
        named.or_else(|| networks.first_key_value()).map(|(id, _)| id.clone())
    }

    fn published_costs(
        &self,
        networks: &BTreeMap<ResourceId, Arc<NetworkView>>,
        default: Option<&ResourceId>,
    ) -> Result<Vec<(ResourceId, Arc<CostView>)>, Refusal> {
        let mut views: Vec<(ResourceId, Arc<CostView>)> = Vec::new();
        for (id, document) in &self.inputs.documents {
            let Published::Cost { network_map, cost_type, table } = &**document else { continue };
            let Some(wanted) = network_map.as_ref().or(default) else {
                return Err(refusal(id, Code::MissingField, "meta/dependent-vtags", "", "there is no network map that it could depend on"));
            };
            let Some(network) = networks.get(wanted) else {
                let why = format!("it depends on network map {wanted}, which is not there");
                return Err(refusal(id, Code::InvalidFieldValue, "meta/dependent-vtags", wanted.as_str(), &why));
            };
            let twin = views.iter().find(|(_, view)| view.network_map.resource_id == *wanted && same_type(&view.cost_type, cost_type));
            if let Some((twin, _)) = twin {
                // Whichever was not there before is the one too many.
                let (newcomer, other) = if self.was(id, wanted, cost_type) { (twin, id) } else { (id, twin) };
                let why = format!(
                    "{wanted} already has a cost map of {} {}: {other} (RFC 7285 section 11.2.3.5)",
                    cost_type.mode.as_str(),
                    cost_type.metric.as_str()
                );
                return Err(refusal(newcomer, Code::InvalidFieldValue, "meta/cost-type/cost-metric", cost_type.metric.as_str(), &why));
            }
            views.push((id.clone(), self.view(id, network, cost_type.clone(), table, |table| table.clone())));
        }
        Ok(views)
    }

    /// Whether `id` was this cost map of this network map before.
    fn was(&self, id: &ResourceId, network_map: &ResourceId, cost_type: &CostType) -> bool {
        let before = self.previous.and_then(|previous| previous.services.get(id));
        matches!(before, Some(Service::Get(Resource::Cost(view)))
            if view.network_map.resource_id == *network_map && same_type(&view.cost_type, cost_type))
    }

    /// Adds what is computed, or was before a restart, and not taken by a document, nor withdrawn.
    fn computed_costs(&self, networks: &BTreeMap<ResourceId, Arc<NetworkView>>, views: &mut BTreeMap<ResourceId, Arc<CostView>>) {
        for (id, document) in self.restored() {
            let Published::Cost { network_map: Some(wanted), cost_type, table } = &**document else { continue };
            let Some(network) = networks.get(wanted) else { continue };
            let twin = |view: &Arc<CostView>| view.network_map.resource_id == *wanted && same_type(&view.cost_type, cost_type);
            if !views.values().any(twin) {
                views.insert(id.clone(), self.view(id, network, cost_type.clone(), table, |table| table.clone()));
            }
        }
        let Some(computed) = &self.inputs.computed else { return };
        let Some(network) = networks.get(&computed.policy.network_map_id) else { return };
        for (metric, table) in &computed.tables {
            // A metric has at most 32 characters of those of an id, so only an exotic one has no id.
            let (Some(id), Some(ordinal_id)) = (cost_map_id(metric, ""), cost_map_id(metric, "-ordinal")) else { continue };
            let published = |mode| {
                views.values().find(|view| {
                    view.network_map.resource_id == network.id && view.cost_type.metric == *metric && view.cost_type.mode == mode
                })
            };
            let numerical = published(Mode::Numerical).map(|view| view.origin.clone());
            let mut made = Vec::new();
            if numerical.is_none() && self.free(&id) {
                let cost_type = CostType { mode: Mode::Numerical, metric: metric.clone(), description: None };
                made.push((id.clone(), self.view(&id, network, cost_type, table, |table| table.clone())));
            }
            if published(Mode::Ordinal).is_none() && self.free(&ordinal_id) {
                // The ranks of what is served as numbers, be it computed or published.
                let origin = numerical.as_ref().unwrap_or(table);
                let cost_type = CostType { mode: Mode::Ordinal, metric: metric.clone(), description: None };
                made.push((
                    ordinal_id.clone(),
                    self.view(&ordinal_id, network, cost_type, origin, |table| Arc::new(costs::ordinal(table, metric))),
                ));
            }
            views.extend(made);
        }
    }

    fn free(&self, id: &ResourceId) -> bool {
        !self.inputs.withdrawn.contains(id) && !self.inputs.documents.contains_key(id)
    }

    /// The view of `origin` as cost map `id`: only PIDs of the network map, `convert`ed, tagged.
    fn view(
        &self,
        id: &ResourceId,
        network: &Arc<NetworkView>,
        cost_type: CostType,
        origin: &Arc<CostTable>,
        convert: impl FnOnce(&Arc<CostTable>) -> Arc<CostTable>,
    ) -> Arc<CostView> {
        let before = match self.previous.and_then(|previous| previous.services.get(id)) {
            Some(Service::Get(Resource::Cost(view))) if view.cost_type == cost_type && view.network_map.resource_id == network.id => {
                Some(view)
            }
            _ => None,
        };
        if let Some(before) = before
            && Arc::ptr_eq(&before.origin, origin)
        {
            if before.network_map.tag == network.tag {
                return before.clone();
            }
            let old = self.previous_network(&network.id);
            if old.is_some_and(|old| old.pids == network.pids) {
                // Addresses moved, PIDs stayed: the same costs under a new tag.
                let tag = cost_tag(network, &cost_type, &before.content);
                return Arc::new(CostView { network_map: network.vtag(), tag, ..CostView::clone(before) });
            }
        }
        let table = convert(&within(network, origin));
        let content = table_tag(&table);
        let tag = cost_tag(network, &cost_type, &content);
        if let Some(before) = before
            && before.tag == tag
        {
            // Equal content by another road. Remember the road, so that the next commit need not compare again.
            return Arc::new(CostView { origin: origin.clone(), ..CostView::clone(before) });
        }
        Arc::new(CostView { id: id.clone(), network_map: network.vtag(), cost_type, table, tag, origin: origin.clone(), content })
    }

    /// The network map with every cost type that can be asked of it.
    fn network(&self, view: &Arc<NetworkView>, views: &BTreeMap<ResourceId, Arc<CostView>>) -> Arc<Network> {
        let mine: Vec<&Arc<CostView>> = views.values().filter(|cost| cost.network_map.resource_id == view.id).collect();
        if let Some(before) = self.previous.and_then(|previous| previous.network(&view.id))
            && Arc::ptr_eq(&before.view, view)
            && before.resources().eq(mine.iter().map(|cost| Arc::as_ptr(cost)))
        {
            return before.clone();
        }
        let mut by_type: BTreeMap<(&str, Mode), &Arc<CostView>> = BTreeMap::new();
        for cost in &mine {
            by_type.insert((cost.cost_type.metric.as_str(), cost.cost_type.mode), cost);
        }
        let mut indexes = Indexes { network: view, made: Vec::new() };
        let mut costs = Vec::new();
        let metrics: BTreeSet<&str> = by_type.keys().map(|(metric, _)| *metric).collect();
        for metric in metrics {
            let numerical = by_type.get(&(metric, Mode::Numerical)).copied();
            let ordinal = by_type.get(&(metric, Mode::Ordinal)).copied();
            if let Some(numerical) = numerical {
                costs.push(indexes.source(numerical.cost_type.clone(), numerical, None, false));
            }
            let is_document = |cost: &CostView| self.inputs.documents.contains_key(&cost.id);
            match (numerical, ordinal) {
                // An operator's own ranks are given out as they are.
                (_, Some(ordinal)) if is_document(ordinal) => {
                    costs.push(indexes.source(ordinal.cost_type.clone(), ordinal, None, false));
                }
                (Some(numerical), whole) => {
                    let cost_type = CostType { mode: Mode::Ordinal, metric: numerical.cost_type.metric.clone(), description: None };
                    costs.push(indexes.source(cost_type, numerical, whole.cloned(), true));
                }
                (None, Some(ordinal)) => costs.push(indexes.source(ordinal.cost_type.clone(), ordinal, Some(ordinal.clone()), true)),
                (None, None) => {}
            }
        }
        let resources = mine.into_iter().cloned().collect();
        Arc::new(Network { view: view.clone(), costs, resources })
    }
}

impl Network {
    fn resources(&self) -> impl Iterator<Item = *const CostView> {
        self.resources.iter().map(Arc::as_ptr)
    }
}

/// Where the PIDs of a network map lie in the rows and columns of tables; tables often share their names.
struct Indexes<'a> {
    network: &'a NetworkView,
    made: Vec<Index>,
}

/// Names of rows or columns, and where each PID of the network map is among them.
type Index = (Arc<[Pid]>, Arc<[u32]>);

impl Indexes<'_> {
    fn source(&mut self, cost_type: CostType, view: &Arc<CostView>, whole: Option<Arc<CostView>>, ranked: bool) -> Arc<CostSource> {
        let (rows, columns) = (self.index(&view.table.sources), self.index(&view.table.destinations));
        Arc::new(CostSource { cost_type, view: view.clone(), whole, ranked, rows, columns })
    }

    fn index(&mut self, names: &Arc<[Pid]>) -> Arc<[u32]> {
        if let Some((_, index)) = self.made.iter().find(|(made, _)| Arc::ptr_eq(made, names)) {
            return index.clone();
        }
        let mut index = vec![ABSENT; self.network.pids.len()];
        for (name, at) in names.iter().zip(0..) {
            if let Some(place) = self.network.place(name.as_str()) {
                index[place.0 as usize] = at;
            }
        }
        let index: Arc<[u32]> = index.into();
        self.made.push((names.clone(), index.clone()));
        index
    }
}

/// The part of a table whose PIDs the network map has; the table itself when that is all of it.
fn within(network: &NetworkView, table: &Arc<CostTable>) -> Arc<CostTable> {
    let kept = |names: &Arc<[Pid]>| -> Option<Vec<usize>> {
        if Arc::ptr_eq(names, &network.pids) {
            return None;
        }
        let kept: Vec<usize> = (0..names.len()).filter(|at| network.place(names[*at].as_str()).is_some()).collect();
        (kept.len() < names.len()).then_some(kept)
    };
    let (rows, columns) = (kept(&table.sources), kept(&table.destinations));
    if rows.is_none() && columns.is_none() {
        return table.clone();
    }
    let width = table.destinations.len();
    let rows = rows.unwrap_or_else(|| (0..table.sources.len()).collect());
    let columns = columns.unwrap_or_else(|| (0..width).collect());
    Arc::new(CostTable {
        sources: rows.iter().map(|at| table.sources[*at].clone()).collect(),
        destinations: columns.iter().map(|at| table.destinations[*at].clone()).collect(),
        values: rows.iter().flat_map(|row| columns.iter().map(move |column| table.values[row * width + column])).collect(),
    })
}

fn cost_tag(network: &NetworkView, cost_type: &CostType, content: &Tag) -> Tag {
    let mode = cost_type.mode.as_str();
    // Names and tags have no NUL, so the parts cannot run into each other; a description comes last.
    let described = cost_type.description.is_some();
    let description = cost_type.description.as_deref().unwrap_or_default();
    let meta =
        [network.id.as_str(), network.tag.as_str(), mode, cost_type.metric.as_str(), if described { "described" } else { "" }, description]
            .join("\0");
    Tag::of_content(&[b"cost-map", content.as_str().as_bytes(), b"\0", meta.as_bytes()])
}

fn same_type(a: &CostType, b: &CostType) -> bool {
    a.mode == b.mode && a.metric == b.metric
}

fn cost_map_id(metric: &Metric, suffix: &str) -> Option<ResourceId> {
    format!("cost-map-{}{suffix}", metric.as_str()).parse().ok()
}

const FILTERED_NETWORK_MAP: &str = "filtered-network-map";
const FILTERED_COST_MAP: &str = "filtered-cost-map";
const ENDPOINT_COST: &str = "endpoint-cost";
const ENDPOINT_PROPERTIES: &str = "endpoint-properties";

/// Whether a service has this name, or gets it with the maps that are yet to come. A resource that took it would be in the way of the first
/// cost map that needs the service, and "IDs SHOULD NOT be reused for different resources over time" (RFC 7285 section 9.1.1).
pub fn is_reserved(id: &ResourceId) -> bool {
    let of_a_map = |service: &str| id.as_str().strip_prefix(service).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    id.as_str() == ENDPOINT_PROPERTIES || [FILTERED_NETWORK_MAP, FILTERED_COST_MAP, ENDPOINT_COST].into_iter().any(of_a_map)
}

fn name_of_a_service(id: &ResourceId) -> Refusal {
    refusal(id, Code::InvalidFieldValue, "resource-id", id.as_str(), &format!("{id} is the name of a service"))
}

/// Names of the services: bare for the default network map, with its id for the others.
fn services(networks: &[Arc<Network>], resources: &[Resource]) -> Result<BTreeMap<ResourceId, Service>, Refusal> {
    let mut services: BTreeMap<ResourceId, Service> =
        resources.iter().map(|resource| (resource.id().clone(), Service::Get(resource.clone()))).collect();
    let mut add = |name: String, service: Service| -> Result<(), Refusal> {
        let id: ResourceId = name.parse().expect("service names are cut to valid ids");
        if let Some(Service::Get(_)) = services.get(&id) {
            return Err(name_of_a_service(&id));
        }
        services.insert(id, service);
        Ok(())
    };
    for (at, network) in networks.iter().enumerate() {
        let map = &network.view.id;
        let name = |service: &str| if at == 0 { service.to_owned() } else { suffixed(service, map) };
        add(name(FILTERED_NETWORK_MAP), Service::FilteredNetworkMap(map.clone()))?;
        if at == 0 {
            add(ENDPOINT_PROPERTIES.into(), Service::EndpointProperties)?;
        }
        if !network.costs.is_empty() {
            add(name(FILTERED_COST_MAP), Service::FilteredCostMap(map.clone()))?;
            add(name(ENDPOINT_COST), Service::EndpointCost(map.clone()))?;
        }
    }
    Ok(services)
}

/// `<service>-<id>`; an id too long for that (RFC 7285 section 10.2: 64 characters) gives way to a digest of it.
fn suffixed(service: &str, map: &ResourceId) -> String {
    let name = format!("{service}-{map}");
    if name.len() <= 64 { name } else { format!("{service}-{}", &Tag::of_content(&[map.as_str().as_bytes()]).as_str()[..32]) }
}
