//! Why a cost is what it is, as a tree: where both ends are, the links of the way with their parts and the running total, the rules.
//!
//! Units: the metric's own. For a metric of widths (bandwidths, throughput) the running total is the least so far, for others the sum.
use super::view;
use crate::terminal::{Align, Paint, Table, safe};
use alto::cost::{CostType, Metric};
use client::{Explanation, Leg, Provenance, prefers_high};
use std::{
    io::{self, Write},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Writes it. `from` and `to` are the endpoints as the user calls them.
pub fn print(out: &mut impl Write, paint: Paint, e: &Explanation, from: &str, to: &str, now: SystemTime) -> io::Result<()> {
    let cost_type: Option<CostType> = e.metric.parse().ok().map(CostType::numerical);
    let unit = cost_type.as_ref().and_then(view::unit).map(|unit| format!(" {unit}")).unwrap_or_default();
    let total = match e.total {
        None => "no cost".to_owned(),
        total => paint.bold(&amount(total)) + &unit,
    };
    writeln!(out, "{}  {} {total}", paint.bold(&safe(to)), safe(&e.metric))?;
    let place = |end: &str, pid: &str, prefix: &str| format!("{} is in PID {} by {}", safe(end), paint.cyan(&safe(pid)), safe(prefix));
    branch(out, paint, &place(from, &e.source, &e.source_prefix))?;
    branch(out, paint, &place(to, &e.destination, &e.destination_prefix))?;
    if e.published {
        branch(out, paint, &format!("{} was published as a document: no path is known behind its costs", safe(&e.cost_map)))?;
    }
    for leg in &e.legs {
        leg_lines(out, paint, e, leg, now)?;
    }
    if !e.rules.is_empty() {
        branch(out, paint, &format!("{} before policy", amount(e.before_rules)))?;
    }
    for rule in &e.rules {
        branch(out, paint, &format!("rule {}: {}, gives {}", rule.rule, safe(&rule.text), amount(rule.after)))?;
    }
    last(out, paint, &format!("total {total}"))
}

/// Writes that one end is in no PID, so that nothing could have a cost.
pub fn print_no_pid(out: &mut impl Write, paint: Paint, metric: &Metric, to: &str, outside: &str) -> io::Result<()> {
    writeln!(out, "{}  {metric} no cost", paint.bold(&safe(to)))?;
    last(out, paint, &format!("{} is in no PID of the network map", safe(outside)))
}

fn leg_lines(out: &mut impl Write, paint: Paint, e: &Explanation, leg: &Leg, now: SystemTime) -> io::Result<()> {
    let way = format!("{} → {}", safe(&leg.source), safe(&leg.destination));
    let what = match leg.basis.as_str() {
        "measured" => {
            let by = leg.measured.as_ref().map(|by| format!(" by {}", provenance(paint, by, now))).unwrap_or_default();
            format!("{way}: {} measured{by}", amount(leg.cost))
        }
        "path" | "unknown" => {
            let hops = match leg.links.len() {
                1 => "1 link".to_owned(),
                n => format!("{n} links"),
            };
            let note = if leg.basis == "unknown" { ", one of them without a known value" } else { "" };
            format!("path of {hops}{note}: {}", paint.cyan(&leg.routers.iter().map(|router| safe(router)).collect::<Vec<_>>().join(" → ")))
        }
        "inside" => format!("both ends are inside PID {}: {}", safe(&leg.source), amount(leg.cost)),
        "no-path" => format!("no path {way}"),
        "no-router" => format!("no path {way}: one of the two is behind no known router"),
        other => format!("{way}: {} ({})", amount(leg.cost), safe(other)),
    };
    branch(out, paint, &what)?;
    if leg.links.is_empty() {
        return Ok(());
    }
    let metric: Option<CostType> = e.metric.parse().ok().map(CostType::numerical);
    let widths = metric.is_some_and(|metric| prefers_high(&metric));
    let mut table = Table::new(&[
        ("LINK", Align::Left),
        ("PART", Align::Right),
        (if widths { "LEAST" } else { "SUM" }, Align::Right),
        ("SOURCE", Align::Left),
    ]);
    let mut running: Option<f64> = Some(if widths { f64::INFINITY } else { 0.0 });
    for link in &leg.links {
        running = running.zip(link.contribution).map(|(so_far, part)| if widths { so_far.min(part) } else { so_far + part });
        let name = match &link.local_address {
            Some(address) if is_parallel(leg, link) => format!("{} → {} ({address})", link.from, link.to),
            _ => format!("{} → {}", link.from, link.to),
        };
        table.row([name, amount(link.contribution), amount(running), provenance(Paint::PLAIN, &link.source, now)]);
    }
    let mut text = Vec::new();
    table.write(&mut text, paint, None)?;
    for line in String::from_utf8_lossy(&text).lines() {
        writeln!(out, "{}    {line}", paint.dim("│"))?;
    }
    Ok(())
}

/// A leg does not say which parallel links it did not take; an address is worth its room only where names cannot tell links apart.
fn is_parallel(leg: &Leg, link: &client::LinkPart) -> bool {
    leg.links.iter().filter(|other| other.from == link.from && other.to == link.to).count() > 1
}

fn amount(value: Option<f64>) -> String {
    match value {
        // Sums of fractions grow tails of noise.
        Some(value) => view::cost((value * 1e6).round() / 1e6),
        None => "none".to_owned(),
    }
}

fn provenance(paint: Paint, source: &Provenance, now: SystemTime) -> String {
    let observed = UNIX_EPOCH + Duration::from_secs(source.observed_at);
    let age = now.duration_since(observed).unwrap_or_default();
    let mut text = format!("{}, {}", safe(&source.name), ago(age));
    if let Some(trouble) = &source.trouble {
        text.push_str(&paint.yellow(&format!(", stale: {}", safe(trouble))));
    }
    text
}

/// `4 s ago`: one unit, rounded down.
fn ago(age: Duration) -> String {
    match age.as_secs() {
        0 => "just now".to_owned(),
        s @ 1..120 => format!("{s} s ago"),
        s @ 120..7_200 => format!("{} min ago", s / 60),
        s @ 7_200..172_800 => format!("{} h ago", s / 3_600),
        s => format!("{} days ago", s / 86_400),
    }
}

fn branch(out: &mut impl Write, paint: Paint, text: &str) -> io::Result<()> {
    writeln!(out, "{} {text}", paint.dim("├─"))
}

fn last(out: &mut impl Write, paint: Paint, text: &str) -> io::Result<()> {
    writeln!(out, "{} {text}", paint.dim("└─"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> String {
        let explanation: Explanation = serde_json::from_str(json).unwrap();
        let mut out = Vec::new();
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        print(&mut out, Paint::PLAIN, &explanation, "192.0.2.1", "198.51.100.7", now).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_path_with_a_rule() {
        let got = text(
            r#"{"source-endpoint": "ipv4:192.0.2.1", "source-prefix": "192.0.2.0/24", "destination-endpoint": "ipv4:198.51.100.7",
                "destination-prefix": "198.51.100.0/22", "network-map": "network-map", "cost-map": "cost-map-routingcost", "published": false,
                "metric": "routingcost", "unit": "IGP weight", "source": "FR", "destination": "DE", "total": 54, "before-rules": 49,
                "legs": [{"source": "FR", "destination": "DE", "basis": "path", "cost": 49, "routers": ["FR", "CH", "DE"], "links": [
                    {"from": "FR", "to": "CH", "local-address": "10.0.0.1", "contribution": 13, "source": {"name": "ospf", "observed-at": 996, "trouble": null}},
                    {"from": "CH", "to": "DE", "contribution": 36, "source": {"name": "ospf", "observed-at": 100, "trouble": "cannot be read"}}], "measured": null}],
                "rules": [{"rule": 2, "text": "add 5 to FR -> *", "after": 54}], "a-new-member": 1}"#,
        );
        assert_eq!(
            got,
            "198.51.100.7  routingcost 54
├─ 192.0.2.1 is in PID FR by 192.0.2.0/24
├─ 198.51.100.7 is in PID DE by 198.51.100.0/22
├─ path of 2 links: FR → CH → DE
│    LINK     PART  SUM  SOURCE
│    FR → CH    13   13  ospf, 4 s ago
│    CH → DE    36   49  ospf, 15 min ago, stale: cannot be read
├─ 49 before policy
├─ rule 2: add 5 to FR -> *, gives 54
└─ total 54
"
        );
    }

    #[test]
    fn widths_take_the_least_and_documents_have_no_path() {
        let got = text(
            r#"{"metric": "bw-available", "source": "A", "destination": "B", "source-prefix": "p", "destination-prefix": "q", "total": 10,
                "legs": [{"basis": "path", "routers": ["A", "B"], "links": [{"from": "A", "to": "X", "contribution": 20}, {"from": "X", "to": "B", "contribution": 10}]}]}"#,
        );
        assert!(got.contains("X → B    10     10"), "{got}");
        let got = text(r#"{"metric": "routingcost", "published": true, "cost-map": "c", "total": 7}"#);
        assert!(got.contains("c was published as a document"), "{got}");
        let got = text(
            r#"{"metric": "delay-rt", "legs": [{"basis": "measured", "source": "A", "destination": "B", "cost": 5, "measured": {"name": "m", "observed-at": 1000}}]}"#,
        );
        assert!(got.contains("├─ A → B: 5 measured by m, just now\n"), "{got}");
        assert!(got.ends_with("└─ total no cost\n"), "{got}");
    }

    #[test]
    fn ages() {
        for (seconds, want) in [(0, "just now"), (119, "119 s ago"), (120, "2 min ago"), (7200, "2 h ago"), (200_000, "2 days ago")] {
            assert_eq!(ago(Duration::from_secs(seconds)), want);
        }
    }
}
