//! Says what it hears, to every WebSocket client: `wstest -m fuzzingclient` (Autobahn) checks our framing with it. Argument: the address.
use server::Limits;
use std::{net::TcpListener, time::Duration};

fn main() {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".into());
    let listener = TcpListener::bind(&address).expect("the address is free");
    eprintln!("ws://{}/", listener.local_addr().expect("it is bound"));
    // The suite sends messages of 16 MiB, and waits without pings.
    let limits = Limits { query_bytes_max: 64 << 20, ping_interval: Duration::from_secs(3600), ..Limits::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(server::serve_websocket_echo(listener, limits)).expect("it serves");
}
