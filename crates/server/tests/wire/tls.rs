//! TLS: both protocols by ALPN, certificates read again when their files change.
use crate::{
    http2::{body, run},
    served::{Served, options},
};
use http::Request;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use server::{Error, NoSources, Options, Server, TlsFiles};
use std::{fs, net::SocketAddr, path::Path, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A self-signed certificate in files.
pub fn certificate(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec!["alto.example.com".to_owned()]).unwrap();
    fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}

pub fn files(folder: &Path) -> TlsFiles {
    TlsFiles { check_interval: Duration::from_millis(5), ..TlsFiles::new(folder.join("cert.pem"), folder.join("key.pem")) }
}

pub async fn connect(address: SocketAddr, trusted: &[&CertificateDer<'static>], alpn: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots.add((*certificate).clone()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = versions.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("alto.example.com").unwrap(), stream).await
}

/// The certificate that a new connection is shown.
async fn shown(address: SocketAddr, trusted: &[&CertificateDer<'static>]) -> CertificateDer<'static> {
    let stream = connect(address, trusted, &[]).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

#[test]
fn alpn_selects_the_protocol() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = certificate(folder.path());
    let served = Served::new(Options { tls: Some(files(folder.path())), ..options() });
    run(async {
        for alpn in [&["http/1.1"][..], &[]] {
            let mut stream = connect(served.public, &[&certificate], alpn).await.unwrap();
            stream.write_all(b"GET /directory HTTP/1.1\r\nHost: alto.example.com\r\nConnection: close\r\n\r\n").await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            assert!(text.starts_with("HTTP/1.1 200"), "{text}");
            assert!(text.contains("https://alto.example.com/resources/cost-map"), "{text}");
        }
        let stream = connect(served.public, &[&certificate], &["h2", "http/1.1"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get("https://alto.example.com/directory").body(()).unwrap();
        let response = send.send_request(request, true).unwrap().0.await.unwrap();
        assert_eq!(response.status(), 200);
        let text = String::from_utf8(body(&mut response.into_body()).await.unwrap()).unwrap();
        assert!(text.contains("https://alto.example.com/resources/cost-map"), "{text}");
        // Nothing in common: TLS says so.
        assert!(connect(served.public, &[&certificate], &["spdy/3"]).await.is_err());
        // Not TLS at all.
        let mut stream = TcpStream::connect(served.public).await.unwrap();
        stream.write_all(b"GET /directory HTTP/1.1\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP/"));
    });
}

/// Connections made before go on; new ones get the new certificate.
#[test]
fn new_files_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let old = certificate(folder.path());
    let served = Served::new(Options { tls: Some(files(folder.path())), ..options() });
    run(async {
        let mut before = connect(served.public, &[&old], &[]).await.unwrap();
        let new = certificate(folder.path());
        // The files are looked at every few milliseconds, and both have to be there.
        while shown(served.public, &[&old, &new]).await != new {}
        before.write_all(b"GET /directory HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut text = String::new();
        before.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    });
}

/// Files that cannot be used leave the old certificate in place, and operators are told.
#[test]
fn bad_files_are_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let good = certificate(folder.path());
    let served = Served::new(Options { tls: Some(files(folder.path())), ..options() });
    let other = tempfile::tempdir().unwrap();
    certificate(other.path());
    let keep = |name: &str| fs::read(folder.path().join(name)).unwrap();
    let (cert, key) = (keep("cert.pem"), keep("key.pem"));
    let foreign_key = fs::read(other.path().join("key.pem")).unwrap();
    for (name, content, why) in [
        ("cert.pem", &b"nonsense"[..], "no certificate"),
        ("cert.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cert.pem"),
        ("key.pem", b"nonsense", "no private key"),
        ("key.pem", &foreign_key, "key.pem"),
    ] {
        fs::write(folder.path().join(name), content).unwrap();
        let error = served.handle.reload_certificate().unwrap_err().to_string();
        assert!(error.contains(why), "{name}: {error}");
        assert_eq!(run(shown(served.public, &[&good])), good);
        let status = served.admin("GET /v1/status HTTP/1.1", b"").json();
        assert!(status["troubles"].to_string().contains("TLS"), "{status}");
        fs::write(folder.path().join("cert.pem"), &cert).unwrap();
        fs::write(folder.path().join("key.pem"), &key).unwrap();
        served.handle.reload_certificate().unwrap();
        let status = served.admin("GET /v1/status HTTP/1.1", b"").json();
        assert_eq!(status["troubles"], serde_json::json!([]));
    }
    fs::remove_file(folder.path().join("key.pem")).unwrap();
    assert!(matches!(served.handle.reload_certificate(), Err(Error::TlsFile { .. })));
    assert_eq!(run(shown(served.public, &[&good])), good);
    // At the start there is no old one.
    let bound = Server::bind(Options { tls: Some(files(folder.path())), ..options() }, served.publisher.clone(), Arc::new(NoSources));
    assert!(matches!(bound.map(drop), Err(Error::TlsFile { path, .. }) if path.ends_with("key.pem")));
}
