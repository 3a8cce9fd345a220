//! URIs of resources: absolute `http`/`https` ones, and references resolved against them (RFC 3986 section 5, as RFC 7285 section 9.2.2
//! asks for the `uri` of a directory entry).
//!
//! Invariant: scheme is `http` or `https`, host is not empty, there is no user information and no fragment.
use crate::error::Error;
use std::fmt;

/// An absolute URI.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uri {
    tls: bool,
    host: Box<str>,
    port: u16,
    /// Path and query, from the first `/` on.
    path: Box<str>,
}

/// Where connections go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub tls: bool,
    /// Without brackets.
    pub host: Box<str>,
    pub port: u16,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') { write!(f, "[{}]:{}", self.host, self.port) } else { write!(f, "{}:{}", self.host, self.port) }
    }
}

impl Uri {
    /// Parses an absolute URI. A fragment is cut off: it never goes to a server.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |why| Error::Url { text: text.to_owned(), why };
        let (scheme, rest) = text.split_once("://").ok_or(wrong("it does not start with http:// or https://"))?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(wrong("only http and https are spoken")),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err(wrong("user information does not belong in a URL"));
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (host, after) = v6.split_once(']').ok_or(wrong("the bracket of the IPv6 address is not closed"))?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| wrong("there is no IPv6 address between the brackets"))?;
                (host, if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or(wrong("the port is wrong"))?) })
            }
            None => match authority.split_once(':') {
                Some((_, port)) if port.contains(':') => return Err(wrong("an IPv6 address needs brackets, [::1]")),
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        if host.is_empty() {
            return Err(wrong("there is no host"));
        }
        let port = match port {
            None | Some("") => {
                if tls {
                    443
                } else {
                    80
                }
            }
            Some(port) => port.parse().map_err(|_| wrong("the port is wrong"))?,
        };
        let path = path.split('#').next().unwrap_or_default();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        // http::Uri knows which characters may stand where.
        path.parse::<http::uri::PathAndQuery>().map_err(|_| wrong("the path has a character that must be percent-encoded"))?;
        let uri = Self { tls, host: host.to_ascii_lowercase().into(), port, path: path.into() };
        uri.to_string().parse::<http::Uri>().map_err(|_| wrong("the host is wrong"))?;
        Ok(uri)
    }

    /// Resolves a reference found at this URI (RFC 3986 section 5.2).
    pub fn resolve(&self, reference: &str) -> Result<Self, Error> {
        let reference = reference.split('#').next().unwrap_or_default();
        let scheme_end = reference.find(':').filter(|at| !reference[..*at].contains(['/', '?']));
        if scheme_end.is_some() {
            return Self::parse(reference).map(Self::without_dots);
        }
        let scheme = if self.tls { "https" } else { "http" };
        if let Some(rest) = reference.strip_prefix("//") {
            return Self::parse(&format!("{scheme}://{rest}")).map(Self::without_dots);
        }
        let (base_path, _) = self.path.split_once('?').unwrap_or((&self.path, ""));
        let path = match reference {
            "" => self.path.to_string(),
            r if r.starts_with('?') => format!("{base_path}{r}"),
            r if r.starts_with('/') => r.to_owned(),
            r => format!("{}/{r}", base_path.rsplit_once('/').map_or("", |(directory, _)| directory)),
        };
        let origin = self.origin();
        Self::parse(&format!("{scheme}://{origin}{path}")).map(Self::without_dots)
    }

    /// RFC 3986 section 5.2.4.
    fn without_dots(self) -> Self {
        let (path, query) = match self.path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (&*self.path, None),
        };
        let mut out: Vec<&str> = Vec::new();
        let mut segments = path.split('/').skip(1).peekable();
        while let Some(segment) = segments.next() {
            let last = segments.peek().is_none();
            match segment {
                "." | ".." => {
                    if segment == ".." {
                        out.pop();
                    }
                    if last {
                        out.push("");
                    }
                }
                segment => out.push(segment),
            }
        }
        let mut path = format!("/{}", out.join("/"));
        if let Some(query) = query {
            path = format!("{path}?{query}");
        }
        Self { path: path.into(), ..self }
    }

    /// Path and query.
    pub fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn origin(&self) -> Origin {
        Origin { tls: self.tls, host: self.host.clone(), port: self.port }
    }

    /// The authority as the `Host` header has it: no default port.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.to_string() };
        if self.port == if self.tls { 443 } else { 80 } { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.tls { "https" } else { "http" }, self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3986 sections 5.4.1 and 5.4.2, base `http://a/b/c/d;p?q`; fragments are cut.
    #[test]
    fn references() {
        let base = Uri::parse("http://a/b/c/d;p?q").unwrap();
        for (reference, want) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q"),
            ("g#s", "http://a/b/c/g"),
            (";x", "http://a/b/c/;x"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            ("..g", "http://a/b/c/..g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g/../h", "http://a/b/c/h"),
            ("g?y/./x", "http://a/b/c/g?y/./x"),
            ("https://other:8443/x/../y", "https://other:8443/y"),
        ] {
            assert_eq!(base.resolve(reference).unwrap().to_string(), want, "{reference:?}");
        }
    }

    #[test]
    fn absolute() {
        for (text, want) in [
            ("http://127.0.0.1:6671", Some("http://127.0.0.1:6671/")),
            ("HTTP://Example.COM:80/a?b#c", Some("http://example.com/a?b")),
            ("https://[::1]:443/x", Some("https://[::1]/x")),
            ("https://[::1]:8443", Some("https://[::1]:8443/")),
            ("http://h?q", Some("http://h/?q")),
            ("127.0.0.1:6671", None),
            ("ftp://h/", None),
            ("http://", None),
            ("http://user@h/", None),
            ("http://::1/", None),
            ("http://h:99999/", None),
            ("http://h/a b", None),
            ("http://h\r\nX: y/", None),
        ] {
            assert_eq!(Uri::parse(text).ok().map(|uri| uri.to_string()).as_deref(), want, "{text:?}");
        }
    }
}
