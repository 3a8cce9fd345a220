//! The lab of 40 routers whose states are the demo's data and the tests'; `maps` includes this file.

/// Folders of `frr-geant2012-lab`, in the order the demo replays them.
pub const STATES: [&str; 6] = [
    "t0-baseline",
    "t1-de-nl-cost-13-to-120",
    "t2-fr-uk-link-down",
    "t3-lu-router-dead",
    "t4-fr-uk-restored-de-ch-delay-up",
    "t5-lu-back-de-nl-cost-restored",
];

/// Node n of the lab is router id 10.255.0.(n + 1).
pub const NAMES: [&str; 40] = [
    "NL", "BE", "DK", "PL", "DE", "CZ", "LU", "FR", "CH", "IT", "UA", "MD", "BG", "RO", "TR", "GR", "CY", "IL", "MT", "BY", "MK", "ME",
    "HU", "SK", "PT", "ES", "RS", "HR", "SL", "AT", "LT", "RU", "IS", "IE", "UK", "NO", "SE", "FI", "EE", "LV",
];
