//! Subscription and notification (draft-alto-caching-subscription-00 sections 6.3 and 8), in the syntax of valid JSON.
//!
//! The draft carries bodies of an early base draft; here they are those of RFC 7285. Unit: `expires` is seconds from now. A number
//! that comes as a string of digits is taken too, as in the draft's own example.
mod notification;

pub use notification::{Content, Notification, Substate, Version};

use super::{object_text, write_seq};
use crate::{
    ErrorBody, Limits,
    id::ResourceId,
    json::{self, Path, Reader, Type},
};
use std::{collections::BTreeMap, fmt, net::IpAddr, str::FromStr};

/// What a subscriber can be told of (section 8.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventType {
    /// `NetworkMap`: a whole network map.
    NetworkMap,
    /// `NetworkMapFilter`: a filtered network map.
    NetworkMapFilter,
    /// `CostMap`: a whole cost map.
    CostMap,
    /// `CostMapFilter`: a filtered cost map.
    CostMapFilter,
    /// `endpointprop`: properties of endpoints.
    EndpointProp,
    /// `endpointcost`: costs between endpoints.
    EndpointCost,
}

impl EventType {
    /// All of them, what others depend on first: the order of the type.
    pub const ALL: [Self; 6] =
        [Self::NetworkMap, Self::NetworkMapFilter, Self::CostMap, Self::CostMapFilter, Self::EndpointProp, Self::EndpointCost];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NetworkMap => "NetworkMap",
            Self::CostMap => "CostMap",
            Self::NetworkMapFilter => "NetworkMapFilter",
            Self::CostMapFilter => "CostMapFilter",
            Self::EndpointProp => "endpointprop",
            Self::EndpointCost => "endpointcost",
        }
    }

    /// The member of a subscription that says of which part; a whole map has none.
    pub fn filter_member(self) -> Option<&'static str> {
        match self {
            Self::NetworkMap | Self::CostMap => None,
            Self::NetworkMapFilter => Some("networkfiltermap"),
            Self::CostMapFilter => Some("costfiltermap"),
            Self::EndpointProp => Some("endpointprop"),
            Self::EndpointCost => Some("endpointcostmap"),
        }
    }

    /// The member of a notification that holds the body.
    pub fn content_member(self) -> &'static str {
        match self {
            Self::NetworkMap | Self::NetworkMapFilter => "networkmap",
            Self::CostMap | Self::CostMapFilter => "costmap",
            Self::EndpointProp => "endpointprop",
            Self::EndpointCost => "endpointcostmap",
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A string that is not an event type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an event type")]
pub struct UnknownEventType {
    /// What was given.
    pub text: Box<str>,
}

impl FromStr for EventType {
    type Err = UnknownEventType;
    fn from_str(text: &str) -> Result<Self, UnknownEventType> {
        Self::ALL.into_iter().find(|event_type| event_type.as_str() == text).ok_or_else(|| UnknownEventType { text: text.into() })
    }
}

/// Contact addresses of one subscription. 8: a host has few, and each is a place that we are asked to send to.
pub const CONTACTS_MAX: usize = 8;

/// Where a subscriber listens: `<scheme>://<address>:<port>/notification` (section 6.3). An IP address, never a name: what a name means can
/// change after it was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContactAddress {
    /// `addr`; never an IPv4 address written as an IPv6 one.
    pub address: IpAddr,
    /// `port`; never 0.
    pub port: u16,
    /// `scheme`, an addition of ours: `https` instead of `http`.
    pub tls: bool,
}

/// As a URI without its path: `http://192.0.2.0:5828`.
impl fmt::Display for ContactAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", std::net::SocketAddr::new(self.address, self.port))
    }
}

/// Path of the notification URI below a contact address.
pub const NOTIFICATION_PATH: &str = "/notification";

/// `SubscribeInput` (sections 8.1.1 and 8.2): a new subscription, or with `subscrid` the refresh of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubscribeInput {
    /// `subscrid`: which one to refresh.
    pub subscrid: Option<Box<str>>,
    /// `event-types`, each once; never empty.
    pub event_types: Vec<EventType>,
    /// `expires`: seconds it shall live. A new subscription has it.
    pub expires: Option<u64>,
    /// `contactaddr`, in the order of preference. A new subscription has one at least.
    pub contacts: Vec<ContactAddress>,
    /// By event type, what to be told of: the request body, an object, as it came. Each event type with a filter has one in a new subscription.
    pub filters: BTreeMap<EventType, Box<str>>,
    /// `resource-id`: which map, where a server has several; the default network map without it.
    pub resource_id: Option<ResourceId>,
    /// `incremental`: whether notifications after the first may be patches.
    pub incremental: bool,
}

/// Why a subscription was not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotUnderstood {
    /// An event type that there is not: 503 (section 8.3).
    EventType(ErrorBody),
    /// Anything else: 400.
    Input(ErrorBody),
}

impl From<ErrorBody> for NotUnderstood {
    fn from(error: ErrorBody) -> Self {
        Self::Input(error)
    }
}

impl SubscribeInput {
    /// Reads an `application/alto-subscribeinput+json` body.
    pub fn from_json(body: &[u8]) -> Result<Self, NotUnderstood> {
        Self::from_json_within(body, &Limits::default())
    }

    /// The same, with bounds.
    pub fn from_json_within(body: &[u8], limits: &Limits) -> Result<Self, NotUnderstood> {
        let mut unknown = None;
        let input = json::document(body, limits, |reader| {
            let root = Path::ROOT;
            let mut input = Self::default();
            let (mut event_types, mut contacts) = (None, None);
            reader.object(&root, |reader, key| {
                let path = root.child(key);
                match &**key {
                    "subscrid" => input.subscrid = Some(subscrid_field(reader, &path)?),
                    "event-types" => event_types = Some(event_types_field(reader, &path, &mut unknown)?),
                    "expires" => input.expires = Some(seconds_field(reader, &path)?),
                    "contactaddr" => contacts = Some(read_contacts(reader, &path)?),
                    "resource-id" => input.resource_id = Some(reader.parsed_field(&path)?),
                    "incremental" => input.incremental = reader.bool_field(&path)?,
                    name => match EventType::ALL.into_iter().find(|event_type| event_type.filter_member() == Some(name)) {
                        Some(event_type) => drop(input.filters.insert(event_type, object_text(reader, &path)?)),
                        None => reader.skip()?,
                    },
                }
                Ok(())
            })?;
            input.event_types = event_types.ok_or_else(|| root.missing("event-types"))?;
            // What else is missing does not matter when it is not known what it is for.
            if input.subscrid.is_none() && unknown.is_none() {
                if input.expires.is_none() {
                    return Err(root.missing("expires"));
                }
                if contacts.is_none() {
                    return Err(root.missing("contactaddr"));
                }
                let filters = input.event_types.iter().filter(|event_type| !input.filters.contains_key(event_type));
                if let Some(member) = filters.filter_map(|event_type| event_type.filter_member()).next() {
                    return Err(root.missing(member));
                }
            }
            if input.subscrid.is_none() && input.expires == Some(0) {
                return Err(root.child("expires").invalid("0", reader.limits));
            }
            input.contacts = contacts.unwrap_or_default();
            Ok(input)
        })?;
        match unknown {
            Some(error) => Err(NotUnderstood::EventType(error)),
            None => Ok(input),
        }
    }

    /// The `application/alto-subscribeinput+json` body.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut object = json::Object::new(&mut out);
        if let Some(subscrid) = &self.subscrid {
            object.string("subscrid", subscrid);
        }
        json::array(object.key("event-types"), &self.event_types, json::write_text);
        if let Some(expires) = self.expires {
            write_seq(object.key("expires"), expires);
        }
        if !self.contacts.is_empty() {
            write_contacts(object.key("contactaddr"), &self.contacts);
        }
        for (event_type, filter) in &self.filters {
            let member = event_type.filter_member().expect("what has a filter has a member for it");
            object.key(member).extend_from_slice(filter.as_bytes());
        }
        if let Some(id) = &self.resource_id {
            object.string("resource-id", id.as_str());
        }
        if self.incremental {
            object.key("incremental").extend_from_slice(b"true");
        }
        object.end();
        out
    }
}

/// `SubscriptionData` (section 8.3.1): the answer to a subscription, and the body of a request to the unsubscribe URI (section 8.7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionData {
    /// `subscrid`
    pub subscrid: Box<str>,
    /// `expires`: seconds left. In a request 0 or nothing ends the subscription, more refreshes it.
    pub expires: Option<u64>,
    /// `event-types`: those of the subscription; a request may leave them out.
    pub event_types: Vec<EventType>,
}

impl SubscriptionData {
    /// Reads an `application/alto-subscriptiondata+json` body.
    pub fn from_json(body: &[u8]) -> Result<Self, NotUnderstood> {
        Self::from_json_within(body, &Limits::default())
    }

    /// The same, with bounds.
    pub fn from_json_within(body: &[u8], limits: &Limits) -> Result<Self, NotUnderstood> {
        let mut unknown = None;
        let data = json::document(body, limits, |reader| {
            let root = Path::ROOT;
            let (mut subscrid, mut expires, mut event_types) = (None, None, Vec::new());
            reader.object(&root, |reader, key| {
                let path = root.child(key);
                match &**key {
                    "subscrid" => subscrid = Some(subscrid_field(reader, &path)?),
                    "expires" => expires = Some(seconds_field(reader, &path)?),
                    "event-types" => event_types = event_types_field(reader, &path, &mut unknown)?,
                    _ => reader.skip()?,
                }
                Ok(())
            })?;
            Ok(Self { subscrid: subscrid.ok_or_else(|| root.missing("subscrid"))?, expires, event_types })
        })?;
        match unknown {
            Some(error) => Err(NotUnderstood::EventType(error)),
            None => Ok(data),
        }
    }

    /// The `application/alto-subscriptiondata+json` body.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut object = json::Object::new(&mut out);
        object.string("subscrid", &self.subscrid);
        if let Some(expires) = self.expires {
            write_seq(object.key("expires"), expires);
        }
        if !self.event_types.is_empty() {
            json::array(object.key("event-types"), &self.event_types, json::write_text);
        }
        object.end();
        out
    }
}

/// Bytes of a `subscrid`. 128: ours has 32, and somebody else's is not kept beyond that.
const SUBSCRID_BYTES_MAX: usize = 128;
/// Entries of `event-types`: each of them may be there, twice.
const EVENT_TYPES_MAX: usize = 2 * EventType::ALL.len();
/// A subscription of more than a hundred years is one for ever. The largest number that is still safe to add to any date.
const SECONDS_MAX: u64 = 100 * 366 * 24 * 60 * 60;

fn subscrid_field(reader: &mut Reader<'_>, path: &Path<'_>) -> Result<Box<str>, ErrorBody> {
    let text = reader.string_field(path)?;
    if text.is_empty() || text.len() > SUBSCRID_BYTES_MAX {
        return Err(path.invalid(&text, reader.limits));
    }
    Ok(text.into())
}

/// Known ones, each once; the first that is not is said to be `unknown`.
fn event_types_field(reader: &mut Reader<'_>, path: &Path<'_>, unknown: &mut Option<ErrorBody>) -> Result<Vec<EventType>, ErrorBody> {
    let mut event_types = Vec::new();
    let (mut named, limits) = (0, reader.limits);
    reader.array(path, |reader| {
        if named == EVENT_TYPES_MAX {
            return Err(reader.too_many(path, "event types", EVENT_TYPES_MAX));
        }
        named += 1;
        reader.element_of(Type::String, path)?;
        let text = reader.string()?;
        match text.parse() {
            Ok(event_type) if event_types.contains(&event_type) => {}
            Ok(event_type) => event_types.push(event_type),
            Err(UnknownEventType { text }) => drop(unknown.get_or_insert_with(|| path.invalid(&text, limits))),
        }
        Ok(())
    })?;
    if named == 0 {
        return Err(path.invalid("[]", limits));
    }
    Ok(event_types)
}

/// Whole seconds, at most [`SECONDS_MAX`]: more is as long.
fn seconds_field(reader: &mut Reader<'_>, path: &Path<'_>) -> Result<u64, ErrorBody> {
    if reader.peek()? == Type::String {
        let text = reader.string_field(path)?;
        let digits = !text.is_empty() && text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit());
        return if digits { Ok(text.parse().unwrap_or(u64::MAX).min(SECONDS_MAX)) } else { Err(path.invalid(&text, reader.limits)) };
    }
    let (number, text) = reader.number_field(path)?;
    if number < 0.0 || number.fract() != 0.0 {
        return Err(path.invalid(text, reader.limits));
    }
    // An infinite one too; a float becomes the nearest integer there is.
    Ok((number as u64).min(SECONDS_MAX))
}

fn read_contacts(reader: &mut Reader<'_>, path: &Path<'_>) -> Result<Vec<ContactAddress>, ErrorBody> {
    let mut contacts = Vec::new();
    reader.object(path, |reader, key| {
        let path = path.child(key);
        match &**key {
            "ipv4" => read_contacts_of(reader, &path, &mut contacts, true),
            "ipv6" => read_contacts_of(reader, &path, &mut contacts, false),
            // An address type that we do not know cannot be reached from here.
            _ => reader.skip(),
        }
    })?;
    if contacts.is_empty() {
        return Err(path.missing("ipv4"));
    }
    Ok(contacts)
}

fn read_contacts_of(reader: &mut Reader<'_>, path: &Path<'_>, contacts: &mut Vec<ContactAddress>, ipv4: bool) -> Result<(), ErrorBody> {
    reader.array(path, |reader| {
        reader.element_of(Type::Object, path)?;
        let (mut address, mut port, mut tls) = (None, None, false);
        reader.object(path, |reader, key| {
            let path = path.child(key);
            match &**key {
                "addr" => address = Some(address_field(reader, &path, ipv4)?),
                "port" => port = Some(port_field(reader, &path)?),
                "scheme" => {
                    let scheme = reader.string_field(&path)?;
                    tls = match &*scheme {
                        "http" => false,
                        "https" => true,
                        _ => return Err(path.invalid(&scheme, reader.limits)),
                    };
                }
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        let address = address.ok_or_else(|| path.missing("addr"))?;
        let contact = ContactAddress { address, port: port.ok_or_else(|| path.missing("port"))?, tls };
        if contacts.contains(&contact) {
            return Ok(());
        }
        if contacts.len() == CONTACTS_MAX {
            return Err(reader.too_many(path, "contact addresses", CONTACTS_MAX));
        }
        contacts.push(contact);
        Ok(())
    })
}

/// The one text of an IPv4 address (four decimal numbers without leading zeros), or one of an IPv6 address that is not an IPv4 address in disguise.
fn address_field(reader: &mut Reader<'_>, path: &Path<'_>, ipv4: bool) -> Result<IpAddr, ErrorBody> {
    let text = reader.string_field(path)?;
    let address: Option<IpAddr> = text.parse().ok();
    address
        .filter(|address| address.is_ipv4() == ipv4 && *address == address.to_canonical())
        .ok_or_else(|| path.invalid(&text, reader.limits))
}

fn port_field(reader: &mut Reader<'_>, path: &Path<'_>) -> Result<u16, ErrorBody> {
    let (number, text) = reader.number_field(path)?;
    let port = number as u16;
    if port == 0 || f64::from(port) != number {
        return Err(path.invalid(text, reader.limits));
    }
    Ok(port)
}

fn write_contacts(out: &mut Vec<u8>, contacts: &[ContactAddress]) {
    let mut object = json::Object::new(out);
    for (name, ipv4) in [("ipv4", true), ("ipv6", false)] {
        let of_family: Vec<_> = contacts.iter().filter(|contact| contact.address.is_ipv4() == ipv4).collect();
        if of_family.is_empty() {
            continue;
        }
        json::array(object.key(name), of_family, |out, contact| {
            let mut object = json::Object::new(out);
            json::write_text(object.key("addr"), contact.address);
            write_seq(object.key("port"), contact.port.into());
            if contact.tls {
                object.string("scheme", "https");
            }
            object.end();
        });
    }
    object.end();
}
