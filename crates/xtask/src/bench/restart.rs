//! Coming back after a crash with a long history: from the start of the process to the newest version of a 10 MB map.
use super::{Effort, exchange::request, maps, page::Row, servers};
use anyhow::{Context, Result, ensure};
use std::{fs, path::Path, time::Instant};

/// Makes the history by changes of one row of costs, kills the server, starts it again.
pub fn measure(program: &Path, scratch: &Path, effort: Effort) -> Result<Row> {
    let versions = if effort == Effort::Full { 1_000 } else { 50 };
    let folder = scratch.join("restart-maps");
    fs::create_dir_all(&folder)?;
    maps::write_network(&folder, "large", maps::LARGE_PIDS)?;
    maps::write_costs(&folder, "large", maps::LARGE_PIDS)?;
    let data = scratch.join("restart-data");
    let (maps, data) = (folder.to_str().context("UTF-8")?, data.to_str().context("UTF-8")?);
    let arguments = ["--maps", maps, "--data-dir", data];
    let keys = [("ALTOCAST_HISTORY_VERSIONS_MAX", "2000")];
    let path = "/resources/large-costs";
    let (server, _) = servers::altocast_with(program, &arguments, &keys, path)?;
    let began = Instant::now();
    for version in 0..versions {
        let row = version % maps::LARGE_PIDS;
        let patch = format!(r#"{{"cost-map":{{"p{row}":{{"p1":{0},"p2":{0},"p3":{0}}}}}}}"#, 300 + version);
        let fields = [("content-type", "application/merge-patch+json")];
        let answer = request(server.admin, "PATCH", "/v1/resources/large-costs", &fields, patch.as_bytes())?;
        ensure!(answer.status == 200, "status {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
    }
    println!(
        "restart: {versions} durable changes of a 10 MB map took {:.1} ms each",
        began.elapsed().as_secs_f64() * 1e3 / versions as f64
    );
    let before = request(server.http1, "GET", path, &[], b"")?;
    let history = request(server.admin, "GET", "/v1/resources/large-costs/history", &[], b"")?.body;
    server.kill()?;
    let (server, took) = servers::altocast_with(program, &arguments, &keys, path)?;
    let after = request(server.http1, "GET", path, &[], b"")?;
    ensure!(after.field("etag") == before.field("etag") && after.body == before.body, "another version came back");
    let came_back = request(server.admin, "GET", "/v1/resources/large-costs/history", &[], b"")?.body;
    let seq = |history: &[u8]| -> Result<_> {
        let history: serde_json::Value = serde_json::from_slice(history)?;
        Ok((history["seq"].as_u64().context("no seq")?, history["oldest-seq"].as_u64().context("no oldest-seq")?))
    };
    let (newest, oldest) = seq(&history)?;
    ensure!(newest - oldest >= versions as u64, "only versions {oldest} to {newest} are kept");
    ensure!(seq(&history)? == seq(&came_back)?, "other sequence numbers came back: {:?}, were {:?}", seq(&came_back)?, seq(&history)?);
    Ok(Row {
        what: format!("restart after SIGKILL, {versions} versions of a 10 MB map"),
        target: "< 1 s".into(),
        ours: format!("{:.0} ms", took.as_secs_f64() * 1e3),
        peer: String::new(),
        ratio: String::new(),
    })
}
