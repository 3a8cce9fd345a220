//! The public listener of a server in a simulation: whole, but for its sockets and threads. Runs in the tokio runtime of one thread, whose clock
//! may be paused.
use crate::{
    Error, Options,
    access::Settings,
    admin::Metrics,
    listen::{self, Listening, Stage, budget::Budget, simulated},
    services::Public,
    transports::{Transports, webhook},
    view::Views,
};
use history::Publisher;
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Semaphore, mpsc, watch},
};

/// One life of a server. When it is dropped nothing more is accepted; who holds the other ends of its connections ends them.
pub struct Server {
    listening: Arc<Listening<Public>>,
    budget: Arc<Budget>,
    stage: watch::Sender<Stage>,
    alive: mpsc::Sender<()>,
}

/// What a server holds for its clients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Those counted as kept up to date, over all transports.
    pub clients: usize,
    /// Update streams that could be controlled.
    pub streams: usize,
    /// Transport queues.
    pub queues: usize,
    /// Views held for TIPS clients.
    pub views: usize,
    /// Who waits for news of a view.
    pub ears: usize,
    /// Bytes of requests and answers.
    pub bytes: usize,
    /// Connections.
    pub connections: usize,
}

impl Server {
    /// In front of `publisher`. Errors: as [`crate::Server::bind`].
    pub fn new(options: &Options, publisher: Arc<Publisher>) -> Result<Self, Error> {
        let limits = &options.limits;
        listen::begin_live_answers();
        let settings = Arc::new(Settings::default());
        settings.set(options)?;
        let metrics = Arc::new(Metrics::new(1));
        let views = Views::new(publisher.clone(), settings.clone());
        let webhooks = webhook::Webhooks::new(limits, webhook::Policy::default(), None, 0);
        let transports = Transports::new(publisher, limits, &options.queries, options.websocket_origins.clone(), webhooks);
        let handler = Public::new(views, settings, metrics.clone(), limits.clone(), options.queries.clone(), transports, false);
        let budget = handler.queries.budget.clone();
        let listening = Arc::new(Listening {
            handler: Arc::new(handler),
            limits: limits.clone(),
            tls: None,
            http2: true,
            slots: Arc::new(Semaphore::new(2 * limits.connections_max.max(1))),
            budget: budget.clone(),
            metrics: Some(metrics),
        });
        Ok(Self { listening, budget, stage: watch::channel(Stage::Running).0, alive: mpsc::channel(1).0 })
    }

    /// A client connects.
    pub fn accept(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, address: SocketAddr) {
        simulated::accept(stream, address, &self.listening, &self.stage.subscribe(), &self.alive);
    }

    /// Ends in good order: clients are told.
    pub fn stop(&self) {
        self.listening.handler.transports.shut_down();
        self.stage.send_replace(Stage::Draining);
        listen::end_live_answers();
    }

    /// What it holds now.
    pub fn held(&self) -> Held {
        let transports = &self.listening.handler.transports;
        let free = self.listening.slots.available_permits();
        Held {
            clients: transports.clients.counts().map(|count| count.now).sum(),
            streams: transports.streams.len(),
            queues: transports.queues.len(),
            views: transports.tips.held(),
            ears: transports.bell.ears(),
            bytes: self.budget.bytes(),
            connections: self.listening.limits.connections_max.max(1) - free / 2,
        }
    }

    /// How often a client was refused because there were too many of its kind.
    pub fn refused(&self) -> u64 {
        self.listening.handler.transports.clients.counts().map(|count| count.refused).sum()
    }
}
