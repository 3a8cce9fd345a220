//! Runs the built program and talks to it: a server child that ends with the test, HTTP by hand, waiting for events with a deadline.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]
pub mod documents;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, mpsc},
    thread,
    time::{Duration, Instant},
};

/// Longest wait for anything; only failures last so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The program with arguments, none of the developer's own settings around it.
pub fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_altocast"));
    // A server that is to keep something says so with --data-dir, which goes before this.
    command.args(args).env_clear().env("ALTOCAST_STORE_IN_MEMORY", "true");
    command
}

/// Runs it to its end; one that does not end is a failure, not a wait.
pub fn run(args: &[&str]) -> Output {
    let mut child = program(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (sender, outputs) = mpsc::channel();
    let read = |mut pipe: Box<dyn Read + Send>| {
        let sender = sender.clone();
        thread::spawn(move || {
            let mut all = Vec::new();
            pipe.read_to_end(&mut all).unwrap();
            // A program that ended closed what it wrote to.
            let _ = sender.send(());
            all
        })
    };
    let (stdout, stderr) = (read(Box::new(child.stdout.take().unwrap())), read(Box::new(child.stderr.take().unwrap())));
    let until = Instant::now() + PATIENCE;
    let ended = (0..2).all(|_| outputs.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok());
    if !ended {
        child.kill().unwrap();
    }
    let output = Output { status: child.wait().unwrap(), stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() };
    assert!(ended, "{args:?} does not end: {}", text(&output.stderr));
    output
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What a server says on standard error.
#[derive(Default)]
struct Log {
    so_far: Mutex<Said>,
    more: Condvar,
}

#[derive(Default)]
struct Said {
    text: String,
    /// There will be no more: the server ended.
    ended: bool,
}

impl Log {
    fn say(&self, say: impl FnOnce(&mut Said)) {
        say(&mut self.so_far.lock().unwrap());
        self.more.notify_all();
    }

    /// Waits until this is true of it.
    fn until(&self, what: &str, mut reached: impl FnMut(&Said) -> bool) -> MutexGuard<'_, Said> {
        let said = self.so_far.lock().unwrap();
        let (said, late) = self.more.wait_timeout_while(said, PATIENCE, |said| !reached(said)).unwrap();
        assert!(!late.timed_out(), "waited in vain for {what} in\n{}", said.text);
        said
    }
}

/// A server that runs.
pub struct Server {
    child: Child,
    pub public: String,
    pub admin: String,
    log: Arc<Log>,
}

impl Server {
    /// On free ports, with further arguments to `serve`; returns when it answers.
    pub fn start(args: &[&str]) -> Self {
        let mut all = vec!["serve", "--json", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        all.extend(args);
        Self::spawn(program(&all))
    }

    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Log::default());
        let (stderr, lines) = (child.stderr.take().unwrap(), log.clone());
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.say(|said| said.text.push_str(&format!("{line}\n")));
            }
            lines.say(|said| said.ended = true);
        });
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: serde_json::Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line:?}; log: {}", log.so_far.lock().unwrap().text));
        let host = |url: &serde_json::Value| url.as_str().unwrap().split("://").nth(1).unwrap().to_owned();
        Self { public: host(&ready["public"][0]), admin: host(&ready["admin"]), child, log }
    }

    pub fn log(&self) -> String {
        self.log.so_far.lock().unwrap().text.clone()
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let kill = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(kill.success());
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    pub fn exit(&mut self) -> std::process::ExitStatus {
        drop(self.log.until("the server's end", |said| said.ended));
        self.child.wait().unwrap()
    }

    pub fn get(&self, path: &str) -> Reply {
        request(&self.public, "GET", path, &[], b"")
    }

    pub fn admin(&self, method: &str, path: &str, body: &str) -> Reply {
        request(&self.admin, method, path, &[], body.as_bytes())
    }

    pub fn admin_with(&self, method: &str, path: &str, media_type: &str, body: &str) -> Reply {
        request(&self.admin, method, path, &[("content-type", media_type)], body.as_bytes())
    }

    pub fn put(&self, id: &str, document: &str) -> Reply {
        let content_type =
            if document.contains("\"network-map\"") { "application/alto-networkmap+json" } else { "application/alto-costmap+json" };
        request(&self.admin, "PUT", &format!("/v1/resources/{id}"), &[("content-type", content_type)], document.as_bytes())
    }

    pub fn status(&self) -> serde_json::Value {
        self.admin("GET", "/v1/status", "").json()
    }

    /// A cost of a served cost map.
    pub fn cost(&self, id: &str, from: &str, to: &str) -> Option<f64> {
        self.get(&format!("/resources/{id}")).json()["cost-map"][from][to].as_f64()
    }

    /// Waits until the log has a line with all these words.
    pub fn wait_log(&self, words: &[&str]) -> String {
        let found = |said: &Said| said.text.lines().find(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned);
        let said = self.log.until(&format!("a line with {words:?}"), |said| found(said).is_some());
        found(&said).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks again and again until there is an answer. For what a server or a file only shows to who asks: there is no event to wait for.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < until, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn etag(&self) -> String {
        self.header("etag").unwrap_or_else(|| panic!("no ETag: {self:?}")).to_owned()
    }
}

/// A connection that stays: requests one after the other.
pub struct Connection {
    stream: BufReader<TcpStream>,
    host: String,
}

impl Connection {
    pub fn open(host: &str) -> Self {
        let stream = TcpStream::connect(host).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream: BufReader::new(stream), host: host.into() }
    }

    pub fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.send(method, path, headers, body);
        self.reply()
    }

    pub fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n", self.host, body.len());
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        let stream = self.stream.get_mut();
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        stream.write_all(body).unwrap();
    }

    pub fn write_raw(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// A line of an answer that goes on.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.stream.read_line(&mut line).unwrap() > 0, "the connection ended");
        line
    }

    pub fn reply(&mut self) -> Reply {
        let mut line = || {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            line.trim_end().to_owned()
        };
        let first = line();
        let status = first.split(' ').nth(1).unwrap_or_else(|| panic!("no status line: {first:?}")).parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = line();
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let length = headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, value)| value.parse().unwrap());
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        Reply { status, headers, body }
    }
}

pub fn request(host: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    Connection::open(host).request(method, path, headers, body)
}

/// The same of a server that may be away, or go away meanwhile.
pub fn try_request(host: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> std::io::Result<Reply> {
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let cut = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").ok_or_else(cut)?;
    let head = text(&answer[..end]);
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).ok_or_else(cut)?;
    let headers: Vec<_> =
        lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, value)| value.parse().unwrap());
    let body = answer.get(end + 4..end + 4 + length).ok_or_else(cut)?.to_vec();
    Ok(Reply { status, headers, body })
}
