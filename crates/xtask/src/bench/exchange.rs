//! One HTTP/1.1 request and its whole answer, on a connection of its own: what the benches ask beside what they measure.
use anyhow::{Context, Result};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// What came back.
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
    head: String,
}

impl Answer {
    /// A header field.
    pub fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }
}

/// Asks with `connection: close`, so that the end of the connection ends the body; our servers state lengths, so nothing is chunked.
pub fn request(address: SocketAddr, method: &str, path: &str, fields: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("{address}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let mut all = Vec::new();
    stream.read_to_end(&mut all).with_context(|| format!("{method} {path}"))?;
    let end = all.windows(4).position(|four| four == b"\r\n\r\n").with_context(|| format!("{method} {path}: no answer"))?;
    let head = String::from_utf8(all[..end].to_vec())?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    Ok(Answer { status, body: all.split_off(end + 4), head })
}
