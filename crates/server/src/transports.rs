//! A cursor in, one protocol's messages out: one file for each update protocol, the same names as in `client/transports` and `alto::updates`.
//!
//! A transport is what `listen` asks for the next thing to say (`Outgoing`, `Socket`, `Pushing`). Invariant: it keeps places in views,
//! never what is still to be sent.
pub(crate) mod bell;
