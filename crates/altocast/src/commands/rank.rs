//! `altocast rank`: endpoints in order of cost, and with `--explain` why the best is the best.
use super::{
    endpoints::{Endpoint, expand},
    explain,
    reach::{AdminListener, Cache, Server, explained, explained_admin, note_expired, usage},
    view,
};
use crate::terminal::{self, Align, Paint, Table, Tone};
use alto::{
    cost::{Metric, Mode},
    endpoint::Address,
};
use client::{Answerer, Explanation, Ranked, Ranking};
use std::{
    collections::HashMap,
    io::{self, Write},
    process::ExitCode,
    time::SystemTime,
};

/// Say which of some endpoints is nearest: list them in order of cost
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  altocast rank --src 192.0.2.1 198.51.100.7 203.0.113.9
  altocast rank --src 192.0.2.1 --metric delay-ow --explain @mirrors.txt
  list-peers | altocast rank --src 192.0.2.1 - --json")]
pub struct Args {
    /// From where
    #[arg(long, value_name = "ADDR")]
    pub src: Endpoint,
    /// To where: addresses, `@FILE` with addresses in it, or `-` for standard input
    #[arg(required = true, value_name = "DST")]
    pub destinations: Vec<String>,
    /// What to rank by
    #[arg(long, value_name = "METRIC", default_value = alto::cost::ROUTINGCOST)]
    pub metric: Metric,
    /// Show why the best has its cost, or why there is none: PIDs, path, each link's part, policy, sources (asks the admin listener)
    #[arg(long)]
    pub explain: bool,
    /// With --explain: explain every destination
    #[arg(short, long, requires = "explain")]
    pub verbose: bool,
    /// Print the ranking as JSON
    #[arg(long)]
    pub json: bool,
    /// See there.
    #[command(flatten)]
    pub server: Server,
    /// See there.
    #[command(flatten)]
    pub cache: Cache,
    /// See there.
    #[command(flatten)]
    pub admin: AdminListener,
}

/// Runs it.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    terminal::forgive_closed_pipe(rank(args).await)
}

async fn rank(args: Args) -> anyhow::Result<ExitCode> {
    let destinations = match expand(&args.destinations) {
        Ok(destinations) if destinations.is_empty() => return Ok(usage("there is no destination in what was given")),
        Ok(destinations) => destinations,
        Err(error) => return Ok(usage(&format!("{error:#}"))),
    };
    let client = match args.server.client_with(&args.cache) {
        Ok(client) => client,
        Err(error) => return Ok(usage(&error.to_string())),
    };
    let addresses: Vec<_> = destinations.iter().map(|endpoint| endpoint.address.clone()).collect();
    let ranking = client.rank(&args.src.address, &addresses, &args.metric).await.map_err(explained)?;
    note_expired(ranking.freshness);
    // The ranking is worth printing even when nobody can explain it.
    let (explanations, unexplained) = match if args.explain { explanations(&args, &ranking).await } else { Ok(Vec::new()) } {
        Ok(explanations) => (explanations, None),
        Err(error) => (Vec::new(), Some(error.context("no explanation"))),
    };
    // The first name an address was given stays.
    let mut names = HashMap::new();
    for endpoint in &destinations {
        names.entry(&endpoint.address).or_insert(endpoint.text.as_str());
    }
    if args.json {
        let text = json(&ranking, &explanations).to_string();
        terminal::print(|out| writeln!(out, "{text}"))?;
    } else {
        let now = SystemTime::now();
        terminal::print(|out| print(out, Paint::stdout(), &args.src.text, &ranking, &names, &explanations, now))?;
    }
    match unexplained {
        Some(error) => Err(error),
        None if ranking.ranked.is_empty() => anyhow::bail!("the server has no {} from {} to any of them", args.metric, args.src.text),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Why: in the order of the ranking, then of what has no cost.
type Explanations = Vec<(Address, Explained)>;

/// An endpoint in no PID has nothing to explain but that.
enum Explained {
    Cost(Box<Explanation>),
    NoPid(String),
}

async fn explanations(args: &Args, ranking: &Ranking) -> anyhow::Result<Explanations> {
    let admin = args.server.transport.admin(&args.admin).map_err(explained_admin)?;
    let all = ranking.ranked.iter().map(|one| &one.destination).chain(&ranking.unranked);
    let wanted = if args.verbose { usize::MAX } else { 1 };
    let mut explanations = Vec::new();
    for destination in all.take(wanted) {
        let explained = match admin.explain(&args.src.address, destination, &args.metric).await {
            Ok(explanation) => Explained::Cost(Box::new(explanation)),
            Err(error) => match outside(&error) {
                Some("src") => Explained::NoPid(args.src.address.to_string()),
                Some("dst") => Explained::NoPid(destination.to_string()),
                _ => return Err(explained_admin(error)),
            },
        };
        explanations.push((destination.clone(), explained));
    }
    Ok(explanations)
}

/// Which end the server found in no PID.
fn outside(error: &client::Error) -> Option<&str> {
    match error {
        client::Error::Refused { error, .. } => error.field.as_deref(),
        _ => None,
    }
}

/// Places in the ranking: equal costs share one, the next has the place it would have had anyway (1, 1, 3).
fn places(ranked: &[Ranked]) -> Vec<usize> {
    let mut places: Vec<usize> = Vec::with_capacity(ranked.len());
    for (at, one) in ranked.iter().enumerate() {
        let tied = at > 0 && ranked[at - 1].cost == one.cost;
        places.push(if tied { places[at - 1] } else { at + 1 });
    }
    places
}

fn json(ranking: &Ranking, explanations: &[(Address, Explained)]) -> serde_json::Value {
    let why = |explained: &Explained| match explained {
        Explained::Cost(explanation) => serde_json::to_value(explanation).unwrap_or_default(),
        Explained::NoPid(endpoint) => serde_json::json!({ "in-no-pid": endpoint }),
    };
    let ranked = places(&ranking.ranked).into_iter().zip(&ranking.ranked).enumerate().map(|(at, (place, one))| {
        // Costs that are whole are written as the wire has them, without a fraction.
        let cost =
            if one.cost.fract() == 0.0 && one.cost < 9e15 { serde_json::json!(one.cost as u64) } else { serde_json::json!(one.cost) };
        let mut entry = serde_json::json!({ "rank": place, "endpoint": one.destination, "cost": cost });
        if let Some((_, explained)) = explanations.get(at) {
            entry["explanation"] = why(explained);
        }
        entry
    });
    let mut text = serde_json::json!({
        "source": ranking.source,
        "cost-type": { "cost-mode": ranking.cost_type.mode, "cost-metric": ranking.cost_type.metric },
        "ranking": ranked.collect::<Vec<_>>(),
        "unranked": ranking.unranked,
    });
    let rest = explanations.iter().skip(ranking.ranked.len());
    let rest: serde_json::Map<_, _> = rest.map(|(address, explained)| (address.to_string(), why(explained))).collect();
    if !rest.is_empty() {
        text["unranked-explanations"] = rest.into();
    }
    text
}

fn print(
    out: &mut impl Write,
    paint: Paint,
    source: &str,
    ranking: &Ranking,
    names: &HashMap<&Address, &str>,
    explanations: &[(Address, Explained)],
    now: SystemTime,
) -> io::Result<()> {
    let name = |address: &Address| names.get(address).map_or_else(|| address.to_string(), |text| (*text).to_owned());
    let mut title = ranking.cost_type.metric.as_str().to_uppercase();
    if let Some(unit) = view::unit(&ranking.cost_type) {
        title.push_str(&format!(" ({unit})"));
    }
    if ranking.cost_type.mode == Mode::Ordinal {
        title.push_str(" (ordinal)");
    }
    let mut table = Table::new(&[("", Align::Right), (&title, Align::Right), ("DESTINATION", Align::Left)]);
    for (place, one) in places(&ranking.ranked).into_iter().zip(&ranking.ranked) {
        // With several that tie for the first place none stands out.
        let best = place == 1 && ranking.ranked.get(1).is_none_or(|second| second.cost != one.cost);
        let tone = if best && ranking.ranked.len() > 1 { Tone::Best } else { Tone::Plain };
        table.row_in(tone, [place.to_string(), view::cost(one.cost), name(&one.destination)]);
    }
    for address in &ranking.unranked {
        table.row_in(Tone::Faint, ["-".to_owned(), "no cost".to_owned(), name(address)]);
    }
    table.write(out, paint, None)?;
    if let Answerer::Maps { network_map, cost_map } = &ranking.by {
        writeln!(
            out,
            "{}",
            paint.dim(&format!("worked out here from {network_map} and {cost_map}: the server has no endpoint cost service"))
        )?;
    }
    for (at, (destination, explained)) in explanations.iter().enumerate() {
        writeln!(out)?;
        let explanation = match explained {
            Explained::Cost(explanation) => explanation,
            Explained::NoPid(endpoint) => {
                let endpoint = if *endpoint == ranking.source.to_string() { source.to_owned() } else { name(destination) };
                explain::print_no_pid(out, paint, &ranking.cost_type.metric, &name(destination), &endpoint)?;
                continue;
            }
        };
        explain::print(out, paint, explanation, source, &name(destination), now)?;
        if let (Some(served), Mode::Numerical) = (explanation.served, ranking.cost_type.mode) {
            writeln!(out, "served is {served}: the server keeps small changes of this metric to itself")?;
        }
        if explanation.served.or(explanation.total) != ranking.ranked.get(at).map(|one| one.cost)
            && ranking.cost_type.mode == Mode::Numerical
        {
            writeln!(out, "{}", paint.yellow("the maps changed between the ranking and this explanation"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alto::cost::CostType;

    fn ranking() -> Ranking {
        let address = |text: &str| text.parse::<Address>().unwrap();
        let ranked = |text: &str, cost: f64| Ranked { destination: address(text), cost };
        Ranking {
            source: address("ipv4:192.0.2.1"),
            cost_type: CostType::numerical("delay-ow".parse().unwrap()),
            ranked: vec![
                ranked("ipv4:198.51.100.7", 800.0),
                ranked("ipv4:198.51.100.8", 1250.5),
                ranked("ipv6:2001:db8::1", 1250.5),
                ranked("ipv4:198.51.100.9", 7000.0),
            ],
            unranked: vec![address("priv:x")],
            by: Answerer::EndpointCost("endpoint-cost".parse().unwrap()),
            freshness: client::Freshness::Confirmed,
        }
    }

    #[test]
    fn ties_share_a_place_and_names_stay_as_given() {
        let ranking = ranking();
        let first = ranking.ranked[0].destination.clone();
        let names = HashMap::from([(&first, "198.51.100.7")]);
        let mut out = Vec::new();
        print(&mut out, Paint::PLAIN, "192.0.2.1", &ranking, &names, &[], SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "   DELAY-OW (µs)  DESTINATION
1            800  198.51.100.7
2         1250.5  ipv4:198.51.100.8
2         1250.5  ipv6:2001:db8::1
4           7000  ipv4:198.51.100.9
-        no cost  priv:x
"
        );
    }

    #[test]
    fn json_for_programs() {
        assert_eq!(
            json(&ranking(), &[]).to_string(),
            r#"{"cost-type":{"cost-metric":"delay-ow","cost-mode":"numerical"},"ranking":[{"cost":800,"endpoint":"ipv4:198.51.100.7","rank":1},{"cost":1250.5,"endpoint":"ipv4:198.51.100.8","rank":2},{"cost":1250.5,"endpoint":"ipv6:2001:db8::1","rank":2},{"cost":7000,"endpoint":"ipv4:198.51.100.9","rank":4}],"source":"ipv4:192.0.2.1","unranked":["priv:x"]}"#
        );
    }
}
