//! A server that answers what a test tells it to, over HTTP/1.1, HTTP/2 and TLS.
use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Arrived {
    pub method: String,
    pub path: String,
    pub version: Version,
    pub headers: http::HeaderMap,
    pub body: Bytes,
}

impl Arrived {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub struct Server {
    pub address: SocketAddr,
    pub requests: Arc<Mutex<Vec<Arrived>>>,
}

pub type Reply = Response<Full<Bytes>>;

pub fn reply(status: u16, content_type: &str, body: impl Into<Bytes>) -> Reply {
    Response::builder().status(status).header("content-type", content_type).body(Full::new(body.into())).unwrap()
}

impl Server {
    /// Plain TCP; HTTP/2 when the client starts with its preface is decided by `http2`.
    pub async fn start(http2: bool, answer: impl Fn(&Arrived) -> Reply + Send + Sync + 'static) -> Self {
        Self::run(http2, None, answer).await
    }

    /// TLS; ALPN decides.
    pub async fn start_tls(tls: rustls::ServerConfig, answer: impl Fn(&Arrived) -> Reply + Send + Sync + 'static) -> Self {
        Self::run(false, Some(TlsAcceptor::from(Arc::new(tls))), answer).await
    }

    async fn run(http2: bool, tls: Option<TlsAcceptor>, answer: impl Fn(&Arrived) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (answer, seen) = (Arc::new(answer), requests.clone());
        tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let (answer, seen, tls) = (answer.clone(), seen.clone(), tls.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (answer, seen) = (answer.clone(), seen.clone());
                    async move {
                        let (parts, body) = request.into_parts();
                        let arrived = Arrived {
                            method: parts.method.to_string(),
                            path: parts.uri.path_and_query().unwrap().to_string(),
                            version: parts.version,
                            headers: parts.headers,
                            body: body.collect().await.unwrap().to_bytes(),
                        };
                        let reply = answer(&arrived);
                        seen.lock().unwrap().push(arrived);
                        Ok::<_, Infallible>(reply)
                    }
                });
                tokio::spawn(async move {
                    // What ends a connection is the client's matter here.
                    let http1 = hyper::server::conn::http1::Builder::new();
                    let http2_builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    match tls {
                        Some(tls) => {
                            let Ok(stream) = tls.accept(tcp).await else { return };
                            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                                let _ = http2_builder.serve_connection(TokioIo::new(stream), service).await;
                            } else {
                                let _ = http1.serve_connection(TokioIo::new(stream), service).await;
                            }
                        }
                        None if http2 => drop(http2_builder.serve_connection(TokioIo::new(tcp), service).await),
                        None => drop(http1.serve_connection(TokioIo::new(tcp), service).await),
                    }
                });
            }
        });
        Self { address, requests }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn paths(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(|one| format!("{} {}", one.method, one.path)).collect()
    }
}
