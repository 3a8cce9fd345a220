//! Measured latencies: a wide CSV (a row per source, a column per destination) or a long one (a row per pair).
//!
//! Values come in milliseconds unless the options say otherwise and leave in the microseconds of RFC 9439, rounded to the nanosecond. A blank
//! cell was not measured. Names go through [`group_name`], as those of prefix tables do, so that both meet.
//! A long table may have a table of places beside it (`id`, `name`, `latitude`, `longitude`), which names and places its ids.
use super::{
    Options,
    csv::{Fields, Records, column},
    error::{Refusal, within},
    options::Unit,
    read::Collector,
};
use crate::observation::{Matrix, Router, group_name};
use alto::cost::Metric;
use std::collections::{BTreeMap, HashMap, HashSet};

const FIX_ROW: &str = "correct the row, or name the right columns in the source's `columns`";

pub(super) fn wide(bytes: &[u8], options: &Options, into: &mut Collector<'_>) -> Result<(), Refusal> {
    let mut records = Records::new(bytes);
    let mut header = Fields::new();
    let Some(first) = records.next_into(&mut header)?.filter(|_| header.len() > 1) else {
        return Err(Refusal::whole("no header with destinations", "give a table whose first row names the destinations"));
    };
    let mut seen = HashSet::new();
    let mut name = |text: &str, line: u64, what: &str| -> Result<Box<str>, Refusal> {
        let name = spelled(text, options).ok_or_else(|| Refusal::line(line, format!("a {what} without a name"), FIX_ROW))?;
        if seen.insert((what.len(), name.clone())) {
            Ok(name)
        } else {
            Err(Refusal::line(line, format!("{what} {name:?} is there twice"), FIX_ROW))
        }
    };
    let destinations = header[1..].iter().map(|text| name(text, first, "column")).collect::<Result<Vec<_>, _>>()?;
    let mut sources = Vec::new();
    let mut values = Vec::new();
    let mut fields = Fields::new();
    while let Some(line) = records.next_into(&mut fields)? {
        if fields.len() != header.len() {
            let what = format!("{} fields where the header has {}", fields.len(), header.len());
            return Err(Refusal::line(line, what, "correct the row; if it is the last one, write the file again, whole"));
        }
        within(values.len() + destinations.len(), options.limits.cells_max, "cells", "cells_max")?;
        sources.push(name(&fields[0], line, "row")?);
        for field in &fields[1..] {
            values.push(if field.trim().is_empty() { f64::NAN } else { value(field, options.unit, line)? });
        }
    }
    into.matrix(Matrix { metric: metric(options), sources, destinations, values });
    Ok(())
}

/// A long table or its table of places, in any order.
#[derive(Default)]
pub(super) struct Pairs {
    names: BTreeMap<Box<str>, Box<str>>,
    /// Raw names as the table has them.
    pairs: HashMap<(u32, u32), f64>,
    raw: HashMap<Box<str>, u32>,
    read: bool,
}

impl Pairs {
    pub(super) fn read(&mut self, bytes: &[u8], options: &Options, into: &mut Collector<'_>) -> Result<(), Refusal> {
        let mut records = Records::new(bytes);
        let mut header = Fields::new();
        let Some(first) = records.next_into(&mut header)? else {
            return Err(Refusal::whole("no rows in it", "give a table of pairs"));
        };
        let known = |names: &[&str]| column(Some(&header), None, names, header.len());
        if let (Some(lat), Some(lon), Some(id)) = (known(&["latitude", "lat"])?, known(&["longitude", "lon"])?, known(&["id", "iata"])?) {
            let name = known(&["title", "name"])?.unwrap_or(id);
            return self.places(&mut records, [id, name, lat, lon], known(&["country"])?, options, into);
        }
        let columns = &options.columns;
        let find = |option: &Option<Box<str>>, names: &[&str], what: &str, advice: &'static str| {
            let found = column(Some(&header), option.as_deref(), names, header.len())?;
            found.ok_or_else(|| Refusal::line(first, format!("no column of {what} in the header {}", header.join(",")), advice))
        };
        let from = find(&columns.source, &["source", "src", "from", "cty1"], "sources", "name it in the source's `columns.source`")?;
        let to = find(&columns.destination, &["destination", "dst", "to", "cty2"], "destinations", "name it in `columns.destination`")?;
        let what = find(&columns.value, &["avg", "rtt_avg", "rtt", "mean", "median", "value"], "values", "name it in `columns.value`")?;
        self.read = true;
        let mut fields = Fields::new();
        while let Some(line) = records.next_into(&mut fields)? {
            let at = |column: usize| {
                let field = fields.get(column).map(|field| field.trim());
                field.ok_or_else(|| Refusal::line(line, format!("{} fields, no column {}", fields.len(), column + 1), FIX_ROW))
            };
            let pair = (self.number(at(from)?, line)?, self.number(at(to)?, line)?);
            let value = value(at(what)?, options.unit, line)?;
            within(self.pairs.len() + 1, options.limits.cells_max, "pairs", "cells_max")?;
            if self.pairs.insert(pair, value).is_some() {
                return Err(Refusal::line(line, format!("the pair {},{} is there twice", at(from)?, at(to)?), FIX_ROW));
            }
        }
        Ok(())
    }

    pub(super) fn finish(self, options: &Options, into: &mut Collector<'_>) -> Result<(), Refusal> {
        if !self.read {
            return Ok(());
        }
        // Raw names may become one only by mistake: two ids called alike would hide each other's values.
        let mut names: Vec<(Box<str>, u32)> = Vec::new();
        for (raw, number) in &self.raw {
            let given = options.names.get(raw).or_else(|| self.names.get(raw)).unwrap_or(raw);
            let name =
                spelled(given, options).ok_or_else(|| Refusal::whole(format!("{raw:?} has no usable name"), "name it in `names`"))?;
            names.push((name, *number));
        }
        names.sort();
        if let Some(twice) = names.windows(2).find(|two| two[0].0 == two[1].0) {
            return Err(Refusal::whole(format!("two places are called {:?}", twice[0].0), "tell them apart in the source's `names`"));
        }
        let size = names.len();
        within(size.saturating_mul(size), options.limits.cells_max, "cells", "cells_max")?;
        let mut place = vec![0; size];
        for (at, (_, number)) in names.iter().enumerate() {
            place[*number as usize] = at;
        }
        let mut values = vec![f64::NAN; size * size];
        for ((from, to), value) in &self.pairs {
            let (from, to) = (place[*from as usize], place[*to as usize]);
            values[from * size + to] = *value;
        }
        if options.symmetric {
            for ((from, to), value) in &self.pairs {
                let mirror = &mut values[place[*to as usize] * size + place[*from as usize]];
                *mirror = if mirror.is_nan() { *value } else { *mirror };
            }
        }
        let names: Vec<Box<str>> = names.into_iter().map(|(name, _)| name).collect();
        into.matrix(Matrix { metric: metric(options), sources: names.clone(), destinations: names, values });
        Ok(())
    }

    fn number(&mut self, raw: &str, line: u64) -> Result<u32, Refusal> {
        if raw.is_empty() {
            return Err(Refusal::line(line, "a pair with an end missing", FIX_ROW));
        }
        if let Some(number) = self.raw.get(raw) {
            return Ok(*number);
        }
        let next = self.raw.len() as u32;
        self.raw.insert(raw.into(), next);
        Ok(next)
    }

    fn places(
        &mut self,
        records: &mut Records<'_>,
        [id, name, lat, lon]: [usize; 4],
        country: Option<usize>,
        options: &Options,
        into: &mut Collector<'_>,
    ) -> Result<(), Refusal> {
        let mut fields = Fields::new();
        while let Some(line) = records.next_into(&mut fields)? {
            let at = |column: usize| {
                let field = fields.get(column).map(|field| field.trim());
                field.ok_or_else(|| Refusal::line(line, format!("{} fields, no column {}", fields.len(), column + 1), FIX_ROW))
            };
            let degrees = |column: usize, most: f64| -> Result<f64, Refusal> {
                let text = at(column)?;
                let number: Option<f64> = text.parse().ok().filter(|number: &f64| number.abs() <= most);
                number.ok_or_else(|| Refusal::line(line, format!("{text:?} is no coordinate"), FIX_ROW))
            };
            let (id, name) = (at(id)?, at(name)?);
            let location = Some((degrees(lat, 90.0)?, degrees(lon, 180.0)?));
            let country = country.map(at).transpose()?.filter(|country| !country.is_empty()).map(Box::from);
            let given = options.names.get(id).map_or(name, |name| name);
            if let Some(name) = spelled(given, options) {
                into.router(Router { id: name, country, location, addresses: Vec::new() })?;
            }
            self.names.insert(id.into(), name.into());
        }
        Ok(())
    }
}

fn spelled(text: &str, options: &Options) -> Option<Box<str>> {
    let text = text.trim();
    group_name(options.names.get(text).map_or(text, |name| name)).map(|pid| pid.as_str().into())
}

fn value(text: &str, unit: Unit, line: u64) -> Result<f64, Refusal> {
    let text = text.trim();
    let number: Option<f64> = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    let number = number.ok_or_else(|| Refusal::line(line, format!("{text:?} is not a number of at least 0"), FIX_ROW))?;
    Ok(match unit {
        // Through nanoseconds: 288.722 ms is 288722 us, not 288722.00000000006.
        Unit::Milliseconds => (number * 1e6).round() / 1e3,
        Unit::Microseconds | Unit::Own => number,
    })
}

fn metric(options: &Options) -> Metric {
    options.metric.clone().unwrap_or_else(|| "delay-rt".parse().expect("a registered metric name"))
}
