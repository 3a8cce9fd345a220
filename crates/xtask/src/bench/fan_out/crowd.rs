//! Thousands of clients on few threads, each thread with a file table of its own: open files are capped for a process's table, and a
//! thread that stopped sharing it (`unshare(CLONE_FILES)`) has a whole table to itself.
//!
//! Time is measured on one clock for publisher and clients. Units: nanoseconds since the crowd's start.
use super::wire::{Protocol, Wire};
use anyhow::{Context, Result, bail, ensure};
use nix::{
    sched::{CloneFlags, unshare},
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
};
use socket2::{Domain, Socket, Type};
use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// What each client of a crowd does.
#[derive(Debug, Clone)]
pub struct Script {
    /// The server.
    pub address: SocketAddr,
    /// Sent when connected.
    pub opening: Vec<u8>,
    /// What follows.
    pub protocol: Protocol,
    /// How the client reads.
    pub reading: Reading,
}

/// How the clients of a crowd read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// At once.
    Eager,
    /// Never after the head, with small buffers and segments: the server's side fills quickly and stays full.
    Stalled,
}

/// Threads of a crowd: one for each core of the machine that the targets were set on.
const THREADS: usize = 2;
/// Clients that wait for their head at one time, for each thread: no more than a listener's backlog holds.
const OPENING_MAX: usize = 64;

/// Connected clients.
pub struct Crowd {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    size: usize,
}

struct Shared {
    started: Instant,
    ready: AtomicUsize,
    events: AtomicU64,
    bytes: AtomicU64,
    last_nanos: AtomicU64,
    stop: AtomicBool,
    failed: AtomicBool,
    failure: Mutex<Option<String>>,
}

impl Crowd {
    /// Connects `size` clients and waits until each of them stands.
    pub fn gather(script: &Script, size: usize) -> Result<Self> {
        let shared = Arc::new(Shared {
            started: Instant::now(),
            ready: AtomicUsize::new(0),
            events: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            last_nanos: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            failure: Mutex::new(None),
        });
        // Each thread of each crowd has an address of its own: one address has ports for 28,000 connections, those just ended included.
        static CROWDS: AtomicUsize = AtomicUsize::new(1);
        let net = [127, 1 + (std::process::id() % 250) as u8, (CROWDS.fetch_add(1, Relaxed) % 250) as u8];
        let threads = (0..THREADS)
            .map(|at| {
                let (shared, script) = (Arc::clone(&shared), script.clone());
                let share = size / THREADS + usize::from(at < size % THREADS);
                let source = Ipv4Addr::new(net[0], net[1], net[2], 2 + at as u8);
                std::thread::spawn(move || {
                    if let Err(error) = clients(&shared, &script, share, source) {
                        shared.failure.lock().expect("no panic while held").get_or_insert(format!("{error:#}"));
                        shared.failed.store(true, Relaxed);
                    }
                })
            })
            .collect();
        let crowd = Self { shared, threads, size };
        let deadline = Instant::now() + Duration::from_secs(120);
        while crowd.shared.ready.load(Relaxed) < size {
            crowd.check()?;
            let ready = crowd.shared.ready.load(Relaxed);
            ensure!(Instant::now() < deadline, "{ready} of {size} clients stand after two minutes");
            std::thread::sleep(Duration::from_millis(2));
        }
        crowd.settle(Duration::from_millis(700))?;
        Ok(crowd)
    }

    /// How many clients there are.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Complete events so far.
    pub fn events(&self) -> u64 {
        self.shared.events.load(Relaxed)
    }

    /// Bytes read so far.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Relaxed)
    }

    /// Waits until `events` events arrived in all. Returns when the last of them did.
    pub fn wait_for(&self, events: u64) -> Result<Instant> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.events() < events {
            self.check()?;
            ensure!(Instant::now() < deadline, "after a minute {} events are missing", events - self.events());
            std::thread::sleep(Duration::from_micros(500));
        }
        Ok(self.shared.started + Duration::from_nanos(self.shared.last_nanos.load(Relaxed)))
    }

    /// Waits until no event arrived for a while. Signs of life do not count: of so many clients somebody always gets one.
    pub fn settle(&self, quiet: Duration) -> Result<()> {
        let (mut seen, mut since) = (self.events(), Instant::now());
        while since.elapsed() < quiet {
            self.check()?;
            std::thread::sleep(Duration::from_millis(5));
            let now = self.events();
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        if self.shared.failed.load(Relaxed) {
            let failure = self.shared.failure.lock().expect("no panic while held");
            bail!("a client of the crowd failed: {}", failure.as_deref().unwrap_or("unknown"));
        }
        Ok(())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

struct Client {
    stream: TcpStream,
    wire: Wire,
    out: Vec<u8>,
    ready: bool,
}

/// One thread of the crowd.
fn clients(shared: &Shared, script: &Script, size: usize, source: Ipv4Addr) -> Result<()> {
    unshare(CloneFlags::CLONE_FILES).context("a file table of its own")?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let mut clients: Vec<Client> = Vec::with_capacity(size);
    let (mut buffer, mut ready) = (vec![0; 256 << 10], 0);
    let mut events = vec![EpollEvent::empty(); 1024];
    let interest = |client: &Client| {
        let write = if client.out.is_empty() { EpollFlags::empty() } else { EpollFlags::EPOLLOUT };
        let read = if client.ready && script.reading == Reading::Stalled { EpollFlags::empty() } else { EpollFlags::EPOLLIN };
        read | write
    };
    let polls = matches!(script.protocol, Protocol::LongPoll(_));
    while !shared.stop.load(Relaxed) {
        // Long polls are not answered before there is news: they stand when they are sent.
        while clients.len() < size && clients.len() - ready < OPENING_MAX {
            let mut client = connect(script, source).with_context(|| format!("client {}", clients.len()))?;
            write(&mut client)?;
            client.ready = polls;
            epoll.add(&client.stream, EpollEvent::new(interest(&client), clients.len() as u64))?;
            clients.push(client);
            if polls {
                ready += 1;
                shared.ready.fetch_add(1, Relaxed);
                if ready % OPENING_MAX == 0 {
                    break;
                }
            }
        }
        let timeout: u8 = if clients.len() < size { 1 } else { 20 };
        let count = match epoll.wait(&mut events, EpollTimeout::from(timeout)) {
            Ok(count) => count,
            Err(nix::errno::Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        };
        let (mut arrived, mut bytes) = (0, 0);
        for event in &events[..count] {
            let at = event.data() as usize;
            let client = &mut clients[at];
            let before = interest(client);
            if before.contains(EpollFlags::EPOLLIN) {
                let read = match client.stream.read(&mut buffer) {
                    Ok(0) => bail!("client {at}: the server ended the connection"),
                    Ok(read) => read,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                    Err(error) => return Err(error).with_context(|| format!("client {at}")),
                };
                bytes += read as u64;
                let heard = client.wire.take(&buffer[..read], &mut client.out).with_context(|| format!("client {at}"))?;
                arrived += u64::from(heard.events);
                if heard.ready && !client.ready {
                    client.ready = true;
                    ready += 1;
                    shared.ready.fetch_add(1, Relaxed);
                }
            } else if event.events().intersects(EpollFlags::EPOLLERR) {
                bail!("client {at}: the connection broke");
            }
            write(client)?;
            if interest(client) != before {
                epoll.modify(&client.stream, &mut EpollEvent::new(interest(client), at as u64))?;
            }
        }
        if bytes > 0 {
            shared.bytes.fetch_add(bytes, Relaxed);
        }
        if arrived > 0 {
            shared.last_nanos.fetch_max(shared.started.elapsed().as_nanos() as u64, Relaxed);
            shared.events.fetch_add(arrived, Relaxed);
        }
    }
    Ok(())
}

fn connect(script: &Script, source: Ipv4Addr) -> Result<Client> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    if script.reading == Reading::Stalled {
        // On loopback a segment has 64 KiB, and by it the sender's buffer grows to megabytes: 10,000 of those are more than the machine has.
        socket.set_recv_buffer_size(4 << 10)?;
        socket.set_tcp_mss(1400)?;
    }
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect(&script.address.into())?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    Ok(Client { stream: socket.into(), wire: Wire::new(script.protocol.clone()), out: script.opening.clone(), ready: false })
}

fn write(client: &mut Client) -> Result<()> {
    while !client.out.is_empty() {
        match client.stream.write(&client.out) {
            Ok(0) => bail!("nothing written"),
            Ok(written) => _ = client.out.drain(..written),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
