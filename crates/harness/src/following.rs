//! A server that is killed and stopped, and clients who follow it over every transport through a network that fails.
//!
//! Everything is the product's own code, from the bytes of a connection to the publisher and to [`Replica`]; simulated are the network, the clock
//! and the operator. What must hold: see [`run`].
use crate::{ledger::Ledger, life::Lent, network::Network, world};
use alto::{Limits as Documents, id::ResourceId, patch};
use client::{
    Client, Error, Replica,
    replica::{Change, Notice, Notifications, Options, Told, Via, Wanted, What},
};
use fastrand::Rng;
use history::{Guard, Limits, Publisher};
use serde_json::{Value, json};
use server::simulation::{Held, Server};
use std::{
    cell::RefCell,
    collections::BTreeSet,
    panic,
    sync::{Arc, Mutex, MutexGuard, Once, PoisonError},
    time::{Duration, SystemTime},
};
use store::Memory;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

/// Steps of one run.
const STEPS: usize = 24;
/// From the last fault until every replica has what is served. The silences that a client bears, 75 s, its longest wait to come again, 30 s, and
/// as much again for a session in between that was about to end.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(240);
/// The longest poll, 58 s, and the silence after it, 30 s, and as much for good measure.
const SILENCES_NOTICED_WITHIN: Duration = Duration::from_secs(130);
/// From the last client until the server holds nothing: the time of grace of TIPS views, 120 s, after the longest poll, 50 s, whose client left.
const FORGOTTEN_WITHIN: Duration = Duration::from_secs(240);

/// What a run did, so that a test can see that it did something.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    /// Commits that were acknowledged.
    pub commits: u64,
    /// Lives of the server after the first.
    pub restarts: u64,
    /// Connections that something happened to.
    pub faults: u64,
    /// Changes that replicas handed out.
    pub changes: u64,
    /// Of these, patches.
    pub patches: u64,
    /// Sessions that ended.
    pub lost: u64,
    /// Copies that were dropped because something did not fit.
    pub resyncs: u64,
    /// Clients that were refused because there were too many.
    pub refused: u64,
    /// Replicas that ended because what they followed was withdrawn.
    pub ended: u64,
    /// Sessions, by [`Via::ALL`].
    pub sessions: [u64; 4],
    /// Longest time to catch up after the last fault, in milliseconds.
    pub late_ms: u64,
}

impl Tally {
    /// Takes another run in.
    pub fn add(&mut self, other: &Self) {
        self.commits += other.commits;
        self.restarts += other.restarts;
        self.faults += other.faults;
        self.changes += other.changes;
        self.patches += other.patches;
        self.lost += other.lost;
        self.resyncs += other.resyncs;
        self.refused += other.refused;
        self.ended += other.ended;
        for (mine, others) in self.sessions.iter_mut().zip(other.sessions) {
            *mine += others;
        }
        self.late_ms = self.late_ms.max(other.late_ms);
    }
}

/// What happens in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weather {
    /// Nothing but commits: then nothing is lost, and no copy is dropped.
    Calm,
    /// Whatever there is.
    Rough,
}

/// One run. Panics when a promise is broken:
///
/// - what a replica hands out is a version as it was visible, a later one each time; a patch leads from the one handed out before to it;
/// - after the last fault every replica has what is served within a bounded time;
/// - a copy is dropped only when something was lost;
/// - when the clients are gone, the server holds nothing for them;
/// - nothing panics, in whatever task.
pub fn run(seed: u64) -> Tally {
    // What the product keeps by thread begins anew with each run.
    let thread = std::thread::Builder::new().name(format!("seed {seed}")).spawn(move || {
        watch_panics();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime without a driver needs nothing of the system");
        let tally = runtime.block_on(async { Run::new(seed).go().await });
        drop(runtime);
        let panicked = PANICKED.take();
        assert!(panicked.is_empty(), "something panicked: {}", panicked.join("; "));
        tally
    });
    match thread.expect("the system has threads").join() {
        Ok(tally) => tally,
        Err(why) => panic::resume_unwind(why),
    }
}

thread_local! {
    static PANICKED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Tokio keeps the panics of tasks to itself.
fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let _ = PANICKED.try_with(|panicked| panicked.borrow_mut().push(info.to_string()));
            before(info);
        }));
    });
}

/// A resource that is followed: what of it was handed out last.
#[derive(Debug, Clone, Default)]
struct Copied {
    seq: u64,
    value: Option<Value>,
}

/// What clients and the operator see together.
struct Seen {
    since: Instant,
    /// Say what happens.
    trace: bool,
    ledger: Ledger,
    tally: Tally,
    /// By client.
    copies: Vec<Vec<Copied>>,
    /// Clients hurry: nobody is slow to take what is there.
    hurry: bool,
}

type Shared = Arc<Mutex<Seen>>;

struct Run {
    random: Rng,
    weather: Weather,
    limits: Limits,
    options: server::Options,
    memory: Arc<Memory>,
    network: Network,
    publisher: Option<Arc<Publisher>>,
    server: Option<Arc<Server>>,
    seen: Shared,
    resources: Vec<ResourceId>,
    plans: Vec<Plan>,
    clients: JoinSet<()>,
    running: Vec<(tokio::task::AbortHandle, Arc<crate::network::Host>)>,
    now: SystemTime,
}

/// Who follows what, and how.
#[derive(Clone)]
struct Plan {
    client: usize,
    via: Option<Via>,
    wanted: Vec<Wanted>,
}

impl Plan {
    /// How many resources that is, with those that others depend on.
    fn followed(&self) -> usize {
        let ids = || self.wanted.iter().map(|wanted| wanted.resource.as_str());
        let networks = ids().filter_map(|id| world::depends_on(id).or((id == "filtered-cost-map").then_some("net-a")));
        // The default network map, that of the filter, is another one while the first is withdrawn.
        ids().chain(networks).collect::<BTreeSet<_>>().len() + ids().filter(|id| *id == "filtered-cost-map").count()
    }
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let weather = if seed.is_multiple_of(4) { Weather::Calm } else { Weather::Rough };
        let resources: Vec<ResourceId> = world::resources().collect();
        let only = (random.u8(..3) == 0).then(|| Via::ALL[random.usize(..4)]);
        let plans: Vec<Plan> = (0..random.usize(2..7)).map(|client| plan(&mut random, client, only, &resources)).collect();
        let mut limits = Limits::default();
        let mut options = server::Options::default();
        if weather == Weather::Rough {
            limits.versions_max = random.usize(2..40);
            limits.age_max = Duration::from_secs(random.u64(5..400));
            limits.bytes_max = random.usize(4_000..200_000);
            // Room for all, but not for many whose connections are gone and who are not given up yet.
            let needed = match only {
                Some(Via::Sse) => plans.len(),
                _ => plans.iter().map(Plan::followed).sum::<usize>(),
            };
            options.limits.update_streams_max = needed + random.usize(..3);
            options.limits.polls_max = needed + random.usize(..3);
            options.limits.ready_bytes_max = 1 << random.u8(10..24);
        }
        Self {
            weather,
            limits,
            options,
            memory: Arc::default(),
            network: Network::default(),
            publisher: None,
            server: None,
            seen: Arc::new(Mutex::new(Seen {
                since: Instant::now(),
                trace: std::env::var_os("HARNESS_TRACE").is_some(),
                ledger: Ledger::default(),
                tally: Tally::default(),
                copies: Vec::new(),
                hurry: false,
            })),
            resources,
            plans,
            clients: JoinSet::new(),
            running: Vec::new(),
            now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000),
            random,
        }
    }

    async fn go(mut self) -> Tally {
        self.begin();
        self.commit(true);
        if self.weather == Weather::Rough {
            self.network.set_turbulence(self.random.u8(5..80));
        }
        for client in 0..self.plans.len() {
            self.spawn(client);
        }
        for _ in 0..STEPS {
            let millis = 1 << self.random.u8(..15);
            let millis = self.random.u64(..=millis);
            self.pass(Duration::from_millis(millis)).await;
            self.step().await;
            self.look_after_clients();
        }
        self.settle().await;
        self.leave().await;
        let mut seen = lock(&self.seen);
        seen.tally.faults = self.network.faults().into();
        if self.weather == Weather::Calm {
            assert_eq!(seen.tally.resyncs, 0, "nothing was lost, so no copy needs to be dropped");
        }
        std::mem::take(&mut seen.tally)
    }

    async fn pass(&mut self, time: Duration) {
        sleep(time).await;
        self.now = match self.random.u8(..30) {
            // The wall clock may be set back.
            0 => self.now - Duration::from_secs(self.random.u64(1..100)),
            _ => self.now + time,
        };
    }

    async fn step(&mut self) {
        match self.random.u8(..40) {
            0 | 1 if self.weather == Weather::Rough => {
                let with_host = self.random.u8(..4) == 0;
                self.kill(with_host).await;
            }
            2 if self.weather == Weather::Rough => self.stop().await,
            3 | 4 => {
                let client = self.random.usize(..self.plans.len());
                let (task, host) = &self.running[client];
                // Some pull the cable, others leave.
                if self.weather == Weather::Rough && self.random.bool() {
                    host.vanish();
                }
                task.abort();
                self.spawn(client);
            }
            5..=8 => {
                for _ in 0..self.random.usize(2..12) {
                    self.commit(false);
                    let millis = self.random.u64(..80);
                    self.pass(Duration::from_millis(millis)).await;
                }
            }
            _ => self.commit(false),
        }
    }

    fn begin(&mut self) {
        let store = Arc::new(Lent(self.memory.clone()));
        let publisher = Publisher::with_store(self.limits.clone(), Guard::default(), store, self.now);
        let publisher = Arc::new(publisher.expect("what was written is taken up again").without_thread());
        let mut seen = lock(&self.seen);
        seen.ledger.came_back(&publisher, false);
        seen.ledger.look(&publisher, &self.resources);
        drop(seen);
        let server = Arc::new(Server::new(&self.options, publisher.clone()).expect("nothing of it is wrong"));
        self.network.begin(server.clone());
        (self.publisher, self.server) = (Some(publisher), Some(server));
    }

    fn end(&mut self, with_host: bool) {
        self.network.kill(with_host);
        let server = self.server.take().expect("it runs");
        let mut seen = lock(&self.seen);
        seen.tally.refused += server.refused();
        seen.tally.restarts += 1;
        self.publisher = None;
    }

    async fn kill(&mut self, with_host: bool) {
        self.end(with_host);
        let down = 1 << self.random.u8(5..17);
        let down = self.random.u64(..down);
        self.pass(Duration::from_millis(down)).await;
        self.begin();
    }

    async fn stop(&mut self) {
        self.server.as_ref().expect("it runs").stop();
        for _ in 0..self.random.usize(..3) {
            self.pass(Duration::from_millis(700)).await;
            self.commit(false);
        }
        self.pass(self.options.limits.drain_time_max).await;
        self.kill(false).await;
    }

    fn commit(&mut self, first: bool) {
        let publisher = self.publisher.as_ref().expect("it runs");
        let changes = if first { world::first(&mut self.random) } else { world::commit(&mut self.random) };
        let mut seen = lock(&self.seen);
        if publisher.apply(changes, self.now, false).is_ok() {
            seen.tally.commits += 1;
        }
        seen.ledger.look(publisher, &self.resources);
    }

    fn spawn(&mut self, client: usize) {
        let plan = self.plans[client].clone();
        let mut seen = lock(&self.seen);
        if seen.copies.len() <= client {
            seen.copies.resize(client + 1, Vec::new());
        }
        drop(seen);
        let host = self.network.host(self.random.u64(..));
        let slow = self.weather == Weather::Rough && self.random.u8(..4) == 0;
        let task = self.clients.spawn(follow(host.clone(), plan, self.random.fork(), slow, self.seen.clone()));
        if client < self.running.len() {
            self.running[client] = (task, host);
        } else {
            self.running.push((task, host));
        }
    }

    /// One that failed fails the run.
    fn look_after_clients(&mut self) {
        while let Some(ended) = self.clients.try_join_next() {
            match ended {
                Err(error) if error.is_panic() => panic::resume_unwind(error.into_panic()),
                Err(_) => {}
                Ok(()) => unreachable!("clients do not end by themselves"),
            }
        }
    }

    /// Everybody catches up with what is served then.
    async fn settle(&mut self) {
        self.network.set_turbulence(0);
        lock(&self.seen).hurry = true;
        self.commit(true);
        let since = Instant::now();
        let behind = loop {
            self.look_after_clients();
            let behind = self.behind();
            if behind.is_empty() || since.elapsed() > CAUGHT_UP_WITHIN {
                break behind;
            }
            sleep(Duration::from_secs(1)).await;
        };
        assert!(behind.is_empty(), "after {} s of quiet still behind: {}", CAUGHT_UP_WITHIN.as_secs(), behind.join("; "));
        lock(&self.seen).tally.late_ms = since.elapsed().as_millis() as u64;
        // And once more, when every connection that fell silent before was given up.
        sleep(SILENCES_NOTICED_WITHIN).await;
        self.commit(true);
        sleep(Duration::from_secs(20)).await;
        self.look_after_clients();
        let behind = self.behind();
        assert!(behind.is_empty(), "20 s after a commit in quiet still behind: {}", behind.join("; "));
    }

    fn behind(&self) -> Vec<String> {
        let snapshot = self.publisher.as_ref().expect("it runs").current();
        let seen = lock(&self.seen);
        let mut behind = Vec::new();
        for plan in &self.plans {
            for (wanted, copied) in plan.wanted.iter().zip(&seen.copies[plan.client]) {
                let served: Value = match &wanted.input {
                    None => read(&snapshot.versions[&wanted.resource].body),
                    Some(input) => {
                        let client = std::net::Ipv4Addr::LOCALHOST.into();
                        let answer = snapshot.guidance.answer(&wanted.resource, input, client, &maps::guidance::Limits::default());
                        read(&answer.expect("it is there").expect("the input is right").body)
                    }
                };
                if copied.value.as_ref() != Some(&served) {
                    let via = plan.via.map_or("auto", Via::as_str);
                    behind.push(format!("client {} over {via}, {} at {}", plan.client, wanted.resource, copied.seq));
                }
            }
        }
        behind
    }

    /// All clients go; the server forgets them.
    async fn leave(&mut self) {
        if self.weather == Weather::Rough {
            // Some without a word.
            let vanishing = self.random.usize(..=self.running.len());
            self.running[..vanishing].iter().for_each(|(_, host)| host.vanish());
        }
        self.clients.abort_all();
        while self.clients.join_next().await.is_some() {}
        let since = Instant::now();
        let server = self.server.as_ref().expect("it runs");
        while server.held() != Held::default() && since.elapsed() < FORGOTTEN_WITHIN {
            sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(server.held(), Held::default(), "{} s after the last client left", FORGOTTEN_WITHIN.as_secs());
        lock(&self.seen).tally.refused += server.refused();
    }
}

fn plan(random: &mut Rng, client: usize, only: Option<Via>, resources: &[ResourceId]) -> Plan {
    let via = only.or_else(|| [None, Some(Via::ALL[0]), Some(Via::ALL[1]), Some(Via::ALL[2]), Some(Via::ALL[3])][random.usize(..5)]);
    let mut resources = resources.to_vec();
    random.shuffle(&mut resources);
    resources.truncate(random.usize(1..4));
    let mut wanted: Vec<Wanted> = resources.into_iter().map(|resource| Wanted { resource, input: None }).collect();
    if random.u8(..4) == 0 {
        let dst = random.u8(..4);
        let input = json!({
            "cost-type": { "cost-mode": "numerical", "cost-metric": "routingcost" },
            "pids": { "srcs": ["p0", "p1"], "dsts": [format!("p{dst}"), "p5"] },
        });
        let resource = "filtered-cost-map".parse().expect("it is a valid resource id");
        wanted.push(Wanted { resource, input: Some(input.to_string().into()) });
    }
    Plan { client, via, wanted }
}

/// A client who follows, and begins again when what it followed was withdrawn.
async fn follow(host: Arc<crate::network::Host>, plan: Plan, mut random: Rng, slow: bool, seen: Shared) {
    loop {
        lock(&seen).copies[plan.client] = vec![Copied::default(); plan.wanted.len()];
        let client = Client::within(client::Options::new("http://alto.test"), host.clone()).expect("the URL is right");
        let options = Options { resources: plan.wanted.clone(), via: plan.via, notifications: Notifications::default() };
        match Replica::open_seeded(Arc::new(client), options, random.u64(..)).await {
            Err(error) => assert!(may_be(&error, &plan), "a replica does not open: {error}"),
            Ok(replica) => {
                let error = take(replica, &plan, &mut random, slow, &seen).await;
                assert!(may_be(&error, &plan), "a replica ended: {error}");
                lock(&seen).tally.ended += 1;
            }
        }
        sleep(Duration::from_millis(random.u64(100..3_000))).await;
    }
}

/// Why a replica may end or not begin: nobody answers, the resource is not there, or has not what the input asks for.
fn may_be(error: &Error, plan: &Plan) -> bool {
    matches!(error, Error::Refused { .. } if plan.wanted.iter().any(|wanted| wanted.input.is_some()))
        || matches!(error, Error::NotOffered { .. } | Error::Connect { .. } | Error::Timeout { .. } | Error::Broken { .. })
}

async fn take(mut replica: Replica, plan: &Plan, random: &mut Rng, slow: bool, seen: &Shared) -> Error {
    let mut resyncs = 0;
    loop {
        let told = replica.next().await;
        let more = replica.resyncs() - resyncs;
        resyncs += more;
        let hurry = {
            let mut seen = lock(seen);
            seen.tally.resyncs += more;
            match told {
                Err(error) => return error,
                Ok(Told::Change(change)) => seen.take(plan, &change),
                Ok(Told::Notice(notice)) => seen.notice(plan, &notice),
            }
            seen.hurry
        };
        if slow && !hurry && random.u8(..8) == 0 {
            sleep(Duration::from_millis(random.u64(..60_000))).await;
        }
    }
}

impl Seen {
    fn notice(&mut self, plan: &Plan, notice: &Notice) {
        if self.trace {
            eprintln!("{:?} client {}: {notice}", self.since.elapsed(), plan.client);
        }
        match notice {
            Notice::Lost { .. } | Notice::Stopped { .. } => self.tally.lost += 1,
            Notice::Following { via } => {
                let at = Via::ALL.iter().position(|known| known == via).expect("all are in the list");
                self.tally.sessions[at] += 1;
            }
            // One connection may be held up where others go on; nothing else is ever lost.
            Notice::Resynchronising { resource, why } => {
                assert!(why == "it does not fit the network map that it depends on", "{resource} was dropped: {why}");
            }
            Notice::Switching { .. } => {}
        }
    }

    fn take(&mut self, plan: &Plan, change: &Change) {
        let is_it = |wanted: &Wanted| wanted.resource == change.resource && wanted.input == change.input;
        let index = plan.wanted.iter().position(is_it).expect("only what is wanted is handed out");
        let value = read(&change.content.to_json());
        self.tally.changes += 1;
        let Self { ledger, tally, copies, .. } = self;
        let copied = &mut copies[plan.client][index];
        if let What::Patch { kind, body } = &change.what {
            tally.patches += 1;
            let mut before = copied.value.take().expect("who has nothing gets a full copy first");
            patch::apply_to_value(*kind, &mut before, body, &Documents::default()).expect("a patch fits what was handed out before");
            assert_eq!(before, value, "{}: no version is skipped without a full copy", change.resource);
        }
        if change.input.is_none() {
            let view = ledger.view_id(&change.resource).expect("it was served").to_owned();
            copied.seq = ledger.check_told(&view, copied.seq, change.seq, change.tag.as_ref(), &value);
        }
        copied.value = Some(value);
    }
}

fn read(body: &[u8]) -> Value {
    serde_json::from_slice(body).expect("documents are JSON")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
