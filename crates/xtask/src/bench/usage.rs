//! CPU time and memory of a server's processes, read from /proc. Units: seconds, bytes.
use std::{collections::HashMap, fs};

/// What every thread of a process and its descendants has used so far, nanoseconds by process and thread.
pub struct Cpu(HashMap<(u32, u32), u64>);

impl Cpu {
    /// Now.
    pub fn of(pid: u32) -> Self {
        let of_one = |pid: u32| {
            let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
            threads.filter_map(move |thread| {
                let tid = thread.file_name().to_str()?.parse().ok()?;
                let used = fs::read_to_string(thread.path().join("schedstat")).ok()?;
                Some(((pid, tid), used.split_whitespace().next()?.parse().ok()?))
            })
        };
        Self(tree(pid).into_iter().flat_map(of_one).collect())
    }

    /// Seconds used since. A thread that ended meanwhile counts nothing; those that answer live as long as their server.
    pub fn seconds_since(&self, before: &Self) -> f64 {
        let since = |(thread, used): (&(u32, u32), &u64)| used - before.0.get(thread).copied().unwrap_or(0).min(*used);
        self.0.iter().map(since).sum::<u64>() as f64 / 1e9
    }
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
