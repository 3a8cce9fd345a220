//! Costs by pairs of names, between JSON and a dense matrix: the bodies of RFC 7285 sections 11.2.3.6 and 11.5.1.6 and, with
//! arrays for numbers, of RFC 8189 section 4.1.3.
//!
//! Reading guesses the next name from the one that followed last time and compares bytes before it hashes anything.
//! Units: none here, costs are carried as they are. Invariant: what is read is finite and not negative; NaN is "not there".
mod read;
mod write;

pub(crate) use read::{Cells, is_cost, read};
pub(crate) use write::{Shape, write, write_multi};
