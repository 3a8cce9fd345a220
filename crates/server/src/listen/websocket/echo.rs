//! A server that says what it hears, over the framing that every WebSocket of ours uses: what conformance suites (Autobahn) talk to.
use crate::{
    Error, Limits,
    listen::{
        self, Answer, Handler, Listening, Peer, Refusal, Reply, Stage, Step,
        budget::Budget,
        live::{Heard, Live, Say, Socket, WebSocketHandshake},
    },
    reply,
};
use http::{StatusCode, request::Parts};
use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc, watch},
};

/// Echoes on every path of an address, over HTTP/1.1 and HTTP/2, until the future is dropped. Not part of the server.
#[doc(hidden)]
pub async fn serve_websocket_echo(listener: std::net::TcpListener, limits: Limits) -> Result<(), Error> {
    listener.set_nonblocking(true).map_err(Error::Thread)?;
    let listener = TcpListener::from_std(listener).map_err(Error::Thread)?;
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    let listening = Arc::new(Listening {
        handler: Arc::new(Echo),
        slots: slots.clone(),
        budget: Budget::new(limits.client_bytes_max),
        limits,
        tls: None,
        http2: true,
        metrics: None,
    });
    let (_running, stage) = watch::channel(Stage::Running);
    let (alive, _ended) = mpsc::channel(1);
    listen::accept(listener, listening, slots, stage, alive).await;
    Ok(())
}

struct Echo;

impl Handler for Echo {
    fn head(self: &Arc<Self>, head: &Parts, _: &Peer) -> Step {
        if head.extensions.get::<WebSocketHandshake>().is_none() {
            return reply::refusal(StatusCode::UPGRADE_REQUIRED, "this is for WebSocket clients").into();
        }
        Step::Answer(Answer::Live(Box::pin(async { Ok(Live::Socket { subprotocol: None, socket: Box::new(Repeat::default()) }) })))
    }

    fn refuse(self: &Arc<Self>, _: &Parts, _: &Peer, refusal: Refusal) -> Reply {
        reply::unread(refusal)
    }
}

/// What was heard and has still to be said: one message, because nothing more is heard until it is said.
#[derive(Default)]
struct Repeat(VecDeque<Say>);

impl Socket for Repeat {
    fn poll_say(&mut self, _: &mut Context<'_>) -> Poll<Say> {
        // Hearing is followed by this, so there is nothing to be woken for.
        self.0.pop_front().map_or(Poll::Pending, Poll::Ready)
    }

    fn hear(&mut self, heard: Heard) -> Result<(), (u16, &'static str)> {
        self.0.push_back(match heard {
            Heard::Text(text) => Say::Text(text.into()),
            Heard::Binary(bytes) => Say::Binary(bytes),
        });
        Ok(())
    }
}
