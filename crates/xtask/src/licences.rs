//! Licences of everything we link, against a list of those that a program under MIT OR Apache-2.0 may carry.
//!
//! Expressions are SPDX (`MIT OR Apache-2.0`, `(MIT OR Zlib) AND Unicode-3.0`), with the older `MIT/Apache-2.0` read as OR.
use crate::workspace;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;

/// Permissive licences that ask for no more than their text and a notice.
const ALLOWED: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Checks every dependency; `list` prints how many there are of each licence.
pub fn run(list: bool) -> Result<()> {
    let metadata = workspace::metadata(&[])?;
    let packages = metadata["packages"].as_array().context("cargo metadata without packages")?;
    let mut count = BTreeMap::<&str, usize>::new();
    let mut wrong = Vec::new();
    for package in packages {
        let (name, licence) = (package["name"].as_str().unwrap_or("?"), package["license"].as_str());
        match licence {
            Some(expression) if allows(expression) => *count.entry(expression).or_default() += 1,
            Some(expression) => wrong.push(format!("{name}: {expression}")),
            None => wrong.push(format!("{name}: no licence stated")),
        }
    }
    if list {
        count.iter().for_each(|(licence, crates)| println!("{crates:5} {licence}"));
    }
    if wrong.is_empty() {
        println!("licences: {} crates, all under a licence of the allow list", packages.len());
        return Ok(());
    }
    bail!("licences that are not on the allow list (crates/xtask/src/licences.rs):\n  {}", wrong.join("\n  "))
}

/// Whether some choice the expression offers is on the list.
fn allows(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    any_of(&mut words).unwrap_or(false) && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(words: &mut Words<'_>) -> Option<bool> {
    let mut fine = all_of(words)?;
    while words.next_if_eq(&"OR").is_some() {
        fine |= all_of(words)?;
    }
    Some(fine)
}

fn all_of(words: &mut Words<'_>) -> Option<bool> {
    let mut fine = one(words)?;
    while words.next_if_eq(&"AND").is_some() {
        fine &= one(words)?;
    }
    Some(fine)
}

fn one(words: &mut Words<'_>) -> Option<bool> {
    let first = words.next()?;
    if first == "(" {
        let fine = any_of(words)?;
        return (words.next()? == ")").then_some(fine);
    }
    let name = match words.next_if_eq(&"WITH") {
        Some(_) => format!("{first} WITH {}", words.next()?),
        None => first.to_owned(),
    };
    Some(ALLOWED.contains(&name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read_as_spdx_says() {
        for (expression, want) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0 AND MIT", false),
            ("(MIT OR GPL-2.0) AND Unicode-3.0", true),
            ("(MIT OR GPL-2.0) AND GPL-3.0", false),
            ("MIT OR GPL-2.0 AND GPL-3.0", true),
            ("Apache-2.0 WITH LLVM-exception OR GPL-2.0", true),
            ("Apache-2.0 WITH Other-exception", false),
            ("(MIT", false),
            ("MIT Apache-2.0", false),
            ("", false),
        ] {
            assert_eq!(allows(expression), want, "{expression:?}");
        }
    }
}
