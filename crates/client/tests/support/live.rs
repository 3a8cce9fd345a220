//! A server whose answers a test gives one by one, as requests come: whole, held back, piece by piece, or by WebSocket.
#![allow(dead_code, reason = "each test file uses its part")]
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{convert::Infallible, net::SocketAddr, time::Duration};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    time::timeout,
};

pub const PATIENCE: Duration = Duration::from_secs(20);

type Body = BoxBody<Bytes, Infallible>;

/// A request that waits for its answer.
pub struct Asked {
    pub line: String,
    pub headers: HeaderMap,
    pub body: serde_json::Value,
    answer: oneshot::Sender<Response<Body>>,
}

impl Asked {
    pub fn answer(self, status: u16, content_type: &str, body: &str) {
        self.answer_with(status, content_type, &[], body);
    }

    pub fn answer_with(self, status: u16, content_type: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) {
        let mut response = Response::builder().status(status).header("content-type", content_type);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        let body = http_body_util::Full::new(Bytes::from(body.into())).boxed();
        // A client that went away is the test's matter.
        let _ = self.answer.send(response.body(body).unwrap());
    }

    /// Begins an answer that goes on until the sender is dropped.
    pub fn stream(self, content_type: &str) -> mpsc::UnboundedSender<Bytes> {
        let (sender, mut pieces) = mpsc::unbounded_channel();
        let stream = futures_util::stream::poll_fn(move |context| {
            pieces.poll_recv(context).map(|piece| piece.map(|bytes| Ok::<_, Infallible>(Frame::data(bytes))))
        });
        let body = BodyExt::boxed(StreamBody::new(stream));
        let _ = self.answer.send(Response::builder().header("content-type", content_type).body(body).unwrap());
        sender
    }
}

pub struct Live {
    pub address: SocketAddr,
    asked: mpsc::UnboundedReceiver<Asked>,
    /// Answered at `GET /`, whenever it is asked.
    directory: std::sync::Arc<std::sync::Mutex<Listed>>,
}

/// What the directory is asked for and answers.
#[derive(Clone)]
enum Listed {
    Resources(String),
    /// 503 with `Retry-After`
    Later(u64),
}

impl Live {
    /// Answers `/` with a directory and hands everything else to the test.
    pub async fn start(directory: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, asked) = mpsc::unbounded_channel();
        let directory = std::sync::Arc::new(std::sync::Mutex::new(Listed::Resources(directory.to_owned())));
        let listed = directory.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (sender, listed) = (sender.clone(), listed.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (sender, listed) = (sender.clone(), listed.clone());
                    async move {
                        let (parts, body) = request.into_parts();
                        if parts.uri.path() == "/" {
                            let response = Response::builder().header("content-type", "application/alto-directory+json");
                            let (response, body) = match listed.lock().unwrap().clone() {
                                Listed::Resources(directory) => (response, directory),
                                Listed::Later(seconds) => (response.status(503).header("retry-after", seconds), String::new()),
                            };
                            let body = http_body_util::Full::new(Bytes::from(body)).boxed();
                            return Ok::<_, Infallible>(response.body(body).unwrap());
                        }
                        let body = body.collect().await.unwrap().to_bytes();
                        let (answer, answered) = oneshot::channel();
                        let asked = Asked {
                            line: format!("{} {}", parts.method, parts.uri.path()),
                            headers: parts.headers,
                            body: serde_json::from_slice(&body).unwrap_or_default(),
                            answer,
                        };
                        let _ = sender.send(asked);
                        // Never answered: the test let it go, so it stays open.
                        Ok(match answered.await {
                            Ok(response) => response,
                            Err(_) => std::future::pending().await,
                        })
                    }
                });
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tcp), service));
            }
        });
        Self { address, asked, directory }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn list(&self, directory: &str) {
        *self.directory.lock().unwrap() = Listed::Resources(directory.to_owned());
    }

    /// The directory cannot be read for so long.
    pub fn list_later(&self, seconds: u64) {
        *self.directory.lock().unwrap() = Listed::Later(seconds);
    }

    /// The next request.
    pub async fn next(&mut self, what: &str) -> Asked {
        timeout(PATIENCE, self.asked.recv()).await.unwrap_or_else(|_| panic!("no {what}")).unwrap()
    }

    /// The next request, which must be this one.
    pub async fn expect(&mut self, line: &str) -> Asked {
        let asked = self.next(line).await;
        assert_eq!(asked.line, line, "{}", asked.body);
        asked
    }
}
