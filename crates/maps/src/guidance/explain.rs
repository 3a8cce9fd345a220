//! Why one endpoint costs what it costs from another.
use super::{Guidance, PidIx};
use crate::{explain, prefix_table::PrefixTable};
use alto::{
    cost::{Metric, Mode},
    endpoint::{Address, Prefix},
    error::ErrorBody,
    id::ResourceId,
};

/// The PIDs two endpoints are in and how the cost between them came about.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Explanation {
    /// As asked.
    pub source_endpoint: String,
    /// The prefix that put it into its PID.
    pub source_prefix: String,
    /// As asked.
    pub destination_endpoint: String,
    /// The prefix that put it into its PID.
    pub destination_prefix: String,
    /// Which maps the answer is from.
    pub network_map: ResourceId,
    /// The numerical cost map.
    pub cost_map: ResourceId,
    /// Whether the cost was published as a document: then there is a number, and no path behind it that we know of.
    pub published: bool,
    /// The cost between the PIDs, with path, contributions and policy rule when it was computed.
    #[serde(flatten)]
    pub cost: explain::Explanation,
}

impl Guidance {
    /// Explains the cost of `metric` from `source` to `destination` over the default network map.
    pub fn explain(&self, source: &Address, destination: &Address, metric: &Metric) -> Result<Explanation, ErrorBody> {
        let network = self.networks.first().ok_or_else(|| ErrorBody::invalid("src", source.to_string()))?;
        let place = |field: &str, address: &Address| -> Result<(Prefix, PidIx), ErrorBody> {
            lookup(&network.view.table, address).ok_or_else(|| ErrorBody::invalid(field, address.to_string()))
        };
        let ((source_prefix, from), (destination_prefix, to)) = (place("src", source)?, place("dst", destination)?);
        let costs = network.cost(metric, Mode::Numerical).ok_or_else(|| ErrorBody::invalid("metric", metric.as_str()))?;
        let (from, to) = (network.view.pid(from), network.view.pid(to));
        let computed = self.computed.as_ref().filter(|computed| {
            let table = computed.tables.get(metric);
            computed.policy.network_map_id == network.view.id
                && table.is_some_and(|table| std::sync::Arc::ptr_eq(table, &costs.view.origin))
        });
        let explained = computed.and_then(|computed| computed.explain(metric, from, to).ok());
        let published = explained.is_none();
        let served = costs.view.table.get(from.as_str(), to.as_str());
        let cost = match explained {
            Some(cost) if cost.total == served => cost,
            Some(cost) => explain::Explanation { served, ..cost },
            None => explain::Explanation::new(metric, from, to, served),
        };
        Ok(Explanation {
            source_endpoint: source.to_string(),
            source_prefix: source_prefix.to_string(),
            destination_endpoint: destination.to_string(),
            destination_prefix: destination_prefix.to_string(),
            network_map: network.view.id.clone(),
            cost_map: costs.view.id.clone(),
            published,
            cost,
        })
    }
}

fn lookup(table: &PrefixTable, address: &Address) -> Option<(Prefix, PidIx)> {
    match address {
        Address::Ip(address) => table.lookup_prefix(*address),
        Address::Private(_) => None,
    }
}
