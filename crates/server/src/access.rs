//! Who may see and change what, and what may be set while the server runs.
//!
//! The public listener is open. The admin listener needs the bearer token when there is one; without one it is on loopback, where
//! the threat is a web page in the operator's browser: requests that come from another site's page are refused, and so are those
//! whose `Host` is a name that somebody else may point at 127.0.0.1 (DNS rebinding).
use crate::{Error, Options, admin::Token};
use arc_swap::{ArcSwap, ArcSwapOption};
use http::{HeaderMap, Uri, header, uri::Authority};
use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::SystemTime};

/// What may change while connections go on.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    public_url: ArcSwapOption<String>,
    token: ArcSwapOption<Token>,
    credits: ArcSwap<Vec<(String, String)>>,
    since: ArcSwap<Option<SystemTime>>,
    promises: ArcSwap<Promises>,
}

/// What an operator promises of the validity of resources.
#[derive(Debug)]
pub(crate) struct Promises {
    pub(crate) rules: Vec<maps::expiry::Rule>,
    /// Since when.
    pub(crate) since: SystemTime,
}

impl Default for Promises {
    fn default() -> Self {
        Self { rules: Vec::new(), since: SystemTime::UNIX_EPOCH }
    }
}

impl Settings {
    /// Takes all of it or nothing.
    pub(crate) fn set(&self, options: &Options) -> Result<(), Error> {
        let (url, token) = parse(options)?;
        self.public_url.store(url.map(Arc::new));
        self.token.store(token.map(Arc::new));
        self.credits.store(Arc::new(options.credits.clone()));
        let now = SystemTime::now();
        self.since.store(Arc::new(Some(now)));
        if self.promises.load().rules != options.expiry {
            self.promises.store(Arc::new(Promises { rules: options.expiry.clone(), since: now }));
        }
        Ok(())
    }

    /// Whether `set` would take it.
    pub(crate) fn check(&self, options: &Options) -> Result<(), Error> {
        parse(options).map(drop)
    }

    pub(crate) fn public_url(&self) -> Option<Arc<String>> {
        self.public_url.load_full()
    }

    pub(crate) fn credits(&self) -> Arc<Vec<(String, String)>> {
        self.credits.load_full()
    }

    pub(crate) fn promises(&self) -> Arc<Promises> {
        self.promises.load_full()
    }

    /// When they were set.
    pub(crate) fn since(&self) -> SystemTime {
        self.since.load().unwrap_or(SystemTime::UNIX_EPOCH)
    }

    pub(crate) fn token(&self) -> Option<Arc<Token>> {
        self.token.load_full()
    }
}

impl Options {
    /// All that [`crate::Server::bind`] refuses before it asks the system for anything.
    pub fn faults(&self) -> Vec<Error> {
        let mut faults = Vec::new();
        if self.public.is_empty() {
            faults.push(Error::NoAddress);
        }
        let public = self.public.iter().map(|address| ("public", *address));
        let mut known = BTreeSet::new();
        for (what, address) in public.chain(self.admin.map(|address| ("admin", address))) {
            // Of port 0 the system gives each another one.
            if address.port() != 0 && !known.insert(address) {
                faults.push(Error::AddressTwice { what, address });
            }
        }
        faults.extend(self.public_url.as_deref().and_then(|url| public_url(url).err()));
        // With a token that is none the admin listener would not be open.
        faults.extend(parse(&Self { public_url: None, ..self.clone() }).err());
        if let Some(asked) = self.workers.filter(|asked| *asked > self.limits.workers_max) {
            faults.push(Error::Workers { asked, max: self.limits.workers_max });
        }
        faults
    }
}

fn parse(options: &Options) -> Result<(Option<String>, Option<Token>), Error> {
    let url = options.public_url.as_deref().map(public_url).transpose()?;
    let token = options.admin_token.as_deref().map(|text| Token::new(text).ok_or(Error::Token)).transpose()?;
    if let (Some(address), None) = (options.admin, &token)
        && !address.ip().to_canonical().is_loopback()
    {
        return Err(Error::AdminWithoutToken { address });
    }
    Ok((url, token))
}

/// Checks a public URL and takes the slash off its end.
fn public_url(text: &str) -> Result<String, Error> {
    let fault = |why| Error::PublicUrl { url: text.to_owned(), why };
    let uri: Uri = text.parse().map_err(|_| fault("it is not a URL"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(fault("it must begin with http:// or https://"));
    }
    if uri.authority().is_none_or(|authority| authority.host().is_empty() || authority.as_str().contains('@')) {
        return Err(fault("it must name a host, and no user"));
    }
    if uri.query().is_some() || text.contains('#') {
        return Err(fault("it must not have a query or a fragment"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Why a request to the admin listener is taken for one that a web page made its reader's browser send.
pub(crate) fn foreign(headers: &HeaderMap, has_token: bool) -> Option<&'static str> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    if let Some(origin) = headers.get(header::ORIGIN) {
        let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        if origin.map(|(_, authority)| authority) != host {
            return Some("this request comes from a web page of another site");
        }
    }
    if !has_token && host.is_some_and(|host| !is_literal(host)) {
        return Some("without a token the admin listener answers to localhost and to IP addresses only, not to names");
    }
    None
}

fn is_literal(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn public_urls() {
        for (url, want) in [
            ("https://alto.example.net", Some("https://alto.example.net")),
            ("https://alto.example.net/", Some("https://alto.example.net")),
            ("http://[2001:db8::1]:6671/alto/", Some("http://[2001:db8::1]:6671/alto")),
            ("alto.example.net", None),
            ("/alto", None),
            ("ftp://alto.example.net", None),
            ("https://user@alto.example.net", None),
            ("https://alto.example.net/?x=1", None),
            ("https://alto.example.net/#x", None),
            ("", None),
        ] {
            assert_eq!(public_url(url).ok().as_deref(), want, "{url}");
        }
    }

    #[test]
    fn web_pages_are_kept_out() {
        for (host, origin, token, want) in [
            ("127.0.0.1:6672", None, false, true),
            ("localhost:6672", None, false, true),
            ("[::1]:6672", None, false, true),
            ("127.0.0.1:6672", Some("http://127.0.0.1:6672"), false, true),
            ("127.0.0.1:6672", Some("https://evil.example"), false, false),
            ("127.0.0.1:6672", Some("null"), false, false),
            ("evil.example:6672", Some("http://evil.example:6672"), false, false),
            ("evil.example:6672", None, false, false),
            ("admin.example:6672", None, true, true),
            ("admin.example:6672", Some("http://evil.example"), true, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            assert_eq!(foreign(&headers, token).is_none(), want, "{host} {origin:?} {token}");
        }
    }

    #[test]
    fn an_admin_listener_for_everybody_needs_a_token() {
        let settings = Settings::default();
        let with = |address: &str, token: Option<&str>| Options {
            admin: Some(address.parse().unwrap()),
            admin_token: token.map(str::to_owned),
            ..Options::default()
        };
        assert!(matches!(settings.set(&with("0.0.0.0:6672", None)), Err(Error::AdminWithoutToken { .. })));
        assert!(matches!(settings.set(&with("192.0.2.1:6672", Some(""))), Err(Error::Token)));
        settings.set(&with("0.0.0.0:6672", Some("secret"))).unwrap();
        settings.set(&with("127.0.0.1:6672", None)).unwrap();
        settings.set(&with("[::1]:6672", None)).unwrap();
    }
}
