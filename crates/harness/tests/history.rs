//! Histories over a disk that fails: what was acknowledged is there, numbers mean one content for ever, readers lose nothing.
use harness::{for_seeds, life};
use std::sync::Mutex;

#[test]
fn acknowledged_survives_crash() {
    let all = Mutex::new(life::Tally::default());
    for_seeds(400, |seed| {
        let tally = life::run(seed);
        all.lock().unwrap().add(&tally);
    });
    let all = *all.lock().unwrap();
    eprintln!("{all:?}");
    // A run that does nothing shows nothing.
    assert!(all.commits > 0 && all.refused > 0 && all.failed > 0 && all.restarts > 0 && all.patches > 0, "{all:?}");
}
