//! `altocast publish`: puts, patches or withdraws a resource through the admin listener.
use super::reach::{AdminListener, Cache, Transport, explained_admin, read, usage};
use crate::terminal::{self, Paint};
use alto::{Document, id::ResourceId};
use anyhow::Context;
use client::{Confirmation, Patch, Words};
use std::{io::Write, process::ExitCode};

/// Put, patch or withdraw a resource of a running server
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "A document is checked before it is sent. What is acknowledged is visible to every client.

Examples:
  altocast publish network-map map.json
  altocast publish --merge-patch cost-map-routingcost change.json
  altocast publish --delete old-map")]
pub struct Args {
    /// Which resource
    pub resource: ResourceId,
    /// The document (RFC 7285) or the change; `-` is standard input
    #[arg(required_unless_present = "delete", conflicts_with = "delete")]
    pub file: Option<String>,
    /// FILE is a JSON merge patch (RFC 7396)
    #[arg(long, conflicts_with_all = ["json_patch", "delete"])]
    pub merge_patch: bool,
    /// FILE is a JSON patch (RFC 6902)
    #[arg(long, conflicts_with = "delete")]
    pub json_patch: bool,
    /// Withdraw the resource; a computed one stays away, with the cost maps over it, until it is published or the server restarts
    #[arg(long)]
    pub delete: bool,
    /// Publish even when the change guard refuses, because so many prefixes change their PID
    #[arg(long)]
    pub confirm: bool,
    /// Print what was published as JSON
    #[arg(long)]
    pub json: bool,
    /// See there.
    #[command(flatten)]
    pub admin: AdminListener,
    /// See there.
    #[command(flatten)]
    pub transport: Transport,
}

/// Runs it.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    terminal::forgive_closed_pipe(publish(args).await)
}

async fn publish(args: Args) -> anyhow::Result<ExitCode> {
    let admin = match args.transport.admin(&args.admin) {
        Ok(admin) => admin,
        Err(error) => return Ok(usage(&error.to_string())),
    };
    let confirmation = if args.confirm { Confirmation::Given } else { Confirmation::None };
    let id = &args.resource;
    let paint = Paint::stdout();
    let Some(file) = &args.file else {
        let done = admin.delete(id, confirmation).await;
        Cache::forget();
        return match done {
            Ok(()) if args.json => say(&serde_json::json!({ "resource-id": id, "withdrawn": true }).to_string()),
            Ok(()) => say(&format!("{} {id}", paint.green("withdrew"))),
            Err(error) => Err(refused(error, id)),
        };
    };
    let text = read(file)?;
    let done = if args.merge_patch || args.json_patch {
        serde_json::from_slice::<serde::de::IgnoredAny>(&text).with_context(|| format!("{file} is not JSON"))?;
        let patch = if args.merge_patch { Patch::Merge } else { Patch::Json };
        admin.patch(id, patch, text, confirmation).await
    } else {
        // Told here, with the file's name, rather than by the server. The text goes as it is.
        let document = Document::parse_draft(&text, None, &alto::Limits::default())
            .map_err(|error| anyhow::anyhow!("{file}: {}\nall that is wrong with it: altocast check {file}", Words(&error)))?;
        admin.put(id, document.media_type(), text, confirmation).await
    };
    // Whoever publishes wants to see it; also what failed on its way back may have been done.
    Cache::forget();
    let published = done.map_err(|error| refused(error, id))?;
    if args.json {
        return say(&serde_json::to_string(&published)?);
    }
    let mut lines =
        vec![format!("{} {}  version {}  tag {}", paint.green("published"), published.resource_id, published.seq, published.tag)];
    lines.extend(
        published.also_changed.iter().map(|also| format!("   with it {}  version {}  tag {}", also.resource_id, also.seq, also.tag)),
    );
    for warning in &published.warnings {
        eprintln!("{} {}", Paint::stderr().yellow("warning:"), terminal::safe(warning));
    }
    say(&lines.join("\n"))
}

fn say(line: &str) -> anyhow::Result<ExitCode> {
    terminal::print(|out| writeln!(out, "{line}"))?;
    Ok(ExitCode::SUCCESS)
}

fn refused(error: client::Error, id: &ResourceId) -> anyhow::Error {
    match &error {
        client::Error::Status { status, body, .. } if status.as_u16() == 409 => {
            // The listener's own advice is for programs.
            let why = body.split("; send it again").next().unwrap_or_default();
            anyhow::anyhow!("the change guard refused {id}: {why}\nto publish it all the same, repeat the command with --confirm")
        }
        client::Error::Status { status, method, .. } if status.as_u16() == 404 && method != http::Method::PUT => {
            anyhow::anyhow!("there is no resource {id}; altocast get shows what there is")
        }
        client::Error::Refused { error: body, said, .. } => {
            let why = said.clone().unwrap_or_else(|| Words(body).to_string());
            let why = why.strip_prefix(&format!("{id}: ")).unwrap_or(&why);
            anyhow::anyhow!("the server refused {id}: {why}")
        }
        _ => explained_admin(error),
    }
}
