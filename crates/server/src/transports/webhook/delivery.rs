//! One notification over one connection: HTTP/1.1, a request and the status of its answer (RFC 9112).
//!
//! A connection is kept for the next notification to the same contact. Redirects are an answer like any other that is not 2xx: nothing is ever sent
//! to where they lead. The status is the answer; what else it says is read to its end and thrown away, within bounds, so that the connection can be
//! used again.
use super::core::{Delivery, Outcome};
use crate::{Error, Limits, Options};
use alto::updates::webhook::{ContactAddress, NOTIFICATION_PATH};
use http::StatusCode;
use rustls::pki_types::{
    CertificateDer, ServerName,
    pem::{self, PemObject},
};
use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Bytes of the head of an answer. 8 KiB: what is common is a tenth of that.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// Fields of the head of an answer.
const HEAD_FIELDS_MAX: usize = 64;
/// Bytes of an answer's body that are read so that the connection can be kept. 64 KiB: an error page.
const BODY_BYTES_MAX: u64 = 64 << 10;
/// Bytes in a second below which a subscriber takes a notification too slowly.
const SLOWEST_BYTES: f64 = 100_000.0;

/// What `https` contacts are checked with; `None`: nothing was configured.
pub(crate) fn trusted(options: &Options) -> Result<Option<Arc<rustls::ClientConfig>>, Error> {
    let Some(path) = &options.contact_ca else { return Ok(None) };
    let wrong = |why: String| Error::Tls { path: path.clone(), why };
    let unreadable = |error| match error {
        pem::Error::Io(source) => Error::TlsFile { path: path.clone(), source },
        error => wrong(error.to_string()),
    };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
        roots.add(certificate.map_err(unreadable)?).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("there is no certificate in it (PEM, -----BEGIN CERTIFICATE-----)".into()));
    }
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for both versions of TLS")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(Arc::new(config)))
}

/// An open connection to a contact.
pub(super) struct Link {
    stream: Stream,
    /// Read and not used yet.
    buffer: Vec<u8>,
    /// Something went over it before.
    used: bool,
    pub(super) idle_since: Instant,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What became of a delivery, and of its connection.
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    /// It can be used again.
    pub(super) link: Option<Link>,
    /// For the log.
    pub(super) why: Option<String>,
}

impl Link {
    async fn open(contact: &ContactAddress, tls: Option<&Arc<rustls::ClientConfig>>) -> io::Result<Self> {
        let tcp = TcpStream::connect(SocketAddr::new(contact.address, contact.port)).await?;
        tcp.set_nodelay(true)?;
        let stream = if contact.tls {
            let config = tls.ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "no certificates are trusted"))?;
            let name = ServerName::IpAddress(contact.address.into());
            Stream::Tls(Box::new(TlsConnector::from(config.clone()).connect(name, tcp).await?))
        } else {
            Stream::Plain(tcp)
        };
        Ok(Self { stream, buffer: Vec::new(), used: false, idle_since: Instant::now() })
    }

    /// Whether the other end still waits for us, as far as is known here: nothing came, not even an end.
    pub(super) fn is_open(&mut self) -> bool {
        let (mut byte, mut context) = ([0], Context::from_waker(Waker::noop()));
        self.buffer.is_empty() && Pin::new(&mut self.stream).poll_read(&mut context, &mut ReadBuf::new(&mut byte)).is_pending()
    }
}

/// Delivers over `link`, or over a new connection. `slow` is asked once, when it takes longer than most: whether it may go on.
pub(super) async fn deliver(
    delivery: &Delivery,
    link: Option<Link>,
    tls: Option<&Arc<rustls::ClientConfig>>,
    limits: &Limits,
    slow: impl FnOnce() -> bool,
) -> Ended {
    let bytes = delivery.before.len() + delivery.data.len() + delivery.after.len();
    let time_max = limits.notification_time_max + Duration::from_secs_f64(bytes as f64 / SLOWEST_BYTES);
    let begin = Instant::now();
    let mut exchange = pin!(exchange(delivery, link, tls));
    let patience = limits.notification_patience.min(time_max);
    let late = |why: &str| Ended { outcome: Outcome::Unreachable, link: None, why: Some(why.into()) };
    match timeout(patience, &mut exchange).await {
        Ok(answered) => answered.end(begin + patience).await,
        Err(_) if !slow() => late("it takes its time, as too many others do"),
        Err(_) => match timeout_at(begin + time_max, exchange).await {
            Ok(answered) => answered.end(Instant::now() + patience).await,
            Err(_) => late("it took too long"),
        },
    }
}

/// What is known as soon as the head of the answer is there, or when there will be none.
struct Answered {
    outcome: Outcome,
    /// A connection that can be used again when the body has been read.
    rest: Option<(Link, Body)>,
    why: Option<String>,
}

impl Answered {
    /// Waits for the rest of the answer, which changes nothing of what it says.
    async fn end(self, until: Instant) -> Ended {
        let Self { outcome, rest, why } = self;
        let mut link = None;
        if let Some((mut open, body)) = rest
            && matches!(timeout_at(until, open.pass_body(body)).await, Ok(Ok(())))
        {
            open.idle_since = Instant::now();
            link = Some(open);
        }
        Ended { outcome, link, why }
    }
}

async fn exchange(delivery: &Delivery, link: Option<Link>, tls: Option<&Arc<rustls::ClientConfig>>) -> Answered {
    let failed = |outcome, error: io::Error| Answered { outcome, rest: None, why: Some(error.to_string()) };
    let mut link = match link {
        Some(link) => link,
        None => match Link::open(&delivery.address, tls).await {
            Ok(link) => link,
            Err(error) => return failed(Outcome::Unreachable, error),
        },
    };
    let kept = std::mem::replace(&mut link.used, true);
    let answered = async {
        link.send(delivery).await?;
        link.answer().await
    };
    match answered.await {
        Ok(answer) => {
            let outcome = match answer.status {
                status if status.is_success() => Outcome::Acknowledged,
                StatusCode::NOT_FOUND | StatusCode::GONE => Outcome::Unknown,
                _ => Outcome::Refused(answer.retry_after),
            };
            let why = (outcome != Outcome::Acknowledged).then(|| format!("the subscriber answers {}", answer.status));
            Answered { outcome, rest: answer.keep.then_some((link, answer.body)), why }
        }
        // It may have been closed while nobody looked: that says nothing of the contact.
        Err(error) if kept && link.buffer.is_empty() && is_closed(&error) => failed(Outcome::Lost, error),
        Err(error) => failed(Outcome::Unreachable, error),
    }
}

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof)
}

/// The head of an answer.
struct AnswerHead {
    status: StatusCode,
    retry_after: Option<Duration>,
    keep: bool,
    body: Body,
}

/// How long a body is (RFC 9112 section 6.3).
enum Body {
    Length(u64),
    Chunked,
}

impl Link {
    async fn send(&mut self, delivery: &Delivery) -> io::Result<()> {
        let length = delivery.before.len() + delivery.data.len() + delivery.after.len();
        let host = SocketAddr::new(delivery.address.address, delivery.address.port);
        let head = format!(
            "POST {NOTIFICATION_PATH} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {}\r\nContent-Length: {length}\r\nAccept: {}\r\nUser-Agent: altocast/{}\r\n\r\n",
            alto::media_type::NOTIFICATION_DATA,
            alto::media_type::ERROR,
            env!("CARGO_PKG_VERSION"),
        );
        let mut slices = [head.as_bytes(), &delivery.before, &delivery.data, delivery.after.as_bytes()].map(IoSlice::new);
        let mut slices = &mut slices[..];
        // Empty ones at the front would look like an end.
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            let written = self.stream.write_vectored(slices).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            IoSlice::advance_slices(&mut slices, written);
        }
        self.stream.flush().await
    }

    async fn fill(&mut self) -> io::Result<()> {
        self.buffer.reserve(512);
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// The head of the answer, after those of informational ones.
    async fn answer(&mut self) -> io::Result<AnswerHead> {
        self.buffer.clear();
        loop {
            self.fill().await?;
            while let Some((length, head)) = parse(&self.buffer)? {
                self.buffer.drain(..length);
                if !head.status.is_informational() {
                    return Ok(head);
                }
            }
            if self.buffer.len() > HEAD_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the head of the answer is too long"));
            }
        }
    }

    /// Reads a body to its end.
    async fn pass_body(&mut self, body: Body) -> io::Result<()> {
        let mut left = BODY_BYTES_MAX;
        match body {
            Body::Length(length) => self.pass(length, &mut left).await,
            Body::Chunked => loop {
                let (line, size) = loop {
                    match httparse::parse_chunk_size(&self.buffer) {
                        Ok(httparse::Status::Complete(found)) => break found,
                        Ok(httparse::Status::Partial) if self.buffer.len() <= HEAD_BYTES_MAX => self.fill().await?,
                        Ok(httparse::Status::Partial) | Err(_) => return Err(io::ErrorKind::InvalidData.into()),
                    }
                };
                self.buffer.drain(..line);
                // Its line end too; after the last, without trailers, that is the end.
                self.pass(size.saturating_add(2), &mut left).await?;
                if size == 0 {
                    return Ok(());
                }
            },
        }
    }

    async fn pass(&mut self, mut length: u64, left: &mut u64) -> io::Result<()> {
        *left = left.checked_sub(length).ok_or(io::ErrorKind::InvalidData)?;
        while length > 0 {
            if self.buffer.is_empty() {
                self.fill().await?;
            }
            let part = self.buffer.len().min(length as usize);
            self.buffer.drain(..part);
            length -= part as u64;
        }
        Ok(())
    }
}

/// The head at the front, and its bytes. `None`: it is not whole.
fn parse(bytes: &[u8]) -> io::Result<Option<(usize, AnswerHead)>> {
    let wrong = |why: &'static str| io::Error::new(io::ErrorKind::InvalidData, why);
    let mut fields = [httparse::EMPTY_HEADER; HEAD_FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let length = match response.parse(bytes).map_err(|_| wrong("the answer is not HTTP/1.1"))? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return Ok(None),
    };
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or_else(|| wrong("the answer has no status"))?;
    let fields = |name: &'static str| {
        let of_name = response.headers.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
        of_name.filter_map(|field| std::str::from_utf8(field.value).ok()).map(str::trim)
    };
    let says = |name, token: &str| fields(name).flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(token));
    let mut keep = response.version == Some(1) && !says("connection", "close");
    let body = if status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        Body::Length(0)
    } else if fields("transfer-encoding").next().is_some() {
        keep &= fields("transfer-encoding").eq(["chunked"]) && fields("content-length").next().is_none();
        Body::Chunked
    } else {
        let length = fields("content-length").next().and_then(|length| length.parse().ok());
        // Without one it goes on to the end of the connection.
        keep &= length.is_some() && fields("content-length").count() == 1;
        Body::Length(length.unwrap_or(0))
    };
    let retry_after = fields("retry-after").next().and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
    Ok(Some((length, AnswerHead { status, retry_after, keep, body })))
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let kept = |text: &str| {
            let (_, head) = parse(text.as_bytes()).unwrap().unwrap();
            let length = if let Body::Length(length) = head.body { Some(length) } else { None };
            (head.status.as_u16(), head.keep, length)
        };
        for (text, want) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", (200, true, Some(3))),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: Close\r\n\r\n", (200, false, Some(3))),
            ("HTTP/1.1 204 No Content\r\n\r\n", (204, true, Some(0))),
            ("HTTP/1.1 200 OK\r\n\r\n", (200, false, Some(0))),
            ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", (200, false, Some(0))),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", (200, true, None)),
            // RFC 9112 section 6.1: both, or another coding, are a reason to close.
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n", (200, false, None)),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", (200, false, None)),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 1\r\n\r\n", (200, false, Some(0))),
            ("HTTP/1.1 307 Temporary Redirect\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n", (307, true, Some(0))),
        ] {
            assert_eq!(kept(text), want, "{text}");
        }
        for text in ["", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"] {
            assert!(parse(text.as_bytes()).unwrap().is_none(), "{text}");
        }
        for text in ["SSH-2.0-OpenSSH_9.6\r\n", "HTTP/2 200\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n"] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        let (_, head) = parse(b"HTTP/1.1 503 x\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n").unwrap().unwrap();
        assert_eq!(head.retry_after, Some(Duration::from_secs(7)));
    }
}
