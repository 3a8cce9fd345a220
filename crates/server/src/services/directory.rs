//! The directory (RFC 7285 section 9), as JSON; `page.rs` makes a page of it for people.
//!
//! URIs are absolute. Without a configured public URL they begin with what the client itself called us, which is checked to be
//! a host and a port and nothing else before it is repeated.
use super::DIRECTORY;
use crate::{
    listen::Peer,
    negotiate,
    representation::{Representation, Varies},
    services::subscriptions::Subscriptions,
    transports::{Names, push, sse::Service, websocket},
    view::{Page, View},
};
use alto::{
    directory::{Capabilities, Directory, Entry},
    id::{ResourceId, Tag},
    media_type,
};
use http::{HeaderMap, header::HOST, request::Parts, uri::Authority};
use std::{collections::BTreeMap, net::Ipv6Addr};

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
    if authority.len() > AUTHORITY_BYTES_MAX || !is_host(parsed.host()) || !authority.bytes().all(plain) || !has_port(&parsed) {
        return Err("the Host field is not a host and a port");
    }
    Ok(format!("{scheme}://{authority}"))
}

/// A name, or in brackets an IPv6 address (RFC 3986 section 3.2.2).
fn is_host(host: &str) -> bool {
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()),
        None => !host.is_empty() && !host.contains(['[', ']', ':']),
    }
}

/// Whether what follows the host is nothing or a port.
fn has_port(authority: &Authority) -> bool {
    let rest = authority.as_str().strip_prefix(authority.host());
    rest.is_some_and(|rest| rest.is_empty() || authority.port_u16().is_some())
}

/// What a client of `/` wants; one that does not care gets the directory.
pub(super) fn page_for(headers: &HeaderMap) -> Page {
    if negotiate::accepts(headers, "text/html") > negotiate::accepts(headers, DIRECTORY) { Page::Html } else { Page::Json }
}

/// At `/` there is a page besides, and both paths share what is made: a cache may not give one for the other (RFC 9110 section 12.5.5).
pub(super) fn json(view: &View, base_url: &str) -> Representation {
    let body = directory(view, base_url).to_json();
    let tag = Tag::of_content(&[&body]);
    Representation::new(DIRECTORY, Varies::CodingAndType, tag.as_str(), view.modified.clone(), body.into())
}

/// The resources and the services that keep clients up to date.
pub(super) fn directory(view: &View, base_url: &str) -> Directory {
    let guidance = &view.snapshot.guidance;
    let mut directory = guidance.directory(base_url);
    let names = Names::of(guidance);
    let sockets = base_url.strip_prefix("http").expect("a base URL begins with http:// or https://");
    for (id, entry) in &mut directory.resources {
        entry.updates = Some(format!("ws{sockets}{}{id}", websocket::PATH).into());
    }
    let followed: Vec<ResourceId> = directory.resources.keys().cloned().collect();
    // RFC 8895 section 6.3; the same for TIPS. What merge patches cannot say, a null, is said by a JSON patch.
    let both = format!("{},{}", media_type::MERGE_PATCH, media_type::JSON_PATCH);
    let changes = |ids: &[ResourceId], kinds: &str| ids.iter().map(|id| (id.clone(), kinds.into())).collect::<BTreeMap<_, Box<str>>>();
    let mut announce = |id: ResourceId, path: &str, media_type: &str, accepts: &str, uses: Vec<ResourceId>, kinds: &str, control: bool| {
        let capabilities = Capabilities {
            incremental_change_media_types: changes(&uses, kinds),
            support_stream_control: control,
            ..Capabilities::default()
        };
        let entry = Entry {
            uri: format!("{base_url}{path}").into(),
            media_type: media_type.into(),
            accepts: Some(accepts.into()),
            capabilities,
            uses,
            ..Entry::default()
        };
        directory.resources.insert(id, entry);
    };
    let (stream, params) = (media_type::EVENT_STREAM, media_type::UPDATE_STREAM_PARAMS);
    let tips_stream_uses = vec![names.tips.clone()];
    announce(names.update_stream, Service::Resources.path(), stream, params, followed.clone(), &both, true);
    // Queues belong to HTTP/2 connections; draft-ietf-alto-new-transport-01 section 9 announces them like this.
    announce(names.queues, push::PATH, media_type::TRANSPORT, params, followed.clone(), &both, true);
    announce(names.tips, "/tips", media_type::TIPS, media_type::TIPS_PARAMS, followed.clone(), &both, false);
    announce(names.tips_stream, Service::Tips.path(), stream, params, tips_stream_uses, media_type::MERGE_PATCH, true);
    // draft-alto-caching-subscription-00 section 9, in entries of RFC 7285: one media type each.
    let (input, data, notification) = (media_type::SUBSCRIBE_INPUT, media_type::SUBSCRIPTION_DATA, media_type::NOTIFICATION_DATA);
    for (id, what, media_type, accepts, uses) in [
        (names.subscription, Subscriptions::Subscribe, data, input, followed),
        (names.unsubscribe, Subscriptions::Unsubscribe, data, data, Vec::new()),
        (names.notification, Subscriptions::Notify, notification, notification, Vec::new()),
    ] {
        let entry = Entry {
            uri: format!("{base_url}{}", what.path()).into(),
            media_type: media_type.into(),
            accepts: Some(accepts.into()),
            uses,
            ..Entry::default()
        };
        directory.resources.insert(id, entry);
    }
    // Nobody follows these: what changes in them besides the plain ones is the time.
    view.expiring.iter().for_each(|announced| announced.announce(base_url, &mut directory));
    directory
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{admin::Protocol, listen::ConnectionId};
    use http::Request;

    #[test]
    fn base_urls_come_from_the_request() {
        let peer = |secure| Peer {
            address: ([192, 0, 2, 9], 9).into(),
            local: ([192, 0, 2, 1], 6671).into(),
            secure,
            protocol: Protocol::Http1,
            connection: ConnectionId(0),
            push: false,
        };
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
            ("/directory", &["a:b"], false, Err("the Host field is not a host and a port")),
            ("/directory", &["a:99999"], false, Err("the Host field is not a host and a port")),
            ("/directory", &["[x]:1"], false, Err("the Host field is not a host and a port")),
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
}
