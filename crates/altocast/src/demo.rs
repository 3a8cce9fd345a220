//! Built-in networks, so that `altocast serve` alone serves something real that really changes.
//!
//! Each is data from `data/` (origin and licence of every file: `data/README.md`), read by the same readers as any source, and
//! replayed in a circle. Invariant: nothing here invents a number; what the data does not say stays unsaid.
mod aws;
mod azure;
mod geant;

use crate::config::setting::DemoNetwork;
use topology::{
    observation::Observation,
    sources::{Input, Options, SourceKind, read},
};

/// A network to replay.
pub trait Replay: Send {
    /// The sources it plays, each as if it were configured.
    fn sources(&self) -> Vec<Source>;

    /// What is served, for the start message.
    fn title(&self) -> String;

    /// Commands worth trying, for the start message.
    fn examples(&self) -> [&'static str; 4];

    /// How many states it goes through.
    fn steps(&self) -> usize;

    /// What the sources say in a state; `first` at the start, when each must say something. Otherwise those that changed may speak alone.
    fn step(&mut self, at: usize, first: bool) -> Step;
}

/// A source of a replay.
#[derive(Debug, Clone)]
pub struct Source {
    /// As in the configuration.
    pub name: &'static str,
    /// What it reads.
    pub kind: SourceKind,
    /// Higher wins.
    pub precedence: i32,
}

/// One state.
#[derive(Debug)]
pub struct Step {
    /// Which, for the log.
    pub label: String,
    /// Source (by its place in [`Replay::sources`]) and what it sees.
    pub observations: Vec<(usize, Observation)>,
}

/// The replay of a network; `None` for one that is none (`auto` has been decided before).
pub fn replay(network: DemoNetwork) -> Option<Box<dyn Replay>> {
    match network {
        DemoNetwork::Auto | DemoNetwork::Off => None,
        DemoNetwork::Geant => Some(Box::new(geant::Geant::new())),
        DemoNetwork::Aws => Some(Box::new(aws::Aws::new())),
        DemoNetwork::Azure => Some(Box::new(azure::Azure)),
    }
}

/// Text and link that the licence of a network's data wants on pages that show it (`data/README.md`).
pub fn credits(network: DemoNetwork) -> &'static [(&'static str, &'static str)] {
    match network {
        DemoNetwork::Geant => &[
            ("IP Geolocation by DB-IP", "https://db-ip.com"),
            ("Topology by The Internet Topology Zoo (Knight et al. 2011), CC BY 4.0", "https://creativecommons.org/licenses/by/4.0/"),
        ],
        DemoNetwork::Auto | DemoNetwork::Off | DemoNetwork::Aws | DemoNetwork::Azure => &[],
    }
}

/// Reads embedded data.
fn embedded(kind: SourceKind, name: &str, bytes: &[u8], options: &Options) -> Observation {
    read(kind, &[Input { name, bytes }], options).expect("embedded data is valid: a test reads all of it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_embedded_data_is_valid() {
        for (network, sources, steps) in [(DemoNetwork::Geant, 5, 6), (DemoNetwork::Aws, 1, 532), (DemoNetwork::Azure, 2, 1)] {
            let mut replay = replay(network).unwrap();
            assert_eq!((replay.sources().len(), replay.steps()), (sources, steps), "{network:?}");
            let first = replay.step(0, true);
            assert_eq!(first.observations.len(), sources, "{network:?}: each source speaks at the start");
            // Every GÉANT state, some AWS revisions.
            for at in (0..steps).step_by(steps.div_ceil(10)) {
                assert!(!replay.step(at, false).label.is_empty());
            }
        }
    }
}
