//! Clients follow a server through restarts and broken connections, over every transport, and lose nothing.
use harness::{following, for_seeds};
use std::sync::Mutex;

#[test]
fn every_replica_catches_up() {
    let all = Mutex::new(following::Tally::default());
    for_seeds(100, |seed| {
        let tally = following::run(seed);
        all.lock().unwrap().add(&tally);
    });
    let all = *all.lock().unwrap();
    eprintln!("{all:?}");
    // A run that does nothing shows nothing.
    assert!(all.restarts > 0 && all.faults > 0 && all.patches > 0 && all.lost > 0, "{all:?}");
    assert!(all.sessions.iter().all(|sessions| *sessions > 0), "{all:?}");
}
