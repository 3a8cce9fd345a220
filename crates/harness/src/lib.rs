//! For tests only: clock, network and disk simulated from a seed, one checker for each promise.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`world`] | an operator who publishes, patches, withdraws and brings back maps at random |
//! | [`ledger`] | what was ever visible, and what must hold of it for ever |
//! | [`life`] | a publisher over a disk that fails and is killed, and readers who come, go and are slow |
//! | [`network`] | connections that are late, break, fall silent or are not read |
//! | [`following`] | a server that is killed and stopped, and clients who follow it over every transport through such a network |
//!
//! A run is a function of its seed and of nothing else; a run that fails says its seed.
pub mod following;
pub mod ledger;
pub mod life;
pub mod network;
pub mod world;

use std::{
    any::Any,
    collections::BTreeMap,
    panic::{self, RefUnwindSafe},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Runs `run` for each seed, on all cores, and says which one failed. `HARNESS_SEEDS` (`N`, or `FROM..TO`) chooses other seeds than `0..default`.
pub fn for_seeds(default: u64, run: impl Fn(u64) + Sync + RefUnwindSafe) {
    let chosen = std::env::var("HARNESS_SEEDS").ok();
    let number = |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("HARNESS_SEEDS is N or FROM..TO, not {text}"));
    let seeds = match chosen.as_deref().map(|text| text.split_once("..").ok_or(text)) {
        None => 0..default,
        Some(Ok((from, to))) => number(from)..number(to),
        Some(Err(count)) => 0..number(count),
    };
    let next = AtomicU64::new(seeds.start);
    let failed = Mutex::new(BTreeMap::new());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= seeds.end {
                return;
            }
            if let Err(why) = panic::catch_unwind(|| run(seed)) {
                failed.lock().unwrap_or_else(PoisonError::into_inner).insert(seed, words(&*why).to_owned());
                // The others finish the seed they are at.
                next.store(seeds.end, Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    if let Some((seed, why)) = failed.into_inner().unwrap_or_else(PoisonError::into_inner).pop_first() {
        let end = seed + 1;
        panic!("seed {seed} fails (HARNESS_SEEDS={seed}..{end} runs it alone): {why}");
    }
}

fn words(why: &(dyn Any + Send)) -> &str {
    why.downcast_ref::<String>().map(String::as_str).or_else(|| why.downcast_ref::<&str>().copied()).unwrap_or("it panicked")
}
