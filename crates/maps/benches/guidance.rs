//! Placeholder until guidance answers.
fn main() {}
