//! Who may use whom: the table of docs/architecture.md against the manifests, and no runtime in the cores.
//!
//! Dev-dependencies are free: a test may use whatever it tests against. Cargo itself refuses cycles.
use crate::workspace;
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};

const PAGE: &str = "docs/architecture.md";

/// Crates whose normal dependency tree, without default features, holds no async runtime.
const CORES: [&str; 4] = ["alto", "topology", "maps", "history"];

/// What a core must not pull in: runtimes and what only makes sense with one.
const RUNTIMES: [&str; 9] = ["tokio", "hyper", "h2", "h3", "quinn", "tokio-tungstenite", "rustls", "mio", "notify"];

/// Compares and prints every difference.
pub fn run() -> Result<()> {
    let page = std::fs::read_to_string(workspace::root().join(PAGE)).context(PAGE)?;
    let allowed = table(&page).with_context(|| format!("{PAGE} has no table `| crate | may use | ...`"))?;
    let used = dependencies()?;
    let mut wrong = differences(&allowed, &used);
    for core in CORES {
        let tree = workspace::output(
            workspace::cargo()
                .args(["tree", "--package", core, "--edges", "normal", "--no-default-features"])
                .args(["--prefix", "none", "--format", "{p}"]),
        )?;
        let found: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).filter(|name| RUNTIMES.contains(name)).collect();
        wrong.extend(found.into_iter().map(|name| format!("{core} is a core, and {name} is in its dependency tree")));
    }
    if wrong.is_empty() {
        println!("layers: {} crates use only what {PAGE} lets them use; no runtime in {}", used.len(), CORES.join(", "));
        return Ok(());
    }
    bail!("layers:\n  {}", wrong.join("\n  "))
}

type Uses = BTreeMap<String, BTreeSet<String>>;

/// The rows under `| crate | may use |`.
fn table(page: &str) -> Option<Uses> {
    let mut lines = page.lines().skip_while(|line| !line.starts_with("| crate | may use |"));
    lines.next()?;
    let rows = lines.skip(1).take_while(|line| line.starts_with('|')).filter_map(|line| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let (name, uses) = (cells.next()?, cells.next()?);
        Some((name.to_owned(), uses.split(',').map(str::trim).filter(|used| !used.is_empty()).map(str::to_owned).collect()))
    });
    Some(rows.collect())
}

/// Normal and build dependencies between crates of the workspace.
fn dependencies() -> Result<Uses> {
    let metadata = workspace::metadata(&["--no-deps"])?;
    let packages = metadata["packages"].as_array().context("cargo metadata without packages")?;
    let members: BTreeSet<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let uses = |package: &serde_json::Value| -> BTreeSet<String> {
        let all = package["dependencies"].as_array().into_iter().flatten();
        let shipped = all.filter(|dependency| dependency["kind"] != "dev" && !dependency["path"].is_null());
        shipped.filter_map(|dependency| dependency["name"].as_str()).filter(|name| members.contains(name)).map(str::to_owned).collect()
    };
    Ok(packages.iter().map(|package| (package["name"].as_str().unwrap_or_default().to_owned(), uses(package))).collect())
}

fn differences(allowed: &Uses, used: &Uses) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, uses) in used {
        match allowed.get(name) {
            None => wrong.push(format!("{name} has no row in {PAGE}")),
            Some(may) => wrong.extend(uses.difference(may).map(|other| format!("{name} uses {other}, which {PAGE} does not let it use"))),
        }
    }
    wrong.extend(
        allowed.keys().filter(|name| !used.contains_key(*name)).map(|name| format!("{PAGE} has a row for {name}, which is no crate here")),
    );
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE_TEXT: &str =
        "# A\n\n| crate | may use | what |\n| --- | --- | --- |\n| a | | x |\n| b | a | y |\n| c | a, b | z |\n\nmore | text |\n";

    fn uses(rows: &[(&str, &[&str])]) -> Uses {
        rows.iter().map(|(name, uses)| (name.to_string(), uses.iter().map(|used| used.to_string()).collect())).collect()
    }

    #[test]
    fn the_table_is_read_from_the_page() {
        assert_eq!(table(PAGE_TEXT), Some(uses(&[("a", &[]), ("b", &["a"]), ("c", &["a", "b"])])));
        assert_eq!(table("nothing here"), None);
    }

    #[test]
    fn every_kind_of_difference_is_named() {
        let allowed = table(PAGE_TEXT).unwrap();
        for (used, want) in [
            (uses(&[("a", &[]), ("b", &["a"]), ("c", &["b"])]), vec![]),
            (uses(&[("a", &["b"]), ("b", &[]), ("c", &[])]), vec!["a uses b, which docs/architecture.md does not let it use"]),
            (uses(&[("a", &[]), ("b", &[])]), vec!["docs/architecture.md has a row for c, which is no crate here"]),
            (uses(&[("a", &[]), ("b", &[]), ("c", &[]), ("d", &[])]), vec!["d has no row in docs/architecture.md"]),
        ] {
            assert_eq!(differences(&allowed, &used), want);
        }
    }
}
