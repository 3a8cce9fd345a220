//! Small networks for tests, changed step by step.
#![allow(dead_code, reason = "not every test changes them")]
use alto::{cost::Metric, endpoint::Prefix, id::Pid};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};
use topology::{
    graph::{Graph, Link, Matrix, PrefixAt, Router, RouterIx, Source, SourceIx},
    validity::Validity,
};

/// What a link carries.
#[derive(Debug, Clone, PartialEq)]
pub struct Values {
    pub weight: u32,
    pub delay_us: Option<f64>,
    pub bandwidth_bps: Option<f64>,
}

/// A network in names, from which graphs are built as topology builds them.
#[derive(Debug, Clone, Default)]
pub struct Network {
    pub routers: BTreeSet<u8>,
    /// By sender, receiver and number among parallel links.
    pub links: BTreeMap<(u8, u8, u8), Values>,
    /// The routers with one number are in one PID.
    pub pid_of: BTreeMap<u8, u8>,
    pub matrices: Vec<Arc<Matrix>>,
}

/// One thing that happens to it.
#[derive(Debug, Clone)]
pub enum Step {
    Link((u8, u8, u8), Option<Values>),
    Gone(u8),
    Back(u8),
}

pub fn metric(name: &str) -> Metric {
    name.parse().unwrap()
}

pub fn router_id(router: u8) -> String {
    format!("r{router:02}")
}

pub fn pid(number: u8) -> Pid {
    format!("P{number}").parse().unwrap()
}

impl Network {
    pub fn apply(&mut self, step: &Step) {
        match step {
            Step::Link(key, Some(values)) => drop(self.links.insert(*key, values.clone())),
            Step::Link(key, None) => drop(self.links.remove(key)),
            Step::Gone(router) => drop(self.routers.remove(router)),
            Step::Back(router) => drop(self.routers.insert(*router)),
        }
    }

    pub fn graph(&self) -> Arc<Graph> {
        let ids: Vec<u8> = self.routers.iter().copied().collect();
        let ix = |router: u8| ids.binary_search(&router).ok().map(|at| RouterIx(at as u32));
        let source = SourceIx(0);
        let mut links = Vec::new();
        for (&(from, to, number), values) in &self.links {
            let (Some(from), Some(to)) = (ix(from), ix(to)) else { continue };
            let local_address = Some(IpAddr::V4(Ipv4Addr::new(10, from.0 as u8, to.0 as u8, number)));
            let Values { weight, delay_us, bandwidth_bps } = values.clone();
            links.push(Link { from, to, local_address, igp_cost: weight, delay_us, bandwidth_bps, source });
        }
        let out = (0..=ids.len() as u32).map(|at| links.partition_point(|link| link.from.0 < at) as u32).collect();
        // Prefixes stay when their router goes, as they do when another source placed them.
        let prefix = |&router: &u8| Prefix::new(IpAddr::V4(Ipv4Addr::new(10, router, 0, 0)), 16).unwrap();
        let prefixes = self.pid_of.iter().map(|(router, number)| PrefixAt {
            prefix: prefix(router),
            group: Some(pid(*number)),
            router: ix(*router),
            asn: None,
            source,
        });
        Arc::new(Graph {
            routers: ids.iter().map(|&router| Router { id: router_id(router).into(), country: None, location: None, source }).collect(),
            prefixes: Arc::new(prefixes.collect()),
            links,
            out,
            matrices: self.matrices.clone(),
            sources: vec![Source {
                name: "igp".into(),
                precedence: 1,
                observed_at: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
                trouble: Some("late".into()),
                validity: Arc::new(Validity::until(Some(UNIX_EPOCH + Duration::from_secs(1_700_003_600)))),
            }],
        })
    }
}

const ROUTERS: u8 = 9;

/// Small numbers, so that ties, zeros and parallel links are common.
pub fn values() -> impl Strategy<Value = Values> {
    let weight = prop_oneof![4 => 0u32..4, 1 => 0..100u32, 1 => Just(u32::MAX)];
    let delay_us = proptest::option::weighted(0.9, prop_oneof![0..5u32, 0..100_000u32].prop_map(|n| f64::from(n) / 7.0));
    let bandwidth_bps = proptest::option::weighted(0.9, prop_oneof![Just(0.0), (1..5u32).prop_map(|n| f64::from(n) * 1e9)]);
    (weight, delay_us, bandwidth_bps).prop_map(|(weight, delay_us, bandwidth_bps)| Values { weight, delay_us, bandwidth_bps })
}

fn key() -> impl Strategy<Value = (u8, u8, u8)> {
    (0..ROUTERS, 0..ROUTERS, 0..2u8)
}

/// Networks of up to nine routers, from nearly empty to dense.
pub fn networks() -> impl Strategy<Value = Network> {
    let links = proptest::collection::btree_map(key(), values(), 0..60);
    (
        proptest::collection::btree_set(0..ROUTERS, 1..=ROUTERS as usize),
        links,
        proptest::collection::btree_map(0..ROUTERS, 0..ROUTERS, 0..12),
    )
        .prop_map(|(routers, links, pid_of)| Network { routers, links, pid_of, matrices: Vec::new() })
}

/// Weights up and down, links and routers come and go; a few at once.
pub fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let step = prop_oneof![
        6 => (key(), values()).prop_map(|(key, values)| Step::Link(key, Some(values))),
        3 => key().prop_map(|key| Step::Link(key, None)),
        1 => (0..ROUTERS).prop_map(Step::Gone),
        1 => (0..ROUTERS).prop_map(Step::Back),
    ];
    proptest::collection::vec(proptest::collection::vec(step, 1..4), 1..12)
}
