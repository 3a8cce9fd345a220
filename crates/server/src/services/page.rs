//! What a browser gets at `/`: the default network's costs as a picture, the resources, what to try. No script, nothing from elsewhere.
//!
//! It is made for every name a client calls us by, so its size has a bound: see [`PIDS_SHOWN_MAX`] and `Limits::directories_max`.
use super::HTML;
use crate::{
    representation::{Representation, Varies},
    view::View,
};
use alto::{
    cost::{Mode, ROUTINGCOST},
    id::Tag,
};
use maps::guidance::{CostView, NetworkView, Resource, Service};
use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr},
};

/// A picture of more rows and columns is too wide to look at, and 64 × 64 are 100 kB already.
const PIDS_SHOWN_MAX: usize = 64;

/// Of more PIDs it is not even asked who has costs, and of a PID no more prefixes are looked at: whoever calls us by a new name has a page
/// made, which must stay cheap.
const PIDS_SEARCHED_MAX: usize = 4 * PIDS_SHOWN_MAX;
const PREFIXES_SEARCHED_MAX: usize = 256;

/// Shades of the picture, from what costs nothing to the dearest.
const SHADES: usize = 8;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:76rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
table{border-collapse:collapse;font-size:.9rem}.list{width:100%}.list td,.list th{text-align:left;padding:.3rem 1rem .3rem 0;
border-bottom:1px solid #8884;white-space:nowrap}.list .n{text-align:right}code,pre{font-family:ui-monospace,monospace;font-size:.9em}
pre{background:#8882;padding:.8rem;overflow:auto}.wide{overflow-x:auto}footer{margin-top:2rem;font-size:.8rem}
.costs{font-size:.65rem;line-height:1.1}.costs th{font-weight:600;padding:.1rem .3rem;text-align:right;white-space:nowrap}
.costs thead th{vertical-align:bottom;text-align:left;writing-mode:vertical-rl;transform:rotate(180deg);padding:.3rem .1rem}
.costs td{padding:.2rem;min-width:1.2rem;text-align:center;border:1px solid #8882}.costs tr:hover>*{outline:1px solid #888}
.a{background:#e601}.b{background:#e602}.c{background:#e603}.d{background:#e604}.e{background:#e605}.f{background:#e607}.g{background:#e608}.h{background:#e60a}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}a{color:#8bf}}";

pub(super) fn html(view: &View, base_url: &str, credits: &[(String, String)]) -> Representation {
    let guidance = &view.snapshot.guidance;
    let base = escape(base_url);
    let mut body = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>ALTO server</title>\n<style>{STYLE}</style>\n\
         <h1>ALTO server</h1>\n<p>It says which parts of a network are near to each other and at what cost, by \
         <a href=\"https://www.rfc-editor.org/rfc/rfc7285\">RFC 7285</a>. Programs start at \
         <a href=\"{base}/directory\">{base}/directory</a>.\n"
    );
    let network = guidance.network_maps().next();
    let costs = network.and_then(|network| Costs::of(network, guidance.resources()));
    if let Some(network) = network {
        let prefixes: usize = network.map().pids.values().map(|group| group.ipv4.len() + group.ipv6.len()).sum();
        let groups = count(network.pids.len());
        let _ = writeln!(body, "<h2>Network</h2>\n<p>{groups} groups of addresses (PIDs), {} prefixes.", count(prefixes));
    }
    if let Some(costs) = &costs {
        costs.picture(&mut body);
    }
    resources(&mut body, view, base_url);
    let _ = write!(body, "<h2>Try it</h2>\n<pre>curl {base}/directory\naltocast get --server {base}");
    if let Some((network, costs)) = network.zip(costs) {
        let _ = write!(body, "\naltocast rank --server {base}");
        let metric = costs.view.cost_type.metric.as_str();
        if metric != ROUTINGCOST {
            let _ = write!(body, " --metric {}", escape(metric));
        }
        let addresses = costs.examples(network);
        let addresses = if addresses.len() < 3 { "ADDRESS ADDRESS ADDRESS".to_owned() } else { addresses.join(" ") };
        let _ = write!(body, " --src {addresses}");
    }
    body.push_str("</pre>\n");
    if !credits.is_empty() {
        body.push_str("<footer>");
        for (text, url) in credits {
            let _ = writeln!(body, "<div><a href=\"{}\">{}</a></div>", escape(url), escape(text));
        }
        body.push_str("</footer>\n");
    }
    body.push_str("</html>\n");
    let tag = Tag::of_content(&[body.as_bytes()]);
    Representation::new(HTML, Varies::CodingAndType, tag.as_str(), view.modified.clone(), body.into_bytes().into())
}

/// The costs to show of a network, and between whom there are any: nobody when there are too many to look.
struct Costs<'g> {
    view: &'g CostView,
    rows: Vec<usize>,
    columns: Vec<usize>,
}

impl<'g> Costs<'g> {
    /// The numerical routingcost, else the first there is.
    fn of(network: &NetworkView, resources: impl Iterator<Item = &'g Resource>) -> Option<Self> {
        let over = resources.filter_map(|resource| match resource {
            Resource::Cost(view) if view.network_map.resource_id == network.id && view.cost_type.mode == Mode::Numerical => Some(&**view),
            _ => None,
        });
        let view = over.min_by_key(|view| view.cost_type.metric.as_str() != ROUTINGCOST)?;
        let table = &*view.table;
        let columns = table.destinations.len();
        if table.sources.len().max(columns) > PIDS_SEARCHED_MAX {
            return Some(Self { view, rows: Vec::new(), columns: Vec::new() });
        }
        let rows: Vec<usize> = (0..table.sources.len()).filter(|row| (0..columns).any(|column| !table.at(*row, column).is_nan())).collect();
        let columns = (0..columns).filter(|column| rows.iter().any(|row| !table.at(*row, *column).is_nan())).collect();
        Some(Self { view, rows, columns })
    }

    /// A table whose cells are coloured the more they cost; nothing when it would be too large.
    fn picture(&self, body: &mut String) {
        let table = &*self.view.table;
        if self.rows.is_empty() || self.rows.len() > PIDS_SHOWN_MAX || self.columns.len() > PIDS_SHOWN_MAX {
            return;
        }
        let metric = self.view.cost_type.metric.as_str();
        // RFC 9439 has delays in microseconds, too many digits for a cell.
        let (unit, divisor) = if metric.starts_with("delay-") { (" in milliseconds", 1000.0) } else { ("", 1.0) };
        let _ = writeln!(
            body,
            "The {}{unit} from each row to each column, the stronger the colour the more; empty is unknown or no path:</p>\n\
             <div class=\"wide\"><table class=\"costs\"><thead><tr><th>",
            escape(metric)
        );
        for column in &self.columns {
            let _ = write!(body, "<th>{}", escape(table.destinations[*column].as_str()));
        }
        body.push_str("<tbody>\n");
        let mut sorted: Vec<f64> = table.values.iter().copied().filter(|value| *value > 0.0).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        for row in &self.rows {
            let _ = write!(body, "<tr><th>{}", escape(table.sources[*row].as_str()));
            for column in &self.columns {
                let value = table.at(*row, *column);
                if value.is_nan() {
                    body.push_str("<td>");
                } else if value > 0.0 {
                    let shade = char::from(b'a' + shade(&sorted, value));
                    let shown = value / divisor;
                    let digits = usize::from(shown.fract() != 0.0 && shown < 100.0);
                    let _ = write!(body, "<td class={shade}>{shown:.digits$}");
                } else {
                    body.push_str("<td>0");
                }
            }
            body.push('\n');
        }
        body.push_str("</table></div>\n");
    }

    /// A source and some to choose from, each of another PID, for a command that can be copied.
    fn examples(&self, network: &NetworkView) -> Vec<String> {
        const ADDRESSES: usize = 4;
        let mut found: Vec<(IpAddr, u8)> = Vec::new();
        for row in &self.rows {
            let Some(group) = network.map().pids.get(&self.view.table.sources[*row]) else { continue };
            // The first of a shortest prefix is the least likely to be in another PID by a longer one.
            let usable = group.ipv4.iter().take(PREFIXES_SEARCHED_MAX).filter(|prefix| (8..=30).contains(&prefix.length()));
            if let Some(prefix) = usable.min_by_key(|prefix| prefix.length())
                && let IpAddr::V4(first) = prefix.address()
            {
                found.push((Ipv4Addr::from(u32::from(first) + 1).into(), prefix.length()));
            }
        }
        // Large ones are the better known.
        found.sort_by_key(|(_, length)| *length);
        found.into_iter().take(ADDRESSES).map(|(address, _)| address.to_string()).collect()
    }
}

/// By its place among all costs, so that one dear link does not leave the others alike.
fn shade(sorted: &[f64], value: f64) -> u8 {
    let below = sorted.partition_point(|other| *other < value);
    u8::try_from(below * SHADES / sorted.len().max(1)).unwrap_or(0).min(SHADES as u8 - 1)
}

fn resources(body: &mut String, view: &View, base_url: &str) {
    let guidance = &view.snapshot.guidance;
    let directory = guidance.directory(base_url);
    body.push_str(
        "<h2>Resources</h2>\n<div class=\"wide\"><table class=\"list\"><tr><th>Resource<th>What it is<th>Cost types\
         <th class=\"n\">Version<th class=\"n\">Bytes\n",
    );
    for (id, service) in guidance.services() {
        let Some(entry) = directory.resources.get(id) else { continue };
        let what = match service {
            Service::Get(Resource::Network(_)) => "network map",
            Service::Get(Resource::Cost(_)) => "cost map",
            Service::FilteredNetworkMap(_) => "filtered network map, POST",
            Service::FilteredCostMap(_) => "filtered cost map, POST",
            Service::EndpointProperties => "endpoint properties, POST",
            Service::EndpointCost(_) => "endpoint costs, POST",
        };
        let name = match entry.accepts {
            None => format!("<a href=\"{}\">{}</a>", escape(&entry.uri), escape(id.as_str())),
            Some(_) => escape(id.as_str()),
        };
        let costs = match &entry.capabilities.cost_type_names[..] {
            all @ ([] | [_] | [_, _]) => escape(&all.join(", ")),
            all => format!("<span title=\"{}\">{} cost types</span>", escape(&all.join(", ")), all.len()),
        };
        let version = view.snapshot.versions.get(id);
        let seq = version.map_or_else(String::new, |version| version.seq.to_string());
        let bytes = version.map_or_else(String::new, |version| count(version.body.len()));
        let _ = writeln!(body, "<tr><td>{name}<td>{what}<td>{costs}<td class=\"n\">{seq}<td class=\"n\">{bytes}");
    }
    for announced in &view.expiring {
        let (get, post) = (escape(announced.get.as_str()), escape(announced.post.as_str()));
        let uri = escape(&format!("{base_url}/resources/{}", announced.get));
        let _ = writeln!(body, "<tr><td><a href=\"{uri}\">{get}</a><td>network map with its expiry<td><td><td>");
        let _ = writeln!(body, "<tr><td>{post}<td>filtered network map with its expiry, POST<td><td><td>");
    }
    body.push_str("</table></div>\n");
}

/// `1,234,567`.
fn count(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_escaped() {
        assert_eq!(escape("<a href=\"x\">&'"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;");
    }

    #[test]
    fn shades_go_by_place_among_the_costs() {
        let sorted = [1.0, 2.0, 2.0, 3.0, 4.0, 5.0, 6.0, 1000.0];
        for (value, want) in [(1.0, 0), (2.0, 1), (3.0, 3), (1000.0, 7)] {
            assert_eq!(shade(&sorted, value), want, "{value}");
        }
        assert_eq!(shade(&[], 1.0), 0);
    }

    #[test]
    fn counts_have_commas() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    }
}
