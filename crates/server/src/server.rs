//! The server as a whole.
use crate::{Error, Options, SourceReport};
use history::Publisher;
use std::{future::Future, net::SocketAddr, sync::Arc};

/// Listeners that are bound and wait to be served.
pub struct Server {}

/// What can be done to a server that runs.
#[derive(Clone)]
pub struct Handle {}

impl Server {
    /// Takes the addresses, so that they are known and nothing else can have them; accepts nothing yet.
    pub fn bind(_options: Options, _publisher: Arc<Publisher>, _sources: Arc<dyn SourceReport>) -> Result<Self, Error> {
        todo!()
    }

    /// Where the public listener is, with the ports the system chose.
    pub fn public_addresses(&self) -> &[SocketAddr] {
        todo!()
    }

    /// Where the admin listener is.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        todo!()
    }

    /// For what may change while it runs.
    pub fn handle(&self) -> Handle {
        todo!()
    }

    /// Serves until `shutdown` completes, then finishes what is in flight within `limits.drain_time_max`.
    pub async fn run(self, _shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        todo!()
    }
}

impl Handle {
    /// Takes what may change without a restart (token, public URL, certificate files) and names what may not but did.
    pub fn reconfigure(&self, _options: &Options) -> Result<Vec<&'static str>, Error> {
        todo!()
    }

    /// Reads the certificate files now. An error leaves the old certificate in place.
    pub fn reload_certificate(&self) -> Result<(), Error> {
        todo!()
    }
}
