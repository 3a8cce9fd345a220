//! Closed-loop GET over loopback: each connection sends its next request when the last body is fully read.
//!
//! One client thread, so that on two cores the server has the other. Bodies are counted, never decoded.
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Which HTTP the client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Http {
    /// HTTP/1.1, connections kept.
    One,
    /// HTTP/2 with prior knowledge, one stream at a time on each connection.
    Two,
}

/// What to ask for, and how hard.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The server.
    pub address: SocketAddr,
    /// Path of the resource.
    pub path: String,
    /// Protocol.
    pub http: Http,
    /// `Accept-Encoding`.
    pub coding: &'static str,
    /// Connections.
    pub connections: usize,
    /// How long.
    pub duration: Duration,
}

/// What came back.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    /// Complete answers.
    pub requests: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
}

/// Runs the plan; any failed request fails it.
pub fn run(plan: &Plan) -> Result<Tally> {
    runtime()?.block_on(async {
        let stop = Instant::now() + plan.duration;
        let tasks: Vec<_> = (0..plan.connections).map(|_| tokio::spawn(connection(plan.clone(), stop))).collect();
        let mut sum = Tally::default();
        for task in tasks {
            let tally = task.await??;
            sum.requests += tally.requests;
            sum.bytes += tally.bytes;
        }
        ensure!(sum.requests > 0, "no request completed");
        Ok(sum)
    })
}

/// One GET over HTTP/1.1; the body.
pub fn fetch(address: SocketAddr, path: &str, coding: &str) -> Result<Vec<u8>> {
    runtime()?.block_on(async {
        let mut stream = TcpStream::connect(address).await?;
        let mut body = Vec::new();
        exchange(&mut stream, &request(address, path, coding), &mut vec![0; 64 << 10], |part| body.extend_from_slice(part)).await?;
        Ok(body)
    })
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("tokio runtime")
}

async fn connection(plan: Plan, stop: Instant) -> Result<Tally> {
    let mut stream = TcpStream::connect(plan.address).await.with_context(|| plan.address.to_string())?;
    stream.set_nodelay(true)?;
    let mut tally = Tally::default();
    if plan.http == Http::One {
        let (wire, mut buffer) = (request(plan.address, &plan.path, plan.coding), vec![0; 256 << 10]);
        while Instant::now() < stop {
            exchange(&mut stream, &wire, &mut buffer, |part| tally.bytes += part.len() as u64).await?;
            tally.requests += 1;
        }
        return Ok(tally);
    }
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(16 << 20).initial_connection_window_size(64 << 20);
    let (mut send, connection) = builder.handshake::<_, Bytes>(stream).await?;
    tokio::spawn(connection);
    while Instant::now() < stop {
        let uri = format!("http://{}{}", plan.address, plan.path);
        let request = http::Request::get(uri).header("accept-encoding", plan.coding).body(())?;
        send = send.ready().await?;
        let answer = send.send_request(request, true)?.0.await?;
        ensure!(answer.status() == 200, "status {}", answer.status());
        let mut body = answer.into_body();
        while let Some(part) = body.data().await {
            let part = part?;
            tally.bytes += part.len() as u64;
            body.flow_control().release_capacity(part.len())?;
        }
        tally.requests += 1;
    }
    Ok(tally)
}

fn request(address: SocketAddr, path: &str, coding: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept-Encoding: {coding}\r\n\r\n").into_bytes()
}

/// Sends one request and hands on the parts of the answer's body. Both servers state a `Content-Length` for ready bodies.
async fn exchange(stream: &mut TcpStream, wire: &[u8], buffer: &mut [u8], mut on: impl FnMut(&[u8])) -> Result<()> {
    stream.write_all(wire).await?;
    let mut have = 0;
    let (body, length) = loop {
        let read = stream.read(&mut buffer[have..]).await?;
        ensure!(read > 0, "connection closed before the answer's head");
        have += read;
        if let Some(end) = buffer[..have].windows(4).position(|four| four == b"\r\n\r\n") {
            break (end + 4, length(&buffer[..end])?);
        }
    };
    on(&buffer[body..have]);
    let mut left = length.checked_sub(have - body).context("more bytes than Content-Length")?;
    while left > 0 {
        let read = stream.read(buffer).await?;
        ensure!(read > 0 && read <= left, "the body does not have the length it was announced with");
        on(&buffer[..read]);
        left -= read;
    }
    Ok(())
}

fn length(head: &[u8]) -> Result<usize> {
    let head = std::str::from_utf8(head)?;
    let (status, fields) = head.split_once("\r\n").unwrap_or((head, ""));
    ensure!(status.starts_with("HTTP/1.1 200"), "{status}");
    for field in fields.split("\r\n") {
        if let Some((name, value)) = field.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            return Ok(value.trim().parse()?);
        }
    }
    bail!("an answer without Content-Length")
}
