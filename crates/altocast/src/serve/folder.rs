//! A folder of RFC 7285 documents, each named `<resource-id>.json`.
//!
//! The folder is looked at every half second: polling works on every file system, and a look at 1,000 files costs a millisecond.
//! Invariants: a file that cannot be read keeps what it said last; one caught half-written is read again before it counts as broken;
//! a folder that vanished is no reason to withdraw anything.
use alto::{
    Document,
    id::{ResourceId, Tag},
};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Bytes of one document. 256 MiB, as for a document that is published: ten times the largest map known from the field (47 MB).
const BYTES_MAX: u64 = 256 << 20;
/// Files. 4,096, as many resources as history keeps.
const FILES_MAX: usize = 4_096;

/// What [`Scan::broken`] calls the folder itself.
pub const ITSELF: &str = "folder";

/// What a look at the folder brought.
#[derive(Debug, Default)]
pub struct Scan {
    /// Files that are new or changed and read well.
    pub read: Vec<Read>,
    /// Files that are gone.
    pub gone: Vec<ResourceId>,
    /// Everything that is wrong with the folder as it is now: file name and reason.
    pub broken: BTreeMap<String, String>,
}

impl Scan {
    /// Whether the resource has a file that was read.
    pub fn has(&self, id: &ResourceId) -> bool {
        self.read.iter().any(|read| read.id == *id)
    }
}

/// A document read.
#[derive(Debug)]
pub struct Read {
    /// From the file's name.
    pub id: ResourceId,
    /// Of its bytes.
    pub digest: Tag,
    /// What is in it.
    pub document: Document,
}

/// The watcher's memory.
pub struct Folder {
    path: PathBuf,
    files: BTreeMap<String, File>,
    trouble: Option<String>,
}

#[derive(Debug)]
struct File {
    id: Option<ResourceId>,
    print: Print,
    /// Whether its present state is settled: read well, or found broken twice.
    settled: bool,
    broken: Option<String>,
}

/// What changes when a file does: length, time of content, inode and its time (a rewrite within one tick at the same length).
type Print = (u64, Option<SystemTime>, Inode);
type Inode = (u64, i64, i64);

#[cfg(unix)]
fn inode(meta: &fs::Metadata) -> Inode {
    use std::os::unix::fs::MetadataExt;
    (meta.ino(), meta.ctime(), meta.ctime_nsec())
}

#[cfg(not(unix))]
fn inode(_meta: &fs::Metadata) -> Inode {
    (0, 0, 0)
}

/// The print of a file, through symbolic links, as orchestrators mount files; `None` when it is not there.
pub fn print_of(path: &Path) -> Option<Print> {
    let meta = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some((meta.len(), meta.modified().ok(), inode(&meta)))
}

impl Folder {
    /// Nothing seen yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, files: BTreeMap::new(), trouble: None }
    }

    /// Looks at the folder; `None` when nothing changed. At the `first` look what is broken is reported at once.
    pub fn look(&mut self, first: bool) -> Option<Scan> {
        let found = match self.list() {
            Ok(found) => found,
            Err(error) => {
                let why = format!("{}: {error}; its documents stay as they were", self.path.display());
                let news = self.trouble.as_ref() != Some(&why);
                self.trouble = Some(why);
                return (news || first).then(|| self.scan(Vec::new(), Vec::new()));
            }
        };
        let mut news = first || self.trouble.take().is_some();
        let mut gone = Vec::new();
        self.files.retain(|name, file| {
            let stays = found.contains_key(name);
            if !stays {
                news = true;
                gone.extend(file.id.take());
            }
            stays
        });
        if found.len() > FILES_MAX {
            self.trouble = Some(format!("{}: more than {FILES_MAX} files; the rest is not read", self.path.display()));
        }
        let mut read = Vec::new();
        for (name, print) in found.into_iter().take(FILES_MAX) {
            let known = self.files.get(&name);
            if known.is_some_and(|file| file.print == print && file.settled) {
                continue;
            }
            let suspect = known.is_some_and(|file| file.print == print);
            let was_broken = known.is_some_and(|file| file.broken.is_some());
            let outcome = self.read(&name);
            let file = self.files.entry(name).or_insert(File { id: None, print, settled: false, broken: None });
            file.print = print;
            match outcome {
                Ok(document) => {
                    file.id = Some(document.id.clone());
                    (file.settled, file.broken) = (true, None);
                    news = true;
                    read.push(document);
                }
                // Perhaps caught half-written: it is broken only if it stays so.
                Err(_) if !first && !suspect && !was_broken => file.settled = false,
                Err(why) => {
                    news |= file.broken.as_ref() != Some(&why);
                    (file.settled, file.broken) = (true, Some(why));
                }
            }
        }
        news.then(|| self.scan(read, gone))
    }

    fn scan(&self, read: Vec<Read>, gone: Vec<ResourceId>) -> Scan {
        let mut broken: BTreeMap<String, String> =
            self.files.iter().filter_map(|(name, file)| Some((name.clone(), file.broken.clone()?))).collect();
        broken.extend(self.trouble.iter().map(|why| (ITSELF.to_owned(), why.clone())));
        Scan { read, gone, broken }
    }

    /// The documents by file name. Hidden files are editors' and tools' own.
    fn list(&self) -> io::Result<BTreeMap<String, Print>> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with('.') || Path::new(&name).extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            if let Some(print) = print_of(&entry.path()) {
                found.insert(name, print);
            }
        }
        Ok(found)
    }

    fn read(&self, name: &str) -> Result<Read, String> {
        let stem = name.strip_suffix(".json").unwrap_or(name);
        let id: ResourceId = stem.parse().map_err(|error| format!("{error}; name the file after its resource"))?;
        let path = self.path.join(name);
        let size = fs::metadata(&path).map_err(|error| error.to_string())?.len();
        if size > BYTES_MAX {
            return Err(format!("{size} bytes are more than {BYTES_MAX}"));
        }
        let bytes = fs::read(&path).map_err(|error| error.to_string())?;
        let document = Document::parse_draft(&bytes, None, &alto::Limits::default()).map_err(|error| error.to_string())?;
        Ok(Read { id, digest: Tag::of_content(&[&bytes]), document })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = r#"{"meta":{"vtag":{"resource-id":"net","tag":"1"}},"network-map":{"a":{"ipv4":["0.0.0.0/0"]}}}"#;

    #[test]
    fn a_broken_file_keeps_quiet_for_one_look_and_is_then_reported_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("net.json");
        let mut folder = Folder::new(dir.path().into());
        assert!(folder.look(true).unwrap().read.is_empty());
        fs::write(&file, MAP).unwrap();
        assert_eq!(folder.look(false).unwrap().read[0].id.as_str(), "net");
        assert!(folder.look(false).is_none(), "nothing changed");
        fs::write(&file, &MAP[..MAP.len() / 2]).unwrap();
        assert!(folder.look(false).is_none(), "perhaps half-written");
        let scan = folder.look(false).unwrap();
        assert_eq!((scan.read.len(), scan.gone.len()), (0, 0));
        assert!(scan.broken.contains_key("net.json"));
        assert!(folder.look(false).is_none(), "said already");
        fs::write(&file, MAP).unwrap();
        let scan = folder.look(false).unwrap();
        assert_eq!((scan.read.len(), scan.broken.len()), (1, 0));
        fs::remove_file(&file).unwrap();
        assert_eq!(folder.look(false).unwrap().gone[0].as_str(), "net");
    }

    #[test]
    fn a_folder_that_vanishes_withdraws_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("maps");
        fs::create_dir(&inner).unwrap();
        fs::write(inner.join("net.json"), MAP).unwrap();
        let mut folder = Folder::new(inner.clone());
        assert_eq!(folder.look(true).unwrap().read.len(), 1);
        let away = dir.path().join("away");
        fs::rename(&inner, &away).unwrap();
        let scan = folder.look(false).unwrap();
        assert!(scan.gone.is_empty() && scan.broken.contains_key(ITSELF));
        fs::rename(&away, &inner).unwrap();
        let scan = folder.look(false).unwrap();
        assert!(scan.gone.is_empty() && scan.broken.is_empty());
    }

    #[test]
    fn names_that_are_no_resource_id_and_foreign_files_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["two words.json", ".net.json.swp", "README.md", ".hidden.json"] {
            fs::write(dir.path().join(name), MAP).unwrap();
        }
        let scan = Folder::new(dir.path().into()).look(true).unwrap();
        assert_eq!(scan.broken.keys().collect::<Vec<_>>(), ["two words.json"]);
    }
}
