//! The server as clients meet it: real sockets, the documents of RFC 7285, every answer it can give.
//!
//! A test waits for bytes or for the end of a connection, and sleeps only where a pause is what it tests. What must end in time has short bounds in
//! its `Limits`.
#![allow(clippy::unwrap_used)]

mod admin;
mod caching;
mod http1;
mod http2;
mod http3;
mod live;
mod live_tls;
mod push;
mod raw;
mod served;
mod sse;
mod stop;
mod tips;
mod tls;
mod webhook;
mod websocket;
