//! The data folder: which it is, and one line for whatever is wrong with it.
use super::feed::Plan;
use crate::config::{Config, sections::StoreSection};
use anyhow::{anyhow, bail};
use history::Publisher;
use std::{env, path::PathBuf, sync::Arc, time::SystemTime};
use store::{Folder, OpenError, Store};

/// A publisher with all that the data folder knows, and the store that it goes on in; no store: nothing is kept.
pub fn publisher(config: &Config) -> anyhow::Result<(Publisher, Option<Arc<dyn Store>>)> {
    let (limits, guard) = (config.history_limits(), config.change_guard());
    let Some(store) = open(&config.store)? else { return Ok((Publisher::new(limits, guard), None)) };
    let restored = Publisher::with_store(limits, guard, store.clone(), SystemTime::now());
    let publisher = restored.map_err(|why| explain_log(&why, store.usage().folder))?;
    Ok((publisher, Some(store)))
}

fn open(config: &StoreSection) -> anyhow::Result<Option<Arc<dyn Store>>> {
    if config.in_memory {
        return Ok(None);
    }
    let folder = match &config.folder {
        Some(folder) => folder.clone(),
        None => match default_folder(env::var_os("XDG_DATA_HOME").map(PathBuf::from), env::var_os("HOME").map(PathBuf::from)) {
            Some(folder) => folder,
            None => {
                bail!("no data folder: neither XDG_DATA_HOME nor HOME is set; name one with --data-dir, or keep nothing with --in-memory")
            }
        },
    };
    Ok(Some(Arc::new(Folder::open(&folder).map_err(explain)?)))
}

/// XDG Base Directory Specification 0.8: what is not absolute is to be ignored.
fn default_folder(data_home: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    let data_home = data_home.filter(|folder| folder.is_absolute());
    let local = || home.filter(|folder| folder.is_absolute()).map(|home| home.join(".local/share"));
    data_home.or_else(local).map(|folder| folder.join("altocast"))
}

/// What is wrong, and what helps.
fn explain(why: OpenError) -> anyhow::Error {
    let helps = match &why {
        OpenError::InUse { .. } => {
            "another altocast serves from it; give this one a folder of its own with --data-dir, or keep nothing with --in-memory"
        }
        OpenError::NotUsable { .. } => "name another with --data-dir, or keep nothing with --in-memory",
        OpenError::Full { .. } => "make room, or name a folder elsewhere with --data-dir",
        OpenError::Damaged { .. } => UNREADABLE,
        OpenError::Newer { .. } => NEWER,
    };
    anyhow!("{why}; {helps}")
}

/// The same for the log that is in the store.
fn explain_log(why: &history::RestoreError, folder: Option<PathBuf>) -> anyhow::Error {
    let helps = match why {
        history::RestoreError::Store(_) | history::RestoreError::Damaged(_) => UNREADABLE,
        history::RestoreError::NotWritable(_) => NOT_WRITABLE,
        history::RestoreError::Newer { .. } => NEWER,
    };
    let folder = folder.map_or_else(String::new, |folder| format!("data folder {}: ", folder.display()));
    anyhow!("{folder}{why}; {helps}")
}

const UNREADABLE: &str = "nothing in it was changed: put a copy of it back, or begin anew in another folder with --data-dir (numbers of versions begin at 1 there)";
const NOT_WRITABLE: &str = "make room, or name a folder elsewhere with --data-dir";
const NEWER: &str = "start that version of altocast again, or begin anew in another folder with --data-dir";

/// Which sources the maps in the data folder were computed from.
pub struct KnownSources(Vec<u8>);

impl KnownSources {
    const TABLE: store::Table = "program";
    const KEY: &[u8] = b"sources";

    /// Those of a plan.
    pub fn of(plan: &Plan) -> Self {
        Self(alto::id::Tag::of_content(&[format!("{:?} {:?}", plan.sources, plan.demo).as_bytes()]).as_str().into())
    }

    /// Whether the data folder's maps are of these; what cannot be read counts as yes.
    pub fn are_those_in(&self, store: Option<&dyn Store>) -> bool {
        let Some(store) = store else { return true };
        store.get(Self::TABLE, Self::KEY).map_or(true, |known| known.is_some_and(|known| known == self.0))
    }

    /// From now on they are.
    pub fn remember(&self, store: Option<&dyn Store>) {
        if self.are_those_in(store) {
            return;
        }
        let write = [store::Write::Put(Self::TABLE, Self::KEY.into(), self.0.clone().into())];
        if let Some(Err(why)) = store.map(|store| store.write(&write)) {
            tracing::warn!("the next start will not know which sources these are, and let their maps past the change guard: {why}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_follows_the_xdg_specification() {
        let path = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
        for (data_home, home, want) in [
            ("/data", "/home/a", "/data/altocast"),
            ("", "/home/a", "/home/a/.local/share/altocast"),
            ("relative", "/home/a", "/home/a/.local/share/altocast"),
            ("relative", "also", ""),
            ("", "", ""),
        ] {
            assert_eq!(default_folder(path(data_home), path(home)), path(want), "{data_home:?} {home:?}");
        }
    }
}
