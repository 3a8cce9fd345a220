//! Where the workspace is, and running commands in it.
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The folder of the root `Cargo.toml`.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("this crate lies two folders under the root").to_path_buf()
}

/// The cargo that runs us.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Where cargo puts what it builds.
pub fn target_dir() -> Result<PathBuf> {
    let metadata = metadata(&["--no-deps"])?;
    Ok(metadata["target_directory"].as_str().context("cargo metadata names no target directory")?.into())
}

/// `cargo metadata` of the workspace.
pub fn metadata(args: &[&str]) -> Result<Value> {
    let out = output(cargo().args(["metadata", "--format-version", "1"]).args(args))?;
    serde_json::from_str(&out).context("cargo metadata")
}

/// Runs a command, its output going to ours.
pub fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    println!("$ {shown}");
    let status = command.status().with_context(|| format!("cannot start: {shown}"))?;
    ensure!(status.success(), "failed ({status}): {shown}");
    Ok(())
}

/// Runs a command and returns what it printed.
pub fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let out = command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot start: {shown}"))?;
    ensure!(out.status.success(), "failed ({}): {shown}", out.status);
    String::from_utf8(out.stdout).with_context(|| format!("output of {shown}"))
}

/// Builds `altocast` and returns the path of the binary.
pub fn build_program(release: bool) -> Result<PathBuf> {
    let mut build = cargo();
    build.args(["build", "--package", "altocast"]);
    if release {
        build.arg("--release");
    }
    run(&mut build)?;
    Ok(target_dir()?.join(if release { "release" } else { "debug" }).join("altocast"))
}

/// Whether a program is on the path.
pub fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]).any(|folder| folder.join(program).is_file())
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program()).to_string_lossy().into_owned();
    command.get_args().fold(program, |line, arg| line + " " + &arg.to_string_lossy())
}
