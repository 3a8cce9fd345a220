//! MB/s on one core between a matrix of a million costs and its JSON, medians; `serde_json` in the same run.
//!
//! `cargo bench -p alto --bench cost_map`. Targets: writing 400 MB/s, reading 250 MB/s.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]
use alto::{
    cost::{CostType, Metric},
    cost_map::{CostMap, CostTable, Part, write_body},
    id::{Pid, VersionTag},
};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    hint::black_box,
    sync::Arc,
    time::Instant,
};

const PIDS: usize = 1000;
const RUNS: usize = 15;

fn main() {
    println!("{PIDS} x {PIDS} costs, medians of {RUNS} runs");
    println!("{:<44} {:>10} {:>10}", "work", "MB/s", "ns/cost");
    for (what, cost) in [
        ("integers", &(|n: u64| (1 + n % 5000) as f64) as &dyn Fn(u64) -> f64),
        ("three decimals", &|n| (n % 90_000_000) as f64 / 1000.0),
        ("sixteen digits", &|n| (n >> 11) as f64 / (1u64 << 40) as f64),
    ] {
        bench(what, &matrix(cost, false));
    }
    bench("integers, names shuffled each row", &matrix(&|n| (1 + n % 5000) as f64, false).shuffled());
    bench("integers, every tenth missing", &matrix(&|n| (1 + n % 5000) as f64, true));
}

struct Sample {
    map: CostMap,
    /// As read; without it, what the map writes.
    text: Option<Vec<u8>>,
}

fn matrix(cost: &dyn Fn(u64) -> f64, sparse: bool) -> Sample {
    let pids: Arc<[Pid]> = (0..PIDS).map(|n| format!("pid-{n:04}").parse().expect("a PID name")).collect();
    // xorshift: the same numbers on every run.
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let values = (0..PIDS * PIDS).map(|_| if sparse && next() % 10 == 0 { f64::NAN } else { cost(next()) }).collect();
    let network_map = VersionTag { resource_id: "network-map".parse().expect("an id"), tag: "0123456789abcdef".parse().expect("a tag") };
    let table = CostTable { sources: pids.clone(), destinations: pids, values };
    Sample {
        map: CostMap { dependent_vtags: vec![network_map], vtag: None, tables: vec![(CostType::numerical(Metric::routingcost()), table)] },
        text: None,
    }
}

impl Sample {
    /// The same costs, each row in another order: no name can be guessed.
    fn shuffled(mut self) -> Self {
        let (_, table) = &self.map.tables[0];
        let mut text = br#"{"meta":{"dependent-vtags":[{"resource-id":"n","tag":"t"}],"cost-type":{"cost-mode":"numerical","cost-metric":"routingcost"}},"cost-map":{"#.to_vec();
        for row in 0..PIDS {
            text.extend_from_slice(if row > 0 { b"," } else { b"" });
            text.extend_from_slice(format!("\"{}\":{{", table.sources[row]).as_bytes());
            for step in 0..PIDS {
                // A stride coprime to the number of names, another in each row.
                let column = (step * (2 * row + 3 + 2 * usize::from((2 * row + 3) % 5 == 0)) + row) % PIDS;
                text.extend_from_slice(if step > 0 { b"," } else { b"" });
                text.extend_from_slice(format!("\"{}\":{}", table.destinations[column], table.at(row, column)).as_bytes());
            }
            text.push(b'}');
        }
        text.extend_from_slice(b"}}");
        self.text = Some(text);
        self
    }
}

fn bench(what: &str, sample: &Sample) {
    let (cost_type, table) = &sample.map.tables[0];
    let costs = table.values.iter().filter(|cost| !cost.is_nan()).count();
    let text = sample.text.clone().unwrap_or_else(|| sample.map.to_json());
    if sample.text.is_none() {
        let mut out = Vec::new();
        report(&format!("write, {what}"), text.len(), costs, || {
            out.clear();
            write_body(&mut out, &sample.map.dependent_vtags, None, cost_type, table, Part::default(), |_, _, _| true);
            black_box(&out);
        });
        let maps: BTreeMap<&str, BTreeMap<&str, f64>> = table
            .sources
            .iter()
            .enumerate()
            .map(|(row, source)| {
                let row = table.destinations.iter().zip(table.row(row)).filter(|(_, cost)| !cost.is_nan());
                (source.as_str(), row.map(|(pid, &cost)| (pid.as_str(), cost)).collect())
            })
            .collect();
        let length = serde_json::to_vec(&maps).expect("maps of numbers").len();
        report(&format!("  serde_json from maps, {what}"), length, costs, || {
            black_box(serde_json::to_vec(&maps).expect("maps of numbers"));
        });
    }
    assert_eq!(CostMap::from_json(&text).expect("our own text").tables[0].1, *table);
    report(&format!("read, {what}"), text.len(), costs, || {
        black_box(CostMap::from_json(&text).expect("our own text"));
    });
    report(&format!("  serde_json visitor to matrix, {what}"), text.len(), costs, || {
        black_box(by_serde(&text));
    });
}

fn report(what: &str, bytes: usize, costs: usize, mut work: impl FnMut()) {
    let mut seconds: Vec<f64> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    let median = seconds[RUNS / 2];
    println!("{what:<44} {:>10.0} {:>10.1}", bytes as f64 / median / 1e6, median * 1e9 / costs as f64);
}

/// The peer: the same work for a typed visitor, which looks every name up and checks nothing.
fn by_serde(text: &[u8]) -> Vec<f64> {
    let mut matrix = SerdeMatrix::default();
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    deserializer.deserialize_map(Top(&mut matrix)).expect("our own text");
    matrix.values
}

#[derive(Default)]
struct SerdeMatrix {
    columns: HashMap<String, usize>,
    values: Vec<f64>,
}

struct Top<'m>(&'m mut SerdeMatrix);
struct Rows<'m>(&'m mut SerdeMatrix);
struct Row<'m>(&'m mut SerdeMatrix);

impl<'de> Visitor<'de> for Top<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a cost map")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<&str>()? {
            if key == "cost-map" {
                map.next_value_seed(Rows(self.0))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Rows<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Rows<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rows")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_key::<&str>()?.is_some() {
            map.next_value_seed(Row(self.0))?;
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Row<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Row<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("costs")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let matrix = self.0;
        let start = matrix.values.len();
        matrix.values.resize(start + PIDS, f64::NAN);
        while let Some((key, cost)) = map.next_entry::<&str, f64>()? {
            let column = match matrix.columns.get(key) {
                Some(&column) => column,
                None => {
                    matrix.columns.insert(key.to_owned(), matrix.columns.len());
                    matrix.columns.len() - 1
                }
            };
            matrix.values[start + column] = cost;
        }
        Ok(())
    }
}
