//! Every chore of this repository, in Rust: `cargo xtask <chore>`.
//!
//! A chore prints what it does and ends with status 1 when something is wrong. `cargo xtask check` is all that CI runs
//! besides the tests and the interop suite.
#![allow(clippy::print_stdout, reason = "a command-line program")]
mod bench;
mod check;
mod interop;
mod kill;
mod layers;
mod licences;
mod pages;
mod release;
mod simulate;
mod workspace;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <chore>

  check           format, layers, licences, clippy, docs, pages: what CI runs
  layers          compare who may use whom (docs/architecture.md) with the manifests
  licences        list the dependencies' licences and compare them with the allow list
  pages           rewrite docs/limits.md and the reference in docs/configuration.md from the code
  interop         build the program and let other people's clients, caches and test suites use it
  kill [N]        kill a server under load with SIGKILL, 200 times or N, and look that nothing acknowledged is gone
  simulate [N|FROM..TO]
                  run histories over failing disks, and servers and clients over a failing network, from seeds: 10,000 or those given
  bench [PART...] measure the speed table beside its peers and write docs/benchmarks.md; parts: maps, fan-out, history, restart, crates
                  (--quick: fewer rounds, writes nothing; fan-out:sse: only rows with `sse` in their name, writes nothing)
  release         build the optimised program and pack it with its licences under target/dist
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["check"] => check::run(),
        ["layers"] => layers::run(),
        ["licences"] => licences::run(true),
        ["pages"] => pages::write(),
        ["interop"] => interop::run(),
        ["kill"] => kill::run("200"),
        ["kill", kills] => kill::run(kills),
        ["simulate"] => simulate::run("10000"),
        ["simulate", seeds] => simulate::run(seeds),
        ["bench", args @ ..] => bench::run(args),
        // A peer of the bench, which starts it itself.
        ["naive-push", address, control] => bench::naive_push(address, control),
        ["release"] => release::run(),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
