//! A resource as it is sent: each form with its header fields, made once and shared by every answer.
//!
//! The strong ETag of the identity form is the tag in quotes, that of a coding the tag with `+` and its name (RFC 9110 section
//! 8.8.3.3 wants them to differ). A coding is made when the first client asks for it: in place for small bodies, in a thread
//! of its own for large ones. Dates: see [`crate::modified`]. Clients that want the same coding meanwhile wait for it rather than get the identity form: at the
//! speed of the codings that is a fraction of a second, and the fourfold bytes would take longer on any line that needs a coding.
use crate::{
    compress::{Effort, compress},
    listen::{Answer, Reply},
    modified::{self, Modified},
    negotiate, reply,
};
use alto::expiry::Expires;
use bytes::Bytes;
use history::{Coding, Version};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, EXPIRES, IF_MATCH, IF_MODIFIED_SINCE,
        IF_NONE_MATCH, IF_UNMODIFIED_SINCE, VARY, X_CONTENT_TYPE_OPTIONS,
    },
    request::Parts,
};
use std::{sync::Arc, time::SystemTime};
use tokio::sync::OnceCell;

/// Bodies up to this many bytes are coded where they are asked for. 32 KiB: half a millisecond, and a thread is not worth that.
const IN_PLACE_BYTES_MAX: usize = 32 << 10;

/// What changes an answer besides the URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Varies {
    /// It is sent in its identity form whatever is asked for.
    Nothing,
    Coding,
    CodingAndType,
}

/// Until when a resource holds (RFC 9111 sections 5.2.2.1 and 5.3).
pub(crate) struct Fresh {
    expires: Expires,
    /// Of `Expires`, made once.
    value: HeaderValue,
}

impl Fresh {
    pub(crate) fn until(expires: Expires) -> Self {
        Self { expires, value: modified::date(expires.unix()) }
    }

    pub(crate) fn expires(&self) -> Expires {
        self.expires
    }

    /// Both fields say the same instant; beside it stands `Date`, in whole seconds too.
    fn add(&self, now: u64, headers: &mut HeaderMap) {
        let seconds = self.expires.unix().saturating_sub(now);
        let age = HeaderValue::from_maybe_shared(Bytes::from(format!("max-age={seconds}"))).expect("digits are ASCII");
        headers.insert(CACHE_CONTROL, age);
        headers.insert(EXPIRES, self.value.clone());
    }
}

/// How long a cache may give an answer without asking again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeping {
    /// As long as somebody says that it holds. Otherwise not at all: maps change when the network does, and asking whether they did costs
    /// next to nothing.
    Asking,
    /// For ever: what is under the URI never changes.
    ForEver,
}

/// A resource at one version. Forms: identity, then the codings in the order of [`Coding`].
pub(crate) struct Representation {
    media_type: &'static str,
    varies: Varies,
    keeping: Keeping,
    etags: [HeaderValue; 4],
    /// `None` for what never changes under its URI.
    modified: Option<Modified>,
    identity: Form,
    coded: [OnceCell<Form>; 3],
    /// Keeps the coded bodies, where the resource has versions.
    version: Option<Arc<Version>>,
}

/// What the conditions of a request come to.
enum Condition {
    Met,
    /// 304.
    NotModified,
    /// 412, and why.
    Failed(String),
}

struct Form {
    headers: HeaderMap,
    body: Bytes,
}

impl Form {
    fn reply(&self, method: &Method) -> Reply {
        let mut reply = Reply::new(if method == Method::HEAD { Bytes::new() } else { self.body.clone() });
        *reply.headers_mut() = self.headers.clone();
        reply
    }
}

impl Representation {
    /// A version of a resource, after what there was before.
    pub(crate) fn of(version: Arc<Version>, before: Option<&Self>) -> Self {
        let (body, tag, media_type) = (version.body.clone(), version.tag.as_str().to_owned(), version.media_type);
        let modified = Modified::next(before.and_then(Self::modified), version.at);
        Self { version: Some(version), ..Self::new(media_type, Varies::Coding, &tag, modified, body) }
    }

    /// A version of a resource under a URI that is its own.
    pub(crate) fn version_for_ever(version: Arc<Version>) -> Self {
        let (body, tag, media_type) = (version.body.clone(), version.tag.as_str().to_owned(), version.media_type);
        Self { version: Some(version), ..Self::kept(media_type, Varies::Coding, Keeping::ForEver, &tag, body) }
    }

    /// What will never change under its URI; in codings if it is worth that.
    pub(crate) fn for_ever(media_type: &'static str, tag: &str, body: Bytes, coded: bool) -> Self {
        Self::kept(media_type, if coded { Varies::Coding } else { Varies::Nothing }, Keeping::ForEver, tag, body)
    }

    /// What may be another at any time, and last was when `modified` says.
    pub(crate) fn new(media_type: &'static str, varies: Varies, tag: &str, modified: Modified, body: Bytes) -> Self {
        Self { modified: Some(modified), ..Self::kept(media_type, varies, Keeping::Asking, tag, body) }
    }

    fn kept(media_type: &'static str, varies: Varies, keeping: Keeping, tag: &str, body: Bytes) -> Self {
        // RFC 7285 section 10.3 allows a quote in a tag, RFC 9110 section 8.8.3 does not.
        let tag = tag.replace('"', "%22");
        let etag = |suffix: &str| HeaderValue::try_from(format!("\"{tag}{suffix}\"")).expect("a tag is visible ASCII");
        let etags = [etag(""), etag("+gzip"), etag("+br"), etag("+zstd")];
        let mut this = Self {
            media_type,
            varies,
            keeping,
            etags,
            modified: None,
            identity: Form { headers: HeaderMap::new(), body },
            coded: Default::default(),
            version: None,
        };
        this.identity.headers = this.headers(None, this.identity.body.len());
        this
    }

    /// Bytes of the identity form.
    pub(crate) fn len(&self) -> usize {
        self.identity.body.len()
    }

    /// When it came to be.
    pub(crate) fn modified(&self) -> Option<&Modified> {
        self.modified.as_ref()
    }

    pub(crate) fn version(&self) -> Option<&Arc<Version>> {
        self.version.as_ref()
    }

    /// Answers a GET or HEAD.
    pub(crate) fn answer(self: &Arc<Self>, head: &Parts, now: SystemTime, fresh: Option<&Fresh>) -> Answer {
        if negotiate::accepts(&head.headers, self.media_type) == 0 {
            return reply::refusal(StatusCode::NOT_ACCEPTABLE, format!("this is {}, which the Accept field excludes", self.media_type))
                .into();
        }
        let coding = if self.varies == Varies::Nothing { Ok(None) } else { negotiate::coding(&head.headers) };
        let Ok(coding) = coding else {
            let why = "the Accept-Encoding field excludes identity, gzip, br and zstd";
            return reply::refusal(StatusCode::NOT_ACCEPTABLE, why).into();
        };
        let (etag, now) = (&self.etags[coding.map_or(0, |coding| 1 + coding as usize)], modified::second(now));
        match self.condition(head, etag, now) {
            Condition::Failed(why) => return reply::refusal(StatusCode::PRECONDITION_FAILED, why).into(),
            Condition::NotModified => return self.not_modified(etag, now, fresh).into(),
            Condition::Met => {}
        }
        let Some(coding) = coding else { return self.reply(&self.identity, &head.method, now, fresh).into() };
        let cell = &self.coded[coding as usize];
        if let Some(form) = cell.get() {
            return self.reply(form, &head.method, now, fresh).into();
        }
        if self.len() <= IN_PLACE_BYTES_MAX {
            // Two threads may do this at once; the first result stays, both are the same.
            let _ = cell.set(self.code(coding));
            return self.reply(cell.get().unwrap_or(&self.identity), &head.method, now, fresh).into();
        }
        let (this, method, fresh) = (self.clone(), head.method.clone(), fresh.map(|fresh| Fresh::until(fresh.expires)));
        Answer::Later(Box::pin(async move {
            let form = this.form(coding).await;
            // What it says of time is to go with the date that it will have.
            this.reply(form, &method, modified::second(SystemTime::now()), fresh.as_ref())
        }))
    }

    /// The conditions in their order (RFC 9110 section 13.2.2): a date counts only where no tag is named.
    fn condition(&self, head: &Parts, etag: &HeaderValue, now: u64) -> Condition {
        let quoted = etag.to_str().expect("an ETag of ours is ASCII");
        let has = |field| head.headers.contains_key(field);
        if has(IF_MATCH) {
            if !negotiate::names(&head.headers, &IF_MATCH, quoted, false) {
                return Condition::Failed(format!("the resource is at {quoted} now"));
            }
        } else if has(IF_UNMODIFIED_SINCE) && self.modified.as_ref().is_some_and(|modified| modified.is_later(&head.headers)) {
            return Condition::Failed("the resource was modified since".into());
        }
        let known = if has(IF_NONE_MATCH) {
            negotiate::names(&head.headers, &IF_NONE_MATCH, quoted, true)
        } else {
            has(IF_MODIFIED_SINCE) && self.modified.as_ref().is_some_and(|modified| modified.is_known(now, &head.headers))
        };
        if known { Condition::NotModified } else { Condition::Met }
    }

    fn reply(&self, form: &Form, method: &Method, now: u64, fresh: Option<&Fresh>) -> Reply {
        let mut reply = form.reply(method);
        self.add_times(now, fresh, reply.headers_mut());
        reply
    }

    async fn form(self: &Arc<Self>, coding: Coding) -> &Form {
        let made = self.coded[coding as usize].get_or_try_init(|| async {
            let this = self.clone();
            tokio::task::spawn_blocking(move || this.code(coding)).await
        });
        // It fails when the runtime ends or the coder panics; the identity form is as good.
        made.await.unwrap_or(&self.identity)
    }

    fn code(&self, coding: Coding) -> Form {
        let body = match &self.version {
            Some(version) => version.coded(coding, |body| compress(body, coding, Effort::Kept)),
            None => compress(&self.identity.body, coding, Effort::Kept).into(),
        };
        Form { headers: self.headers(Some(coding), body.len()), body }
    }

    fn not_modified(&self, etag: &HeaderValue, now: u64, fresh: Option<&Fresh>) -> Reply {
        let mut reply = reply::empty(StatusCode::NOT_MODIFIED);
        let headers = reply.headers_mut();
        headers.insert(ETAG, etag.clone());
        self.shared(headers);
        self.add_times(now, fresh, headers);
        reply
    }

    /// What is another at another time; a 304 carries it too.
    fn add_times(&self, now: u64, fresh: Option<&Fresh>, headers: &mut HeaderMap) {
        if let Some(modified) = &self.modified {
            modified.add(now, headers);
        }
        if let Some(fresh) = fresh {
            fresh.add(now, headers);
        }
    }

    fn headers(&self, coding: Option<Coding>, length: usize) -> HeaderMap {
        // With what is added to each answer: dates, `Alt-Svc`.
        let mut headers = HeaderMap::with_capacity(16);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        headers.insert(CONTENT_LENGTH, length.into());
        headers.insert(ETAG, self.etags[coding.map_or(0, |coding| 1 + coding as usize)].clone());
        if let Some(coding) = coding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(negotiate::name(coding)));
        }
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if self.media_type == crate::services::HTML {
            let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'";
            headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        }
        self.shared(&mut headers);
        headers
    }

    /// What a 304 carries too (RFC 9110 section 15.4.5).
    fn shared(&self, headers: &mut HeaderMap) {
        let keeping = match self.keeping {
            Keeping::Asking => "no-cache",
            // RFC 9111 section 5.2.2.9 and RFC 8246; a year is the most that caches commonly take.
            Keeping::ForEver => "public, max-age=31536000, immutable",
        };
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(keeping));
        let varies = match self.varies {
            Varies::Nothing => None,
            Varies::Coding => Some("accept-encoding"),
            Varies::CodingAndType => Some("accept, accept-encoding"),
        };
        if let Some(varies) = varies {
            headers.insert(VARY, HeaderValue::from_static(varies));
        }
        reply::allow_origins(headers);
    }
}
