//! `cargo xtask kill [N]`: the kill test of `altocast` (`crates/altocast/tests/kill.rs`), longer than in `cargo test`.
use crate::workspace;
use anyhow::{Context, Result};

/// Kills the optimised program so many times.
pub fn run(kills: &str) -> Result<()> {
    kills.parse::<u64>().with_context(|| format!("{kills:?} is no number of kills"))?;
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--release", "-p", "altocast", "--test", "kill", "--", "--nocapture"]).env("ALTOCAST_KILLS", kills);
    workspace::run(&mut cargo)
}
