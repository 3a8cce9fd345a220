//! The replay held against the real network and against what the routers said.
use super::{super::Step, *};
use alto::id::Pid;
use maps::compute::{Computed, MapsPolicy, compute};
use std::{collections::HashMap, io::Read, sync::Arc, time::SystemTime};
use topology::fuse::Fuser;

macro_rules! oracles {
    ($($name:literal),*) => {
        [$(($name, include_bytes!(concat!("../../../data/frr-geant2012-lab/", $name, "/oracle-ospf-cost.csv.gz")) as &[u8])),*]
    };
}

/// What the routers themselves said: cost of every router to every other's loopback (`source,destination,ospf_cost`).
static ORACLES: [(&str, &[u8]); 6] = oracles![
    "t0-baseline",
    "t1-de-nl-cost-13-to-120",
    "t2-fr-uk-link-down",
    "t3-lu-router-dead",
    "t4-fr-uk-restored-de-ch-delay-up",
    "t5-lu-back-de-nl-cost-restored"
];

fn oracle(gz: &[u8]) -> HashMap<(String, String), f64> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(gz).read_to_string(&mut text).unwrap();
    let rows = text.lines().skip(1).map(|line| {
        let [from, to, cost] = line.split(',').collect::<Vec<_>>()[..] else { panic!("{line}") };
        ((from.to_owned(), to.to_owned()), cost.parse().unwrap())
    });
    rows.collect()
}

/// Plays the replay through fusion and computation, each state from the result before, as `serve` does.
struct Player {
    geant: Geant,
    fuser: Fuser,
    computed: Option<Computed>,
}

impl Player {
    fn new() -> Self {
        let geant = Geant::new();
        let mut fuser = Fuser::new();
        for source in geant.sources() {
            fuser.add_source(source.name, source.precedence, None);
        }
        Self { geant, fuser, computed: None }
    }

    fn policy() -> Arc<MapsPolicy> {
        let mut policy = MapsPolicy::default();
        policy.partition.default_pid = Some("default".parse().unwrap());
        Arc::new(policy)
    }

    fn step(&mut self, at: usize) -> &Computed {
        let Step { observations, .. } = self.geant.step(at, self.computed.is_none());
        for (source, seen) in observations {
            self.fuser.observe(topology::graph::SourceIx(source as u16), seen, SystemTime::UNIX_EPOCH);
        }
        let graph = self.fuser.graph(SystemTime::UNIX_EPOCH);
        let computed = compute(graph, Self::policy(), self.computed.as_ref()).unwrap();
        self.computed.insert(computed)
    }
}

fn cost(computed: &Computed, metric: &str, from: &str, to: &str) -> Option<f64> {
    let table = computed.tables.get(metric).unwrap_or_else(|| panic!("no {metric}"));
    let place = |pids: &[Pid], name: &str| pids.iter().position(|pid| pid.as_str() == name);
    let (row, column) = (place(&table.sources, from)?, place(&table.destinations, to)?);
    Some(table.values[row * table.destinations.len() + column]).filter(|cost| !cost.is_nan())
}

#[test]
fn every_cost_of_all_six_states_is_what_the_routers_said() {
    let mut player = Player::new();
    let mut compared = 0;
    // Twice round: the second time from t5 back to t0, as the replay goes.
    for round in 0..2 {
        for (at, (name, gz)) in ORACLES.iter().enumerate() {
            let want = oracle(gz);
            let computed = player.step(at);
            let routers: Vec<String> = {
                let table = &computed.tables["routingcost"];
                table.sources.iter().map(|pid| pid.to_string()).filter(|pid| pid != "default").collect()
            };
            assert_eq!(routers.len(), 40, "{name}: a dead router's prefixes stay on the map");
            for from in &routers {
                for to in &routers {
                    let got = cost(computed, "routingcost", from, to);
                    match want.get(&(from.clone(), to.clone())) {
                        Some(want) => {
                            assert_eq!(got, Some(*want), "{name}, round {round}: {from} to {to}");
                            compared += 1;
                        }
                        // Inside the PID of a router that is gone nothing need be routed.
                        None if from == to => {}
                        None => assert_eq!(got, None, "{name}, round {round}: {from} to {to} has no path"),
                    }
                }
            }
        }
    }
    // 1,600 pairs in four states, 1,521 in the two without LU.
    assert_eq!(compared, 2 * (4 * 1_600 + 2 * 1_521));
}

#[test]
fn a_step_computed_from_the_last_is_a_step_computed_from_nothing() {
    let mut player = Player::new();
    for at in [0, 1, 2, 3, 4, 5, 0] {
        let computed = player.step(at);
        let fresh = compute(computed.graph.clone(), Player::policy(), None).unwrap();
        assert_eq!(computed.tables, fresh.tables, "state {at}");
        assert_eq!(computed.partition.network_map, fresh.partition.network_map, "state {at}");
    }
}

#[test]
fn the_network_map_stays_while_links_and_routers_come_and_go() {
    let mut player = Player::new();
    let first = player.step(0).partition.network_map.clone();
    for at in 1..6 {
        assert_eq!(player.step(at).partition.network_map, first, "state {at}");
    }
}

/// OSPF knows routers by number, the map by label; the IS-IS database has both and is the witness.
#[test]
fn routers_are_numbered_as_is_is_says() {
    let geant = Geant::new();
    assert_eq!(geant.names.len(), 40);
    for state in &STATES {
        let seen = embedded(SourceKind::FrrTe, "isis-te-database.json", state.isis_te, &Options::default());
        for router in &seen.routers {
            let number = router.addresses[0].to_string();
            assert_eq!(geant.names.get(number.as_str()).map(|name| &**name), Some(&*router.id), "{number}");
        }
    }
}

#[test]
fn delays_never_beat_light_and_the_one_set_on_purpose_is_believed() {
    let mut player = Player::new();
    for at in 0..6 {
        let computed = player.step(at);
        let graph = computed.graph.clone();
        let name = |ix: topology::graph::RouterIx| graph.routers[ix.0 as usize].id.clone();
        for link in &graph.links {
            let ends = (Box::from(&*name(link.from)), Box::from(&*name(link.to)));
            let floor = player.geant.floor.get(&ends);
            match (link.delay_us, floor) {
                (Some(delay), Some(floor)) => assert!(delay >= *floor, "{ends:?}: {delay} us, light needs {floor}"),
                (None, None) => assert!(["UA", "MD", "BY"].iter().any(|end| *ends.0 == **end || *ends.1 == **end), "{ends:?}"),
                other => panic!("{ends:?}: {other:?}"),
            }
        }
        let computed = player.computed.as_ref().unwrap();
        let de_ch = cost(computed, "delay-ow", "DE", "CH").unwrap();
        assert_eq!(de_ch >= 25_000.0, at >= 4, "state {at}: {de_ch}");
        // 364 km over the great circle: 1,819 us.
        assert!(at >= 4 || (1_800.0..1_850.0).contains(&de_ch), "state {at}: {de_ch}");
        assert_eq!(cost(computed, "delay-ow", "DE", "UA"), None, "UA has no coordinates");
    }
}

/// The Zoo's speeds where it has them, the routers' maximum elsewhere, never the number FRR made up.
#[test]
fn bandwidths_are_those_of_the_real_network() {
    let mut player = Player::new();
    let computed = player.step(0);
    // Two links of 1 Gbit/s on the way; 155 Mbit/s; 10 Gbit/s all the way. RFC 9439 section 5.3: bytes per second.
    for (from, to, bits) in [("MD", "UA", 1e9), ("BG", "MK", 155e6), ("DK", "RU", 10e9)] {
        assert_eq!(cost(computed, "bw-available", from, to), Some(bits / 8.0), "{from} to {to}");
    }
    assert!(computed.graph.links.iter().all(|link| link.bandwidth_bps.is_some_and(|bandwidth| bandwidth != WRAPPED_BPS)));
}
