//! The address ranges of Azure by region, and the round-trip times that Microsoft measured between 51 of them.
//!
//! PIDs have Azure's own technical names (`westeurope`); the measurements know the regions by their display names ("West Europe"), and
//! the prefix table has both. Regions that were not measured have no costs. One state: the measurements are one median.
use super::{Replay, Source, Step, embedded};
use std::{collections::BTreeMap, io::Read};
use topology::sources::{Columns, Options, SourceKind};

static PREFIXES: &[u8] = include_bytes!("../../data/azure/region-prefixes-2025-07.csv.gz");
static RTT: &[u8] = include_bytes!("../../data/azure/region-rtt.csv.gz");

/// The network.
pub struct Azure;

/// Display name to technical name, as the prefix table has them (`tag,rtt_region,prefix`).
fn names() -> BTreeMap<Box<str>, Box<str>> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(PREFIXES).read_to_string(&mut text).expect("embedded data is valid: a test reads all of it");
    let rows = text.lines().skip(1).filter_map(|line| {
        let mut columns = line.split(',');
        Some((columns.next()?, columns.next()?))
    });
    rows.filter(|(_, region)| !region.is_empty()).map(|(tag, region)| (region.into(), tag.into())).collect()
}

impl Replay for Azure {
    fn sources(&self) -> Vec<Source> {
        vec![
            Source { name: "azure-prefixes", kind: SourceKind::PrefixCsv, precedence: 0 },
            Source { name: "azure-rtt", kind: SourceKind::LatencyMatrix, precedence: 0 },
        ]
    }

    fn title(&self) -> String {
        "demo network Azure: address ranges by region and the round-trip times measured between them".into()
    }

    fn examples(&self) -> [&'static str; 4] {
        [
            "altocast get",
            "altocast get cost-map-delay-rt --src westeurope",
            "altocast rank --metric delay-rt --src 108.142.0.1 4.208.0.1 172.190.0.1",
            "altocast watch cost-map-delay-rt",
        ]
    }

    fn steps(&self) -> usize {
        1
    }

    fn step(&mut self, _at: usize, _first: bool) -> Step {
        let columns = Columns { prefix: Some("prefix".into()), group: Some("tag".into()), ..Columns::default() };
        let prefixes = embedded(SourceKind::PrefixCsv, "region-prefixes.csv", PREFIXES, &Options { columns, ..Options::default() });
        let rtt = embedded(SourceKind::LatencyMatrix, "region-rtt.csv", RTT, &Options { names: names(), ..Options::default() });
        Step { label: "measured".into(), observations: vec![(0, prefixes), (1, rtt)] }
    }
}
