//! Histories over a disk that fails: what was acknowledged is there, numbers mean one content for ever, readers lose nothing.
use harness::{for_seeds, life};
use std::sync::Mutex;

#[test]
fn acknowledged_survives_crash() {
    let all = Mutex::new(life::Tally::default());
    for_seeds(400, |seed| {
        let tally = life::run(seed);
        let mut all = all.lock().unwrap();
        all.commits += tally.commits;
        all.refused += tally.refused;
        all.failed += tally.failed;
        all.restarts += tally.restarts;
        all.items += tally.items;
        all.patches += tally.patches;
    });
    let all = *all.lock().unwrap();
    eprintln!("{all:?}");
    // A run that does nothing shows nothing.
    assert!(all.commits > 0 && all.refused > 0 && all.failed > 0 && all.restarts > 0 && all.patches > 0, "{all:?}");
}
