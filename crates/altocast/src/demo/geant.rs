//! GÉANT 2012, the European research backbone: 40 routers, 61 links, the real prefixes of 40 national research networks.
//!
//! Six states of 40 real FRR routers that ran this graph in a lab: a metric raised, a link down, a router dead, all of it repaired.
//! Costs are the routers' own OSPF metrics. Where the data is known to be wrong it is left out rather than believed:
//! - The lab's TE delays stem from a table that makes light in fibre three times too fast (0.6 km/us). One that beats light between the
//!   coordinates of its ends is no delay; the coordinates say it better. UA, MD and BY have no coordinates, so no delay either.
//! - FRR 8.4 reports 1,410,065,408 bit/s, 10 Gbit/s cut to 32 bits, for bandwidth it was not told. The map of the network says it better.
use super::{Replay, Source, Step, embedded};
use std::collections::{BTreeMap, HashMap};
use topology::{
    observation::Observation,
    sources::{BandwidthFrom, Options, SourceKind},
};

const ZOO: usize = 0;
const OSPF: usize = 1;
const OSPF_TE: usize = 2;
const ISIS_TE: usize = 3;
const PREFIXES: usize = 4;

/// 10 Gbit/s modulo 2^32.
const WRAPPED_BPS: f64 = 1_410_065_408.0;

/// What the routers printed in one state.
struct State {
    name: &'static str,
    ospf: &'static [u8],
    ospf_te: &'static [u8],
    isis_te: &'static [u8],
}

macro_rules! states {
    ($($name:literal),*) => {
        [$(State {
            name: $name,
            ospf: include_bytes!(concat!("../../data/frr-geant2012-lab/", $name, "/ospf-database-router.json.gz")),
            ospf_te: include_bytes!(concat!("../../data/frr-geant2012-lab/", $name, "/ospf-te-database.json.gz")),
            isis_te: include_bytes!(concat!("../../data/frr-geant2012-lab/", $name, "/isis-te-database.json.gz")),
        }),*]
    };
}

static STATES: [State; 6] = states![
    "t0-baseline",
    "t1-de-nl-cost-13-to-120",
    "t2-fr-uk-link-down",
    "t3-lu-router-dead",
    "t4-fr-uk-restored-de-ch-delay-up",
    "t5-lu-back-de-nl-cost-restored"
];
static GRAPHML: &[u8] = include_bytes!("../../data/topology-zoo/Geant2012.graphml.gz");
static NREN_PREFIXES: &[u8] = include_bytes!("../../data/ip-location-db/geant-nren-prefixes.csv.gz");

/// The replay.
pub struct Geant {
    /// Router id to name: IS-IS carries both (RFC 5301), OSPF only the id.
    names: BTreeMap<Box<str>, Box<str>>,
    zoo: Observation,
    /// Microseconds that light needs between the ends of a link.
    floor: HashMap<(Box<str>, Box<str>), f64>,
}

impl Geant {
    /// Reads the map; states are read when their time comes.
    pub fn new() -> Self {
        let options = Options::default();
        let zoo = embedded(SourceKind::Graphml, "Geant2012.graphml", GRAPHML, &options);
        let floor = zoo.links.iter().filter_map(|link| Some(((link.from.clone(), link.to.clone()), link.delay_us?))).collect();
        let names = (1..).zip(zoo.routers.iter()).map(|(n, router)| (format!("10.255.0.{n}").into(), router.id.clone())).collect();
        Self { names, zoo, floor }
    }

    fn traffic_engineering(&self, name: &str, bytes: &[u8]) -> Observation {
        let options = Options { names: self.names.clone(), bandwidth: BandwidthFrom::Maximum, ..Options::default() };
        let mut seen = embedded(SourceKind::FrrTe, name, bytes, &options);
        for link in &mut seen.links {
            let floor = self.floor.get(&(link.from.clone(), link.to.clone()));
            link.delay_us = link.delay_us.filter(|delay| floor.is_some_and(|floor| delay >= floor));
            link.bandwidth_bps = link.bandwidth_bps.filter(|bandwidth| *bandwidth != WRAPPED_BPS);
        }
        seen
    }
}

impl Replay for Geant {
    fn sources(&self) -> Vec<Source> {
        // Routers say which links there are and what they cost; TE what they can do; the map where they lie.
        [
            ("topology-zoo", SourceKind::Graphml, 10),
            ("ospf", SourceKind::FrrOspf, 40),
            ("ospf-te", SourceKind::FrrTe, 30),
            ("isis-te", SourceKind::FrrTe, 20),
            ("nren-prefixes", SourceKind::PrefixCsv, 0),
        ]
        .map(|(name, kind, precedence)| Source { name, kind, precedence })
        .into()
    }

    fn title(&self) -> String {
        "demo network GÉANT 2012: 40 routers and the prefixes of 40 research networks, replaying six states of a lab".into()
    }

    fn examples(&self) -> [&'static str; 4] {
        [
            "altocast get",
            "altocast rank --src 141.24.0.1 145.120.0.1 193.204.0.1 193.60.0.1",
            "altocast rank --explain --src 141.24.0.1 145.120.0.1",
            "altocast watch cost-map-routingcost",
        ]
    }

    fn steps(&self) -> usize {
        STATES.len()
    }

    fn step(&mut self, at: usize, first: bool) -> Step {
        let state = &STATES[at];
        let options = Options { names: self.names.clone(), ..Options::default() };
        let mut observations = vec![
            (OSPF, embedded(SourceKind::FrrOspf, "ospf-database-router.json", state.ospf, &options)),
            (OSPF_TE, self.traffic_engineering("ospf-te-database.json", state.ospf_te)),
            (ISIS_TE, self.traffic_engineering("isis-te-database.json", state.isis_te)),
        ];
        if first {
            observations.push((ZOO, self.zoo.clone()));
            observations.push((PREFIXES, embedded(SourceKind::PrefixCsv, "geant-nren-prefixes.csv", NREN_PREFIXES, &Options::default())));
        }
        Step { label: state.name.into(), observations }
    }
}

#[cfg(test)]
mod tests;
