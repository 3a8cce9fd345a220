//! What there is and where (RFC 7285 section 9.2).
//!
//! Everything announced is there, and everything there is announced. `uses` stands where the RFC wants it: section 11.4.1.5
//! gives endpoint properties none, and 11.5.1.5 forbids it to the endpoint cost service.
use super::{Guidance, Network, Resource, Service};
use alto::{
    cost::CostType,
    directory::{Capabilities, Directory, Entry, Meta},
    endpoint_property::PropertyName,
};

impl Guidance {
    /// The directory, with absolute URIs `<base_url>/resources/<id>`; `base_url` without a slash at its end.
    pub fn directory(&self, base_url: &str) -> Directory {
        let base_url = base_url.trim_end_matches('/');
        let mut meta = Meta { default_network_map: self.networks.first().map(|network| network.view.id.clone()), ..Meta::default() };
        let announced = self.networks.iter().flat_map(|network| network.costs.iter().map(|source| &source.cost_type));
        let got = self.resources.iter().filter_map(|resource| match resource {
            Resource::Cost(view) => Some(&view.cost_type),
            Resource::Network(_) => None,
        });
        for cost_type in announced.chain(got) {
            let known = meta.cost_types.entry(name(cost_type).into()).or_insert_with(|| cost_type.clone());
            if known.description.is_none() {
                known.description.clone_from(&cost_type.description);
            }
        }
        let resources = self
            .services
            .iter()
            .map(|(id, service)| {
                let entry = Entry {
                    uri: format!("{base_url}/resources/{id}").into(),
                    media_type: service.media_type().into(),
                    accepts: service.accepts().map(Into::into),
                    capabilities: self.capabilities(service),
                    uses: match service {
                        Service::Get(resource) => resource.depends_on().cloned().into_iter().collect(),
                        Service::FilteredNetworkMap(map) | Service::FilteredCostMap(map) => vec![map.clone()],
                        Service::EndpointProperties | Service::EndpointCost(_) => Vec::new(),
                    },
                    updates: None,
                };
                (id.clone(), entry)
            })
            .collect();
        Directory { meta, resources }
    }

    fn capabilities(&self, service: &Service) -> Capabilities {
        match service {
            Service::Get(Resource::Network(_)) | Service::FilteredNetworkMap(_) => Capabilities::default(),
            Service::Get(Resource::Cost(view)) => {
                Capabilities { cost_type_names: vec![name(&view.cost_type).into()], ..Capabilities::default() }
            }
            Service::FilteredCostMap(map) | Service::EndpointCost(map) => {
                let network = self.network(map).expect("a service stands over a network map that is here");
                Capabilities {
                    cost_type_names: network.costs.iter().map(|source| name(&source.cost_type).into()).collect(),
                    // On every cost type, so `testable-cost-type-names` must not be there (RFC 8189 section 4.1.1).
                    cost_constraints: true,
                    max_cost_types: network.cost_types_max(),
                    ..Capabilities::default()
                }
            }
            Service::EndpointProperties => {
                let prop_types = self.networks.iter().map(|network| PropertyName::pid_of(network.view.id.clone())).collect();
                Capabilities { prop_types, ..Capabilities::default() }
            }
        }
    }
}

impl Network {
    /// RFC 8189 section 4.1.1: any combination of so many cost types; ours is all there are.
    pub(super) fn cost_types_max(&self) -> u32 {
        u32::try_from(self.costs.len()).expect("cost types are few")
    }
}

/// The name of a cost type in `meta.cost-types`, as the examples of section 9.2.3 make them.
fn name(cost_type: &CostType) -> String {
    let mode = &cost_type.mode.as_str()[..3];
    format!("{mode}-{}", cost_type.metric.as_str())
}
