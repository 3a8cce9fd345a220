//! What the cache saves: how long a network map takes when it is fetched, revalidated (304) and fresh.
//!
//! `cargo run --release -p client --example cached_map -- http://127.0.0.1:6671 [ROUNDS]`
#![allow(clippy::print_stdout)] // It is a program.
use client::{Client, Options};
use std::time::{Duration, Instant};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), client::Error> {
    let mut arguments = std::env::args().skip(1);
    let server = arguments.next().unwrap_or_else(|| "http://127.0.0.1:6671".into());
    let rounds = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(20);
    let folder = std::env::temp_dir().join(format!("altocast-cached-map-{}", std::process::id()));
    let client = |folder: Option<&std::path::Path>| Client::new(Options { cache_folder: folder.map(Into::into), ..Options::new(&server) });

    let mut fetched = Vec::new();
    for _ in 0..rounds {
        let client = client(None)?;
        client.catalog().await?;
        fetched.push(timed(client.network_map(None)).await?);
    }
    let kept = client(None)?;
    let map = kept.network_map(None).await?;
    let pids = map.value.pids.len();
    println!("{pids} PIDs, {} bytes, {:?}", map.body.len(), map.freshness);
    let catalog = kept.catalog().await?;
    let plain = catalog.network_map(None)?;
    kept.resource(plain).await?;
    let (mut fresh, mut asked) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        fresh.push(timed(kept.network_map(None)).await?);
        // One without the answer of the others: only the entity tag is left.
        asked.push(timed(kept.confirmed(plain)).await?);
    }
    client(Some(&folder))?.network_map(None).await?;
    let mut loaded = Vec::new();
    for _ in 0..rounds {
        let client = client(Some(&folder))?;
        client.catalog().await?;
        loaded.push(timed(client.network_map(None)).await?);
    }
    // It is of this run alone.
    let _ = std::fs::remove_dir_all(&folder);
    for (what, times) in [("fetched", fetched), ("304", asked), ("from the folder", loaded), ("fresh in memory", fresh)] {
        println!("{what:16} {:>10.1} µs (median of {rounds})", median(times).as_secs_f64() * 1e6);
    }
    Ok(())
}

async fn timed<T>(answer: impl Future<Output = Result<T, client::Error>>) -> Result<Duration, client::Error> {
    let start = Instant::now();
    answer.await?;
    Ok(start.elapsed())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
