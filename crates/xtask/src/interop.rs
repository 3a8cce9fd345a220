//! `cargo xtask interop`: other people's clients, proxies and test suites against the built program.
//!
//! The suite itself is `interop/run.py`; here it gets its program, its tools and its packages.
use crate::workspace;
use anyhow::{Result, ensure};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What the suite calls, and the Debian package that has it.
const TOOLS: [(&str, &str); 10] = [
    ("python3", "python3-venv"),
    ("curl", "curl"),
    ("nghttp", "nghttp2-client"),
    ("h2load", "nghttp2-client"),
    ("openssl", "openssl"),
    ("nginx", "nginx"),
    ("varnishd", "varnish"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("chromium", "chromium"),
];
/// What drives Chromium; it downloads no browser.
const PLAYWRIGHT: &str = "playwright-core@1.65.1";
/// Autobahn's test suite, a program for Python 2.7, and the last virtualenv that makes an environment for one.
const AUTOBAHN: &str = "autobahntestsuite==25.10.1";
const VIRTUALENV: &str = "virtualenv==20.15.1";

/// Builds, prepares, runs; the suite's last line counts.
pub fn run() -> Result<()> {
    let missing: Vec<&str> = TOOLS.iter().filter(|(program, _)| !workspace::on_path(program)).map(|(_, package)| *package).collect();
    ensure!(missing.is_empty(), "missing programs; apt-get install {}", missing.join(" "));
    let program = workspace::build_program(false)?;
    let suite = workspace::root().join("interop");
    let target = workspace::target_dir()?;
    let venv = target.join("interop-venv");
    let python = venv.join("bin/python");
    if !python.exists() {
        workspace::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    }
    let requirements = suite.join("requirements.txt");
    workspace::run(
        Command::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(requirements),
    )?;
    let node = target.join("interop-node");
    std::fs::create_dir_all(&node)?;
    workspace::run(
        Command::new("npm")
            .args(["install", "--silent", "--no-audit", "--no-fund", "--no-save", PLAYWRIGHT, "--prefix"])
            .arg(&node)
            .env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1"),
    )?;
    let mut run = Command::new(&python);
    run.arg("-B").arg(suite.join("run.py")).arg(program).arg(node.join("node_modules"));
    match python2() {
        Some(python2) => {
            // Most of its cases expect to hear again what they said: our framing in a server that does that.
            workspace::run(workspace::cargo().args(["build", "--package", "server", "--example", "websocket_echo"]))?;
            run.arg(wstest(&python2, &target)?).arg(target.join("debug/examples/websocket_echo"));
        }
        None => println!("note: no Python 2.7 here, so Autobahn's wstest does not run"),
    }
    workspace::run(&mut run)
}

/// A Python 2.7: on the path, or one of pyenv's. Debian has none any more.
fn python2() -> Option<PathBuf> {
    let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    let versions = std::fs::read_dir(home.join(".pyenv/versions")).into_iter().flatten().flatten();
    let kept = versions
        .filter(|version| version.file_name().to_string_lossy().starts_with("2.7"))
        .map(|version| version.path().join("bin/python2.7"));
    let works = |python: &PathBuf| {
        Command::new(python)
            .args(["-m", "pip", "--version"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    kept.chain([PathBuf::from("python2.7")]).find(works)
}

/// Autobahn's `wstest`, installed in an environment of its own.
fn wstest(python2: &Path, target: &Path) -> Result<PathBuf> {
    let venv = target.join("interop-autobahn");
    let wstest = venv.join("bin/wstest");
    if !wstest.exists() {
        let tool = target.join("interop-virtualenv");
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        workspace::run(Command::new(python2).args(pip).arg("--target").arg(&tool).arg(VIRTUALENV))?;
        workspace::run(Command::new(python2).args(["-m", "virtualenv", "--quiet"]).arg(&venv).env("PYTHONPATH", &tool))?;
        workspace::run(Command::new(venv.join("bin/python")).args(pip).arg(AUTOBAHN))?;
    }
    Ok(wstest)
}
