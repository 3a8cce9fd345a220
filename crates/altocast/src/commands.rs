//! A file per command. Each has its `Args` and a `run` that says how it ended.
pub mod check;
pub mod config;
pub mod dev_cert;
mod endpoints;
mod explain;
pub mod get;
pub mod publish;
pub mod rank;
mod reach;
mod view;
pub mod watch;
