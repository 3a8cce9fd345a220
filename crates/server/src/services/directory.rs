//! The directory (RFC 7285 section 9), as JSON and as a page for people.
//!
//! URIs are absolute. Without a configured public URL they begin with what the client itself called us, which is checked to be
//! a host and a port and nothing else before it is repeated.
use super::{DIRECTORY, HTML};
use crate::{
    listen::Peer,
    negotiate,
    representation::{Representation, Varies},
    view::{Page, View},
};
use alto::id::Tag;
use http::{HeaderMap, header::HOST, request::Parts, uri::Authority};
use std::fmt::Write as _;

/// Bytes of a host name, RFC 1035 section 2.3.4, and a port.
const AUTHORITY_BYTES_MAX: usize = 255 + 6;

/// What URIs begin with for this client.
pub(super) fn base_url(head: &Parts, peer: &Peer) -> Result<String, &'static str> {
    let scheme = match head.uri.scheme_str() {
        // A proxy may have taken the TLS off an HTTP/2 request and says so in `:scheme`.
        Some(scheme @ ("http" | "https")) => scheme,
        Some(_) => return Err("the scheme is neither http nor https"),
        None if peer.secure => "https",
        None => "http",
    };
    let mut hosts = head.headers.get_all(HOST).iter();
    let host = hosts.next();
    // RFC 9112 section 3.2.
    if hosts.next().is_some() {
        return Err("there is more than one Host field");
    }
    let authority = match (head.uri.authority(), host) {
        (Some(authority), _) => authority.as_str(),
        (None, Some(host)) => host.to_str().map_err(|_| "the Host field is not ASCII")?,
        // HTTP/1.0 has no Host field.
        (None, None) if head.version < http::Version::HTTP_11 => return Ok(format!("{scheme}://{}", peer.local)),
        (None, None) => return Err("there is no Host field"),
    };
    let parsed: Authority = authority.parse().map_err(|_| "the Host field is not a host and a port")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(&byte);
    if authority.len() > AUTHORITY_BYTES_MAX || parsed.host().is_empty() || !authority.bytes().all(plain) {
        return Err("the Host field is not a host and a port");
    }
    Ok(format!("{scheme}://{authority}"))
}

/// What a client of `/` wants; one that does not care gets the directory.
pub(super) fn page_for(headers: &HeaderMap) -> Page {
    if negotiate::accepts(headers, "text/html") > negotiate::accepts(headers, DIRECTORY) { Page::Html } else { Page::Json }
}

/// At `/` there is a page besides, and both paths share what is made: a cache may not give one for the other (RFC 9110 section 12.5.5).
pub(super) fn json(view: &View, base_url: &str) -> Representation {
    let body = view.snapshot.guidance.directory(base_url).to_json();
    let tag = Tag::of_content(&[&body]);
    Representation::new(DIRECTORY, Varies::CodingAndType, tag.as_str(), body.into())
}

pub(super) fn html(view: &View, base_url: &str, credits: &[(String, String)]) -> Representation {
    let directory = view.snapshot.guidance.directory(base_url);
    let mut rows = String::new();
    for (id, entry) in &directory.resources {
        let version = view.snapshot.versions.get(id);
        let costs: Vec<&str> = entry.capabilities.cost_type_names.iter().map(|name| &**name).collect();
        let how = match &entry.accepts {
            None => "GET".to_owned(),
            Some(accepts) => format!("POST <code>{}</code>", escape(accepts)),
        };
        let name = match entry.accepts {
            None => format!("<a href=\"{}\">{}</a>", escape(&entry.uri), escape(id.as_str())),
            Some(_) => escape(id.as_str()),
        };
        let size = version.map_or_else(String::new, |version| format!("{} bytes", version.body.len()));
        let seq = version.map_or_else(String::new, |version| version.seq.to_string());
        let _ = writeln!(
            rows,
            "<tr><td>{name}<td>{how}<td><code>{}</code><td>{}<td>{seq}<td>{size}",
            escape(&entry.media_type),
            escape(&costs.join(", "))
        );
    }
    let mut thanks = String::new();
    for (text, url) in credits {
        let _ = writeln!(thanks, "<p><small><a href=\"{}\">{}</a></small>", escape(url), escape(text));
    }
    let base = escape(base_url);
    let body = format!(
        r#"<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>ALTO server</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}}
table{{border-collapse:collapse;width:100%;font-size:.9rem}}td,th{{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #ddd;vertical-align:top}}
code,pre{{font-family:ui-monospace,monospace;font-size:.85em}}pre{{background:#f4f4f4;padding:.8rem;overflow:auto}}div{{overflow-x:auto}}
@media(prefers-color-scheme:dark){{body{{color:#ddd;background:#181818}}a{{color:#8bf}}td,th{{border-color:#444}}pre{{background:#242424}}}}</style>
<h1>ALTO server</h1>
<p>This is an <a href="https://www.rfc-editor.org/rfc/rfc7285">ALTO</a> server: it says which parts of a network are near to each other and
at what cost. Programs start at <a href="{base}/directory">{base}/directory</a>.
<h2>Resources</h2>
<div><table><tr><th>Resource<th>Method<th>Answers<th>Cost types<th>Version<th>Size
{rows}</table></div>
<h2>Try it</h2>
<pre>curl {base}/directory
altocast get --server {base}
altocast rank --server {base} --src ADDRESS ADDRESS ADDRESS</pre>
{thanks}</html>
"#
    );
    let tag = Tag::of_content(&[body.as_bytes()]);
    Representation::new(HTML, Varies::CodingAndType, tag.as_str(), body.into_bytes().into())
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::Protocol;
    use http::Request;

    #[test]
    fn base_urls_come_from_the_request() {
        let peer =
            |secure| Peer { address: ([192, 0, 2, 9], 9).into(), local: ([192, 0, 2, 1], 6671).into(), secure, protocol: Protocol::Http1 };
        for (uri, hosts, secure, want) in [
            ("/directory", &["alto.example.com"][..], false, Ok("http://alto.example.com")),
            ("/directory", &["alto.example.com:6671"], true, Ok("https://alto.example.com:6671")),
            ("/directory", &["[2001:db8::1]:6671"], false, Ok("http://[2001:db8::1]:6671")),
            // RFC 9112 section 3.2.2: the target counts, not the field.
            ("http://a.example/directory", &["b.example"], false, Ok("http://a.example")),
            ("https://a.example/directory", &[], false, Ok("https://a.example")),
            ("/directory", &[], false, Err("there is no Host field")),
            ("/directory", &["a.example", "b.example"], false, Err("there is more than one Host field")),
            ("/directory", &["a.example/x\"><script>"], false, Err("the Host field is not a host and a port")),
            ("/directory", &["user@a.example"], false, Err("the Host field is not a host and a port")),
            ("/directory", &["a b"], false, Err("the Host field is not a host and a port")),
            ("/directory", &[""], false, Err("the Host field is not a host and a port")),
            ("ftp://a.example/directory", &[], false, Err("the scheme is neither http nor https")),
        ] {
            let mut request = Request::builder().uri(uri);
            for host in hosts {
                request = request.header(HOST, *host);
            }
            let (head, ()) = request.body(()).unwrap().into_parts();
            assert_eq!(base_url(&head, &peer(secure)).as_deref(), want.as_deref(), "{uri} {hosts:?}");
        }
    }

    #[test]
    fn markup_is_escaped() {
        assert_eq!(escape("<a href=\"x\">&'"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;");
    }
}
