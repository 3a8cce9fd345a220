//! The address ranges of AWS by region, and every change AWS published from 2026-05-22 to 2026-08-22.
//!
//! AWS publishes no distances, so there are no costs here: a network map, its filter and endpoint properties.
use super::{Replay, Source, Step};
use topology::sources::{Input, Options, Series, SourceKind};

static SERIES: &[u8] = include_bytes!("../../data/aws/region-prefixes-2026-05-22..08-22.jsonl.gz");

/// The replay.
pub struct Aws {
    series: Series,
}

impl Aws {
    /// Reads the series.
    pub fn new() -> Self {
        let input = Input { name: "region-prefixes.jsonl", bytes: SERIES };
        Self { series: Series::parse(input, &Options::default()).expect("embedded data is valid: a test reads all of it") }
    }
}

impl Replay for Aws {
    fn sources(&self) -> Vec<Source> {
        vec![Source { name: "aws-ip-ranges", kind: SourceKind::AwsIpRanges, precedence: 0 }]
    }

    fn title(&self) -> String {
        format!(
            "demo network AWS: address ranges by region, replaying {} published revisions; AWS states no costs, so there are none",
            self.steps()
        )
    }

    fn examples(&self) -> [&'static str; 4] {
        ["altocast get", "altocast get network-map --pid eu-west-1", "altocast get network-map --json", "altocast watch network-map"]
    }

    fn steps(&self) -> usize {
        self.series.revisions()
    }

    fn step(&mut self, at: usize, _first: bool) -> Step {
        let label = format!("AWS revision {}", self.series.created(at).unwrap_or("unknown date"));
        Step { label, observations: vec![(0, self.series.observation(at))] }
    }
}
