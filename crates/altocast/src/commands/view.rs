//! ALTO documents for people: a directory and a network map as tables, costs as a matrix or, when that is too wide, a line a pair.
//!
//! What does not fit the width is cut with a mark or laid out otherwise, never dropped silently.
use crate::terminal::{Align, Paint, Table, Tone, count, counted, safe};
use alto::{
    Document,
    cost::{self, CostType, Mode},
    cost_map::CostMap,
    endpoint::Prefix,
    endpoint_cost::EndpointCosts,
    endpoint_property::EndpointProperties,
    id::VersionTag,
    network_map::NetworkMap,
};
use client::{Catalog, Offer, Service};
use std::io::{self, Write};

/// Where and how to write.
pub struct Page<'a, W> {
    /// Gets the text.
    pub out: &'a mut W,
    /// Colours or not.
    pub paint: Paint,
    /// Columns there are.
    pub width: usize,
}

/// `routingcost`, or `routingcost (ordinal)`: numbers are the usual case and need no word.
pub fn cost_type_name(cost_type: &CostType) -> String {
    match cost_type.mode {
        Mode::Numerical => cost_type.metric.as_str().to_owned(),
        Mode::Ordinal => format!("{} (ordinal)", cost_type.metric.as_str()),
    }
}

/// The unit of a metric where a specification gives it one (RFC 9439 sections 4 and 5); `None` for the others and for ranks.
pub fn unit(cost_type: &CostType) -> Option<&'static str> {
    if cost_type.mode == Mode::Ordinal {
        return None;
    }
    match cost_type.metric.as_str() {
        cost::DELAY_OW | cost::DELAY_RT | cost::DELAY_VARIATION => Some("µs"),
        cost::TPUT | cost::BW_RESIDUAL | cost::BW_AVAILABLE => Some("bytes/s"),
        cost::LOSSRATE => Some("%"),
        _ => None,
    }
}

/// `delay-ow in µs`.
pub fn in_unit(cost_type: &CostType) -> String {
    match unit(cost_type) {
        None => cost_type_name(cost_type),
        Some(unit) => format!("{} in {unit}", cost_type_name(cost_type)),
    }
}

/// A cost as the wire has it: no fraction where there is none.
pub fn cost(value: f64) -> String {
    if value.is_nan() { "-".to_owned() } else { value.to_string() }
}

/// Costs of some types between some names. Shape of each table: `sources.len() × destinations.len()`, row-major, NaN for none.
struct Grid<'a> {
    sources: Vec<String>,
    destinations: Vec<String>,
    tables: Vec<(&'a CostType, &'a [f64])>,
}

impl<W: Write> Page<'_, W> {
    /// Whatever it is.
    pub fn document(&mut self, name: &str, document: &Document) -> io::Result<()> {
        match document {
            Document::NetworkMap(map) => self.network_map(name, map),
            Document::CostMap(map) => self.cost_map(name, map),
            Document::EndpointCosts(costs) => self.endpoint_costs(name, costs),
            Document::EndpointProperties(properties) => self.endpoint_properties(name, properties),
            // A directory goes by way of its catalog, which has the URIs resolved; this is one that was named as a resource.
            Document::Directory(directory) => {
                self.title(name, &[counted(directory.resources.len(), "resource")], None)?;
                let mut table = Table::new(&[("RESOURCE", Align::Left), ("MEDIA TYPE", Align::Left)]);
                for (id, entry) in &directory.resources {
                    table.row([id.as_str(), &entry.media_type]);
                }
                self.table(&table)
            }
        }
    }

    /// What a server offers.
    pub fn catalog(&mut self, catalog: &Catalog) -> io::Result<()> {
        self.title(&catalog.root.to_string(), &[counted(catalog.offers.len(), "resource")], None)?;
        let default = catalog.directory.meta.default_network_map.as_ref();
        // One that says until when it holds is a form of another.
        let own = |offer: &&Offer| offer.service() == Service::NetworkMap && !offer.entry.capabilities.expires;
        let maps = catalog.offers.iter().filter(own).count();
        let mut table = Table::new(&[("RESOURCE", Align::Left), ("SERVICE", Align::Left), ("OF", Align::Left)]);
        let mut offers: Vec<_> = catalog.offers.iter().collect();
        // Stable: by service, and as the directory has them within each.
        offers.sort_by_key(|offer| offer.service());
        for offer in offers {
            let mut of = what_of(offer);
            if offer.service() == Service::NetworkMap && Some(&offer.id) == default && maps > 1 {
                of.push("the default".into());
            }
            if maps > 1 && !offer.entry.uses.is_empty() {
                let uses: Vec<_> = offer.entry.uses.iter().map(ToString::to_string).collect();
                of.insert(0, format!("over {}", uses.join(" ")));
            }
            let tone = if offer.service() == Service::Other { Tone::Faint } else { Tone::Plain };
            let service = match offer.service() {
                Service::Other => offer.entry.media_type.to_string(),
                service => service.as_str().to_owned(),
            };
            table.row_in(tone, [offer.id.to_string(), service, of.join(", ")]);
        }
        self.table(&table)
    }

    /// PIDs with their prefixes: how many, and the first ones.
    pub fn network_map(&mut self, name: &str, map: &NetworkMap) -> io::Result<()> {
        /// A few of them tell which network it is; all of them are in --json.
        const SHOWN: usize = 4;
        let prefixes: usize = map.pids.values().map(|group| group.ipv4.len() + group.ipv6.len()).sum();
        let prefixes = format!("{} {}", count(prefixes), if prefixes == 1 { "prefix" } else { "prefixes" });
        self.title(name, &[counted(map.pids.len(), "PID"), prefixes], map.vtag.as_ref())?;
        let mut table = Table::new(&[("PID", Align::Left), ("IPV4", Align::Right), ("IPV6", Align::Right), ("PREFIXES", Align::Left)]);
        for (pid, group) in &map.pids {
            let all = group.ipv4.iter().chain(&group.ipv6);
            let mut first: Vec<_> = all.take(SHOWN).map(Prefix::to_string).collect();
            first.extend(group.other.iter().map(|(kind, addresses)| format!("{kind}: {}", count(addresses.len()))));
            if group.ipv4.len() + group.ipv6.len() > SHOWN {
                first.push("…".into());
            }
            let tone = if first.is_empty() { Tone::Faint } else { Tone::Plain };
            table.row_in(tone, [pid.to_string(), count(group.ipv4.len()), count(group.ipv6.len()), first.join(" ")]);
        }
        self.table(&table)
    }

    /// Costs between PIDs.
    pub fn cost_map(&mut self, name: &str, map: &CostMap) -> io::Result<()> {
        let names = |pids: &[alto::id::Pid]| pids.iter().map(ToString::to_string).collect();
        let first = map.tables.first().map(|(_, table)| table);
        let grid = Grid {
            sources: first.map(|table| names(&table.sources)).unwrap_or_default(),
            destinations: first.map(|table| names(&table.destinations)).unwrap_or_default(),
            tables: map.tables.iter().map(|(cost_type, table)| (cost_type, &*table.values)).collect(),
        };
        self.costs(name, map.vtag.as_ref(), &grid)
    }

    /// Costs between endpoints.
    pub fn endpoint_costs(&mut self, name: &str, costs: &EndpointCosts) -> io::Result<()> {
        let names = |addresses: &[alto::endpoint::Address]| addresses.iter().map(ToString::to_string).collect();
        let grid = Grid {
            sources: names(&costs.sources),
            destinations: names(&costs.destinations),
            tables: costs.tables.iter().map(|(cost_type, values)| (cost_type, &**values)).collect(),
        };
        self.costs(name, None, &grid)
    }

    /// Properties of endpoints, a column each.
    pub fn endpoint_properties(&mut self, name: &str, properties: &EndpointProperties) -> io::Result<()> {
        let mut names: Vec<_> = properties.endpoints.values().flat_map(|all| all.keys()).collect();
        names.sort();
        names.dedup();
        self.title(name, &[counted(properties.endpoints.len(), "endpoint")], None)?;
        let titles: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut columns = vec![("ENDPOINT", Align::Left)];
        columns.extend(titles.iter().map(|title| (title.as_str(), Align::Left)));
        let mut table = Table::new(&columns);
        for (endpoint, all) in &properties.endpoints {
            let values = names.iter().map(|name| all.get(*name).map_or("-", |value| &**value).to_owned());
            table.row(std::iter::once(endpoint.to_string()).chain(values));
        }
        self.table(&table)
    }

    fn costs(&mut self, name: &str, vtag: Option<&VersionTag>, grid: &Grid<'_>) -> io::Result<()> {
        let types: Vec<_> = grid.tables.iter().map(|(cost_type, _)| in_unit(cost_type)).collect();
        let shape = format!("{} × {}", count(grid.sources.len()), count(grid.destinations.len()));
        self.title(name, &[types.join(", "), shape], vtag)?;
        if grid.sources.is_empty() || grid.destinations.is_empty() {
            return self.line("no costs");
        }
        match grid.matrix(self.width) {
            Some(matrix) => matrix.write(self.out, self.paint, None),
            None => self.pairs(grid),
        }
    }

    /// Streams, since there may be a million pairs: widths come from the names, and from the longest cost found in a first pass.
    fn pairs(&mut self, grid: &Grid<'_>) -> io::Result<()> {
        let longest = |names: &[String], title: &str| names.iter().map(String::len).max().unwrap_or(0).max(title.len());
        let (from, to) = (longest(&grid.sources, "SOURCE"), longest(&grid.destinations, "DESTINATION"));
        let columns: Vec<_> = grid
            .tables
            .iter()
            .map(|(cost_type, values)| {
                let title = if grid.tables.len() == 1 { "COST".to_owned() } else { cost_type_name(cost_type).to_uppercase() };
                let widest = values.iter().map(|value| cost(*value).len()).max().unwrap_or(0).max(title.len());
                (title, widest, *values)
            })
            .collect();
        let mut head = format!("{:<from$}  {:<to$}", "SOURCE", "DESTINATION");
        for (title, width, _) in &columns {
            head.push_str(&format!("  {title:>width$}"));
        }
        self.line(&self.paint.dim(&head))?;
        for (row, source) in grid.sources.iter().enumerate() {
            for (column, destination) in grid.destinations.iter().enumerate() {
                let at = row * grid.destinations.len() + column;
                if columns.iter().all(|(_, _, values)| values[at].is_nan()) {
                    continue;
                }
                write!(self.out, "{source:<from$}  {destination:<to$}")?;
                for (_, width, values) in &columns {
                    write!(self.out, "  {:>width$}", cost(values[at]))?;
                }
                writeln!(self.out)?;
            }
        }
        Ok(())
    }

    /// What is above every document: its name, how much there is, which version; then an empty line.
    fn title(&mut self, name: &str, facts: &[String], vtag: Option<&VersionTag>) -> io::Result<()> {
        let mut line = self.paint.bold(&safe(name));
        for fact in facts.iter().filter(|fact| !fact.is_empty()) {
            line.push_str(&format!("  {}", safe(fact)));
        }
        self.line(&line)?;
        if let Some(vtag) = vtag {
            self.line(&self.paint.dim(&format!("tag {}", vtag.tag)))?;
        }
        self.line("")
    }

    fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    fn table(&mut self, table: &Table) -> io::Result<()> {
        table.write(self.out, self.paint, Some(self.width))
    }
}

impl Grid<'_> {
    /// `None` when it is wider than the page, or has several costs a cell, or a single row: that reads better downwards.
    fn matrix(&self, width: usize) -> Option<Table> {
        let [(_, values)] = self.tables[..] else { return None };
        // Every column takes three characters at the least: do not format a million costs to find that out.
        if self.destinations.len() * 3 > width || (self.sources.len() == 1 && self.destinations.len() > 1) {
            return None;
        }
        let mut columns = vec![("", Align::Left)];
        columns.extend(self.destinations.iter().map(|name| (name.as_str(), Align::Right)));
        let mut table = Table::new(&columns);
        for (source, row) in self.sources.iter().zip(values.chunks(self.destinations.len())) {
            table.row(std::iter::once(source.clone()).chain(row.iter().map(|value| cost(*value))));
        }
        (table.natural_width() <= width).then_some(table)
    }
}

/// What an offer is of, in few words.
fn what_of(offer: &Offer) -> Vec<String> {
    /// More names than this say less than their number.
    const NAMED: usize = 2;
    let mut of = Vec::new();
    let types = &offer.cost_types;
    if types.len() > NAMED {
        of.push(counted(types.len(), "cost type"));
    } else {
        of.extend(types.iter().map(cost_type_name));
    }
    if matches!(offer.service(), Service::UpdateStream | Service::Tips | Service::TransportQueues | Service::Subscription) {
        of.push(format!("updates of {}", counted(offer.entry.uses.len(), "resource")));
    }
    let capabilities = &offer.entry.capabilities;
    of.extend(capabilities.prop_types.iter().map(ToString::to_string));
    if capabilities.cost_constraints {
        of.push("constraints".into());
    }
    if capabilities.max_cost_types > 1 {
        of.push("multi-cost".into());
    }
    if capabilities.expires {
        of.push("with its expiry".into());
    }
    of
}

#[cfg(test)]
mod tests {
    use super::*;
    use alto::cost_map::CostTable;

    fn page(width: usize, write: impl FnOnce(&mut Page<'_, Vec<u8>>)) -> String {
        let mut out = Vec::new();
        write(&mut Page { out: &mut out, paint: Paint::PLAIN, width });
        String::from_utf8(out).unwrap()
    }

    fn costs(cost_type: &str, values: &[f64]) -> (CostType, CostTable) {
        let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
        let table = CostTable { sources: names(&["DE", "FR"]), destinations: names(&["DE", "FR", "UK"]), values: values.to_vec() };
        (CostType::numerical(cost_type.parse().unwrap()), table)
    }

    #[test]
    fn a_small_cost_map_is_a_matrix_and_a_wide_one_a_list() {
        let map =
            CostMap { dependent_vtags: Vec::new(), vtag: None, tables: vec![costs("routingcost", &[0.0, 13.0, f64::NAN, 13.0, 0.0, 2.5])] };
        assert_eq!(
            page(80, |page| page.cost_map("m", &map).unwrap()),
            "m  routingcost  2 × 3\n\n    DE  FR   UK\nDE   0  13    -\nFR  13   0  2.5\n"
        );
        assert_eq!(
            page(14, |page| page.cost_map("m", &map).unwrap()),
            "m  routingcost  2 × 3\n\n\
             SOURCE  DESTINATION  COST\nDE      DE              0\nDE      FR             13\n\
             FR      DE             13\nFR      FR              0\nFR      UK            2.5\n"
        );
    }

    #[test]
    fn several_cost_types_have_a_column_each() {
        let nan = f64::NAN;
        let map = CostMap {
            dependent_vtags: Vec::new(),
            vtag: None,
            tables: vec![costs("hopcount", &[0.0, 1.0, nan, nan, nan, nan]), costs("delay-ow", &[0.0, nan, nan, nan, nan, 1250.0])],
        };
        assert_eq!(
            page(80, |page| page.cost_map("m", &map).unwrap()),
            "m  hopcount, delay-ow in µs  2 × 3\n\nSOURCE  DESTINATION  HOPCOUNT  DELAY-OW\nDE      DE                  0         0\n\
             DE      FR                  1         -\nFR      UK                  -      1250\n"
        );
    }

    #[test]
    fn a_network_map_shows_how_many_and_the_first() {
        let prefixes = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Prefix>>();
        let mut map = NetworkMap { vtag: None, pids: Default::default() };
        let group = alto::network_map::AddressGroup {
            ipv4: prefixes(&["192.0.2.0/26", "192.0.2.64/26", "192.0.2.128/26", "192.0.2.192/26"]),
            ipv6: prefixes(&["2001:db8::/32"]),
            ..Default::default()
        };
        map.pids.insert("DE".parse().unwrap(), group);
        map.pids.insert("empty".parse().unwrap(), Default::default());
        assert_eq!(
            page(60, |page| page.network_map("n", &map).unwrap()),
            "n  2 PIDs  5 prefixes\n\nPID    IPV4  IPV6  PREFIXES\nDE        4     1  192.0.2.0/26 192.0.2.64/26 …\nempty     0     0\n"
        );
    }

    #[test]
    fn units() {
        for (metric, want) in [("routingcost", "routingcost"), ("delay-ow", "delay-ow in µs"), ("bw-available", "bw-available in bytes/s")]
        {
            assert_eq!(in_unit(&CostType::numerical(metric.parse().unwrap())), want);
        }
        assert_eq!(in_unit(&CostType::ordinal("delay-ow".parse().unwrap())), "delay-ow (ordinal)");
    }
}
