//! What is answered against what the RFCs define, pair by pair, over random maps and requests.
use super::{
    tests::{asks_the_same, costs, id, inputs, network},
    *,
};
use crate::costs::prefers_high;
use alto::patch::Kind;
use proptest::prelude::*;
use serde_json::{Value, json};

const PIDS: [&str; 5] = ["p0", "p1", "p2", "p3", "p4"];
const METRICS: [&str; 2] = ["routingcost", "bw-available"];

type Table = [Option<u16>; 25];

#[derive(Debug, Clone)]
struct Ask {
    /// Metric and mode of each cost type wanted.
    types: Vec<(usize, Mode)>,
    multi: bool,
    testable: Option<Vec<(usize, Mode)>>,
    /// Index, operator, target; an or of ands.
    constraints: Vec<Vec<(usize, &'static str, u16)>>,
    /// Places in `PIDS`; 5 is a PID that is not there.
    sources: Vec<usize>,
    destinations: Vec<usize>,
}

fn asks() -> impl Strategy<Value = Ask> {
    let types = |range| prop::collection::vec((0..2_usize, prop::sample::select(vec![Mode::Numerical, Mode::Ordinal])), range);
    let predicate = (0..3_usize, prop::sample::select(vec!["eq", "gt", "lt", "ge", "le"]), 0..12_u16);
    let constraints = prop::collection::vec(prop::collection::vec(predicate, 1..3), 0..3);
    let places = || prop::collection::vec(0..6_usize, 0..5);
    (types(1..4), any::<bool>(), prop::option::of(types(1..4)), constraints, places(), places()).prop_map(
        |(mut types, multi, testable, mut constraints, sources, destinations)| {
            if !multi {
                types.truncate(1);
            }
            let tested = testable.as_ref().map_or(types.len(), Vec::len);
            constraints.iter_mut().flatten().for_each(|(index, ..)| *index %= tested);
            Ask { types, multi, testable, constraints, sources, destinations }
        },
    )
}

fn cost_type((metric, mode): &(usize, Mode)) -> Value {
    json!({"cost-mode": mode.as_str(), "cost-metric": METRICS[*metric]})
}

impl Ask {
    fn body(&self, lists: (&str, Value)) -> Value {
        let mut body = json!({});
        if self.multi {
            body["multi-cost-types"] = self.types.iter().map(cost_type).collect();
        } else {
            body["cost-type"] = cost_type(&self.types[0]);
        }
        if let Some(testable) = &self.testable {
            body["testable-cost-types"] = testable.iter().map(cost_type).collect();
        }
        if !self.constraints.is_empty() {
            let text = |(index, op, value): &(usize, &str, u16)| format!("[{index}] {op} {value}");
            body["or-constraints"] = self.constraints.iter().map(|all| all.iter().map(text).collect::<Vec<_>>()).collect();
        }
        body[lists.0] = lists.1;
        body
    }

    /// The definition: each pair by itself. `pairs` are places in `PIDS` under the names that the answer uses.
    fn expected(&self, tables: &[Table; 2], sources: &[(String, usize)], destinations: &[(String, usize)]) -> Value {
        let entries: Vec<(usize, usize)> = sources.iter().flat_map(|(_, s)| destinations.iter().map(|(_, d)| (*s, *d))).collect();
        let cost = |(metric, mode): &(usize, Mode), source: usize, destination: usize| -> Option<f64> {
            let at = |(source, destination): &(usize, usize)| tables[*metric][source * 5 + destination];
            let cost = at(&(source, destination))?;
            if *mode == Mode::Numerical {
                return Some(cost.into());
            }
            let high = prefers_high(&METRICS[*metric].parse().unwrap());
            let better: BTreeSet<u16> =
                entries.iter().filter_map(at).filter(|other| if high { *other > cost } else { *other < cost }).collect();
            Some(better.len() as f64 + 1.0)
        };
        let tested = self.testable.as_ref().unwrap_or(&self.types);
        let holds = |source, destination| {
            let one = |(index, op, value): &(usize, &str, u16)| {
                let (Some(cost), value) = (cost(&tested[*index], source, destination), f64::from(*value)) else { return false };
                match *op {
                    "eq" => cost == value,
                    "gt" => cost > value,
                    "lt" => cost < value,
                    "ge" => cost >= value,
                    _ => cost <= value,
                }
            };
            self.constraints.is_empty() || self.constraints.iter().any(|all| all.iter().all(one))
        };
        let mut map = json!({});
        for (source_name, source) in sources {
            for (destination_name, destination) in destinations {
                let costs: Vec<Option<f64>> = self.types.iter().map(|kind| cost(kind, *source, *destination)).collect();
                if !holds(*source, *destination) || costs.iter().all(Option::is_none) {
                    continue;
                }
                let whole: Vec<Option<u64>> = costs.iter().map(|cost| cost.map(|cost| cost as u64)).collect();
                map[source_name][destination_name] = if self.multi { json!(whole) } else { json!(whole[0]) };
            }
        }
        map
    }
}

fn tables() -> impl Strategy<Value = [Table; 2]> {
    let table = || prop::array::uniform25(prop::option::weighted(0.8, 0..12_u16));
    [table(), table()]
}

fn guidance(tables: &[Table; 2]) -> Guidance {
    let prefixes = ["10.0.0.0/16", "10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16", "10.4.0.0/16"];
    let pids: Vec<(&str, &[&str])> = PIDS.iter().zip(prefixes.chunks(1)).map(|(pid, prefixes)| (*pid, prefixes)).collect();
    let table = |at: usize| {
        let values: Vec<f64> = tables[at].iter().map(|cost| cost.map_or(f64::NAN, f64::from)).collect();
        costs(Some("m"), CostType::numerical(METRICS[at].parse().unwrap()), &PIDS, &PIDS, &values)
    };
    Guidance::compose(&inputs([("m", network(&pids)), ("r", table(0)), ("w", table(1))]), None).unwrap()
}

fn answer(guidance: &Guidance, service: &str, body: &Value) -> Value {
    let client = "10.3.0.9".parse().unwrap();
    let answer = guidance.answer(&id(service), body.to_string().as_bytes(), client, &Limits::default()).unwrap();
    let canonical = guidance.canonical(&id(service), body.to_string().as_bytes(), client, &Limits::default()).unwrap();
    asks_the_same(guidance, service, &answer, &canonical);
    serde_json::from_slice(&answer.unwrap().body).unwrap()
}

proptest! {
    /// RFC 7285 sections 11.3.2.3, 11.3.2.6 and 6.2, RFC 8189 section 4.1.
    #[test]
    fn filtered_cost_maps_are_as_defined(tables in tables(), ask in asks()) {
        let names = |places: &[usize]| places.iter().map(|at| PIDS.get(*at).copied().unwrap_or("stranger")).collect::<Vec<_>>();
        let pids = |places: &[usize]| -> Vec<(String, usize)> {
            let wanted = |at: &usize| places.is_empty() || places.contains(at);
            (0..5).filter(wanted).map(|at| (PIDS[at].to_owned(), at)).collect()
        };
        let body = ask.body(("pids", json!({"srcs": names(&ask.sources), "dsts": names(&ask.destinations)})));
        let got = answer(&guidance(&tables), "filtered-cost-map", &body);
        prop_assert_eq!(&got["cost-map"], &ask.expected(&tables, &pids(&ask.sources), &pids(&ask.destinations)), "{}", body);
    }

    /// RFC 7285 sections 11.5.1.3, 11.5.1.6 and 6.2, RFC 8189 section 4.2. Two addresses of one PID are two entries.
    #[test]
    fn endpoint_costs_are_as_defined(tables in tables(), ask in asks(), twins in any::<bool>()) {
        let client = ("ipv4:10.3.0.9".to_owned(), 3);
        let list = |places: &[usize]| -> Vec<(String, usize)> {
            let mut list: Vec<(String, usize)> = Vec::new();
            for at in places {
                for host in 0..=u8::from(twins) {
                    let name = (format!("ipv4:10.{at}.0.{host}"), *at);
                    if !list.contains(&name) {
                        list.push(name);
                    }
                }
            }
            list
        };
        let (sources, mut destinations) = (list(&ask.sources), list(&ask.destinations));
        if sources.is_empty() && destinations.is_empty() {
            // Section 11.5.1.3: not both.
            destinations = list(&[1]);
        }
        let names = |list: &[(String, usize)]| list.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        let body = ask.body(("endpoints", json!({"srcs": names(&sources), "dsts": names(&destinations)})));
        // 10.5.0.0 is in no PID.
        let known = |list: Vec<(String, usize)>| -> Vec<(String, usize)> {
            if list.is_empty() { vec![client.clone()] } else { list.into_iter().filter(|(_, at)| *at < 5).collect() }
        };
        let got = answer(&guidance(&tables), "endpoint-cost", &body);
        prop_assert_eq!(&got["endpoint-cost-map"], &ask.expected(&tables, &known(sources), &known(destinations)), "{}", body);
    }

    /// The change of a resource leads from the document of one version to that of the next (RFC 7396, RFC 6902); prefixes move, PIDs
    /// come and go, costs change.
    #[test]
    fn changes_lead_from_document_to_document(
        old in tables(),
        changes in prop::collection::vec((0..2_usize, 0..25_usize, prop::option::of(0..12_u16)), 0..40),
        places in prop::collection::vec(0..6_usize, 10),
    ) {
        let mut new = old;
        changes.into_iter().for_each(|(metric, place, cost)| new[metric][place] = cost);
        let versions = [(old, &places[..5]), (new, &places[5..])].map(|(tables, places)| {
            // Place 5: this prefix is in no PID.
            let prefixes = ["10.0.0.0/16", "10.1.0.0/16", "2001:db8::/32", "10.3.0.0/16", "private"];
            let of = |pid: usize| -> Vec<&str> { (0..5).filter(|prefix| places[*prefix] == pid).map(|prefix| prefixes[prefix]).collect() };
            let groups: Vec<(&str, Vec<&str>)> =
                (0..5).map(|pid| (PIDS[pid], of(pid))).filter(|(_, prefixes)| !prefixes.is_empty() || places[0] == 0).collect();
            let groups: Vec<(&str, &[&str])> = groups.iter().map(|(pid, prefixes)| (*pid, &prefixes[..])).collect();
            let pids: Vec<&str> = groups.iter().map(|(pid, _)| *pid).collect();
            let at = |pid: &str| PIDS.iter().position(|known| *known == pid).unwrap();
            let table = |metric: usize| {
                let cost = |from: &&str, to: &&str| tables[metric][at(from) * 5 + at(to)].map_or(f64::NAN, f64::from);
                let values: Vec<f64> = pids.iter().flat_map(|from| pids.iter().map(move |to| cost(from, to))).collect();
                costs(Some("m"), CostType::numerical(METRICS[metric].parse().unwrap()), &pids, &pids, &values)
            };
            Guidance::compose(&inputs([("m", network(&groups)), ("r", table(0)), ("w", table(1))]), None).unwrap()
        });
        let [old, new] = &versions;
        for (before, after) in old.resources().flat_map(|old| new.resources().map(move |new| (old, new))).filter(|(old, new)| old.id() == new.id()) {
            let (from, to) = (before.render().body, after.render().body);
            let patches = diff(before, after);
            prop_assert!(patches.merge.is_some(), "maps have no null");
            for (kind, patch) in [(Kind::Merge, patches.merge), (Kind::Json, patches.json)] {
                let Some(patch) = patch else { continue };
                let got = alto::patch::apply(kind, &from, &patch, &alto::Limits::default()).unwrap();
                let value = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap();
                prop_assert_eq!(value(&got), value(&to), "{:?} {}", kind, String::from_utf8_lossy(&patch));
            }
        }
    }
}
