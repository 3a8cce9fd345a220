//! Which links and routers there are, and what is known of each link.
use super::SourceState;
use crate::{
    graph::{Link, RouterIx, SourceIx},
    observation::{self, Oddity},
};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::IpAddr,
};

/// Oddities of fusion kept for one source: more than anyone reads.
const ODDITIES_MAX: usize = 100;

pub(super) struct Links<'a> {
    /// Sorted.
    pub(super) routers: Vec<&'a str>,
    /// In the order of [`crate::graph::Graph::links`].
    pub(super) links: Vec<Link>,
}

/// A link of one source, its ends as places in the sorted list of all names.
#[derive(Clone, Copy)]
struct Claim<'a> {
    ends: (u32, u32),
    /// Place of its source in the order of precedence.
    rank: usize,
    link: &'a observation::Link,
    /// Its source decides whether these two routers are linked.
    decides: bool,
}

/// A link being put together.
struct Draft<'a> {
    ends: (u32, u32),
    rank: usize,
    claimed: &'a observation::Link,
    remote_address: Option<IpAddr>,
    igp_cost: Option<u32>,
    cost_rank: usize,
    delay_us: Option<f64>,
    bandwidth_bps: Option<f64>,
}

pub(super) fn fuse<'a>(sources: &'a [SourceState], order: &[SourceIx], oddities: &mut Vec<(SourceIx, Oddity)>) -> Links<'a> {
    let in_order: Vec<&'a SourceState> = order.iter().map(|ix| &sources[usize::from(ix.0)]).collect();
    let known: Vec<HashSet<&str>> = in_order.iter().map(|state| if state.gives_links() { state.names() } else { HashSet::new() }).collect();
    let any_links = in_order.iter().any(|state| state.gives_links());
    let names: Vec<&'a str> = in_order
        .iter()
        .filter(|state| state.gives_links() || !any_links)
        .flat_map(|state| state.names())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let place: HashMap<&str, u32> = names.iter().zip(0..).map(|(name, ix)| (*name, ix)).collect();

    let mut claims = Vec::new();
    for (rank, state) in in_order.iter().enumerate() {
        let better = in_order.iter().zip(&known).take_while(|(other, _)| other.precedence > state.precedence);
        let better: Vec<&HashSet<&str>> = better.map(|(_, known)| known).collect();
        for link in state.links.iter().filter(|link| link.from != link.to) {
            let decides = !better.iter().any(|known| known.contains(&*link.from) && known.contains(&*link.to));
            claims.push(Claim { ends: (place[&*link.from], place[&*link.to]), rank, link, decides });
        }
    }
    // Stable: within a pair and a source the source's own order remains.
    claims.sort_by_key(|claim| (claim.ends, claim.rank));
    let drafts: Vec<Draft> = claims.chunk_by(|a, b| a.ends == b.ends).flat_map(draft_pair).collect();

    let mut odd = Complaints { order, counts: vec![0; order.len()], oddities };
    let usable = two_way(drafts, &names, &mut odd);
    let gone = vanished(&claims, &usable, names.len());
    for at in (0..names.len()).filter(|at| gone[*at]) {
        let rank = known.iter().position(|known| known.contains(names[at])).unwrap_or(0);
        odd.add(rank, names[at], "reports links, but no neighbour confirms one: taken as gone");
    }
    let usable = with_costs(usable, &names, &mut odd);
    odd.finish();

    let mut new_place = vec![0_u32; names.len()];
    let mut routers = Vec::with_capacity(names.len());
    for (at, name) in names.iter().enumerate().filter(|(at, _)| !gone[*at]) {
        new_place[at] = routers.len() as u32;
        routers.push(*name);
    }
    let mut links: Vec<(Link, Option<IpAddr>)> = usable
        .iter()
        .map(|draft| {
            let link = Link {
                from: RouterIx(new_place[draft.ends.0 as usize]),
                to: RouterIx(new_place[draft.ends.1 as usize]),
                local_address: draft.claimed.local_address,
                igp_cost: draft.igp_cost.unwrap_or(1),
                delay_us: draft.delay_us,
                bandwidth_bps: draft.bandwidth_bps,
                source: order[draft.cost_rank],
            };
            (link, draft.remote_address)
        })
        .collect();
    // Costs last: parallel links without addresses come alike whatever order their file has them in.
    links.sort_by(|(a, a_remote), (b, b_remote)| {
        let key = |link: &Link, remote: &Option<IpAddr>| (link.from, link.to, link.local_address, *remote, link.igp_cost);
        key(a, a_remote)
            .cmp(&key(b, b_remote))
            .then(a.delay_us.unwrap_or(f64::MAX).total_cmp(&b.delay_us.unwrap_or(f64::MAX)))
            .then(a.bandwidth_bps.unwrap_or(0.0).total_cmp(&b.bandwidth_bps.unwrap_or(0.0)))
    });
    Links { routers, links: links.into_iter().map(|(link, _)| link).collect() }
}

/// The links from one router to another, from all that is claimed of the two.
fn draft_pair<'a>(claims: &[Claim<'a>]) -> Vec<Draft<'a>> {
    let mut drafts: Vec<Draft> = Vec::new();
    for of_source in claims.chunk_by(|a, b| a.rank == b.rank) {
        if drafts.is_empty() {
            // The best source that speaks of the pair; where a better one knows both ends and has no link, there is none.
            if !of_source[0].decides {
                return drafts;
            }
            for claim in of_source {
                match drafts.iter_mut().find(|draft| same_address(draft.claimed.local_address, claim.link.local_address)) {
                    // The same interface twice: one link, the cheaper.
                    Some(twice) if claim.link.igp_cost < twice.igp_cost => *twice = Draft::new(claim),
                    Some(_) => {}
                    None => drafts.push(Draft::new(claim)),
                }
            }
            continue;
        }
        fill(&mut drafts, of_source);
    }
    drafts
}

/// Fills what is missing from a further source; one that decides as well may add links at addresses of their own.
fn fill<'a>(drafts: &mut Vec<Draft<'a>>, claims: &[Claim<'a>]) {
    let mut matched = vec![false; drafts.len()];
    let mut left: Vec<Claim> = Vec::new();
    for claim in claims {
        let hit = drafts
            .iter()
            .position(|draft| same_address(draft.claimed.local_address, claim.link.local_address))
            .or_else(|| drafts.iter().position(|draft| same_address(draft.remote_address, claim.link.remote_address)));
        match hit {
            Some(at) => {
                drafts[at].take(claim, true);
                matched[at] = true;
            }
            None => left.push(*claim),
        }
    }
    if left.is_empty() {
        return;
    }
    let open: Vec<usize> = (0..drafts.len()).filter(|at| !matched[*at]).collect();
    // By the pair alone. Two addresses of one family that differ are two links.
    let comparable = |draft: &Draft, claim: &Claim| !differ(draft.claimed.local_address, claim.link.local_address);
    if let ([at], [claim]) = (&open[..], &left[..])
        && comparable(&drafts[*at], claim)
    {
        drafts[*at].take(claim, true);
        return;
    }
    let (vague, own): (Vec<Claim>, Vec<Claim>) = left.iter().partition(|claim| open.iter().any(|at| comparable(&drafts[*at], claim)));
    // Several candidates: which is which cannot be known, but ends apart make a delay, and a figure all agree on is everyone's.
    let agree = vague.windows(2).all(|two| two[0].link.bandwidth_bps == two[1].link.bandwidth_bps);
    if let Some(claim) = vague.first() {
        for at in open {
            drafts[at].take(claim, agree && vague.len() > 1);
        }
    }
    let v4_v6_apart = |claim: &Claim| drafts.iter().all(|draft| differ(draft.claimed.local_address, claim.link.local_address));
    let added: Vec<Draft> = own.iter().filter(|claim| claim.decides && v4_v6_apart(claim)).map(Draft::new).collect();
    drafts.extend(added);
}

fn same_address(a: Option<IpAddr>, b: Option<IpAddr>) -> bool {
    a.is_some() && a == b
}

fn differ(a: Option<IpAddr>, b: Option<IpAddr>) -> bool {
    matches!((a, b), (Some(a), Some(b)) if a.is_ipv4() == b.is_ipv4() && a != b)
}

impl<'a> Draft<'a> {
    fn new(claim: &Claim<'a>) -> Self {
        let link = claim.link;
        Self {
            ends: claim.ends,
            rank: claim.rank,
            claimed: link,
            remote_address: link.remote_address,
            igp_cost: link.igp_cost,
            cost_rank: claim.rank,
            delay_us: link.delay_us,
            bandwidth_bps: link.bandwidth_bps,
        }
    }

    fn take(&mut self, claim: &Claim<'a>, bandwidth: bool) {
        if self.igp_cost.is_none() && claim.link.igp_cost.is_some() {
            self.igp_cost = claim.link.igp_cost;
            self.cost_rank = claim.rank;
        }
        self.delay_us = self.delay_us.or(claim.link.delay_us);
        if bandwidth {
            self.bandwidth_bps = self.bandwidth_bps.or(claim.link.bandwidth_bps);
        }
        self.remote_address = self.remote_address.or(claim.link.remote_address);
    }
}

/// RFC 2328 section 16.1 step 2b, and the like in every link-state protocol: both ends must report the adjacency.
fn two_way<'a>(drafts: Vec<Draft<'a>>, names: &[&str], odd: &mut Complaints<'_>) -> Vec<Draft<'a>> {
    let pairs: HashSet<(u32, u32)> = drafts.iter().map(|draft| draft.ends).collect();
    let confirmed = |draft: &Draft| !draft.claimed.needs_both_ends || pairs.contains(&(draft.ends.1, draft.ends.0));
    let (usable, refused): (Vec<_>, Vec<_>) = drafts.into_iter().partition(confirmed);
    for draft in refused {
        let (from, to) = (names[draft.ends.0 as usize], names[draft.ends.1 as usize]);
        odd.add(draft.rank, from, &format!("reports a link to {to}, which reports none back: left out (two-way check)"));
    }
    usable
}

/// Routers that claimed or were claimed to have links that need both ends, and have no usable one.
fn vanished(claims: &[Claim<'_>], usable: &[Draft<'_>], routers: usize) -> Vec<bool> {
    let mut gone = vec![false; routers];
    for claim in claims.iter().filter(|claim| claim.decides && claim.link.needs_both_ends) {
        gone[claim.ends.0 as usize] = true;
        gone[claim.ends.1 as usize] = true;
    }
    for draft in usable {
        gone[draft.ends.0 as usize] = false;
        gone[draft.ends.1 as usize] = false;
    }
    gone
}

/// Links without an IGP metric count 1 each when no link has one (then `routingcost` counts hops); otherwise they carry no routes.
fn with_costs<'a>(drafts: Vec<Draft<'a>>, names: &[&str], odd: &mut Complaints<'_>) -> Vec<Draft<'a>> {
    if drafts.iter().all(|draft| draft.igp_cost.is_none()) {
        return drafts;
    }
    let (with, without): (Vec<_>, Vec<_>) = drafts.into_iter().partition(|draft| draft.igp_cost.is_some());
    for draft in without {
        let (from, to) = (names[draft.ends.0 as usize], names[draft.ends.1 as usize]);
        odd.add(draft.rank, from, &format!("no source gives its link to {to} an IGP metric, while others have one: left out"));
    }
    with
}

/// Oddities by source, bounded.
struct Complaints<'o> {
    order: &'o [SourceIx],
    counts: Vec<usize>,
    oddities: &'o mut Vec<(SourceIx, Oddity)>,
}

impl Complaints<'_> {
    fn add(&mut self, rank: usize, router: &str, what: &str) {
        self.counts[rank] += 1;
        if self.counts[rank] <= ODDITIES_MAX {
            self.oddities.push((self.order[rank], Oddity { place: format!("router {router}"), what: what.into() }));
        }
    }

    fn finish(self) {
        for (count, source) in self.counts.iter().zip(self.order).filter(|(count, _)| **count > ODDITIES_MAX) {
            let what = format!("{} more contradictions like these", count - ODDITIES_MAX);
            self.oddities.push((*source, Oddity { place: "fusion".into(), what }));
        }
    }
}
