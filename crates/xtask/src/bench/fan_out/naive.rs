//! The peer of our push: what the h2 crate alone takes to push an event, for no other server pushes updates (RFC 9113 section 8.4).
//!
//! A process of its own (`cargo xtask naive-push ADDRESS CONTROL`): it answers every request with 200, keeps the stream open and promises on
//! it whatever is published; no queue, no history, no bounds, no look at what the client says. Publishing is a connection to CONTROL that sends
//! the event and ends.
use crate::bench::servers::{self, Server};
use anyhow::{Context, Result};
use bytes::Bytes;
use h2::server::SendResponse;
use http::{Request, Response, Version, header};
use socket2::{Domain, Socket, Type};
use std::{
    io::Read,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
};
use tokio::{runtime::Builder, sync::watch};

/// As many workers as ours has on the two cores of the bench.
const WORKERS: usize = 2;

/// Starts it.
pub fn start() -> Result<Server> {
    let (address, control) = (servers::free()?, servers::free()?);
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("naive-push").arg(address.to_string()).arg(control.to_string());
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("the naive server")?;
    let mut server = Server::new(child, control);
    server.connectable()?;
    server.http1 = address;
    Ok(server)
}

/// Publishes an event.
pub fn publish(server: &Server, body: &[u8]) -> Result<()> {
    use std::io::Write;
    Ok(TcpStream::connect(server.admin)?.write_all(body)?)
}

/// Is the server, until it is killed.
pub fn run(address: &str, control: &str) -> Result<()> {
    let address: SocketAddr = address.parse()?;
    let (publisher, events) = watch::channel(Bytes::new());
    for _ in 0..WORKERS {
        let events = events.clone();
        let listener = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        listener.set_reuse_port(true)?;
        listener.set_nonblocking(true)?;
        listener.bind(&address.into())?;
        listener.listen(4096)?;
        std::thread::spawn(move || -> Result<()> {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let tasks = tokio::task::LocalSet::new();
            tasks.block_on(&runtime, async move {
                let listener = tokio::net::TcpListener::from_std(listener.into())?;
                loop {
                    let (stream, _) = listener.accept().await?;
                    stream.set_nodelay(true)?;
                    tokio::task::spawn_local(serve(stream, events.clone()));
                }
            })
        });
    }
    for stream in TcpListener::bind(control)?.incoming() {
        let mut event = Vec::new();
        stream?.read_to_end(&mut event)?;
        if !event.is_empty() {
            publisher.send_replace(event.into());
        }
    }
    Ok(())
}

async fn serve(stream: tokio::net::TcpStream, events: watch::Receiver<Bytes>) -> Result<()> {
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(accepted) = connection.accept().await {
        let (_, respond) = accepted?;
        tokio::task::spawn_local(push(respond, events.clone()));
    }
    Ok(())
}

async fn push(mut respond: SendResponse<Bytes>, mut events: watch::Receiver<Bytes>) -> Result<()> {
    events.mark_unchanged();
    let _open = respond.send_response(Response::new(()), false)?;
    for seq in 1.. {
        events.changed().await?;
        let event = events.borrow_and_update().clone();
        // What ours says of an update, in as many bytes.
        let mut promise = Request::get(format!("http://127.0.0.1/tqs/1/uq/{seq}")).version(Version::HTTP_2).body(())?;
        promise
            .headers_mut()
            .insert(header::ACCEPT, header::HeaderValue::from_static("application/alto-error+json,application/merge-patch+json"));
        let head = Response::builder()
            .header(header::CONTENT_TYPE, "application/merge-patch+json")
            .header(header::CONTENT_LENGTH, event.len())
            .header(header::ETAG, format!("W/\"{seq:032}\""))
            .header(header::DATE, "Sat, 01 Jan 2000 00:00:00 GMT")
            .body(())?;
        respond.push_request(promise)?.send_response(head, false)?.send_data(event, true)?;
    }
    Ok(())
}
