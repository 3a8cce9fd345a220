//! `cargo xtask release`: the optimised program, its licences and the operator's pages in one archive.
use crate::workspace;
use anyhow::{Context, Result};
use std::process::Command;

/// Builds and packs; prints where.
pub fn run() -> Result<()> {
    let binary = workspace::build_program(true)?;
    let version = workspace::output(Command::new(&binary).arg("--version"))?;
    let name = format!("{}-{}-{}", version.trim().replace(' ', "-"), std::env::consts::ARCH, std::env::consts::OS);
    let dist = workspace::target_dir()?.join("dist");
    let folder = dist.join(&name);
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let root = workspace::root();
    let pages =
        ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE", "docs/configuration.md", "docs/operating.md", "docs/limits.md"];
    for from in pages.map(|page| root.join(page)).into_iter().chain([binary]) {
        let to = folder.join(from.file_name().context("a file has a name")?);
        std::fs::copy(&from, &to).with_context(|| from.display().to_string())?;
    }
    let archive = format!("{name}.tar.gz");
    workspace::run(Command::new("tar").current_dir(&dist).args(["-czf", &archive, &name]))?;
    println!("{}", dist.join(archive).display());
    Ok(())
}
