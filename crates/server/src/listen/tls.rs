//! TLS by rustls, the certificate read from files and read again when they change.
//!
//! Invariant: there is always a certificate to serve; files that cannot be used leave the one before in place.
use crate::{Error, TlsFiles};
use ::ring::{hkdf, hmac};
use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

/// The certificate in use.
pub(crate) struct Certificates {
    state: Mutex<State>,
    current: ArcSwap<CertifiedKey>,
    /// Made of its private key, so that it is the same after a restart.
    reset_key: ArcSwap<hmac::Key>,
    /// Why the files as they are now are not in use.
    trouble: ArcSwapOption<String>,
}

struct State {
    files: TlsFiles,
    /// What the files looked like when they were last read, whether they could be used or not.
    seen: Option<Stamp>,
}

/// Length and time of change of both files: when neither differs they were not written.
#[derive(PartialEq, Eq, Clone)]
struct Stamp([Option<(u64, SystemTime)>; 2]);

impl Stamp {
    fn of(files: &TlsFiles) -> Self {
        let of = |path: &Path| fs::metadata(path).and_then(|data| Ok((data.len(), data.modified()?))).ok();
        Self([of(&files.certificate), of(&files.key)])
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificates")
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

impl Certificates {
    pub(crate) fn load(files: TlsFiles) -> Result<Arc<Self>, Error> {
        let seen = Some(Stamp::of(&files));
        let (current, reset_key) = read(&files)?;
        Ok(Arc::new(Self {
            state: Mutex::new(State { files, seen }),
            current: ArcSwap::from_pointee(current),
            reset_key: ArcSwap::from_pointee(reset_key),
            trouble: ArcSwapOption::empty(),
        }))
    }

    /// The certificate, and ALPN for both protocols.
    pub(crate) fn acceptor(self: &Arc<Self>) -> tokio_rustls::TlsAcceptor {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the suites of TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        if let Ok(ticketer) = ring::Ticketer::new() {
            config.ticketer = ticketer;
        }
        Arc::new(config).into()
    }

    /// The same for QUIC, which is TLS 1.3 (RFC 9001). Nothing is answered in 0-RTT: what was sent there may be sent again by others.
    pub(crate) fn for_quic(self: &Arc<Self>) -> ServerConfig {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("ring has the suites of TLS 1.3")
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"h3".to_vec()];
        if let Ok(ticketer) = ring::Ticketer::new() {
            config.ticketer = ticketer;
        }
        config
    }

    /// Looks at the files, reads them if they changed.
    pub(crate) fn check(&self) {
        let changed = {
            let state = self.lock();
            state.seen.as_ref() != Some(&Stamp::of(&state.files))
        };
        if changed {
            // Reported by `reload`; what was served goes on.
            let _ = self.reload(None);
        }
    }

    /// Reads the files, other ones from now on if given.
    pub(crate) fn reload(&self, files: Option<TlsFiles>) -> Result<(), Error> {
        let mut state = self.lock();
        let files = files.unwrap_or_else(|| state.files.clone());
        // Stamped before they are read: a change meanwhile is seen at the next look.
        let seen = Stamp::of(&files);
        let result = read(&files);
        state.seen = Some(seen);
        match result {
            Ok((key, reset_key)) => {
                state.files = files;
                self.current.store(Arc::new(key));
                self.reset_key.store(Arc::new(reset_key));
                self.trouble.store(None);
                tracing::info!("TLS certificate read again");
                Ok(())
            }
            Err(error) => {
                let why = crate::error::chain(&error);
                tracing::error!("{why}; the certificate before stays in use");
                self.trouble.store(Some(Arc::new(why)));
                Err(error)
            }
        }
    }

    /// For stateless resets of QUIC, as long as the private key is what it is.
    pub(crate) fn reset_key(&self) -> Arc<hmac::Key> {
        self.reset_key.load_full()
    }

    pub(crate) fn trouble(&self) -> Option<Arc<String>> {
        self.trouble.load_full()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(files: &TlsFiles) -> Result<(CertifiedKey, hmac::Key), Error> {
    let fault = |path: &Path, why: String| Error::Tls { path: path.to_owned(), why };
    let certificate = text(&files.certificate)?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&certificate)
        .collect::<Result<_, _>>()
        .map_err(|error| fault(&files.certificate, format!("not PEM: {error}")))?;
    if chain.is_empty() {
        return Err(fault(&files.certificate, "there is no certificate in it".into()));
    }
    let key = PrivateKeyDer::from_pem_slice(&text(&files.key)?).map_err(|error| {
        let why = match error {
            pem::Error::NoItemsFound => "there is no private key in it".into(),
            error => format!("not PEM: {error}"),
        };
        fault(&files.key, why)
    })?;
    let reset_key = reset_key(&key);
    // Also says when key and certificate do not belong together, as while one of them is being replaced.
    let certified = CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| {
        let path = match error {
            rustls::Error::InvalidCertificate(_) => &files.certificate,
            _ => &files.key,
        };
        fault(path, error.to_string())
    })?;
    Ok((certified, reset_key))
}

/// By HKDF (RFC 5869): it tells nothing of the private key.
fn reset_key(key: &PrivateKeyDer<'_>) -> hmac::Key {
    let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, b"altocast").extract(key.secret_der());
    secret.expand(&[b"QUIC stateless reset"], hmac::HMAC_SHA256).expect("it is as long as one HMAC").into()
}

fn text(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::TlsFile { path: path.to_owned(), source })
}
