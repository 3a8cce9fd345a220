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

/// Runs `run` for each seed and says which one failed. `HARNESS_SEEDS` (`N`, or `FROM..TO`) chooses other seeds than `0..default`.
pub fn for_seeds(default: u64, run: impl Fn(u64) + std::panic::RefUnwindSafe) {
    let chosen = std::env::var("HARNESS_SEEDS").ok();
    let number = |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("HARNESS_SEEDS is N or FROM..TO, not {text}"));
    let seeds = match chosen.as_deref().map(|text| text.split_once("..").ok_or(text)) {
        None => 0..default,
        Some(Ok((from, to))) => number(from)..number(to),
        Some(Err(count)) => 0..number(count),
    };
    for seed in seeds {
        if let Err(why) = std::panic::catch_unwind(|| run(seed)) {
            let end = seed + 1;
            panic!("seed {seed} fails (HARNESS_SEEDS={seed}..{end} runs it alone): {}", words(&*why));
        }
    }
}

fn words(why: &(dyn std::any::Any + Send)) -> &str {
    why.downcast_ref::<String>().map(String::as_str).or_else(|| why.downcast_ref::<&str>().copied()).unwrap_or("it panicked")
}
