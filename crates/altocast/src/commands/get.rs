//! `altocast get`: prints a resource, whole or in part. Parts are asked of the filter services that the directory names.
use super::{
    endpoints::Endpoint,
    reach::{Cache, Server, explained, note_expired, usage},
    view::Page,
};
use crate::{
    config::nearest::nearest,
    terminal::{self, Paint},
};
use alto::{
    Document,
    cost::{Constraint, Constraints, CostType, Metric, Mode, Query},
    cost_map, endpoint_cost,
    endpoint_property::{self, PropertyName},
    id::{Pid, ResourceId},
    network_map,
};
use bytes::Bytes;
use client::{Catalog, Client, Freshness, Offer, Service};
use std::{io::Write, process::ExitCode};

/// Print a resource, or the directory when none is named
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Networks and costs are printed as tables; --json prints what the server sent.

Examples:
  altocast get
  altocast get network-map --pid DE,FR
  altocast get cost-map-routingcost --src DE --constraint 'le 20'
  altocast get endpoint-cost --src 192.0.2.1 --dst 198.51.100.7,203.0.113.9")]
pub struct Args {
    /// Its id in the directory
    pub resource: Option<String>,
    /// Only these PIDs (network map); costs among these PIDs (cost map)
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub pid: Vec<Pid>,
    /// Only costs from these PIDs, or endpoints for the endpoint services
    #[arg(long, value_name = "PID|ADDR", value_delimiter = ',')]
    pub src: Vec<String>,
    /// Only costs to these PIDs, or endpoints for the endpoint services
    #[arg(long, value_name = "PID|ADDR", value_delimiter = ',')]
    pub dst: Vec<String>,
    /// Only costs that pass: `le 10`, or for several metrics `[1] le 10`; all must hold
    #[arg(long, value_name = "'OP NUMBER'")]
    pub constraint: Vec<Constraint>,
    /// Which metric, or several (RFC 8189), for a service that has more than one
    #[arg(long, value_name = "METRIC", value_delimiter = ',')]
    pub metric: Vec<Metric>,
    /// Ranks instead of numbers
    #[arg(long)]
    pub ordinal: bool,
    /// Which endpoint properties; all of them without it
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub property: Vec<PropertyName>,
    /// Print the document as the server sent it
    #[arg(long)]
    pub json: bool,
    /// See there.
    #[command(flatten)]
    pub server: Server,
    /// See there.
    #[command(flatten)]
    pub cache: Cache,
}

/// Runs it.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    terminal::forgive_closed_pipe(get(args).await)
}

/// What to print.
enum Found {
    Document(Bytes, Box<Document>),
    Catalog(Bytes, Box<Catalog>),
}

async fn get(args: Args) -> anyhow::Result<ExitCode> {
    let client = match args.server.client_with(&args.cache) {
        Ok(client) => client,
        Err(error) => return Ok(usage(&error.to_string())),
    };
    let found = match &args.resource {
        None if args.filters() => return Ok(usage("filters need a RESOURCE; `altocast get` alone lists them")),
        None => directory(&client).await.map_err(explained)?,
        Some(id) => {
            let catalog = client.catalog().await.map_err(explained)?;
            let offer = catalog.offer(id).map_err(|_| unknown(id, &catalog))?;
            let question = match args.question(offer) {
                Ok(question) => question,
                Err(Wrong::Usage(message)) => return Ok(usage(&message)),
                Err(Wrong::Client(error)) => return Err(explained(error)),
            };
            let (body, document, freshness) = question.ask(&client, offer).await.map_err(explained)?;
            note_expired(freshness);
            note_what_is_missing(&args, &document);
            Found::Document(body, Box::new(document))
        }
    };
    terminal::print(|out| match &found {
        Found::Document(body, _) | Found::Catalog(body, _) if args.json => {
            out.write_all(body)?;
            if body.ends_with(b"\n") { Ok(()) } else { out.write_all(b"\n") }
        }
        Found::Catalog(_, catalog) => page(out).catalog(catalog),
        Found::Document(_, document) => page(out).document(args.resource.as_deref().unwrap_or("directory"), document),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn page<W: Write>(out: &mut W) -> Page<'_, W> {
    Page { out, paint: Paint::stdout(), width: terminal::width() }
}

async fn directory(client: &Client) -> Result<Found, client::Error> {
    let catalog = client.catalog().await?;
    // Revalidated, so it costs a 304 at most.
    let root = client.root().await?;
    Ok(Found::Catalog(root.body, Box::new((*catalog).clone())))
}

fn unknown(id: &str, catalog: &Catalog) -> anyhow::Error {
    let ids = catalog.offers.iter().map(|offer| offer.id.as_str());
    let meant = nearest(id, ids).map(|name| format!("; did you mean {name}?")).unwrap_or_default();
    anyhow::anyhow!("the server has no resource {id:?}{meant}\naltocast get lists what there is")
}

/// Why the arguments cannot be asked.
enum Wrong {
    Usage(String),
    Client(client::Error),
}

impl From<client::Error> for Wrong {
    fn from(error: client::Error) -> Self {
        Self::Client(error)
    }
}

/// One request, ready to go.
enum Question {
    Whole,
    NetworkMap(ResourceId, network_map::Filter),
    CostMap(ResourceId, cost_map::Filter),
    EndpointCost(endpoint_cost::Request),
    EndpointProperties(endpoint_property::Request),
}

impl Question {
    async fn ask(&self, client: &Client, offer: &Offer) -> Result<(Bytes, Document, Freshness), client::Error> {
        Ok(match self {
            Self::Whole => {
                let answer = client.document(offer).await?;
                (answer.body, (*answer.value).clone(), answer.freshness)
            }
            Self::NetworkMap(map, filter) => {
                let answer = client.filtered_network_map(Some(map), filter).await?;
                (answer.body, Document::NetworkMap((*answer.value).clone()), answer.freshness)
            }
            Self::CostMap(map, filter) => {
                let answer = client.filtered_cost_map(Some(map), filter).await?;
                (answer.body, Document::CostMap((*answer.value).clone()), answer.freshness)
            }
            Self::EndpointCost(request) => {
                let answer = client.endpoint_costs(request).await?;
                (answer.body, Document::EndpointCosts((*answer.value).clone()), answer.freshness)
            }
            Self::EndpointProperties(request) => {
                let answer = client.endpoint_properties(request).await?;
                (answer.body, Document::EndpointProperties((*answer.value).clone()), answer.freshness)
            }
        })
    }
}

impl Args {
    fn filters(&self) -> bool {
        !(self.pid.is_empty() && self.src.is_empty() && self.dst.is_empty() && self.constraint.is_empty())
    }

    fn question(&self, offer: &Offer) -> Result<Question, Wrong> {
        let id = &offer.id;
        if let Some(message) = self.misplaced(offer) {
            return Err(Wrong::Usage(message));
        }
        match offer.service() {
            Service::NetworkMap if !self.filters() => Ok(Question::Whole),
            Service::NetworkMap => Ok(Question::NetworkMap(id.clone(), self.network_filter()?)),
            Service::FilteredNetworkMap => Ok(Question::NetworkMap(used_by(offer)?, self.network_filter()?)),
            // Ranks of a map of numbers are made by the filter service.
            Service::CostMap if !self.filters() && (!self.ordinal || offer.cost_types.iter().any(|it| it.mode == Mode::Ordinal)) => {
                Ok(Question::Whole)
            }
            Service::CostMap => Ok(Question::CostMap(used_by(offer)?, self.cost_filter(offer)?)),
            Service::FilteredCostMap => Ok(Question::CostMap(used_by(offer)?, self.cost_filter(offer)?)),
            Service::EndpointCost => {
                let (sources, destinations) = (addresses(&self.src)?, addresses(&self.dst)?);
                if sources.is_empty() && destinations.is_empty() {
                    return Err(Wrong::Usage(format!(
                        "{id} wants --src ADDR or --dst ADDR (one of them may be left out: your own address)"
                    )));
                }
                Ok(Question::EndpointCost(endpoint_cost::Request { query: self.query(offer)?, sources, destinations }))
            }
            Service::EndpointProperties => {
                let mut endpoints = addresses(&self.src)?;
                endpoints.extend(addresses(&self.dst)?);
                if endpoints.is_empty() {
                    return Err(Wrong::Usage(format!("{id} wants the endpoints: --src ADDR,ADDR...")));
                }
                let properties = if self.property.is_empty() { offer.entry.capabilities.prop_types.clone() } else { self.property.clone() };
                Ok(Question::EndpointProperties(endpoint_property::Request { properties, endpoints }))
            }
            service @ (Service::UpdateStream
            | Service::Tips
            | Service::TransportQueues
            | Service::Subscription
            | Service::Unsubscription
            | Service::Notification) => {
                let what = service.as_str();
                Err(Wrong::Usage(format!("{id} ({what}) is there to follow other resources: altocast watch RESOURCE")))
            }
            Service::Directory | Service::Other => Err(Wrong::Usage(format!(
                "{id} is of media type {}, which this command does not know",
                terminal::safe(&offer.entry.media_type)
            ))),
        }
    }

    /// What was given and means nothing for this resource: an answer to another question would look like one to this.
    fn misplaced(&self, offer: &Offer) -> Option<String> {
        let (id, service) = (&offer.id, offer.service());
        let costs = matches!(service, Service::CostMap | Service::FilteredCostMap | Service::EndpointCost);
        if !costs && (!self.metric.is_empty() || self.ordinal || !self.constraint.is_empty()) {
            return Some(format!("--metric, --ordinal and --constraint are for costs; {id} has none"));
        }
        if !self.property.is_empty() && service != Service::EndpointProperties {
            return Some(format!("--property is for endpoint properties; {id} has none"));
        }
        if !self.pid.is_empty() && matches!(service, Service::EndpointCost | Service::EndpointProperties) {
            return Some(format!("--pid is for network maps and cost maps; {id} wants addresses: --src ADDR, --dst ADDR"));
        }
        let had = |metric: &Metric| offer.cost_types.iter().any(|cost_type| cost_type.metric == *metric);
        if service == Service::CostMap
            && let Some(metric) = self.metric.iter().find(|metric| !had(metric))
        {
            return Some(format!("{id} has no {metric}; altocast get lists the cost map of each metric"));
        }
        None
    }

    fn network_filter(&self) -> Result<network_map::Filter, Wrong> {
        if !(self.src.is_empty() && self.dst.is_empty()) {
            return Err(Wrong::Usage("a network map is filtered by --pid; --src and --dst are for costs".into()));
        }
        Ok(network_map::Filter { pids: once(&self.pid), address_types: Vec::new() })
    }

    fn cost_filter(&self, offer: &Offer) -> Result<cost_map::Filter, Wrong> {
        let pids = |given: &[String]| -> Result<Vec<Pid>, Wrong> {
            let mut pids = self.pid.clone();
            for text in given {
                pids.push(text.parse().map_err(|error: alto::id::InvalidName| Wrong::Usage(error.to_string()))?);
            }
            Ok(once(&pids))
        };
        Ok(cost_map::Filter { query: self.query(offer)?, sources: pids(&self.src)?, destinations: pids(&self.dst)? })
    }

    /// The cost types asked for: those of --metric, else the offer's only one, else routingcost, else its first.
    fn query(&self, offer: &Offer) -> Result<Query, Wrong> {
        let mode = if self.ordinal { Mode::Ordinal } else { Mode::Numerical };
        let constraints = if self.constraint.is_empty() { Vec::new() } else { vec![self.constraint.clone()] };
        let constraints = Constraints { any: constraints };
        let cost_types: Vec<_> = self.metric.iter().map(|metric| CostType { mode, metric: metric.clone(), description: None }).collect();
        if cost_types.len() > 1 {
            let most = offer.entry.capabilities.max_cost_types as usize;
            if most < cost_types.len() {
                return Err(Wrong::Usage(format!("{} answers at most {} cost types at once", offer.id, most.max(1))));
            }
            return Ok(Query { cost_types, multi: true, testable: None, constraints });
        }
        let default = || {
            let of_mode = || offer.cost_types.iter().filter(|cost_type| cost_type.mode == mode);
            let usual = of_mode().find(|cost_type| cost_type.metric.as_str() == alto::cost::ROUTINGCOST);
            // A service that announces numbers alone may still rank them; it says so when it does not.
            let first =
                || offer.cost_types.first().map(|first| CostType { mode: if self.ordinal { mode } else { first.mode }, ..first.clone() });
            usual.or_else(|| of_mode().next()).cloned().or_else(first)
        };
        let cost_type = cost_types.into_iter().next().or_else(default);
        let cost_type = cost_type.ok_or_else(|| Wrong::Usage(format!("{} names no cost type; choose one with --metric", offer.id)))?;
        Ok(Query { constraints, ..Query::one(cost_type) })
    }
}

fn used_by(offer: &Offer) -> Result<ResourceId, Wrong> {
    offer.entry.uses.first().cloned().ok_or_else(|| {
        Wrong::Client(client::Error::BadAnswer {
            uri: offer.directory.to_string(),
            why: format!("resource {} does not say which network map it uses (RFC 7285 section 11.2.3.5)", offer.id),
        })
    })
}

fn addresses(given: &[String]) -> Result<Vec<alto::endpoint::Address>, Wrong> {
    let parsed = given.iter().map(|text| text.parse::<Endpoint>().map(|endpoint| endpoint.address));
    let addresses: Vec<_> = parsed.collect::<Result<_, _>>().map_err(Wrong::Usage)?;
    Ok(once(&addresses))
}

/// The same without what was there before: requests hold every entry once.
fn once<T: Clone + PartialEq>(list: &[T]) -> Vec<T> {
    let mut out: Vec<T> = Vec::new();
    for one in list {
        if !out.contains(one) {
            out.push(one.clone());
        }
    }
    out
}

/// A server passes over PIDs it does not know (RFC 7285 sections 11.3.1.6 and 11.3.2.6); a person should hear of a typo.
fn note_what_is_missing(args: &Args, document: &Document) {
    let paint = Paint::stderr();
    let note = |text: String| eprintln!("{} {text}", paint.yellow("note:"));
    match document {
        Document::NetworkMap(map) => {
            for pid in args.pid.iter().filter(|pid| !map.pids.contains_key(*pid)) {
                note(format!("the network map has no PID {pid}"));
            }
        }
        Document::CostMap(map) => {
            let Some((_, table)) = map.tables.first() else { return };
            let has = |names: &[Pid], text: &str| names.iter().any(|name| name.as_str() == text);
            let all = if args.constraint.is_empty() { "" } else { " that passes" };
            for text in args.pid.iter().map(Pid::as_str).chain(args.src.iter().map(String::as_str)) {
                if !has(&table.sources, text) {
                    note(format!("there is no cost{all} from {text}"));
                }
            }
            for text in args.pid.iter().map(Pid::as_str).chain(args.dst.iter().map(String::as_str)) {
                if !has(&table.destinations, text) {
                    note(format!("there is no cost{all} to {text}"));
                }
            }
        }
        _ => {}
    }
}
