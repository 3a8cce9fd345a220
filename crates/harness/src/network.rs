//! A network at random: what is written on one end arrives late, in parts, never out of order; connections break, fall silent, or are not read.
//!
//! Bytes wait in links, each with a bound as the buffers of two hosts have. Invariant: what arrives is a beginning of what was written. Times are those of
//! the runtime, which is paused.
use client::simulation::{Connecting, Network as ClientNetwork};
use fastrand::Rng;
use server::simulation::Server;
use std::{
    collections::VecDeque,
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep, sleep_until},
};

/// How long what was sent may stay unacknowledged before a host gives up (`TCP_USER_TIMEOUT`, which the listener sets to its `stall_time_max`).
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);

/// What is between clients and the server.
#[derive(Clone, Default)]
pub struct Network(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    server: Option<Arc<Server>>,
    /// Of this life of the server.
    links: Vec<Weak<Mutex<Link>>>,
    /// In percent: connections that something happens to.
    turbulence: u8,
    connections: u16,
    faults: u32,
}

/// A client's host.
pub struct Host {
    network: Network,
    random: Mutex<Rng>,
    links: Mutex<Vec<Weak<Mutex<Link>>>>,
}

impl Network {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }

    /// How many connections in a hundred something happens to; 0 also ends what goes on: who does not read reads again.
    pub fn set_turbulence(&self, percent: u8) {
        let mut state = self.lock();
        state.turbulence = percent;
        if percent == 0 {
            for link in state.links.iter().filter_map(Weak::upgrade) {
                let mut link = lock(&link);
                link.calm = true;
                link.paused_until = None;
                link.cut_after = None;
                link.wake();
            }
        }
    }

    /// A server can be reached from now on.
    pub fn begin(&self, server: Arc<Server>) {
        self.lock().server = Some(server);
    }

    /// It is gone, and so are its connections: clients are told, or, when the whole host is gone, are not.
    pub fn kill(&self, with_host: bool) {
        let links = {
            let mut state = self.lock();
            state.server = None;
            std::mem::take(&mut state.links)
        };
        for link in links.iter().filter_map(Weak::upgrade) {
            let mut link = lock(&link);
            link.dead[SERVER] = Some(io::ErrorKind::ConnectionReset);
            if with_host {
                link.hole = true;
            } else {
                link.dead[CLIENT] = Some(io::ErrorKind::ConnectionReset);
            }
            link.wake();
        }
    }

    /// What happened to connections, so far.
    pub fn faults(&self) -> u32 {
        self.lock().faults
    }

    /// A client's host in it.
    pub fn host(&self, seed: u64) -> Arc<Host> {
        Arc::new(Host { network: self.clone(), random: Mutex::new(Rng::with_seed(seed)), links: Mutex::default() })
    }
}

impl Host {
    /// Its cable is pulled: the server hears no more of it, not even that it went.
    pub fn vanish(&self) {
        for link in lock(&self.links).iter().filter_map(Weak::upgrade) {
            let mut link = lock(&link);
            link.hole = true;
            link.give_up_later();
        }
    }

    async fn open(&self) -> io::Result<End> {
        let (way, faulty, mut random) = {
            let mut random = lock(&self.random);
            let turbulence = self.network.lock().turbulence;
            let way = Duration::from_micros(random.u64(100..60_000));
            (way, random.u8(..100) < turbulence, random.fork())
        };
        sleep(way).await;
        if faulty && random.u8(..8) == 0 {
            self.network.lock().faults += 1;
            if random.bool() {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            // Until the client gives up.
            std::future::pending::<()>().await;
        }
        let link = Arc::new(Mutex::new(Link {
            pipes: [Pipe::default(), Pipe::default()],
            dead: [None; 2],
            gone: [false; 2],
            hole: false,
            calm: !faulty,
            giving_up: false,
            paused_until: None,
            cut_after: None,
            capacity: 1 << random.u8(11..17),
            way,
            random: random.fork(),
            me: Weak::new(),
        }));
        lock(&link).me = Arc::downgrade(&link);
        {
            let mut state = self.network.lock();
            let Some(server) = state.server.clone() else { return Err(io::ErrorKind::ConnectionRefused.into()) };
            state.connections = state.connections.wrapping_add(1);
            let address = SocketAddr::from(([192, 0, 2, 1], state.connections));
            state.links.retain(|link| link.strong_count() > 0);
            state.links.push(Arc::downgrade(&link));
            if faulty {
                state.faults += 1;
            }
            drop(state);
            server.accept(End { link: link.clone(), side: SERVER, timer: None }, address);
        }
        {
            let mut links = lock(&self.links);
            links.retain(|link| link.strong_count() > 0);
            links.push(Arc::downgrade(&link));
        }
        if faulty {
            misfortune(&link, random);
        }
        sleep(way).await;
        Ok(End { link, side: CLIENT, timer: None })
    }
}

/// Something happens to a connection.
fn misfortune(link: &Arc<Mutex<Link>>, mut random: Rng) {
    let what = random.u8(..8);
    if what == 0 {
        // Anywhere, in the middle of a message as well as between two.
        lock(link).cut_after = Some(1 << random.u8(4..16) | random.usize(..64));
        return;
    }
    let link = Arc::downgrade(link);
    let soon = random.bool();
    let after = Duration::from_millis(random.u64(1..if soon { 2_000 } else { 180_000 }));
    tokio::spawn(async move {
        sleep(after).await;
        let Some(link) = link.upgrade() else { return };
        let mut link = lock(&link);
        if link.calm {
            return;
        }
        match what {
            1..=3 => link.dead = [Some(io::ErrorKind::ConnectionReset); 2],
            // A proxy between them ends both.
            4 => link.gone = [true; 2],
            5 => {
                link.hole = true;
                link.give_up_later();
            }
            _ => link.paused_until = Some(Instant::now() + Duration::from_millis(random.u64(100..90_000))),
        }
        link.wake();
    });
}

impl ClientNetwork for Host {
    fn connect(&self) -> Connecting<'_> {
        Box::pin(async { Ok(Box::new(self.open().await?) as Box<dyn client::simulation::Io>) })
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Host")
    }
}

const CLIENT: usize = 0;
const SERVER: usize = 1;

/// A connection, with what is under way on it.
struct Link {
    /// By who writes.
    pipes: [Pipe; 2],
    /// By who is told.
    dead: [Option<io::ErrorKind>; 2],
    /// By who left.
    gone: [bool; 2],
    /// Nothing arrives any more.
    hole: bool,
    /// Nothing more happens to it.
    calm: bool,
    giving_up: bool,
    /// The client does not read.
    paused_until: Option<Instant>,
    /// Bytes before it breaks.
    cut_after: Option<usize>,
    capacity: usize,
    way: Duration,
    random: Rng,
    me: Weak<Mutex<Link>>,
}

#[derive(Default)]
struct Pipe {
    chunks: VecDeque<(Instant, VecDeque<u8>)>,
    bytes: usize,
    ended: Option<Instant>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Link {
    fn wake(&mut self) {
        for pipe in &mut self.pipes {
            pipe.reader.take().into_iter().chain(pipe.writer.take()).for_each(Waker::wake);
        }
    }

    /// When what is written now arrives.
    fn due(&mut self, from: usize) -> Instant {
        let jitter = Duration::from_micros(self.random.u64(..5_000));
        let due = Instant::now() + self.way + jitter;
        // One after the other.
        self.pipes[from].chunks.back().map_or(due, |(before, _)| due.max(*before))
    }

    /// The server's host notices that nobody acknowledges what it sent.
    fn give_up_later(&mut self) {
        let waits = self.pipes[SERVER].bytes > 0 || self.pipes[SERVER].ended.is_some();
        if waits && !std::mem::replace(&mut self.giving_up, true) {
            let link = self.me.clone();
            tokio::spawn(async move {
                sleep(UNACKNOWLEDGED_MAX).await;
                if let Some(link) = link.upgrade() {
                    let mut link = lock(&link);
                    link.dead[SERVER] = Some(io::ErrorKind::TimedOut);
                    link.wake();
                }
            });
        }
    }
}

/// One end of a connection.
struct End {
    link: Arc<Mutex<Link>>,
    side: usize,
    timer: Option<Pin<Box<Sleep>>>,
}

impl End {
    fn poll_until(timer: &mut Option<Pin<Box<Sleep>>>, at: Instant, context: &mut Context<'_>) -> Poll<()> {
        let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() != at {
            timer.as_mut().reset(at);
        }
        timer.as_mut().poll(context)
    }
}

impl AsyncRead for End {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { link, side, timer } = self.get_mut();
        loop {
            let mut link = lock(link);
            if let Some(kind) = link.dead[*side] {
                return Poll::Ready(Err(kind.into()));
            }
            let now = Instant::now();
            let paused = link.paused_until.filter(|until| *side == CLIENT && *until > now);
            let hole = link.hole;
            let left = link.gone[*side];
            let pipe = &mut link.pipes[1 - *side];
            pipe.reader = Some(context.waker().clone());
            if hole {
                return Poll::Pending;
            }
            let next = match (paused, pipe.chunks.front_mut()) {
                (Some(until), _) => until,
                (None, Some((due, bytes))) if *due <= now => {
                    let (first, _) = bytes.as_slices();
                    let take = first.len().min(buffer.remaining());
                    buffer.put_slice(&first[..take]);
                    bytes.drain(..take);
                    if bytes.is_empty() {
                        pipe.chunks.pop_front();
                    }
                    pipe.bytes -= take;
                    pipe.writer.take().into_iter().for_each(Waker::wake);
                    return Poll::Ready(Ok(()));
                }
                (None, Some((due, _))) => *due,
                (None, None) if left => return Poll::Ready(Ok(())),
                (None, None) => match pipe.ended {
                    Some(at) if at <= now => return Poll::Ready(Ok(())),
                    Some(at) => at,
                    None => return Poll::Pending,
                },
            };
            drop(link);
            ready!(Self::poll_until(timer, next, context));
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { link, side, .. } = self.get_mut();
        let mut link = lock(link);
        if let Some(kind) = link.dead[*side] {
            return Poll::Ready(Err(kind.into()));
        }
        if link.gone[*side] {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if link.gone[1 - *side] {
            // It goes nowhere; the writer will hear of that.
            return Poll::Ready(Ok(bytes.len()));
        }
        let due = link.due(*side);
        let room = link.capacity.saturating_sub(link.pipes[*side].bytes);
        let take = room.min(bytes.len()).min(link.cut_after.unwrap_or(usize::MAX));
        let hole = link.hole;
        let pipe = &mut link.pipes[*side];
        if take == 0 && room == 0 && !bytes.is_empty() {
            pipe.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        pipe.bytes += take;
        pipe.chunks.push_back((due, bytes[..take].iter().copied().collect()));
        pipe.reader.take().into_iter().for_each(Waker::wake);
        if hole {
            link.give_up_later();
        }
        if let Some(left) = &mut link.cut_after {
            *left -= take;
            if *left == 0 {
                link.dead = [Some(io::ErrorKind::ConnectionReset); 2];
                link.wake();
            }
        }
        Poll::Ready(Ok(take))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut link = lock(&self.link);
        let due = link.due(self.side);
        let pipe = &mut link.pipes[self.side];
        pipe.ended.get_or_insert(due);
        pipe.reader.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut link = lock(&self.link);
        if link.hole {
            // Nobody hears of it.
            return;
        }
        let due = link.due(self.side);
        link.pipes[self.side].ended.get_or_insert(due);
        link.gone[self.side] = true;
        link.wake();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
