//! CPU time and memory of a server's processes, read from /proc. Units: seconds, bytes.
use std::fs;

/// CPU seconds of every live thread of the process and its descendants, to the nanosecond.
pub fn cpu(pid: u32) -> f64 {
    tree(pid).into_iter().map(cpu_of_one).sum()
}

/// Resident memory of the process and its descendants; pages shared between them count once each.
pub fn resident_bytes(pid: u32) -> u64 {
    let of_one = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or(0) << 10
    };
    tree(pid).into_iter().map(of_one).sum()
}

fn tree(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut at = 0;
    while at < all.len() {
        for task in fs::read_dir(format!("/proc/{}/task", all[at])).into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
                if !all.contains(&child) {
                    all.push(child);
                }
            }
        }
        at += 1;
    }
    all
}

fn cpu_of_one(pid: u32) -> f64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let nanos = threads
        .filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok()?.split_whitespace().next()?.parse::<u64>().ok())
        .sum::<u64>();
    // Threads that ended are only in the 10 ms ticks, so those win where they are clearly larger.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<u64> = stat.rsplit(") ").next().unwrap_or("").split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
    let ticks = (fields.get(11).unwrap_or(&0) + fields.get(12).unwrap_or(&0)) as f64 / 100.0;
    let seconds = nanos as f64 / 1e9;
    if ticks > seconds * 1.1 + 0.5 { ticks } else { seconds }
}
