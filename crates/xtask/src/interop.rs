//! `cargo xtask interop`: curl, nghttp and a Python client (httpx, jsonschema) against the built program.
//!
//! The suite itself is `interop/run.py`; here it gets its program, its tools and its Python packages.
use crate::workspace;
use anyhow::{Result, ensure};
use std::process::Command;

/// What the suite calls, and the Debian package that has it.
const TOOLS: [(&str, &str); 5] =
    [("python3", "python3-venv"), ("curl", "curl"), ("nghttp", "nghttp2-client"), ("h2load", "nghttp2-client"), ("openssl", "openssl")];

/// Builds, prepares, runs; the suite's last line counts.
pub fn run() -> Result<()> {
    let missing: Vec<&str> = TOOLS.iter().filter(|(program, _)| !workspace::on_path(program)).map(|(_, package)| *package).collect();
    ensure!(missing.is_empty(), "missing programs; apt-get install {}", missing.join(" "));
    let program = workspace::build_program(false)?;
    let suite = workspace::root().join("interop");
    let venv = workspace::target_dir()?.join("interop-venv");
    let python = venv.join("bin/python");
    if !python.exists() {
        workspace::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    }
    let requirements = suite.join("requirements.txt");
    workspace::run(
        Command::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(requirements),
    )?;
    workspace::run(Command::new(&python).arg("-B").arg(suite.join("run.py")).arg(program))
}
