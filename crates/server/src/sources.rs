//! What the server tells operators of the sources; who feeds them says it here.
use serde::Serialize;
use std::{path::PathBuf, time::SystemTime};

/// Asked whenever `/v1/status`, `/metrics` or `/readyz` is.
pub trait SourceReport: Send + Sync + 'static {
    /// Every source, whether it works or not.
    fn sources(&self) -> Vec<SourceStatus>;

    /// Where versions are kept.
    fn store(&self) -> StoreStatus {
        StoreStatus::default()
    }

    /// Whether everything that is to be served at start was given to the publisher once: `/readyz`.
    fn ready(&self) -> bool {
        true
    }

    /// What else an operator should know: a configuration that was not taken, for instance. One line each.
    fn troubles(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Where versions are kept over restarts.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StoreStatus {
    /// The data folder; `None`: nothing is kept.
    pub folder: Option<PathBuf>,
    /// What it takes on the disk.
    pub bytes: u64,
    /// Why nothing can be written now: commits are refused, what was published before is served.
    pub trouble: Option<String>,
}

/// One source as it is now.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SourceStatus {
    /// Its name in the configuration.
    pub name: String,
    /// What it reads, `frr-ospf`.
    pub kind: String,
    /// When its last good observation was taken; `None` when there never was one.
    #[serde(serialize_with = "time")]
    pub observed_at: Option<SystemTime>,
    /// Good observations since the start.
    pub observations: u64,
    /// Inputs that were refused since the start.
    pub refused: u64,
    /// Why its newest input was refused or is overdue; its last good data stays in place while this is set.
    pub trouble: Option<String>,
}

/// A server without sources: documents only.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSources;

impl SourceReport for NoSources {
    fn sources(&self) -> Vec<SourceStatus> {
        Vec::new()
    }
}

fn time<S: serde::Serializer>(at: &Option<SystemTime>, s: S) -> Result<S::Ok, S::Error> {
    at.map(crate::admin::status::time_text).serialize(s)
}
