//! `altocast watch`: follows resources and prints each change: for people what changed, as JSON a line each.
mod difference;

use self::difference::Difference;
use super::{
    reach::{Server, explained, read, usage},
    view::Page,
};
use crate::{
    config::nearest::nearest,
    terminal::{self, Paint, safe},
};
use alto::id::ResourceId;
use anyhow::Context;
use bytes::Bytes;
use client::{
    Replica,
    replica::{Change, Content, Notice, Notifications, Options, Told, Via, Wanted, What},
};
use std::{
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::signal::unix::{SignalKind, signal};

/// Follow resources and print each change
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "The first line of a resource is its full copy; each line after it is a newer version, or
several at once for who was away. A lost connection is made again and goes on where it was.
--json prints one JSON value a line: resource-id, seq, tag, media-type, and patch or document.

--via webhook subscribes, and the server calls back: it must reach this machine. Where it does so
at another address (address translation, containers), name that with --notify-contact.

Examples:
  altocast watch cost-map-routingcost
  altocast watch network-map cost-map-routingcost --via sse
  altocast watch cost-map-routingcost --json --count 2
  altocast watch network-map --via webhook
  altocast watch network-map --via webhook --notify-listen 0.0.0.0:5828
  altocast watch endpoint-cost --input request.json --full")]
pub struct Args {
    /// Their ids in the directory
    #[arg(required = true, value_name = "RESOURCE")]
    pub resources: Vec<ResourceId>,
    /// How updates come: TIPS, update stream, pushes over HTTP/2, WebSocket, notifications of a subscription; auto takes the first that works and another when it fails, but never webhook; over HTTP/3 there are tips, sse and webhook
    #[arg(long, default_value = "auto", value_parser = ["auto", "tips", "sse", "h2", "ws", "webhook"])]
    pub via: String,
    /// Where to listen for notifications (--via webhook); by default at the address that connects to the server, at a free port
    #[arg(long, value_name = "ADDR:PORT")]
    pub notify_listen: Option<SocketAddr>,
    /// The address that the server is given for notifications, where that is another; port 0 is the one that is listened at
    #[arg(long, value_name = "ADDR:PORT")]
    pub notify_contact: Option<SocketAddr>,
    /// Print whole documents instead of what changed
    #[arg(long)]
    pub full: bool,
    /// Stop after this many changes, the first copy of each resource included
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// The request body (JSON) for a resource that answers requests; - is standard input
    #[arg(long, value_name = "FILE")]
    pub input: Option<String>,
    /// Print JSON, one value a line
    #[arg(long)]
    pub json: bool,
    /// See there.
    #[command(flatten)]
    pub server: Server,
}

/// Runs it.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    terminal::forgive_closed_pipe(watch(args).await)
}

async fn watch(args: Args) -> anyhow::Result<ExitCode> {
    let via = args.via.parse::<Via>().ok();
    let protocol = args.server.transport.protocol();
    if let Some(via) = via.filter(|via| !via.goes_over(protocol)) {
        return Ok(usage(&format!("--via {via} does not go over HTTP/3; --via tips, sse and webhook do")));
    }
    let notifications = Notifications { listen: args.notify_listen, contact: args.notify_contact };
    if via != Some(Via::Webhook) && notifications != Notifications::default() {
        return Ok(usage("--notify-listen and --notify-contact are for --via webhook"));
    }
    let client = match args.server.client() {
        Ok(client) => Arc::new(client),
        Err(error) => return Ok(usage(&error.to_string())),
    };
    let input = match &args.input {
        None => None,
        Some(_) if args.resources.len() > 1 => return Ok(usage("--input is the request body of one RESOURCE")),
        Some(path) => Some(one_object(read(path)?).with_context(|| format!("--input {path}"))?),
    };
    let catalog = client.catalog().await.map_err(explained)?;
    for id in &args.resources {
        match catalog.offer(id.as_str()) {
            Err(_) => {
                let meant = nearest(id.as_str(), catalog.offers.iter().map(|offer| offer.id.as_str()));
                let meant = meant.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
                anyhow::bail!("the server has no resource {:?}{meant}\naltocast get lists what there is", id.as_str());
            }
            Ok(offer) => match (&offer.entry.accepts, &input) {
                (Some(accepts), None) => {
                    let accepts = safe(accepts);
                    return Ok(usage(&format!("{id} answers requests: --input FILE is the body of one ({accepts})")));
                }
                (None, Some(_)) => return Ok(usage(&format!("{id} is a document and takes no --input"))),
                _ => {}
            },
        }
    }
    let resources = args.resources.iter().map(|resource| Wanted { resource: resource.clone(), input: input.clone() }).collect();
    let options = Options { resources, via, notifications };
    let mut replica = Replica::open(client, options).await.map_err(explained)?;
    let printing = print(&mut replica, &args);
    let ended = if via == Some(Via::Webhook) {
        tokio::select! {
            ended = printing => ended,
            status = interrupted() => status,
        }
    } else {
        printing.await
    };
    replica.close().await;
    ended
}

/// Prints until there is enough.
async fn print(replica: &mut Replica, args: &Args) -> anyhow::Result<ExitCode> {
    let mut printer = Printer::new(args);
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 {
        match replica.next().await.map_err(ended)? {
            Told::Notice(notice) => printer.notice(&notice),
            Told::Change(change) => {
                printer.change(*change)?;
                left -= 1;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Why following ended, with what to do about it.
fn ended(error: client::Error) -> anyhow::Error {
    let about_contact = |error: &alto::ErrorBody| error.field.as_deref().is_some_and(|field| field.starts_with("contactaddr"));
    match &error {
        client::Error::Refused { error: body, .. } if about_contact(body) => anyhow::anyhow!(
            "{error}\nthe server will not call back there: give it another address with --notify-contact, or have its operator allow this one\n\
             (subscriptions.contact-prefixes of an altocast server)"
        ),
        _ => explained(error),
    }
}

/// Ctrl-C, or a signal that asks to end. The exit status is the one that a shell has for who does not catch it.
async fn interrupted() -> anyhow::Result<ExitCode> {
    let mut asked = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(ExitCode::from(tokio::select! {
        _ = interrupt.recv() => 128 + 2,
        _ = asked.recv() => 128 + 15,
    }))
}

/// RFC 8895 section 6.5: `input` is an object.
fn one_object(text: Vec<u8>) -> anyhow::Result<Bytes> {
    let value: serde_json::Value = serde_json::from_slice(&text).context("it is no JSON")?;
    anyhow::ensure!(value.is_object(), "it is no JSON object");
    Ok(value.to_string().into())
}

struct Printer {
    full: bool,
    json: bool,
    paint: Paint,
    /// Of the resource column.
    width: usize,
    /// What was printed last of each resource.
    before: Vec<(ResourceId, Arc<Content>)>,
}

impl Printer {
    fn new(args: &Args) -> Self {
        let width = args.resources.iter().map(|id| id.as_str().len()).max().unwrap_or_default();
        Self { full: args.full, json: args.json, paint: Paint::stdout(), width, before: Vec::new() }
    }

    fn notice(&self, notice: &Notice) {
        let text = safe(&notice.to_string());
        let paint = Paint::stderr();
        let text = match notice {
            Notice::Following { .. } => paint.dim(&text),
            _ => paint.yellow(&text),
        };
        // Standard error may be closed; then there is nobody to tell.
        let _ = writeln!(io::stderr(), "altocast: {text}");
    }

    fn change(&mut self, change: Change) -> anyhow::Result<()> {
        let place = self.before.iter().position(|(id, _)| *id == change.resource);
        terminal::print(|out| {
            if self.json {
                return out.write_all(&line(&change, self.full));
            }
            let before = place.map(|at| &self.before[at].1);
            self.write(out, &change, before)
        })?;
        // Only people are told what is different.
        if !self.json {
            match place {
                Some(at) => self.before[at].1 = change.content,
                None => self.before.push((change.resource, change.content)),
            }
        }
        Ok(())
    }

    fn write(&self, out: &mut impl Write, change: &Change, before: Option<&Arc<Content>>) -> io::Result<()> {
        let limits = alto::Limits::default();
        let read = |content: &Content| content.document(&change.media_type, &limits).map(std::borrow::Cow::into_owned);
        let now = read(&change.content);
        let version = match (change.seq, &change.tag) {
            (Some(seq), _) => format!("seq {seq}"),
            (None, Some(tag)) => format!("tag {}", tag.as_str().get(..8).unwrap_or(tag.as_str())),
            (None, None) => String::new(),
        };
        let difference = match (&now, before.map(|content| read(content))) {
            (Ok(now), Some(Ok(before))) => Difference::between(&before, now),
            (Ok(now), _) => Difference::first(now),
            (Err(_), _) => Difference::unknown(change.content.bytes()),
        };
        let summary = match (&change.what, before) {
            (What::Full, None) => format!("full copy: {}", difference.summary),
            (What::Full, Some(_)) => format!("{} (full copy)", difference.summary),
            (What::Patch { .. }, _) => difference.summary.clone(),
        };
        let (paint, width) = (self.paint, self.width);
        let id = format!("{:<width$}", change.resource.as_str());
        let version = format!("{version:<8}");
        writeln!(out, "{}  {}  {}  {summary}", paint.dim(&time_of_day(SystemTime::now())), paint.bold(&id), paint.cyan(&version))?;
        match now {
            Ok(document) if self.full => {
                Page { out, paint, width: terminal::width() }.document(change.resource.as_str(), &document)?;
                writeln!(out)
            }
            Err(_) if self.full => {
                out.write_all(&change.content.to_json())?;
                writeln!(out)
            }
            _ => difference.write(out, paint),
        }
    }
}

/// What a line begins with.
#[derive(serde::Serialize)]
#[serde(rename_all = "kebab-case")]
struct Head<'a> {
    resource_id: &'a str,
    seq: Option<u64>,
    tag: Option<&'a str>,
    media_type: &'a str,
}

/// `{"resource-id", "seq", "tag", "media-type", "document" or "patch"}` and a line break. A full copy has a document, whatever was asked for.
fn line(change: &Change, full: bool) -> Vec<u8> {
    let (member, media_type, text) = match &change.what {
        What::Patch { kind, body } if !full => ("patch", kind.media_type(), body.to_vec()),
        _ => ("document", &*change.media_type, change.content.to_json()),
    };
    let (id, tag) = (change.resource.as_str(), change.tag.as_ref().map(|tag| tag.as_str()));
    let head = Head { resource_id: id, seq: change.seq, tag, media_type };
    let mut line = serde_json::to_vec(&head).expect("text and numbers are JSON");
    line.pop();
    line.extend_from_slice(format!(",\"{member}\":").as_bytes());
    // JSON has line breaks only between its tokens.
    line.extend(text.into_iter().map(|byte| if byte == b'\n' || byte == b'\r' { b' ' } else { byte }));
    line.extend_from_slice(b"}\n");
    line
}

/// UTC, as a log has it: `09:05:00Z`.
fn time_of_day(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()) % 86_400;
    format!("{:02}:{:02}:{:02}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn change(what: What) -> Change {
        let body = br#"{"meta":{"vtag":{"resource-id":"net","tag":"n2"}},"network-map":{"a":{"ipv4":["192.0.2.0/24"]}}}"#;
        Change {
            resource: "net".parse().unwrap(),
            input: None,
            seq: Some(2),
            tag: Some("n2".parse().unwrap()),
            media_type: "application/alto-networkmap+json".into(),
            content: Arc::new(Content::read("application/alto-networkmap+json", body, &client::Limits::default()).unwrap()),
            what,
        }
    }

    /// interface.md: `{"resource-id", "seq", "tag", "media-type", "document"}`; without `--full` the member is `"patch"`.
    #[test]
    fn one_json_value_a_line() {
        let patch =
            What::Patch { kind: alto::patch::Kind::Merge, body: Bytes::from_static(b"{\"meta\":\n {\"vtag\":\r\n{\"tag\":\"n2\"}}}") };
        for (what, full, member, media_type) in [
            (patch.clone(), false, "patch", "application/merge-patch+json"),
            (patch, true, "document", "application/alto-networkmap+json"),
            (What::Full, false, "document", "application/alto-networkmap+json"),
        ] {
            let line = String::from_utf8(line(&change(what), full)).unwrap();
            assert_eq!((line.matches(['\n', '\r']).count(), line.ends_with('\n')), (1, true));
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            let members: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
            let mut want = vec![member, "media-type", "resource-id", "seq", "tag"];
            want.sort_unstable();
            assert_eq!(members, want);
            assert_eq!((&value["seq"], &value["media-type"]), (&2.into(), &media_type.into()));
            let tag = &value[member]["meta"]["vtag"]["tag"];
            assert_eq!(tag, "n2");
        }
        let without = Change { seq: None, tag: None, ..change(What::Full) };
        let value: serde_json::Value = serde_json::from_slice(&line(&without, true)).unwrap();
        assert!(value["seq"].is_null() && value["tag"].is_null());
    }

    #[test]
    fn the_time_is_utc() {
        assert_eq!(time_of_day(UNIX_EPOCH + Duration::from_secs(86_400 * 3 + 9 * 3600 + 5 * 60 + 7)), "09:05:07Z");
    }
}
