//! Our own server under a crowd: a network map and a cost map of which chosen cells change, and how a client of each transport follows the
//! cost map. URIs come from the directory, as a client's would.
use super::{
    crowd::{Reading, Script},
    wire::{Next, Protocol, http2_post},
};
use crate::bench::{
    exchange::{Answer, request},
    maps,
    servers::{self, Server},
};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::{fmt::Write, fs, net::SocketAddr, path::Path};

/// PIDs of the map from which events of so many bytes come: as many as the demo network has, or as the event takes. Its full copy is larger
/// than the event.
fn pids(message_bytes: usize) -> usize {
    if message_bytes > 10 << 10 { 120 } else { 40 }
}

const RESOURCE: &str = "fan-costs";

/// The server, and where its update services are.
pub struct Ours {
    /// The process.
    pub server: Server,
    directory: Value,
    pids: usize,
    round: u64,
}

impl Ours {
    /// Starts it on a folder with the two maps, for so many clients and events of so many bytes.
    pub fn start(program: &Path, scratch: &Path, clients: usize, message_bytes: usize) -> Result<Self> {
        let folder = scratch.join("fan-out-maps");
        fs::create_dir_all(&folder)?;
        let pids = pids(message_bytes);
        maps::write_network(&folder, "fan", pids)?;
        maps::write_costs(&folder, "fan", pids)?;
        let folder = folder.to_str().context("the target folder's name is not UTF-8")?;
        // In memory: what is measured is the fan-out; the log on disk has rows of its own.
        let arguments = ["--maps", folder, "--in-memory"];
        // The default is enough for 16,384.
        let limits = [("ALTOCAST_SERVER_CONNECTIONS_MAX", "40000")];
        let limits = if clients < 16_000 { &limits[1..] } else { &limits[..] };
        let (server, _) = servers::altocast_with(program, &arguments, limits, &format!("/resources/{RESOURCE}"))?;
        let directory = request(server.http1, "GET", "/directory", &[], b"")?;
        let directory = serde_json::from_slice(&directory.body).context("directory")?;
        Ok(Self { server, directory, pids, round: 0 })
    }

    /// How a client of each transport follows the cost map from its newest version on.
    pub fn script(&self, protocol: &Protocol) -> Result<Script> {
        let address = self.server.http1;
        let tag = self.tag()?;
        let wants = json!({"resource-id": RESOURCE, "tag": tag}).to_string();
        let (opening, protocol) = match protocol {
            Protocol::Sse => {
                let path = self.service("text/event-stream", "application/alto-updatestreamparams+json")?;
                let body = json!({"add": {"1": {"resource-id": RESOURCE, "tag": tag}}}).to_string();
                (post(address, &path, "application/alto-updatestreamparams+json", &body), Protocol::Sse)
            }
            Protocol::WebSocket { .. } => {
                let uri = self.directory["resources"][RESOURCE]["updates"].as_str().context("no updates URI in the directory")?;
                let head = format!("GET {} HTTP/1.1\r\nHost: {address}\r\n{}", path(uri)?, super::peers::UPGRADE);
                let head = format!("{head}Sec-WebSocket-Protocol: alto-updates\r\nIf-None-Match: \"{tag}\"\r\n\r\n");
                (head.into_bytes(), Protocol::WebSocket { greeting: Vec::new() })
            }
            Protocol::LongPoll(_) => {
                let service = self.service("application/alto-tips+json", "application/alto-tipsparams+json")?;
                let fields = [("content-type", "application/alto-tipsparams+json")];
                let answer = ok(request(address, "POST", &service, &fields, wants.as_bytes())?)?;
                let view: Value = serde_json::from_slice(&answer.body)?;
                let uri = view["tips-view-uri"].as_str().context("no tips-view-uri")?;
                let seq = view["tips-view-summary"]["updates-graph-summary"]["end-seq"].as_u64().context("no end-seq")?;
                let (prefix, host) = (format!("{}/ug", path(uri)?), address.to_string());
                let head = format!("GET {prefix}/{seq}/{} HTTP/1.1\r\nHost: {host}\r\n\r\n", seq + 1);
                (head.into_bytes(), Protocol::LongPoll(Next::Edge { prefix, host, seq }))
            }
            Protocol::Push => {
                let media = "application/alto-transport+json";
                let service = self.service(media, media).or_else(|_| self.service(media, "application/alto-updatestreamparams+json"))?;
                (http2_post(&address.to_string(), &service, media, wants.as_bytes()), Protocol::Push)
            }
        };
        Ok(Script { address, opening, protocol, reading: Reading::Eager })
    }

    /// Changes cells of the cost map so that the merge patch of the change has about `bytes` bytes.
    pub fn publish(&mut self, bytes: usize) -> Result<()> {
        self.round += 1;
        let pids = self.pids;
        let mut patch = String::from(r#"{"cost-map":{"#);
        // The patch that clients get has the new tag besides: about a hundred bytes.
        let cells = (0..pids).flat_map(|from| (0..pids).map(move |to| (from, to)));
        let (mut row, mut first) = (usize::MAX, true);
        for (from, to) in cells.filter(|(from, to)| from != to) {
            if from != row {
                write!(patch, r#"{}"p{from}":{{"#, if row == usize::MAX { "" } else { "}," })?;
                (row, first) = (from, true);
            }
            let comma = if first { "" } else { "," };
            // Three digits, different from the round before in each cell.
            write!(patch, r#"{comma}"p{to}":{}"#, 100 + (self.round + to as u64) % 100)?;
            first = false;
            if patch.len() + 100 >= bytes {
                break;
            }
        }
        patch += "}}}";
        self.patch(&patch)
    }

    /// Applies a merge patch to the cost map.
    pub fn patch(&self, patch: &str) -> Result<()> {
        let fields = [("content-type", "application/merge-patch+json")];
        ok(request(self.server.admin, "PATCH", &format!("/v1/resources/{RESOURCE}"), &fields, patch.as_bytes())?)?;
        Ok(())
    }

    fn tag(&self) -> Result<String> {
        let answer = ok(request(self.server.http1, "GET", &format!("/resources/{RESOURCE}"), &[], b"")?)?;
        Ok(answer.field("etag").context("no ETag")?.trim_matches('"').to_owned())
    }

    /// Path of the service with these media types.
    fn service(&self, media_type: &str, accepts: &str) -> Result<String> {
        let resources = self.directory["resources"].as_object().context("a directory without resources")?;
        // Of several (an update stream over TIPS is one, too) the one that lists the map.
        let fits = |entry: &&Value| {
            entry["media-type"] == media_type
                && entry["accepts"] == accepts
                && entry["uses"].as_array().is_some_and(|uses| uses.iter().any(|each| each == RESOURCE))
        };
        let entry = resources.values().find(fits).with_context(|| format!("the directory has no {media_type} for {RESOURCE}"))?;
        path(entry["uri"].as_str().context("an entry without URI")?)
    }
}

/// The path of an absolute or relative URI.
fn path(uri: &str) -> Result<String> {
    match uri.split_once("://") {
        Some((_, rest)) => Ok(rest[rest.find('/').context("a URI without path")?..].to_owned()),
        None => Ok(uri.to_owned()),
    }
}

fn post(address: SocketAddr, path: &str, media_type: &str, body: &str) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\r\n", body.len());
    (head + body).into_bytes()
}

fn ok(answer: Answer) -> Result<Answer> {
    ensure!(answer.status / 100 == 2, "status {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
    Ok(answer)
}
