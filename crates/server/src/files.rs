//! Open files: a process has a table of so many (RLIMIT_NOFILE), and a connection takes one of them.
//!
//! Where more connections are configured than the table has room for, each worker thread gets a table of its own (Linux, `unshare(2)`, CLONE_FILES).
//! Invariants: a worker that has one opens and closes its connections alone, and of all other files it uses those that were open before it began and
//! are to the end (they have the same numbers in every table: the store, and what wakes the other threads' runtimes); listeners that are not
//! its own are closed in it, so that an address is free when its listener is dropped everywhere.
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::{net::TcpListener, os::fd::AsRawFd};

/// Descriptors that connections leave for everything else: the store, sources, folders that are watched, operators, the runtimes. 1,024: a few
/// times what that takes.
const OTHERS: usize = 1024;

/// How connections are spread over tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Files {
    /// Each worker has a table.
    pub(crate) own_tables: bool,
    /// Connections that one worker may have.
    pub(crate) connections_max: usize,
}

impl Files {
    /// For so many connections in all. Takes for the process as many descriptors as it may have.
    pub(crate) fn plan(connections_max: usize) -> Self {
        let hard = match getrlimit(Resource::RLIMIT_NOFILE) {
            Ok((soft, hard)) => {
                // What it may have it is given; a process that needs less never asks.
                if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_err() { soft } else { hard }
            }
            Err(_) => 1024,
        };
        Self::within(connections_max, usize::try_from(hard).unwrap_or(usize::MAX))
    }

    fn within(connections_max: usize, descriptors: usize) -> Self {
        // Of a table that is smaller than that, half.
        let room = descriptors - OTHERS.min(descriptors / 2);
        let own_tables = cfg!(target_os = "linux") && connections_max > room;
        Self { own_tables, connections_max: connections_max.min(room).max(1) }
    }
}

/// Gives this thread, and threads that it starts, a table of their own; a copy of the one before. Whether that worked.
pub(crate) fn take_table() -> bool {
    #[cfg(target_os = "linux")]
    match nix::sched::unshare(nix::sched::CloneFlags::CLONE_FILES) {
        Ok(()) => return true,
        Err(error) => tracing::warn!(%error, "no table of open files for each worker: fewer connections than configured are possible"),
    }
    false
}

/// Closes listeners in the table of this thread only, where they are because it was copied.
pub(crate) fn close_here<'a>(listeners: impl Iterator<Item = &'a TcpListener>) {
    for listener in listeners {
        let _ = nix::unistd::close(listener.as_raw_fd());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_taken_where_one_is_too_small() {
        for (connections, descriptors, want) in [
            (16_384, 20_000, (false, 16_384)),
            (18_976, 20_000, (false, 18_976)),
            (18_977, 20_000, (true, 18_976)),
            (100_000, 20_000, (true, 18_976)),
            (16_384, 1024, (true, 512)),
            (0, 20_000, (false, 1)),
        ] {
            let files = Files::within(connections, descriptors);
            assert_eq!((files.own_tables, files.connections_max), want, "{connections} of {descriptors}");
        }
    }
}
