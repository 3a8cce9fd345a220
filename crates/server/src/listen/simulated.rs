//! Connections that come from somewhere else than a socket: a simulated network.
use super::{ConnectionId, Handler, Held, Listening, Peer, Stage, http1, http2, io::Io};
use crate::admin::Protocol;
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, watch},
};

/// Serves a connection without TLS as if it had been accepted, if there is room for one.
pub(crate) fn accept<S, H>(
    stream: S,
    address: SocketAddr,
    listening: &Arc<Listening<H>>,
    stage: &watch::Receiver<Stage>,
    alive: &mpsc::Sender<()>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let mut slots = Vec::new();
    for _ in 0..2 {
        let Ok(slot) = listening.slots.clone().try_acquire_owned() else { return };
        slots.push(slot);
    }
    let slots = slots.try_into().expect("there are two");
    let held = Held { _slots: slots, _alive: alive.clone() };
    let (listening, stage) = (listening.clone(), stage.clone());
    tokio::spawn(async move {
        let connection = ConnectionId::next();
        let peer = |protocol| Peer { address, local: address, secure: false, protocol, connection, push: false };
        let mut io = Io::new(stream);
        match tokio::time::timeout(listening.limits.header_time_max, io.sniff()).await {
            Ok(Ok(Some(Protocol::Http1))) => http1::serve(io, peer(Protocol::Http1), &listening, stage, held).await,
            Ok(Ok(Some(protocol))) => http2::serve(io, peer(protocol), &listening, stage).await,
            Ok(Ok(None) | Err(_)) | Err(_) => {}
        }
    });
}
