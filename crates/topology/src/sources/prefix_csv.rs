//! Prefix tables: a prefix or a range of addresses, and where it is: PID, region or country; AS number; router.
//!
//! With a header the columns are found by name, without one by content: `prefix,place`, or `start,end,place` as in IP-location databases and
//! Tor's `geoip` (addresses as decimal numbers). A place that is all digits, or `AS` and digits, is an AS number.
//! Invariant: the prefixes come out sorted, each once; of one prefix twice the first row counts.
use super::{
    Options,
    csv::{Fields, Records, column},
    error::{Refusal, within},
    read::Collector,
};
use crate::observation::{PrefixAt, group_name};
use alto::{endpoint::Prefix, id::Pid};
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

struct Layout {
    addresses: Addresses,
    group: Option<usize>,
    router: Option<usize>,
    asn: Option<usize>,
}

enum Addresses {
    Prefix(usize),
    Range(usize, usize),
}

const FIX_ROW: &str = "correct the row, or name the right columns with the source's `column-...` keys";

pub(super) fn read(bytes: &[u8], options: &Options, into: &mut Collector<'_>) -> Result<(), Refusal> {
    let mut records = Records::new(bytes);
    let mut fields = Fields::new();
    let Some(first) = records.next_into(&mut fields)? else {
        return Err(Refusal::whole("no rows in it", "give a table of prefixes"));
    };
    let (layout, is_header) = layout(&fields, options, first)?;
    let mut groups = Groups { options, pids: HashMap::new(), last: None };
    let mut rows = Rows { layout, placeless: 0, host_bits: 0 };
    if !is_header {
        rows.row(&fields, first, options, &mut groups, into)?;
    }
    while let Some(line) = records.next_into(&mut fields)? {
        rows.row(&fields, line, options, &mut groups, into)?;
    }
    for (count, what) in [
        (rows.placeless, "without group, router or AS number: skipped"),
        (rows.host_bits, "with bits set past the prefix length: the bits were cleared"),
    ] {
        if count > 0 {
            into.odd("table".into(), format!("{count} rows {what}"));
        }
    }
    Ok(())
}

struct Rows {
    layout: Layout,
    placeless: u64,
    host_bits: u64,
}

impl Rows {
    fn row<'a>(
        &mut self,
        fields: &Fields<'a>,
        line: u64,
        options: &Options,
        groups: &mut Groups<'a, '_>,
        into: &mut Collector<'_>,
    ) -> Result<(), Refusal> {
        let at = |column: usize| -> Result<&str, Refusal> {
            let field = fields.get(column).map(|field| field.trim());
            field.ok_or_else(|| Refusal::line(line, format!("{} fields, no column {}", fields.len(), column + 1), FIX_ROW))
        };
        let place = |column: Option<usize>| column.map(at).transpose().map(|text| text.filter(|text| !text.is_empty()));
        let group = match self.layout.group {
            Some(column) => groups.pid(&fields[..], column, line)?,
            None => None,
        };
        let router = place(self.layout.router)?.map(|name| into.name(name));
        let asn = match place(self.layout.asn)? {
            Some(text) => Some(asn(text).ok_or_else(|| Refusal::line(line, format!("{text:?} is not an AS number"), FIX_ROW))?),
            None => None,
        };
        if group.is_none() && router.is_none() && asn.is_none() {
            self.placeless += 1;
            return Ok(());
        }
        let mut add = |prefix: Prefix| -> Result<(), Refusal> {
            let prefixes = &mut into.observation.prefixes;
            within(prefixes.len() + 1, options.limits.prefixes_max, "prefixes", "prefixes_max")?;
            prefixes.push(PrefixAt { prefix, group: group.clone(), router: router.clone(), asn });
            Ok(())
        };
        match self.layout.addresses {
            Addresses::Prefix(column) => {
                let text = at(column)?;
                let wrong = || Refusal::line(line, format!("{text:?} is not a prefix"), FIX_ROW);
                let (address, length) = parse_prefix(text).ok_or_else(wrong)?;
                let prefix = Prefix::new(address, length).ok_or_else(wrong)?;
                self.host_bits += u64::from(prefix.address() != address);
                add(prefix)
            }
            Addresses::Range(start, end) => {
                let address =
                    |text: &str| parse_address(text).ok_or_else(|| Refusal::line(line, format!("{text:?} is not an address"), FIX_ROW));
                let (start, end) = (address(at(start)?)?, address(at(end)?)?);
                if start.is_ipv4() != end.is_ipv4() || start > end {
                    return Err(Refusal::line(line, format!("{start} to {end} is no range of addresses"), FIX_ROW));
                }
                range(start, end, add)
            }
        }
    }
}

/// Groups by their spelling, each name made a PID once: tables have a million rows and few places.
struct Groups<'a, 'o> {
    options: &'o Options,
    pids: HashMap<Box<str>, Option<Pid>>,
    /// The last row's, as tables are mostly sorted.
    last: Option<(std::borrow::Cow<'a, str>, Option<Pid>)>,
}

impl<'a> Groups<'a, '_> {
    fn pid(&mut self, fields: &[std::borrow::Cow<'a, str>], column: usize, line: u64) -> Result<Option<Pid>, Refusal> {
        let text =
            fields.get(column).ok_or_else(|| Refusal::line(line, format!("{} fields, no column {}", fields.len(), column + 1), FIX_ROW))?;
        if let Some((last, pid)) = &self.last
            && last == text
        {
            return Ok(pid.clone());
        }
        let pid = match self.pids.get(&**text) {
            Some(pid) => pid.clone(),
            None => {
                let name = self.options.names.get(text.trim()).map_or(text.trim(), |name| name);
                let pid = group_name(name);
                self.pids.insert((&**text).into(), pid.clone());
                pid
            }
        };
        self.last = Some((text.clone(), pid.clone()));
        Ok(pid)
    }
}

/// Which column is what, and whether the first row is a header.
fn layout(first: &Fields<'_>, options: &Options, line: u64) -> Result<(Layout, bool), Refusal> {
    let columns = &options.columns;
    let width = first.len();
    let is_address = |at: usize| first.get(at).is_some_and(|field| parse_address(field.trim()).is_some());
    let is_range = is_address(0) && is_address(1);
    let is_header = !is_range && !first.iter().any(|field| parse_prefix(field.trim()).is_some());
    let header = is_header.then_some(first);
    let find = |option: &Option<Box<str>>, known: &[&str]| column(header, option.as_deref(), known, width);

    let prefix = find(&columns.prefix, &["prefix", "cidr", "network", "ip_prefix", "subnet"])?;
    let start = find(&None, &["start", "start_ip", "range_start", "ip_start"])?;
    let end = find(&None, &["end", "end_ip", "range_end", "ip_end"])?;
    let (addresses, next) = match (prefix, start, end) {
        (Some(prefix), ..) => (Addresses::Prefix(prefix), usize::from(prefix == 0)),
        (None, Some(start), Some(end)) => (Addresses::Range(start, end), 2),
        _ if is_header => {
            let what = format!("no column of prefixes in the header {}", first.join(","));
            return Err(Refusal::line(line, what, "name it in the source's `columns.prefix`"));
        }
        _ if is_range => (Addresses::Range(0, 1), 2),
        _ => (Addresses::Prefix(0), 1),
    };
    let mut group = find(&columns.group, &["pid", "group", "region", "country", "country_code", "cc", "tag"])?;
    let mut asn_at = find(&columns.asn, &["asn", "as", "origin", "origin_as"])?;
    let router = find(&columns.router, &["router", "router_id", "node"])?;
    if !is_header && group.is_none() && asn_at.is_none() && router.is_none() && next < width {
        *(if asn(first[next].trim()).is_some() { &mut asn_at } else { &mut group }) = Some(next);
    }
    if group.is_none() && asn_at.is_none() && router.is_none() {
        let what = format!("no column of PIDs, AS numbers or routers in the row {}", first.join(","));
        return Err(Refusal::line(line, what, "name one in the source's `columns` (`group`, `asn` or `router`)"));
    }
    Ok((Layout { addresses, group, router, asn: asn_at }, is_header))
}

fn asn(text: &str) -> Option<u32> {
    text.strip_prefix("AS").or_else(|| text.strip_prefix("as")).unwrap_or(text).parse().ok()
}

/// Address and length; a lone address is a host.
fn parse_prefix(text: &str) -> Option<(IpAddr, u8)> {
    match text.split_once('/') {
        Some((address, length)) => {
            // `u8::from_str` takes a sign.
            let digits = !length.is_empty() && length.len() <= 3 && length.bytes().all(|byte| byte.is_ascii_digit());
            Some((address.parse().ok()?, length.parse().ok().filter(|_| digits)?))
        }
        None => {
            let address: IpAddr = text.parse().ok()?;
            Some((address, if address.is_ipv4() { 32 } else { 128 }))
        }
    }
}

/// An address, or an IPv4 address as a decimal number.
fn parse_address(text: &str) -> Option<IpAddr> {
    let decimal = || text.parse::<u32>().ok().map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)));
    text.parse().ok().or_else(decimal)
}

/// The fewest prefixes that are exactly the addresses from `start` to `end`: at most two a length.
pub(super) fn range(start: IpAddr, end: IpAddr, mut add: impl FnMut(Prefix) -> Result<(), Refusal>) -> Result<(), Refusal> {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    let width: u32 = if start.is_ipv4() { 32 } else { 128 };
    let (mut at, end) = (bits(start), bits(end));
    loop {
        // The largest block that begins here and does not reach past the end.
        let aligned = if at == 0 { width } else { at.trailing_zeros().min(width) };
        let left = end - at;
        let fits = if left == u128::MAX { 128 } else { 127 - (left + 1).leading_zeros() };
        let size = aligned.min(fits);
        let address = if width == 32 { IpAddr::V4(Ipv4Addr::from_bits(at as u32)) } else { IpAddr::V6(Ipv6Addr::from_bits(at)) };
        add(Prefix::new(address, (width - size) as u8).expect("the size is at most the width"))?;
        if size == 128 {
            return Ok(());
        }
        match at.checked_add(1 << size) {
            Some(next) if next <= end => at = next,
            _ => return Ok(()),
        }
    }
}
