//! `cargo xtask check`: everything a change must pass besides its tests. Every step runs even when an earlier one failed.
use crate::{layers, licences, pages, workspace};
use anyhow::{Result, bail};

/// A file of more lines usually holds two concepts.
const FILE_LINES_MAX: usize = 700;

/// Runs the steps and names those that failed.
pub fn run() -> Result<()> {
    type Step = (&'static str, fn() -> Result<()>);
    let steps: [Step; 6] = [
        ("format", format),
        ("layers", layers::run),
        ("licences", || licences::run(false)),
        ("clippy", clippy),
        ("docs", docs),
        ("pages", pages::check),
    ];
    let mut failed = Vec::new();
    for (name, step) in steps {
        println!("== {name}");
        if let Err(error) = step() {
            println!("{error:#}");
            failed.push(name);
        }
    }
    note_long_files()?;
    if failed.is_empty() {
        println!("check: everything is in order");
        return Ok(());
    }
    bail!("check failed: {}", failed.join(", "))
}

fn format() -> Result<()> {
    workspace::run(workspace::cargo().args(["fmt", "--all", "--check"]))
}

fn clippy() -> Result<()> {
    workspace::run(workspace::cargo().args(["clippy", "--quiet", "--workspace", "--all-targets", "--", "--deny", "warnings"]))
}

fn docs() -> Result<()> {
    workspace::run(workspace::cargo().args(["doc", "--quiet", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "--deny warnings"))
}

/// A reminder, not a rule.
fn note_long_files() -> Result<()> {
    let root = workspace::root();
    let files = workspace::output(std::process::Command::new("git").arg("-C").arg(&root).args(["ls-files", "*.rs"]))?;
    for file in files.lines() {
        let lines = std::fs::read_to_string(root.join(file)).map(|text| text.lines().count()).unwrap_or(0);
        if lines > FILE_LINES_MAX {
            println!("note: {file} has {lines} lines; two concepts?");
        }
    }
    Ok(())
}
