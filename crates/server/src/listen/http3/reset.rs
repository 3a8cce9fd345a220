//! Stateless resets (RFC 9000 section 10.3): clients of a server that was killed learn of that from the one after it.
//!
//! The token that ends a connection is made of its id by a key which comes from the private key of the certificate: it needs no file, and
//! survives restarts and the loss of the data folder. The address goes into it, so that servers which share a certificate cannot be made to
//! end each other's connections (section 21.11). When the private key is replaced, tokens of new ids are made by the new one. Invariant: no id
//! is used twice, not even after a restart, for its token is then known to others.
use crate::listen::tls::Certificates;
use quinn::{
    ConnectionId, ConnectionIdGenerator, EndpointConfig,
    crypto::{CryptoError, HmacKey},
};
use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// Bytes of an id. 16: by chance no two are the same.
const ID_BYTES: usize = 16;
/// Between two resets. 1 ms: thousands of clients are told within their patience, and strangers who are answered too cost no more than that.
const INTERVAL_MIN: Duration = Duration::from_millis(1);

/// Of the endpoint at an address.
pub(super) fn endpoint_config(certificates: Arc<Certificates>, local: SocketAddr) -> EndpointConfig {
    let mut config = EndpointConfig::new(Arc::new(Tokens { certificates, local: local.to_string() }));
    config.cid_generator(|| Box::new(Ids)).min_reset_interval(INTERVAL_MIN);
    config
}

/// Makes the token of an id.
struct Tokens {
    certificates: Arc<Certificates>,
    local: String,
}

impl Tokens {
    /// What is signed. No address has a line break.
    fn content(&self, id: &[u8]) -> Vec<u8> {
        [self.local.as_bytes(), b"\n", id].concat()
    }
}

impl HmacKey for Tokens {
    fn sign(&self, id: &[u8], token: &mut [u8]) {
        token.copy_from_slice(hmac::sign(&self.certificates.reset_key(), &self.content(id)).as_ref());
    }

    fn signature_len(&self) -> usize {
        ring::digest::SHA256_OUTPUT_LEN
    }

    fn verify(&self, id: &[u8], token: &[u8]) -> Result<(), CryptoError> {
        hmac::verify(&self.certificates.reset_key(), &self.content(id), token).map_err(|_| CryptoError)
    }
}

/// Ids that mean nothing.
struct Ids;

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; ID_BYTES];
        SystemRandom::new().fill(&mut id).expect("the system has random numbers");
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}
