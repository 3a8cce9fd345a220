//! TLS for `https` URIs: rustls, with the roots of the web or those of one file; never the system's, so that one binary behaves alike everywhere.
use crate::{error::Error, options::Protocol};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::{io, path::Path, sync::Arc};

/// What a connection needs to know. Errors: `Certificates`.
pub(crate) fn config(ca_file: Option<&Path>, protocol: Protocol) -> Result<Arc<ClientConfig>, Error> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let wrong = |why: String| Error::Certificates { path: path.to_owned(), why };
            let certificates = CertificateDer::pem_file_iter(path).map_err(|error| wrong(words(&error)))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| wrong(words(&error)))?;
                roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(wrong("there is no certificate in it (PEM, -----BEGIN CERTIFICATE-----)".into()));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for both versions of TLS")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = match protocol {
        Protocol::Auto => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        Protocol::Http1 => vec![b"http/1.1".to_vec()],
        Protocol::Http2 => vec![b"h2".to_vec()],
        Protocol::Http3 => vec![b"h3".to_vec()],
    };
    Ok(Arc::new(config))
}

/// A server that is killed cannot end its sessions: rustls tells programmers what that may mean, people need less.
pub(crate) fn said(read: io::Result<usize>) -> io::Result<()> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(io::Error::new(error.kind(), "the server went away without ending the TLS session"))
        }
        read => read.map(drop),
    }
}

/// The operating system's words for a file that cannot be opened, not the debug form of its error.
fn words(error: &rustls::pki_types::pem::Error) -> String {
    match error {
        rustls::pki_types::pem::Error::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}
