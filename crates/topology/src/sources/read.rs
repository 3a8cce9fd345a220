//! From files to an observation: decompression, bounds, names, and which reader takes what.
use super::{
    Error, Input, Limits, Options, SourceKind, aws,
    error::{Refusal, within},
    frr_ospf, frr_te, graphml, ietf_network,
    json::{self, Node},
    latency, prefix_csv, repetita,
};
use crate::observation::{Link, Matrix, Observation, Oddity, PrefixAt, Router};
use std::{borrow::Cow, io::Read};

const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Reads all files of one source into its present view.
///
/// Errors: any [`Error`] but `Missing` and `Unreadable`, which are for who opens files; the first fault refuses all of them.
pub fn read(kind: SourceKind, files: &[Input<'_>], options: &Options) -> Result<Observation, Error> {
    let Some(last) = files.last() else { return Err(Error::Missing { pattern: "(no file)".into() }) };
    let mut into = Collector { observation: Observation::default(), options, file: None, odd: 0 };
    let mut ospf = frr_ospf::Database::default();
    let mut pairs = latency::Pairs::default();
    for file in files {
        into.file = Some(file.name).filter(|_| files.len() > 1);
        let bytes = plain(*file, &options.limits)?;
        let outcome = match kind {
            SourceKind::Graphml => graphml::read(&bytes, options, &mut into),
            SourceKind::Repetita => repetita::read(&bytes, options, &mut into),
            SourceKind::IetfNetwork => json::parse(&bytes).and_then(|value| ietf_network::read(Node::root(&value), options, &mut into)),
            SourceKind::FrrOspf => json::parse(&bytes).and_then(|value| ospf.read(Node::root(&value), options, &mut into)),
            SourceKind::FrrTe => json::parse(&bytes).and_then(|value| frr_te::read(Node::root(&value), options, &mut into)),
            SourceKind::PrefixCsv => prefix_csv::read(&bytes, options, &mut into),
            SourceKind::AwsIpRanges => aws::read(&bytes, options, &mut into),
            SourceKind::LatencyMatrix => latency::wide(&bytes, options, &mut into),
            SourceKind::LatencyPairs => pairs.read(&bytes, options, &mut into),
        };
        outcome.map_err(|why| why.in_file(file.name))?;
    }
    into.file = None;
    ospf.finish(options, &mut into).map_err(|why| why.in_file(last.name))?;
    pairs.finish(options, &mut into).map_err(|why| why.in_file(last.name))?;
    Ok(into.finish())
}

/// The content, decompressed if it is gzip; refused when it is larger than the bound.
pub(super) fn plain<'a>(file: Input<'a>, limits: &Limits) -> Result<Cow<'a, [u8]>, Error> {
    let bounded = |count: usize| within(count, limits.bytes_max, "bytes", "bytes_max").map_err(|why| why.in_file(file.name));
    if !file.bytes.starts_with(&GZIP) {
        bounded(file.bytes.len())?;
        return Ok(Cow::Borrowed(file.bytes));
    }
    let mut plain = Vec::new();
    let most = limits.bytes_max as u64 + 1;
    let outcome = flate2::read::MultiGzDecoder::new(file.bytes).take(most).read_to_end(&mut plain);
    outcome.map_err(|why| Refusal::whole(format!("damaged gzip: {why}"), "compress the file again, whole").in_file(file.name))?;
    bounded(plain.len())?;
    Ok(Cow::Owned(plain))
}

/// Takes what readers find: applies names, bounds, and the wish for routers only.
pub(super) struct Collector<'o> {
    pub(super) observation: Observation,
    options: &'o Options,
    /// Named in oddities when there are several.
    file: Option<&'o str>,
    odd: usize,
}

impl Collector<'_> {
    pub(super) fn router(&mut self, router: Router) -> Result<(), Refusal> {
        within(self.observation.routers.len() + 1, self.options.limits.routers_max, "routers", "routers_max")?;
        self.observation.routers.push(Router { id: self.name(&router.id), ..router });
        Ok(())
    }

    pub(super) fn link(&mut self, link: Link) -> Result<(), Refusal> {
        within(self.observation.links.len() + 1, self.options.limits.links_max, "links", "links_max")?;
        self.observation.links.push(Link { from: self.name(&link.from), to: self.name(&link.to), ..link });
        Ok(())
    }

    pub(super) fn prefix(&mut self, at: PrefixAt) -> Result<(), Refusal> {
        within(self.observation.prefixes.len() + 1, self.options.limits.prefixes_max, "prefixes", "prefixes_max")?;
        let router = at.router.map(|router| self.name(&router));
        self.observation.prefixes.push(PrefixAt { router, ..at });
        Ok(())
    }

    pub(super) fn matrix(&mut self, matrix: Matrix) {
        self.observation.matrices.push(matrix);
    }

    pub(super) fn odd(&mut self, place: String, what: String) {
        self.odd += 1;
        if self.odd <= self.options.limits.oddities_max {
            let place = self.file.map_or(place.clone(), |file| format!("{file}: {place}"));
            self.observation.oddities.push(Oddity { place, what });
        }
    }

    /// A router's name after the table of names.
    pub(super) fn name(&self, own: &str) -> Box<str> {
        self.options.names.get(own).cloned().unwrap_or_else(|| own.into())
    }

    fn finish(mut self) -> Observation {
        let hidden = self.odd.saturating_sub(self.options.limits.oddities_max);
        if hidden > 0 {
            self.observation.oddities.push(Oddity { place: "source".into(), what: format!("{hidden} more oddities like these") });
        }
        if self.options.routers_only {
            let Observation { routers, oddities, validity, .. } = self.observation;
            return Observation { routers, oddities, validity, ..Observation::default() };
        }
        let prefixes = &mut self.observation.prefixes;
        // Sorted here, off the fuser's path: tables have a million rows.
        if !prefixes.is_sorted_by(|a, b| a.prefix < b.prefix) {
            prefixes.sort_by_key(|at| at.prefix);
            let (before, mut moved) = (prefixes.len(), 0);
            prefixes.dedup_by(|later, kept| {
                let twice = later.prefix == kept.prefix;
                moved += usize::from(twice && (later.group != kept.group || later.router != kept.router));
                twice
            });
            let twice = before - prefixes.len();
            if twice > 0 {
                let what = format!("{twice} prefixes are there twice, {moved} of them at another place: the first counts");
                self.observation.oddities.push(Oddity { place: "prefixes".into(), what });
            }
        }
        self.observation
    }
}
