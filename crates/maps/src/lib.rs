//! What ALTO says of a network, as pure functions of an immutable [`topology::graph::Graph`]: no I/O, no clock, no async.
//!
//! | module | answers |
//! | --- | --- |
//! | [`partition`] | which addresses form which PID, and behind which routers a PID is |
//! | [`prefix_table`] | which PID an address is in: longest-prefix match |
//! | [`routes`], [`widest`] | the cost between any two *routers*, kept so that a change touches only what it can change |
//! | [`costs`] | the cost tables between PIDs, and their ranks |
//! | [`policy`] | what the operator adds, multiplies, forbids |
//! | [`paths`] | one path and what each of its links contributes |
//! | [`compute`] | all of it at once, from nothing or from the result before; and why a cost is what it is |
//! | [`expiry`] | until when all of it holds, by what sources say and operators promise |
//! | [`damping`] | which of the computed costs are told, where measurements tremble |
//! | [`guidance`] | every resource at one instant; answers any request |
pub mod compute;
pub mod costs;
pub mod damping;
pub mod error;
pub mod expiry;
pub mod explain;
pub mod glob;
pub mod guidance;
pub mod limits;
mod measured;
pub mod partition;
pub mod paths;
pub mod policy;
pub mod prefix_table;
pub mod routes;
pub mod widest;

pub use error::Error;
pub use limits::Limits;

/// Place of a PID in the sorted list of PIDs of its network map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PidIx(pub u32);
