//! A server for one test, and a client of HTTP/1.1 that writes exactly what it is told.
use alto::{Document, id::ResourceId};
use history::{Change, Guard, Publisher};
use server::{Error, Handle, NoSources, Options, Server, SourceReport};
use std::{
    fmt::Write as _,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, SystemTime},
};
use tokio::sync::oneshot;

/// RFC 7285 section 11.2.1.7.
pub const NETWORK_MAP: &[u8] = include_bytes!("../../../alto/tests/vectors/rfc7285/11.2.1.7-network-map.json");
/// RFC 7285 section 11.2.3.7.
pub const COST_MAP: &[u8] = include_bytes!("../../../alto/tests/vectors/rfc7285/11.2.3.7-cost-map.json");
/// RFC 7285 section 11.3.2.7.
pub const COST_FILTER: &[u8] = include_bytes!("../../../alto/tests/vectors/rfc7285/11.3.2.7-cost-map-filter.json");

/// What no test should take.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Served {
    pub public: SocketAddr,
    pub admin: SocketAddr,
    pub publisher: Arc<Publisher>,
    pub handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

/// Loopback, free ports, one worker.
pub fn options() -> Options {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    Options { public: vec![free], admin: Some(free), workers: Some(1), ..Options::default() }
}

pub fn id(text: &str) -> ResourceId {
    text.parse().unwrap()
}

pub fn put(name: &str, body: &[u8]) -> Change {
    Change::Put { id: id(name), document: Document::parse(body, None).unwrap() }
}

/// The maps of RFC 7285 section 11.2.
pub fn publisher() -> Arc<Publisher> {
    publisher_within(history::Limits::default())
}

pub fn publisher_within(limits: history::Limits) -> Arc<Publisher> {
    let publisher = Publisher::new(limits, Guard::default());
    publisher.apply(vec![put("my-default-network-map", NETWORK_MAP), put("cost-map", COST_MAP)], SystemTime::now(), true).unwrap();
    Arc::new(publisher)
}

/// A network map of `pids` PIDs and its cost map, as `big-network` and `big-costs`: 400 PIDs make 2 MB.
pub fn publish_big(publisher: &Publisher, pids: usize) {
    let mut network = String::from(r#"{"meta":{"vtag":{"resource-id":"big-network","tag":"1"}},"network-map":{"#);
    let mut costs = String::from(
        r#"{"meta":{"dependent-vtags":[{"resource-id":"big-network","tag":"1"}],"cost-type":{"cost-mode":"numerical","cost-metric":"routingcost"}},"cost-map":{"#,
    );
    let comma = |at: usize| if at == 0 { "" } else { "," };
    for from in 0..pids {
        write!(network, "{}\"p{from}\":{{\"ipv4\":[\"10.{}.{}.0/24\"]}}", comma(from), from / 256, from % 256).unwrap();
        write!(costs, "{}\"p{from}\":{{", comma(from)).unwrap();
        for to in 0..pids {
            write!(costs, "{}\"p{to}\":{}", comma(to), (from * 7919 + to * 104_729) % 100_003).unwrap();
        }
        costs.push('}');
    }
    network.push_str("}}");
    costs.push_str("}}");
    let changes = vec![put("big-network", network.as_bytes()), put("big-costs", costs.as_bytes())];
    publisher.apply(changes, SystemTime::now(), true).unwrap();
}

impl Served {
    pub fn new(options: Options) -> Self {
        Self::with(options, publisher(), Arc::new(NoSources))
    }

    pub fn with(options: Options, publisher: Arc<Publisher>, sources: Arc<dyn SourceReport>) -> Self {
        Self::running(Server::bind(options, publisher.clone(), sources).unwrap(), publisher)
    }

    /// One that keeps subscriptions.
    pub fn kept(options: Options, publisher: Arc<Publisher>, store: Arc<dyn store::Store>) -> Self {
        let server = Server::bind(options, publisher.clone(), Arc::new(NoSources)).unwrap();
        server.keep_subscriptions_in(store).unwrap();
        Self::running(server, publisher)
    }

    fn running(server: Server, publisher: Arc<Publisher>) -> Self {
        let (public, admin, handle) = (server.public_addresses()[0], server.admin_address().unwrap(), server.handle());
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(server.run(async {
                let _ = stopped.await;
            }))
        });
        Self { public, admin, publisher, handle, stop: Some(stop), thread: Some(thread) }
    }

    /// Tells it to stop; [`Served::stopped`] waits until it has.
    pub fn stop(&mut self) {
        self.stop.take().map(|stop| stop.send(()));
    }

    pub fn stopped(mut self) {
        self.stop();
        self.thread.take().unwrap().join().unwrap().unwrap();
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.public)
    }

    /// One request on a connection of its own.
    pub fn ask(&self, request: &str) -> Answer {
        self.connect().ask(request)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: alto.example.com\r\n\r\n"))
    }

    pub fn post(&self, path: &str, media_type: &str, body: &[u8]) -> Answer {
        let mut client = self.connect();
        let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\r\n", body.len());
        client.write(&[head.as_bytes(), body].concat());
        client.answer()
    }

    /// One request to the admin listener; `head` is the request line and further fields.
    pub fn admin(&self, head: &str, body: &[u8]) -> Answer {
        let mut client = Client::connect(self.admin);
        let head = format!("{head}\r\nHost: {}\r\nContent-Length: {}\r\n\r\n", self.admin, body.len());
        client.write(&[head.as_bytes(), body].concat());
        client.expecting_body = !head.starts_with("HEAD");
        client.answer()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A connection.
pub struct Client {
    pub stream: TcpStream,
    buffer: Vec<u8>,
    expecting_body: bool,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    pub fn field(&self, name: &str) -> &str {
        self.find(name).unwrap_or_else(|| panic!("there is no {name} in {:?}", self.fields))
    }

    pub fn find(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(found, _)| found == name).map(|(_, value)| &**value)
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The ALTO error that every refusal of the public listener is.
    #[track_caller]
    pub fn error(&self, status: u16, code: &str) -> serde_json::Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        assert_eq!(self.field("content-type"), "application/alto-error+json");
        let body = self.json();
        assert_eq!(body["meta"]["code"], code, "{body}");
        body
    }
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new(), expecting_body: true }
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub fn ask(&mut self, request: &str) -> Answer {
        self.write(request.as_bytes());
        self.expecting_body = !request.starts_with("HEAD");
        self.answer()
    }

    pub fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        let length = match answer.find("content-length") {
            Some(length) if self.expecting_body && answer.status != 304 => length.parse().unwrap(),
            _ => 0,
        };
        while self.buffer.len() < length {
            assert!(self.read() > 0, "the connection ended in the middle of a body");
        }
        answer.body = self.buffer.drain(..length).collect();
        answer
    }

    /// Status and fields; the body stays to be read.
    pub fn head(&mut self) -> Answer {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            let so_far = String::from_utf8_lossy(&self.buffer).into_owned();
            assert!(self.read() > 0, "the connection ended before an answer: {so_far:?}");
        };
        let head = String::from_utf8(self.buffer.drain(..end + 4).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let fields = lines
            .map(|line| {
                let (name, value) = line.split_once(':').unwrap();
                (name.to_ascii_lowercase(), value.trim().to_owned())
            })
            .collect();
        Answer { status, fields, body: Vec::new() }
    }

    /// Whether the server closed the connection; whatever came before is dropped.
    pub fn closed(&mut self) -> bool {
        let mut chunk = [0; 4096];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }

    /// Exactly as many bytes.
    pub fn take(&mut self, into: &mut [u8]) {
        let buffered = self.buffer.len().min(into.len());
        into[..buffered].copy_from_slice(&self.buffer[..buffered]);
        self.buffer.drain(..buffered);
        self.stream.read_exact(&mut into[buffered..]).unwrap();
    }

    fn read(&mut self) -> usize {
        let mut chunk = vec![0; 256 << 10];
        let read = self.stream.read(&mut chunk).unwrap();
        self.buffer.extend_from_slice(&chunk[..read]);
        read
    }
}
