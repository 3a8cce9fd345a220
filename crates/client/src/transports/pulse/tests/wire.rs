//! A server in memory, by the clock of the runtime. What it says and when is the test's, byte by byte.
use crate::{
    Client, Options,
    http::Io,
    simulation::{Connecting, Network},
};
use std::{fmt, io::Cursor, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, join, split},
    sync::mpsc,
    time::timeout,
};

/// Longer than any silence that is borne. It passes in no time.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// A request. It has a connection of its own.
pub struct Asked {
    pub line: String,
    read: Vec<u8>,
    io: DuplexStream,
}

impl Asked {
    /// Answers with a whole body.
    pub async fn answer(mut self, head: &str, body: &str) {
        let answer = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
        self.io.write_all(answer.as_bytes()).await.unwrap();
    }

    /// Says the head of an answer; the rest is the test's.
    pub async fn begin(mut self, head: &str) -> DuplexStream {
        self.io.write_all(format!("HTTP/1.1 {head}\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
        self.io
    }

    /// The connection, with the request still to be read.
    pub fn unread(self) -> Box<dyn Io> {
        let (reader, writer) = split(self.io);
        Box::new(join(Cursor::new(self.read).chain(reader), writer))
    }
}

pub struct Wire(mpsc::UnboundedReceiver<Asked>);

struct Connector(mpsc::UnboundedSender<DuplexStream>);

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

impl Network for Connector {
    fn connect(&self) -> Connecting<'_> {
        let (ours, theirs) = duplex(64 << 10);
        self.0.send(theirs).unwrap();
        Box::pin(async { Ok(Box::new(ours) as Box<dyn Io>) })
    }
}

impl Wire {
    /// Answers `/` with a directory and hands everything else to the test.
    pub fn start(directory: &str) -> (Self, Arc<Client>) {
        let (sender, mut connections) = mpsc::unbounded_channel();
        let (asked, received) = mpsc::unbounded_channel();
        let directory = directory.to_owned();
        tokio::spawn(async move {
            while let Some(io) = connections.recv().await {
                let (asked, directory) = (asked.clone(), directory.clone());
                tokio::spawn(async move {
                    if let Some(one) = read(io).await {
                        if one.line == "GET /" {
                            one.answer("200 OK\r\ncontent-type: application/alto-directory+json", &directory).await;
                        } else {
                            // The test may be over.
                            let _ = asked.send(one);
                        }
                    }
                });
            }
        });
        let client = Client::within(Options::new("http://alto.example"), Arc::new(Connector(sender))).unwrap();
        (Self(received), Arc::new(client))
    }

    /// The next request, which must be this one.
    pub async fn expect(&mut self, line: &str) -> Asked {
        let asked = timeout(PATIENCE, self.0.recv()).await.unwrap_or_else(|_| panic!("no {line}")).unwrap();
        assert_eq!(asked.line, line);
        asked
    }
}

/// A whole request. `None`: the client went away.
async fn read(mut io: DuplexStream) -> Option<Asked> {
    let mut read = Vec::new();
    loop {
        if io.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&read).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |length| length.parse().unwrap());
        if body.len() >= length || head.starts_with("PRI") {
            let line = head.split(" HTTP/").next().unwrap_or_default().to_owned();
            return Some(Asked { line, read, io });
        }
    }
}
