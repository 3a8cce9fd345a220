//! Files of the cache: cut, changed at every byte, shared by threads and processes, bounded, and on clocks that are set back.
use super::*;
use proptest::prelude::*;
use std::{
    collections::HashSet,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};

fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn folder(path: &Path, clock: &Clock) -> Folder {
    Folder {
        path: path.to_owned(),
        trust: String::new(),
        bytes_max: 1 << 20,
        files_max: 100,
        body_bytes_max: 1 << 20,
        clock: clock.clone(),
    }
}

fn key(name: &str) -> Key {
    Key { uri: format!("http://alto.test/{name}").into(), media_type: "application/test", request: Bytes::from_static(b"{}") }
}

fn uri() -> Uri {
    Uri::parse("http://alto.test/from").unwrap()
}

fn validity(clock: &Clock) -> Validity {
    let mut fields = HeaderMap::new();
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
    fields.insert(header::ETAG, HeaderValue::from_static("\"t\""));
    Validity::of(&fields, clock.now(), clock.now())
}

fn put(folder: &Folder, name: &str, body: &[u8]) {
    folder.store(&key(name), &uri(), &validity(&folder.clock), body).unwrap();
}

fn has(folder: &Folder, name: &str) -> bool {
    folder.file_of(&key(name)).exists()
}

/// Everything in the folder but its lock: paths and lengths.
fn files(path: &Path) -> Vec<(PathBuf, u64)> {
    let entries = fs::read_dir(path).unwrap().filter_map(|entry| {
        let entry = entry.unwrap();
        // Deleted by another process since it was listed.
        let len = entry.metadata().ok()?.len();
        Some((entry.path(), len))
    });
    entries.filter(|(path, _)| path.file_name().unwrap() != LOCK).collect()
}

#[test]
fn what_is_kept_is_found() {
    let outside = tempfile::tempdir().unwrap();
    let path = outside.path().join("a/b");
    let clock = Clock::stopped_at(start());
    let folder = folder(&path, &clock);
    assert_eq!(folder.load(&key("a")), None, "there is no folder yet");
    put(&folder, "a", b"body\nof lines\n");
    let loaded = folder.load(&key("a")).unwrap();
    assert_eq!((&*loaded.body, &loaded.uri), (&b"body\nof lines\n"[..], &uri()));
    assert_eq!(loaded.validity.fields, validity(&clock).fields);
    let until = loaded.validity.fresh_until(clock.now()).unwrap();
    assert!(until <= start() + Duration::from_secs(60), "not younger than it is");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    for (file, _) in files(&path) {
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    for other in [Key { request: Bytes::new(), ..key("a") }, Key { media_type: "other", ..key("a") }, key("b")] {
        assert_eq!(folder.load(&other), None);
        // The same even if two digests were the same.
        fs::copy(folder.file_of(&key("a")), folder.file_of(&other)).unwrap();
        assert_eq!(folder.load(&other), None);
    }
    let trusting = Folder { trust: "others".into(), ..folder.clone() };
    assert_eq!(trusting.load(&key("a")), None);
    folder.remove(&key("a")).unwrap();
    folder.remove(&key("a")).unwrap();
    assert_eq!(folder.load(&key("a")), None);
}

/// Whatever a crash, a disk or another version leaves: no answer, no error, and the next answer takes its place.
#[test]
fn damaged_files_are_no_answers() {
    let path = tempfile::tempdir().unwrap();
    let folder = folder(path.path(), &Clock::stopped_at(start()));
    put(&folder, "a", b"body");
    let file = folder.file_of(&key("a"));
    let whole = fs::read(&file).unwrap();
    for len in 0..whole.len() {
        fs::write(&file, &whole[..len]).unwrap();
        assert_eq!(folder.load(&key("a")), None, "cut after {len} bytes");
        let mut flipped = whole.clone();
        flipped[len] ^= 1;
        fs::write(&file, &flipped).unwrap();
        assert_eq!(folder.load(&key("a")), None, "byte {len} changed");
    }
    fs::write(&file, [&whole[..], b"more"].concat()).unwrap();
    assert_eq!(folder.load(&key("a")), None);
    let next = String::from_utf8(whole).unwrap().replace(FORM, "altocast-cache 2");
    fs::write(&file, next).unwrap();
    assert_eq!(folder.load(&key("a")), None);
    put(&folder, "a", b"body");
    assert!(folder.load(&key("a")).is_some());
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert_eq!(folder.load(&key("a")), None, "a folder is no file");
    let larger = Folder { body_bytes_max: 1 << 25, bytes_max: 1 << 25, ..folder };
    put(&larger, "b", &vec![b'x'; 1 << 22]);
    assert!(larger.load(&key("b")).is_some());
    assert_eq!(Folder { body_bytes_max: 1 << 20, ..larger }.load(&key("b")), None, "more than an answer may be");
}

#[test]
fn the_least_recently_used_goes_first() {
    let path = tempfile::tempdir().unwrap();
    let clock = Clock::stopped_at(start());
    let mut folder = folder(path.path(), &clock);
    put(&folder, "a", &[0; 1000]);
    let one = files(path.path())[0].1;
    folder.bytes_max = 3 * one;
    for name in ["b", "c"] {
        clock.advance(Duration::from_secs(1));
        put(&folder, name, &[0; 1000]);
    }
    clock.advance(Duration::from_secs(1));
    folder.load(&key("a")).unwrap();
    clock.advance(Duration::from_secs(1));
    put(&folder, "d", &[0; 1000]);
    assert_eq!(["a", "b", "c", "d"].map(|name| has(&folder, name)), [true, false, true, true]);
    clock.advance(Duration::from_secs(1));
    put(&folder, "d", &[0; 900]);
    assert_eq!(["a", "c", "d"].map(|name| has(&folder, name)), [true; 3], "what is replaced needs no other's room");
    put(&folder, "e", &vec![0; 4 * one as usize]);
    assert_eq!(["a", "c", "d", "e"].map(|name| has(&folder, name)), [true, true, true, false], "larger than the whole folder");
    folder.files_max = 2;
    clock.advance(Duration::from_secs(1));
    put(&folder, "f", b"");
    assert_eq!(["a", "c", "d", "f"].map(|name| has(&folder, name)), [false, false, true, true]);
    fs::write(path.path().join(format!("{UNFINISHED}left")), vec![0; 3 * one as usize]).unwrap();
    fs::write(path.path().join("somebody-else's"), b"x").unwrap();
    put(&folder, "f", b"");
    assert_eq!(files(path.path()).len(), 3, "what a dead process began is gone, what is not ours is not touched");
}

/// What is no newer is not read whole for a long-lived process that asks again and again.
#[test]
fn only_what_is_newer_is_loaded() {
    let path = tempfile::tempdir().unwrap();
    let clock = Clock::stopped_at(start());
    let folder = folder(path.path(), &clock);
    put(&folder, "a", b"1");
    let known = folder.load(&key("a")).unwrap().validity.received;
    assert_eq!(folder.load_newer(&key("a"), Some(known)), None);
    clock.advance(Duration::from_secs(1));
    put(&folder, "a", b"2");
    assert_eq!(&*folder.load_newer(&key("a"), Some(known)).unwrap().body, b"2");
}

#[test]
fn all_can_be_forgotten() {
    let path = tempfile::tempdir().unwrap();
    let folder = folder(&path.path().join("below"), &Clock::stopped_at(start()));
    Folder::clear(&folder.path).unwrap();
    put(&folder, "a", b"1");
    put(&folder, "b", b"2");
    fs::write(folder.path.join("somebody-else's"), b"x").unwrap();
    Folder::clear(&folder.path).unwrap();
    let left: Vec<_> = files(&folder.path).into_iter().map(|(path, _)| path).collect();
    assert_eq!(left, [folder.path.join("somebody-else's")]);
}

/// Another process, another time.
#[test]
fn a_clock_set_back_makes_nothing_fresh() {
    let path = tempfile::tempdir().unwrap();
    let clock = Clock::stopped_at(start());
    put(&folder(path.path(), &clock), "a", b"");
    let fresh_at = |seconds: u64| {
        let clock = Clock::stopped_at(start() + Duration::from_secs(seconds));
        let loaded = folder(path.path(), &clock).load(&key("a")).unwrap();
        loaded.validity.fresh_until(clock.now()).is_some()
    };
    assert!(fresh_at(30));
    assert!(!fresh_at(60));
    assert!(!fresh_at(30), "somebody saw it stale");
    let clock = Clock::stopped_at(start() - Duration::from_secs(10));
    let loaded = folder(path.path(), &clock).load(&key("a")).unwrap();
    assert_eq!(loaded.validity.fresh_until(clock.now()), None, "before it came");
    assert!(loaded.validity.validator().is_some(), "it can be revalidated all the same");
}

/// While the machine runs, its own clock tells how much time passed.
#[test]
fn time_passes_by_the_machine_too() {
    let now = Clock::stopped_at(start()).now();
    let boot = |id: &str, passed: u64| Boot { id: id.into(), passed: Duration::from_secs(passed) };
    let then = Some(("this".to_owned(), 1_000_000));
    for (received_ago, machine, want_ago, known) in [
        (10, boot("this", 1010), 10, true),
        (10, boot("this", 1100), 100, true),
        (10, boot("this", 1005), 10, true),
        (10, boot("this", 999), 10, false),
        (10, boot("other", 1100), 10, true),
    ] {
        let wall = start() - Duration::from_secs(received_ago);
        let (received, is_known) = place(wall, &then, now, Some(&machine), wall);
        assert_eq!((now.since(received), is_known), (Duration::from_secs(want_ago), known), "{machine:?}");
    }
}

#[test]
fn the_system_tells_how_long_it_runs() {
    let (one, two) = (Clock::system().boot().unwrap(), Clock::system().boot().unwrap());
    assert!(one.id == two.id && one.passed <= two.passed);
    let (one, two) = (Clock::stopped_at(start()), Clock::stopped_at(start()));
    assert_ne!(one.boot(), two.boot());
    assert_eq!(one.boot(), one.clone().boot());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// However it is used, the folder stays within its bounds, and what is found is what was put there last.
    #[test]
    fn bounded(steps in prop::collection::vec((0u8..12, 0usize..3000, 0u64..3, any::<bool>()), 1..60)) {
        let path = tempfile::tempdir().unwrap();
        let clock = Clock::stopped_at(start());
        let folder = Folder { bytes_max: 8000, files_max: 5, ..folder(path.path(), &clock) };
        let mut last = [None; 12];
        for (name, len, seconds, write) in steps {
            clock.advance(Duration::from_secs(seconds));
            if write {
                put(&folder, &name.to_string(), &vec![name; len]);
                last[usize::from(name)] = Some(len);
            } else if let Some(loaded) = folder.load(&key(&name.to_string())) {
                prop_assert_eq!(Some(loaded.body.len()), last[usize::from(name)]);
                prop_assert!(loaded.body.iter().all(|byte| *byte == name));
            }
            let files = files(path.path());
            prop_assert!(files.len() <= 5 && files.iter().map(|(_, len)| len).sum::<u64>() <= 8000);
        }
    }
}

const HAMMERED: &str = "ALTOCAST_TEST_CACHE_FOLDER";
const SMALL: u64 = 200_000;

/// What one of several processes does: writes and reads without end, in a folder where most of it does not fit.
#[allow(clippy::print_stdout)] // The parent waits for it.
fn hammer(path: &Path) {
    let folder = Folder { bytes_max: SMALL, files_max: 12, ..folder(path, &Clock::system()) };
    for round in 0u32.. {
        let at = round.wrapping_mul(2_654_435_761).wrapping_add(std::process::id()) % 40;
        let body = vec![at as u8; 1000 + 1000 * at as usize];
        folder.store(&key(&at.to_string()), &uri(), &validity(&folder.clock), &body).unwrap();
        if let Some(loaded) = folder.load(&key(&at.to_string())) {
            assert!(loaded.body == body);
        }
        println!("round");
    }
}

/// Several processes, killed in the midst of it: no reader ever finds anything but a whole answer, and the bound holds.
#[test]
fn several_processes_share_a_folder() {
    if let Some(path) = std::env::var_os(HAMMERED) {
        return hammer(Path::new(&path));
    }
    let path = tempfile::tempdir().unwrap();
    let mut seen = HashSet::new();
    for round in 0..3 {
        let mut children: Vec<_> = (0..4)
            .map(|_| {
                let name = "cache::folder::tests::several_processes_share_a_folder";
                let mut command = Command::new(std::env::current_exe().unwrap());
                command.args(["--exact", name, "--nocapture"]).env(HAMMERED, path.path()).stdout(Stdio::piped());
                let mut child = command.spawn().unwrap();
                let lines = BufReader::new(child.stdout.take().unwrap()).lines();
                (child, lines)
            })
            .collect();
        let reader = Folder { bytes_max: SMALL, files_max: 12, ..folder(path.path(), &Clock::system()) };
        for turn in 0..40 {
            for (_, lines) in &mut children {
                // A child that failed has nothing more to say.
                while lines.next().unwrap().unwrap() != "round" {}
            }
            let at = turn % 40;
            if let Some(loaded) = reader.load(&key(&at.to_string())) {
                assert!(loaded.body == vec![at as u8; 1000 + 1000 * at]);
                seen.insert(at);
            }
        }
        for (child, lines) in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(!lines.any(|line| line.unwrap().contains("panicked")));
        }
        // Who adds one puts right what the killed ones left.
        put(&reader, &format!("after {round}"), b"");
        let files = files(path.path());
        assert!(files.len() <= 12 && files.iter().map(|(_, len)| len).sum::<u64>() <= SMALL, "{files:?}");
        assert!(files.iter().all(|(path, _)| path.extension().is_some_and(|it| it == &SUFFIX[1..])), "{files:?}");
    }
    assert!(!seen.is_empty(), "nothing was ever found");
}
