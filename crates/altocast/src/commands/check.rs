//! `altocast check`: says what is wrong with maps, a configuration or a running server, and where.
mod server;

use super::reach::{Transport, explained};
use crate::{
    config,
    terminal::{self, Paint, safe},
};
use alto::check::{Problem, Severity};
use anyhow::Context;
use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Say what is wrong with maps, a configuration or a running server
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "A file is an RFC 7285 document, or a configuration when its name ends in .toml; a folder stands for the \
*.json in it. Files given together are checked against each other: a cost map against its network map. A URL is a running server: \
every resource of its directory is fetched and every service asked.

Examples:
  altocast check network-map.json cost-map.json
  altocast check maps/ altocast.toml
  altocast check http://127.0.0.1:6671

Exit status 1 when there is an error; warnings and notes alone are success.")]
pub struct Args {
    /// Files, folders, URLs
    #[arg(required = true, value_name = "FILE|URL")]
    pub targets: Vec<String>,
    /// Print the findings as JSON
    #[arg(long)]
    pub json: bool,
    /// See there.
    #[command(flatten)]
    pub transport: Transport,
}

/// Something found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
struct Finding {
    /// File or URI.
    document: String,
    /// JSON pointer into it (RFC 6901).
    pointer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    #[serde(serialize_with = "severity_name")]
    severity: Severity,
    rule: String,
    section: String,
    message: String,
}

fn severity_name<S: serde::Serializer>(severity: &Severity, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(severity.as_str())
}

impl Finding {
    /// Whether the other is the same finding in another document of a server, where no line tells them apart.
    fn is_like(&self, other: &Self) -> bool {
        let what = |one: &Self| (one.severity, one.rule.clone(), one.message.clone(), one.pointer.clone());
        self.line.is_none() && other.line.is_none() && what(self) == what(other)
    }

    /// What stands after the last slash of its URI.
    fn last_name(&self) -> &str {
        self.document.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(&self.document)
    }

    fn of(document: &str, problem: Problem) -> Self {
        Self {
            document: document.to_owned(),
            pointer: problem.pointer,
            line: Some(problem.line),
            column: Some(problem.column),
            severity: problem.severity,
            rule: problem.rule.to_owned(),
            section: problem.rfc_section.to_owned(),
            message: problem.message,
        }
    }
}

/// Runs it.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    terminal::forgive_closed_pipe(check(args).await)
}

async fn check(args: Args) -> anyhow::Result<ExitCode> {
    let mut findings = Vec::new();
    let mut looked_at = Vec::new();
    let mut files = Vec::new();
    for target in &args.targets {
        if target.starts_with("http://") || target.starts_with("https://") {
            let client = args.transport.client(target).map_err(explained)?;
            let report = server::check(&client).await.map_err(explained)?;
            looked_at.push(format!("{} and {} of {}", report.resources(), report.services(), safe(target)));
            findings.extend(report.findings);
        } else {
            files.extend(files_of(target)?);
        }
    }
    findings.extend(check_files(&files)?);
    looked_at.extend(match files.len() {
        0 => None,
        1 => Some(files[0].display().to_string()),
        n => Some(terminal::counted(n, "file")),
    });
    let number = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings, notes) = (number(Severity::Error), number(Severity::Warning), number(Severity::Note));
    if args.json {
        let report = serde_json::json!({ "problems": findings, "errors": errors, "warnings": warnings, "notes": notes });
        terminal::print(|out| writeln!(out, "{report}"))?;
    } else {
        terminal::print(|out| {
            print(out, Paint::stdout(), terminal::width_of_terminal(), &findings, &looked_at.join(", "), [errors, warnings, notes])
        })?;
    }
    Ok(if errors > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A folder's documents in the order of their names, or the file itself.
fn files_of(target: &str) -> anyhow::Result<Vec<PathBuf>> {
    let path = Path::new(target);
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).with_context(|| target.to_owned())? {
        let file = entry.with_context(|| target.to_owned())?.path();
        if file.extension().is_some_and(|extension| extension == "json") {
            files.push(file);
        }
    }
    files.sort();
    anyhow::ensure!(!files.is_empty(), "{target}: there is no *.json in this folder");
    Ok(files)
}

fn check_files(files: &[PathBuf]) -> anyhow::Result<Vec<Finding>> {
    let is_configuration = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "toml");
    let mut documents = Vec::new();
    let mut findings = Vec::new();
    for path in files {
        if is_configuration(path) {
            findings.extend(check_configuration(path));
        } else {
            let name = path.display().to_string();
            let text = std::fs::read(path).with_context(|| name.clone())?;
            documents.push((name, text));
        }
    }
    for (at, (name, text)) in documents.iter().enumerate() {
        let companions: Vec<&[u8]> =
            documents.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, (_, text))| text.as_slice()).collect();
        findings.extend(alto::check::check(text, None, &companions).into_iter().map(|problem| Finding::of(name, problem)));
    }
    Ok(findings)
}

/// Every mistake names its line itself.
fn check_configuration(path: &Path) -> Vec<Finding> {
    let problems = config::load(Some(path)).err().map(|refused| refused.0).unwrap_or_default();
    let finding = |problem: config::Problem| Finding {
        document: problem.place,
        pointer: String::new(),
        line: None,
        column: None,
        severity: Severity::Error,
        rule: "configuration".into(),
        section: "altocast config show".into(),
        message: problem.what,
    };
    problems.into_iter().map(finding).collect()
}

fn print(
    out: &mut impl Write,
    paint: Paint,
    width: Option<usize>,
    findings: &[Finding],
    looked_at: &str,
    numbers: [usize; 3],
) -> io::Result<()> {
    let mut said: Vec<&Finding> = Vec::new();
    for finding in findings {
        // The metrics of one server tend to share a finding: once is enough, with the places it was found in.
        if said.iter().any(|before| before.is_like(finding)) {
            continue;
        }
        said.push(finding);
        let place = match (finding.line, finding.column) {
            (Some(line), Some(column)) => format!("{}:{line}:{column}", safe(&finding.document)),
            _ => safe(&finding.document),
        };
        let name = finding.severity.as_str();
        let severity = match finding.severity {
            Severity::Error => paint.red(name),
            Severity::Warning => paint.yellow(name),
            Severity::Note => paint.cyan(name),
        };
        let message = safe(&finding.message);
        write!(out, "{}: {severity}: ", paint.bold(&place))?;
        match width {
            None => writeln!(out, "{message}")?,
            Some(width) => {
                let head = place.chars().count() + name.len() + 4;
                writeln!(out, "{}", terminal::wrap(&message, head, 4, width))?;
            }
        }
        let mut about = vec![safe(&finding.rule), finding.section.clone()];
        if !finding.pointer.is_empty() {
            about.insert(0, format!("at {}", safe(&finding.pointer)));
        }
        about.retain(|part| !part.is_empty());
        writeln!(out, "    {}", paint.dim(&about.join(" · ")))?;
        let also: Vec<_> = findings.iter().filter(|other| finding.is_like(other)).map(|other| safe(other.last_name())).skip(1).collect();
        if !also.is_empty() {
            let text = format!("also in {}", also.join(", "));
            writeln!(out, "    {}", paint.dim(&terminal::wrap(&text, 4, 4, width.unwrap_or(usize::MAX))))?;
        }
    }
    let names = ["error", "warning", "note"];
    let parts: Vec<_> = numbers.iter().zip(names).filter(|(n, _)| **n > 0).map(|(n, name)| terminal::counted(*n, name)).collect();
    if !findings.is_empty() {
        writeln!(out)?;
    }
    match parts.is_empty() {
        true => writeln!(out, "{}: nothing wrong in {looked_at}", paint.green("ok")),
        false => writeln!(out, "{} in {looked_at}", parts.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_read_like_a_compilers() {
        let finding = Finding {
            document: "m.json".into(),
            pointer: "/network-map/a/ipv4/0".into(),
            line: Some(3),
            column: Some(15),
            severity: Severity::Error,
            rule: "duplicate-prefix".into(),
            section: "RFC 7285 section 11.2.2".into(),
            message: "192.0.2.0/24 is in PID b too\x1b".into(),
        };
        let mut out = Vec::new();
        print(&mut out, Paint::PLAIN, None, &[finding], "m.json", [1, 0, 2]).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "m.json:3:15: error: 192.0.2.0/24 is in PID b too?
    at /network-map/a/ipv4/0 · duplicate-prefix · RFC 7285 section 11.2.2

1 error, 2 notes in m.json
"
        );
        let mut out = Vec::new();
        print(&mut out, Paint::PLAIN, None, &[], "m.json", [0, 0, 0]).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "ok: nothing wrong in m.json\n");
    }
}
