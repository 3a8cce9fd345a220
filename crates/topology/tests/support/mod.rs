//! The real inputs under `tests/data`, and a plain shortest path to hold against them.
#![allow(dead_code, unused_imports, clippy::unwrap_used)]
mod lab;

pub use lab::{NAMES, STATES};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};
use topology::{
    fuse::Fuser,
    graph::{Graph, RouterIx},
    observation::Observation,
    sources::{Error, Input, Options, SourceKind, read},
};

pub fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path)
}

pub fn bytes(path: &str) -> Vec<u8> {
    fs::read(data(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

pub fn plain(path: &str) -> Vec<u8> {
    let bytes = bytes(path);
    if !path.ends_with(".gz") {
        return bytes;
    }
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut plain).unwrap();
    plain
}

pub fn try_read(kind: SourceKind, paths: &[&str], options: &Options) -> Result<Observation, Error> {
    let contents: Vec<(&str, Vec<u8>)> = paths.iter().map(|path| (*path, bytes(path))).collect();
    let inputs: Vec<Input<'_>> = contents.iter().map(|(name, bytes)| Input { name, bytes }).collect();
    read(kind, &inputs, options)
}

pub fn read_with(kind: SourceKind, paths: &[&str], options: &Options) -> Observation {
    try_read(kind, paths, options).unwrap_or_else(|why| panic!("{why}"))
}

pub fn read_text(kind: SourceKind, text: &str, options: &Options) -> Result<Observation, Error> {
    read(kind, &[Input { name: "text", bytes: text.as_bytes() }], options)
}

/// The lab's router ids as names.
pub fn lab() -> Options {
    let names = NAMES.iter().zip(1..).map(|(name, n)| (format!("10.255.0.{n}").into(), (*name).into()));
    Options { names: names.collect::<BTreeMap<_, _>>(), ..Options::default() }
}

pub fn lab_file(state: &str, file: &str) -> String {
    format!("frr-geant2012-lab/{state}/{file}")
}

pub fn at(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + second)
}

pub fn fuse_one(observation: Observation) -> std::sync::Arc<Graph> {
    let mut fuser = Fuser::new();
    let source = fuser.add_source("one", 0, None);
    fuser.observe(source, observation, at(0));
    fuser.graph(at(0))
}

pub fn router(graph: &Graph, name: &str) -> Option<RouterIx> {
    graph.routers.binary_search_by(|router| (*router.id).cmp(name)).ok().map(|ix| RouterIx(ix as u32))
}

/// IGP cost from one router to all, by Bellman and Ford: slow, and nothing like what the product does.
pub fn costs_from(graph: &Graph, from: RouterIx) -> Vec<Option<u64>> {
    let mut costs = vec![None; graph.routers.len()];
    costs[from.0 as usize] = Some(0);
    loop {
        let mut changed = false;
        for link in &graph.links {
            let Some(near) = costs[link.from.0 as usize] else { continue };
            let through = near + u64::from(link.igp_cost);
            let far = &mut costs[link.to.0 as usize];
            if far.is_none_or(|known| through < known) {
                *far = Some(through);
                changed = true;
            }
        }
        if !changed {
            return costs;
        }
    }
}
