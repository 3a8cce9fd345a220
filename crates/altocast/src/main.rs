//! The program `altocast`: a server of ALTO (RFC 7285) network guidance, and a client of any such server.
//!
//! Exit status: 0 on success, 1 on failure, 2 on wrong usage. Messages go to standard error, data to standard output.
mod commands;
mod config;
mod demo;
mod log;
mod serve;
mod terminal;

use clap::Parser;
use std::{
    io::{self, Write},
    panic,
    process::ExitCode,
};

/// Network guidance by ALTO (RFC 7285): serves it, asks for it, checks it
#[derive(Debug, Parser)]
#[command(
    name = "altocast",
    version,
    propagate_version = true,
    after_help = "Examples:\n  altocast serve\n  altocast rank --src 141.24.0.1 145.120.0.1 193.204.0.1"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Serve(serve::Args),
    Get(commands::get::Args),
    Rank(commands::rank::Args),
    Check(commands::check::Args),
    Publish(commands::publish::Args),
    Watch(commands::watch::Args),
    Config(commands::config::Args),
    DevCert(commands::dev_cert::Args),
}

fn main() -> ExitCode {
    // Wrong usage ends here, with status 2.
    let cli = Cli::parse();
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        // A damaged data folder is told in one line by whoever opened it.
        if !store::catches_panics() {
            print(info);
        }
    }));
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            // Standard error may be closed as well; then there is nobody to tell.
            let _ = writeln!(io::stderr(), "altocast: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    let command = match command {
        Command::Config(args) => return commands::config::run(args),
        Command::DevCert(args) => return commands::dev_cert::run(args),
        command => command,
    };
    // The server brings its own threads; commands are one conversation.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let ended = match command {
            Command::Serve(args) => serve::run(args).await,
            Command::Get(args) => commands::get::run(args).await,
            Command::Rank(args) => commands::rank::run(args).await,
            Command::Check(args) => commands::check::run(args).await,
            Command::Publish(args) => commands::publish::run(args).await,
            Command::Watch(args) => commands::watch::run(args).await,
            Command::Config(args) => commands::config::run(args),
            Command::DevCert(args) => commands::dev_cert::run(args),
        };
        // A connection of QUIC that was dropped is still to send that it ends: nobody else will.
        tokio::task::yield_now().await;
        ended
    });
    // Whoever interrupts a start does not wait for files that are still being read.
    runtime.shutdown_background();
    ended
}
