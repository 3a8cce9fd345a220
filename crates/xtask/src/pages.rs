//! The pages of docs/ that are read out of the code: limits.md from the `Limits` of every crate, and in configuration.md the part between
//! two markers from `altocast config show`. `check` compares, `pages` rewrites: neither can go stale.
use crate::workspace;
use anyhow::{Context, Result, bail};
use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const LIMITS: &str = "docs/limits.md";
const CONFIGURATION: &str = "docs/configuration.md";
const BEGIN: &str = "<!-- altocast config show -->\n";
const END: &str = "<!-- end -->\n";

/// Compares the pages with the code, and reads every example of a configuration.
pub fn check() -> Result<()> {
    let program = workspace::build_program(false)?;
    let page = fs::read_to_string(workspace::root().join(CONFIGURATION)).context(CONFIGURATION)?;
    let file = workspace::target_dir()?.join("example.toml");
    // The last one is what `config show` prints.
    for (at, example) in page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).enumerate() {
        fs::write(&file, example)?;
        let checked = Command::new(&program).args(["config", "check"]).arg(&file).output()?;
        if !checked.status.success() {
            let why = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
            bail!("example {} of {CONFIGURATION} is no valid configuration: {}", at + 1, why.trim());
        }
    }
    for (page, text) in pages(&program)? {
        if fs::read_to_string(workspace::root().join(page)).ok().as_deref() != Some(&text) {
            bail!("{page} is not what the code says; `cargo xtask pages` rewrites it");
        }
    }
    println!("pages: {LIMITS} and {CONFIGURATION} say what the code says");
    Ok(())
}

/// Rewrites the pages.
pub fn write() -> Result<()> {
    for (page, text) in pages(&workspace::build_program(false)?)? {
        fs::write(workspace::root().join(page), text).context(page)?;
        println!("wrote {page}");
    }
    Ok(())
}

fn pages(program: &Path) -> Result<[(&'static str, String); 2]> {
    Ok([(LIMITS, limits()?), (CONFIGURATION, configuration(program)?)])
}

fn configuration(program: &Path) -> Result<String> {
    let page = fs::read_to_string(workspace::root().join(CONFIGURATION)).context(CONFIGURATION)?;
    let shown = workspace::output(Command::new(program).args(["config", "show"]))?;
    let marks = format!("{CONFIGURATION} has no lines {BEGIN} and {END}");
    let (before, rest) = page.split_once(BEGIN).with_context(|| marks.clone())?;
    let (_, after) = rest.split_once(END).context(marks)?;
    Ok(format!("{before}{BEGIN}```toml\n{}\n```\n{END}{after}", shown.trim_end()))
}

fn limits() -> Result<String> {
    let mut page = String::from(
        "# Limits

Every bound has a name, a default and a reason, and lies in the `Limits` of the crate that keeps it. At a bound a request, a document or a source
is refused whole; nothing is cut off silently. `cargo xtask pages` writes this page from the code; which of the bounds can be set, and how, is in
[configuration.md](configuration.md).
",
    );
    let mut files = Vec::new();
    rust_files(&workspace::root().join("crates"), &mut files)?;
    files.sort();
    for file in files {
        let text = fs::read_to_string(&file)?;
        let Some(bounds) = limits_of(&text) else { continue };
        let shown = file.strip_prefix(workspace::root())?.display().to_string();
        write!(page, "\n## {}\n\n`{shown}`\n\n| bound | what, default, reason |\n| --- | --- |\n", title(&shown))?;
        for (name, about) in bounds {
            writeln!(page, "| `{name}` | {about} |")?;
        }
    }
    Ok(page)
}

/// `crates/maps/src/guidance/limits.rs` is about `maps::guidance`.
fn title(file: &str) -> String {
    let parts = file.trim_start_matches("crates/").split('/').filter(|part| *part != "src" && !part.ends_with(".rs"));
    parts.collect::<Vec<_>>().join("::")
}

fn rust_files(folder: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            rust_files(&path, into)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
    Ok(())
}

/// The fields of `pub struct Limits` with their doc comments, those of other crates' `Limits` left out.
fn limits_of(text: &str) -> Option<Vec<(String, String)>> {
    let (_, body) = text.split_once("\npub struct Limits {\n")?;
    let (body, _) = body.split_once("\n}")?;
    let (mut bounds, mut about) = (Vec::new(), String::new());
    for line in body.lines().map(str::trim) {
        if let Some(doc) = line.strip_prefix("///") {
            about += if about.is_empty() { "" } else { " " };
            about += doc.trim();
        } else if let Some(field) = line.strip_prefix("pub ") {
            let (name, kind) = field.split_once(':')?;
            if !kind.contains("Limits") {
                bounds.push((name.to_owned(), plain_links(&about).replace('|', "\\|")));
            }
            about.clear();
        }
    }
    Some(bounds)
}

/// Rustdoc's ``[`alto::Limits`]`` means nothing on a page.
fn plain_links(about: &str) -> String {
    about.replace("[`", "`").replace("`]", "`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_read_with_their_reasons() {
        let text = "//! x\n\n/// Bounds.\npub struct Limits {\n    /// One. 5: as [`alto::Limits`]\n    /// has it.\n    pub one_max: usize,\n    /// Not ours.\n    pub documents: alto::Limits,\n}\n";
        assert_eq!(limits_of(text), Some(vec![("one_max".to_owned(), "One. 5: as `alto::Limits` has it.".to_owned())]));
        assert_eq!(limits_of("struct Limits;"), None);
        assert_eq!(title("crates/maps/src/guidance/limits.rs"), "maps::guidance");
        assert_eq!(title("crates/client/src/options.rs"), "client");
    }
}
