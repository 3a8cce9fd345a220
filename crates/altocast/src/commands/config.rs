//! `altocast config`: checks a configuration, or shows every key with its value and meaning.
use crate::{
    config::{self, Config, show},
    terminal,
};
use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

/// Check a configuration file, or show every key
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  altocast config show > altocast.toml\n  altocast config check altocast.toml")]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Say what is wrong with a configuration file, with line, key and the nearest valid name
    #[command(after_help = "Example:\n  altocast config check /etc/altocast/altocast.toml")]
    Check {
        /// The file
        file: PathBuf,
        /// Print the mistakes as a JSON list
        #[arg(long)]
        json: bool,
    },
    /// Print every key with its value and meaning, as a file that can be used
    #[command(after_help = "Examples:\n  altocast config show\n  altocast config show altocast.toml --json")]
    Show {
        /// A file to show the values of, instead of the defaults; the environment goes before both
        file: Option<PathBuf>,
        /// Print one JSON object instead, without the meanings
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Check { file, json } => check(&file, json),
        Action::Show { file, json } => show(file.as_deref(), json),
    }
}

fn check(file: &std::path::Path, json: bool) -> anyhow::Result<ExitCode> {
    let problems = match config::load(Some(file)) {
        Ok(_) => Vec::new(),
        Err(refused) => refused.0,
    };
    if json {
        let list: Vec<_> = problems.iter().map(|it| serde_json::json!({"place": it.place, "what": it.what})).collect();
        terminal::print_forgiving(|out| writeln!(out, "{}", serde_json::Value::from(list)))?;
    } else if problems.is_empty() {
        terminal::print_forgiving(|out| writeln!(out, "{}: no mistakes", file.display()))?;
    } else {
        let mut err = io::stderr().lock();
        for problem in &problems {
            writeln!(err, "{problem}")?;
        }
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show(file: Option<&std::path::Path>, json: bool) -> anyhow::Result<ExitCode> {
    let config: Config = config::load(file).map_err(anyhow::Error::from)?;
    let text = if json { format!("{:#}\n", show::json(&config)) } else { show::show(&config) };
    terminal::print_forgiving(|out| out.write_all(text.as_bytes()))?;
    Ok(ExitCode::SUCCESS)
}
