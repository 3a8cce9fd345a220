//! The documents that are served in the benches: made the same way every time.
//!
//! Costs are whole numbers up to 200, as sums of IGP weights are; with them a cost takes about 10 bytes of JSON.
use anyhow::Result;
use std::{fmt::Write, fs, path::Path};

/// How many PIDs the large cost map has: a million costs, about 10 MB.
pub const LARGE_PIDS: usize = 1000;
/// How many PIDs the small cost map has: about 10 KB.
pub const SMALL_PIDS: usize = 33;

/// Writes `<name>-network.json` with `pids` PIDs.
pub fn write_network(folder: &Path, name: &str, pids: usize) -> Result<()> {
    let mut text = format!(r#"{{"meta":{{"vtag":{{"resource-id":"{name}-network","tag":"1"}}}},"network-map":{{"#);
    for pid in 0..pids {
        let comma = if pid == 0 { "" } else { "," };
        write!(text, r#"{comma}"{}":{{"ipv4":["10.{}.{}.0/24"]}}"#, pid_name(pid), pid >> 8, pid & 255)?;
    }
    text += "}}";
    Ok(fs::write(folder.join(format!("{name}-network.json")), text)?)
}

/// Writes `<name>-costs.json` over the network map of that name.
pub fn write_costs(folder: &Path, name: &str, pids: usize) -> Result<()> {
    let mut text = format!(
        r#"{{"meta":{{"dependent-vtags":[{{"resource-id":"{name}-network","tag":"1"}}],"cost-type":{{"cost-mode":"numerical","cost-metric":"routingcost"}}}},"cost-map":{{"#
    );
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for source in 0..pids {
        let comma = if source == 0 { "" } else { "," };
        write!(text, r#"{comma}"{}":{{"#, pid_name(source))?;
        for destination in 0..pids {
            let comma = if destination == 0 { "" } else { "," };
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let cost = if source == destination { 0 } else { 1 + (random >> 8) % 200 };
            write!(text, r#"{comma}"{}":{cost}"#, pid_name(destination))?;
        }
        text += "}";
    }
    text += "}}";
    Ok(fs::write(folder.join(format!("{name}-costs.json")), text)?)
}

fn pid_name(pid: usize) -> String {
    format!("p{pid}")
}
