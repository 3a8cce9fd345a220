//! The server as a whole: binding, threads, stopping.
//!
//! One thread for each core serves the public; one more serves operators and looks after the certificate, so that both work
//! while the others are busy.
use crate::{
    Error, Limits, Options, SourceReport,
    access::Settings,
    admin::{Admin, Metrics},
    files::{self, Files},
    listen::{self, Handler, Listening, Stage, budget::Budget, tls::Certificates},
    services::Public,
    transports::{Transports, webhook},
    view::Views,
};
use history::Publisher;
use std::{
    future::Future,
    hash::{BuildHasher, RandomState},
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
    thread,
    time::Instant,
};
use store::Store;
use tokio::{
    net::TcpListener,
    runtime::{self, Runtime},
    sync::{Semaphore, mpsc, oneshot, watch},
};

/// Listeners that are bound and wait to be served.
pub struct Server {
    options: Options,
    workers: usize,
    public: Vec<std::net::TcpListener>,
    public_addresses: Vec<SocketAddr>,
    /// For HTTP/3; none without a certificate.
    quic: Vec<std::net::UdpSocket>,
    public_listening: Arc<Listening<Public>>,
    admin: Option<(std::net::TcpListener, SocketAddr)>,
    admin_listening: Arc<Listening<Admin>>,
    handle: Handle,
}

/// What can be done to a server that runs.
#[derive(Clone)]
pub struct Handle {
    started_with: Arc<Options>,
    settings: Arc<Settings>,
    certificates: Option<Arc<Certificates>>,
    transports: Arc<Transports>,
}

impl Server {
    /// Takes the addresses, so that they are known and nothing else can have them; accepts nothing yet.
    pub fn bind(options: Options, publisher: Arc<Publisher>, sources: Arc<dyn SourceReport>) -> Result<Self, Error> {
        let limits = &options.limits;
        if let Some(fault) = options.faults().into_iter().next() {
            return Err(fault);
        }
        let settings = Arc::new(Settings::default());
        settings.set(&options)?;
        let certificates = options.tls.clone().map(Certificates::load).transpose()?;
        let bind = |what, address| -> Result<(std::net::TcpListener, SocketAddr), Error> {
            let listener = listen::bind(what, address, limits)?;
            let bound = listener.local_addr().map_err(|source| Error::Listen { what, address, source })?;
            Ok((listener, bound))
        };
        let (public, public_addresses): (Vec<_>, Vec<_>) =
            options.public.iter().map(|address| bind("public", *address)).collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        let admin = options.admin.map(|address| bind("admin", address)).transpose()?;
        // The same ports: an `Alt-Svc` that names another is easily lost in front of a firewall.
        let quic = match &certificates {
            Some(_) if options.http3 => {
                public_addresses.iter().map(|address| listen::http3::bind(*address)).collect::<Result<Vec<_>, _>>()?
            }
            _ => Vec::new(),
        };

        let cores = || thread::available_parallelism().map_or(1, usize::from).min(limits.workers_max);
        let workers = options.workers.unwrap_or_else(cores).max(1);
        let metrics = Arc::new(Metrics::new(workers));
        publisher.on_commit({
            let metrics = metrics.clone();
            move |commit| metrics.committed(commit)
        });
        let views = Views::new(publisher.clone(), settings.clone());
        let webhooks = webhook::Webhooks::new(
            limits,
            webhook::Policy::of(&options, &public_addresses),
            webhook::trusted(&options)?,
            RandomState::new().hash_one(0),
        );
        let transports = Transports::new(publisher.clone(), limits, &options.queries, options.websocket_origins.clone(), webhooks);
        let public_handler = Public::new(
            views,
            settings.clone(),
            metrics.clone(),
            limits.clone(),
            options.queries.clone(),
            transports.clone(),
            !quic.is_empty(),
        );
        let budget = public_handler.queries.budget.clone();
        let public_listening = Arc::new(Listening {
            handler: Arc::new(public_handler),
            limits: limits.clone(),
            tls: certificates.as_ref().map(Certificates::acceptor),
            http2: true,
            slots: Arc::new(Semaphore::new(limits.connections_max.max(1))),
            budget: budget.clone(),
            metrics: Some(metrics.clone()),
        });
        let mut listeners: Vec<_> = public_addresses.iter().map(|address| ("public", *address)).collect();
        listeners.extend(admin.as_ref().map(|(_, address)| ("admin", *address)));
        let admin_handler = Admin {
            publisher,
            sources,
            metrics,
            budget,
            transports,
            settings: settings.clone(),
            certificates: certificates.clone(),
            documents: alto::Limits { body_bytes_max: limits.document_bytes_max, ..alto::Limits::default() },
            started: Instant::now(),
            listeners,
            unwritable: AtomicBool::new(false),
        };
        let admin_listening = Arc::new(Listening {
            handler: Arc::new(admin_handler),
            limits: limits.clone(),
            tls: None,
            http2: false,
            slots: Arc::new(Semaphore::new(limits.admin_connections_max.max(1))),
            // Operators are trusted with memory.
            budget: Budget::new(usize::MAX),
            metrics: None,
        });
        let transports = public_listening.handler.transports.clone();
        let handle = Handle { started_with: Arc::new(options.clone()), settings, certificates, transports };
        Ok(Self { options, workers, public, public_addresses, quic, public_listening, admin, admin_listening, handle })
    }

    /// Where the public listener is, with the ports the system chose.
    pub fn public_addresses(&self) -> &[SocketAddr] {
        &self.public_addresses
    }

    /// Where the admin listener is.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|(_, address)| *address)
    }

    /// Keeps subscriptions there, and takes up those of before when it runs.
    pub fn keep_subscriptions_in(&self, store: Arc<dyn Store>) -> Result<(), Error> {
        self.public_listening.handler.transports.webhooks.keep_in(store).map_err(Error::Thread)
    }

    /// For what may change while it runs.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until `shutdown` completes, then finishes what is in flight within `limits.drain_time_max`. To drop the future
    /// ends everything at once.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let transports = self.public_listening.handler.transports.clone();
        let (stage, watched) = watch::channel(Stage::Running);
        let (done, mut all_done) = mpsc::channel::<()>(1);
        let files = Files::plan(self.options.limits.connections_max);
        let (public, admin): (Vec<_>, Vec<_>) = (self.public, self.admin.map(|(listener, _)| listener).into_iter().collect());
        let (public, admin) = (Arc::new(public), Arc::new(admin));
        if let Some(certificates) = &self.handle.certificates
            && !self.quic.is_empty()
        {
            spawn_quic(self.quic, certificates, &self.public_listening, &watched, &done)?;
        }
        // All of them before any thread has a table of its own: whoever wakes a task in another thread writes to that thread's runtime.
        let runtimes = (0..=self.workers).map(|_| OneThread::new(&self.options.limits)).collect::<Result<Vec<_>, _>>()?;
        for (worker, runtime) in runtimes.into_iter().enumerate() {
            if worker < self.workers {
                let accepting = Accepting {
                    listeners: public.clone(),
                    others: admin.clone(),
                    listening: self.public_listening.clone(),
                    connections_max: files.connections_max,
                    own_table: files.own_tables,
                };
                spawn(format!("public-{worker}"), worker, runtime, accepting, None, &watched, &done)?;
            } else {
                let accepting = Accepting {
                    listeners: admin.clone(),
                    others: Arc::default(),
                    listening: self.admin_listening.clone(),
                    connections_max: self.options.limits.admin_connections_max.max(1),
                    own_table: false,
                };
                let certificates = self.handle.certificates.clone().zip(self.options.tls.as_ref().map(|files| files.check_interval));
                spawn("admin".into(), 0, runtime, accepting, certificates, &watched, &done)?;
            }
        }
        let notifying = Notifying::spawn(transports.clone(), &self.options.limits)?;
        // The threads have listeners of their own: when they stop to accept, the port is free for a successor.
        drop((public, admin, done, watched));

        shutdown.await;
        tracing::info!("stopping: no more connections are accepted, what is in flight may finish");
        // Streams say why they end before their connections do.
        transports.shut_down();
        // Nobody is told only when every thread has ended already.
        let _ = stage.send(Stage::Draining);
        let _ = all_done.recv().await;
        notifying.stop().await;
        Ok(())
    }
}

/// The thread that sends notifications.
struct Notifying {
    stop: watch::Sender<bool>,
    ended: oneshot::Receiver<()>,
}

impl Notifying {
    fn spawn(transports: Arc<Transports>, limits: &Limits) -> Result<Self, Error> {
        let runtime = OneThread::new(limits)?;
        let ((stop, stopping), (end, ended)) = (watch::channel(false), oneshot::channel());
        let work = move || {
            runtime.block_on(webhook::run(transports, stopping));
            // What is under way is told again after the next start.
            drop(runtime);
            let _ = end.send(());
        };
        thread::Builder::new().name("notifications".into()).spawn(work).map_err(Error::Thread)?;
        Ok(Self { stop, ended })
    }

    /// Nothing more is sent; what subscribers acknowledged is written down.
    async fn stop(self) {
        let _ = self.stop.send(true);
        let _ = self.ended.await;
    }
}

struct Accepting<H> {
    /// To be copied by the thread, and given back.
    listeners: Arc<Vec<std::net::TcpListener>>,
    /// Those that other threads accept from.
    others: Arc<Vec<std::net::TcpListener>>,
    listening: Arc<Listening<H>>,
    /// Of this thread; the bound of all together is in `listening`.
    connections_max: usize,
    /// Whether it has a table of open files of its own.
    own_table: bool,
}

/// The runtime of one thread. To drop it waits for nothing: not for computations that nobody waits for any more, and not
/// where its thread could not be started, for whoever starts threads is a task that must not wait.
struct OneThread(Option<Runtime>);

impl OneThread {
    fn new(limits: &Limits) -> Result<Self, Error> {
        let mut builder = runtime::Builder::new_current_thread();
        // Queries and codings; more of them would only take the cores from each other.
        builder.enable_all().max_blocking_threads(limits.queries_at_once.max(1) + 2);
        builder.build().map(|runtime| Self(Some(runtime))).map_err(Error::Thread)
    }

    fn block_on(&self, work: impl Future<Output = ()>) {
        self.0.as_ref().expect("it is taken when it is dropped").block_on(work);
    }
}

impl Drop for OneThread {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Starts a thread that accepts until it is told to stop and ends when its connections have, or their time is up. When this returns the thread
/// has all it needs.
fn spawn<H: Handler>(
    name: String,
    worker: usize,
    runtime: OneThread,
    accepting: Accepting<H>,
    certificates: Option<(Arc<Certificates>, std::time::Duration)>,
    stage: &watch::Receiver<Stage>,
    done: &mpsc::Sender<()>,
) -> Result<(), Error> {
    let Accepting { listeners: given, others, listening, connections_max, own_table } = accepting;
    let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
    let prepare = move || {
        let own_table = own_table && files::take_table();
        let listeners = given.iter().map(std::net::TcpListener::try_clone).collect::<Result<Vec<_>, _>>()?;
        if own_table {
            files::close_here(given.iter().chain(others.iter()));
        }
        // Given back before anybody goes on: they are closed where they were opened.
        drop((given, others));
        Ok(listeners)
    };
    let (mut stage, done) = (stage.clone(), done.clone());
    let serve = async move |listeners: Vec<std::net::TcpListener>| {
        let (alive, mut all_gone) = mpsc::channel::<()>(1);
        let slots = Arc::new(Semaphore::new(connections_max));
        for listener in listeners {
            match TcpListener::from_std(listener) {
                Ok(listener) => {
                    tokio::spawn(listen::accept(listener, listening.clone(), slots.clone(), stage.clone(), alive.clone()));
                }
                Err(error) => tracing::error!(%error, "cannot wait for connections"),
            }
        }
        drop(alive);
        if let Some((certificates, interval)) = certificates {
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(interval).await;
                    certificates.check();
                }
            });
        }
        listen::draining(&mut stage).await;
        listen::end_live_answers();
        tokio::select! {
            _ = all_gone.recv() => {}
            () = tokio::time::sleep(listening.limits.drain_time_max) => tracing::warn!("connections did not end in time; they are closed"),
            () = async { while stage.changed().await.is_ok() {} } => {}
        }
    };
    let work = move || {
        listen::become_worker(worker);
        let listeners = match prepare() {
            Ok(listeners) => {
                let _ = ready.send(Ok(()));
                listeners
            }
            Err(error) => return drop(ready.send(Err(error))),
        };
        runtime.block_on(serve(listeners));
        drop(runtime);
        drop(done);
    };
    thread::Builder::new().name(name).spawn(work).map_err(Error::Thread)?;
    is_ready.recv().unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into())).map_err(Error::Thread)
}

/// Starts the thread of HTTP/3.
fn spawn_quic(
    sockets: Vec<std::net::UdpSocket>,
    certificates: &Arc<Certificates>,
    listening: &Arc<Listening<Public>>,
    stage: &watch::Receiver<Stage>,
    done: &mpsc::Sender<()>,
) -> Result<(), Error> {
    let runtime = OneThread::new(&listening.limits)?;
    let (mut stage, done, listening, certificates) = (stage.clone(), done.clone(), listening.clone(), certificates.clone());
    let drain_time_max = listening.limits.drain_time_max;
    let serve = async move {
        let (alive, mut all_gone) = mpsc::channel::<()>(1);
        for socket in sockets {
            tokio::spawn(listen::http3::serve(socket, certificates.clone(), listening.clone(), stage.clone(), alive.clone()));
        }
        drop((alive, listening, certificates));
        listen::draining(&mut stage).await;
        listen::end_live_answers();
        tokio::select! {
            _ = all_gone.recv() => {}
            () = tokio::time::sleep(drain_time_max) => tracing::warn!("HTTP/3 connections did not end in time; they are closed"),
            () = async { while stage.changed().await.is_ok() {} } => {}
        }
    };
    let work = move || {
        runtime.block_on(serve);
        drop(runtime);
        drop(done);
    };
    thread::Builder::new().name("public-h3".into()).spawn(work).map_err(Error::Thread)?;
    Ok(())
}

impl Handle {
    /// Takes what may change without a restart (token, public URL, promised lifetimes, certificate files, contact prefixes); for all else see
    /// [`Options::differs_for_good`]. An error leaves everything as it was.
    pub fn reconfigure(&self, options: &Options) -> Result<(), Error> {
        let old = &self.started_with;
        // Bound where it was bound, whatever the new options say: the rule about tokens is for where it is.
        self.settings.check(&Options { admin: old.admin, ..options.clone() })?;
        if let (Some(certificates), Some(files)) = (&self.certificates, &options.tls) {
            certificates.reload(Some(files.clone()))?;
        }
        self.settings.set(&Options { admin: old.admin, ..options.clone() })?;
        self.transports.webhooks.set_policy(webhook::Policy::of(options, &old.public));
        Ok(())
    }

    /// Reads the certificate files now. An error leaves the old certificate in place.
    pub fn reload_certificate(&self) -> Result<(), Error> {
        self.certificates.as_ref().map_or(Ok(()), |certificates| certificates.reload(None))
    }
}
