//! `cargo xtask simulate [SEEDS|FROM..TO]`: the simulations of crate `harness`, optimised and with more seeds than in `cargo test`.
use crate::workspace;
use anyhow::{Result, ensure};

/// Runs every simulation with each seed.
pub fn run(seeds: &str) -> Result<()> {
    let is_number = |text: &str| text.parse::<u64>().is_ok();
    let is_right = seeds.split_once("..").map_or(is_number(seeds), |(from, to)| is_number(from) && is_number(to));
    ensure!(is_right, "{seeds:?} is neither a number of seeds nor FROM..TO");
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--profile", "simulation", "-p", "harness", "--tests", "--", "--nocapture"]).env("HARNESS_SEEDS", seeds);
    workspace::run(&mut cargo)
}
