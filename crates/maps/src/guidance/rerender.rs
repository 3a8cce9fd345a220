//! A cost map as bytes, out of the bytes of the one before: what did not change is copied, which takes a third of writing it.
//!
//! Invariant: the result is what [`super::Resource::render`] gives, byte by byte; where that is not certain there is none.
use super::{
    CostView,
    render::{cost_head, keys},
    write::{self, COST_BYTES_MAX, Keys},
};

/// A row with more changes than one in so many costs is written anew.
const CHANGED_SHARE: usize = 8;

/// `body` is `old`, rendered. `None` when they have other PIDs.
pub(super) fn cost_map(view: &CostView, old: &CostView, body: &[u8]) -> Option<Vec<u8>> {
    let (new_table, old_table) = (&view.table, &old.table);
    if new_table.sources != old_table.sources || new_table.destinations != old_table.destinations {
        return None;
    }
    // The head has the tag: a body with another is not the one that is meant.
    let mut rest = body.strip_prefix(&*cost_head(old))?.strip_prefix(b"{")?;
    let (sources, destinations) = (keys(&new_table.sources), keys(&new_table.destinations));
    // Room for costs that are longer than they were; a cost map seldom needs it, and it is given back.
    let mut out = Vec::with_capacity(body.len() + body.len() / 64 + 1024);
    out.extend_from_slice(&cost_head(view));
    let start = out.len();
    let mut changed = Vec::with_capacity(new_table.destinations.len() / CHANGED_SHARE + 1);
    let mut first = true;
    for row in 0..sources.len() {
        let (was, is) = (old_table.row(row), new_table.row(row));
        let mut old_row = None;
        if was.iter().any(|cost| !cost.is_nan()) {
            if !std::mem::take(&mut first) {
                rest = rest.strip_prefix(b",")?;
            }
            let after = rest.strip_prefix(&sources.get(row)[1..])?;
            let (this, others) = after.split_at(memchr::memchr(b'}', after)? + 1);
            (old_row, rest) = (Some(this), others);
        }
        let alike = changes(was, is, &mut changed);
        let lead = out.len();
        out.extend_from_slice(sources.get(row));
        match old_row {
            Some(old_row) if alike => copy_row(&mut out, old_row, &changed, is, &destinations)?,
            _ if !write_row(&mut out, is, &destinations) => out.truncate(lead),
            _ => {}
        }
    }
    if rest != b"}}" {
        return None;
    }
    if out.len() == start {
        out.push(b'{');
    } else {
        // The comma that led the first row.
        out[start] = b'{';
    }
    out.extend_from_slice(b"}}");
    out.shrink_to_fit();
    Some(out)
}

/// A cost that is another: its column, and which of the costs that are there it is.
struct Changed {
    column: usize,
    cost: usize,
}

/// Finds the costs that are others. `false` when there are too many, or some came or went.
fn changes(was: &[f64], is: &[f64], changed: &mut Vec<Changed>) -> bool {
    changed.clear();
    let max = is.len() / CHANGED_SHARE;
    let mut missing = 0;
    for (column, (was, is)) in was.iter().zip(is).enumerate() {
        if was.is_nan() {
            missing += 1;
            if !is.is_nan() {
                return false;
            }
        } else if was != is {
            if is.is_nan() || changed.len() == max {
                return false;
            }
            changed.push(Changed { column, cost: column - missing });
        }
    }
    true
}

/// `old_row` from `{` to `}`, with the costs that changed.
fn copy_row(out: &mut Vec<u8>, old_row: &[u8], changed: &[Changed], costs: &[f64], keys: &Keys) -> Option<()> {
    let mut number = [0; COST_BYTES_MAX];
    // Copied up to here, where the cost number `next` begins.
    let (mut at, mut next) = (0, 0);
    for Changed { column, cost } in changed {
        let start = after_commas(old_row, at, cost - next)?;
        let key = keys.get(*column);
        let value = start + key.len();
        if old_row.get(start + 1..value)? != &key[1..] {
            return None;
        }
        out.extend_from_slice(&old_row[at..value]);
        let end = write::cost(costs[*column], &mut number, 0);
        out.extend_from_slice(&number[..end]);
        at = value + memchr::memchr2(b',', b'}', &old_row[value..])?;
        next = cost + 1;
    }
    out.extend_from_slice(&old_row[at..]);
    Some(())
}

/// Where the `count`th comma after `at` is; `at` itself for none. No name of a PID has one (RFC 7285 section 10.1), nor has a number.
fn after_commas(row: &[u8], at: usize, mut count: usize) -> Option<usize> {
    const STEP: usize = 64;
    if count == 0 {
        return Some(at);
    }
    let mut from = at + 1;
    while let Some(step) = row.get(from..from + STEP) {
        // The compiler makes this a few comparisons of many bytes each.
        let here = step.iter().map(|byte| u8::from(*byte == b',')).sum::<u8>() as usize;
        if here >= count {
            break;
        }
        count -= here;
        from += STEP;
    }
    memchr::memchr_iter(b',', row.get(from..)?).nth(count - 1).map(|found| from + found)
}

/// From `{` to `}`; nothing and `false` for a row without costs.
fn write_row(out: &mut Vec<u8>, costs: &[f64], keys: &Keys) -> bool {
    let mut number = [0; COST_BYTES_MAX];
    let start = out.len();
    for (column, cost) in costs.iter().enumerate().filter(|(_, cost)| !cost.is_nan()) {
        out.extend_from_slice(keys.get(column));
        let end = write::cost(*cost, &mut number, 0);
        out.extend_from_slice(&number[..end]);
    }
    if out.len() == start {
        return false;
    }
    out[start] = b'{';
    out.push(b'}');
    true
}

#[cfg(test)]
mod tests {
    use super::super::{
        tests::{costs, id, inputs, network},
        *,
    };
    use alto::cost::CostType;
    use proptest::prelude::*;

    const PIDS: [&str; 12] = ["a", "a:", "aa", "b", "c", "d", "e", "f", "g", "h", "i", "j"];

    fn guidance(values: &[f64], prefix: &str, pids: usize) -> Guidance {
        let prefixes: Vec<&[&str]> = vec![&[]; PIDS.len()];
        let mut groups: Vec<(&str, &[&str])> = PIDS.iter().copied().zip(prefixes).collect();
        let first = [prefix];
        groups[0].1 = &first;
        let map = network(&groups[..pids]);
        let cost_type = CostType { description: Some("{\"in, \\ between}".into()), ..CostType::numerical("routingcost".parse().unwrap()) };
        let names = &PIDS[..pids];
        let values: Vec<f64> = values.iter().copied().cycle().take(pids * pids).collect();
        Guidance::compose(&inputs([("m", map), ("c", costs(Some("m"), cost_type, names, names, &values))]), None).unwrap()
    }

    fn resource(guidance: &Guidance) -> &Resource {
        match guidance.service(&id("c")) {
            Some(Service::Get(resource)) => resource,
            _ => panic!("it was put there"),
        }
    }

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![4 => Just(7.0), 2 => (0..100_000_u32).prop_map(|cost| f64::from(cost) / 8.0), 1 => Just(f64::NAN), 1 => 0.0..1e12]
    }

    proptest! {
        /// Whatever changed, it is the same as rendering it.
        #[test]
        fn rendering_again_is_rendering_the_same(
            before in prop::collection::vec(value(), 144),
            edits in prop::collection::vec((0..144_usize, value()), 0..40),
            (few, gone, moved) in (any::<bool>(), any::<bool>(), any::<bool>()),
            pids in 9..=12_usize,
        ) {
            let mut before = before;
            if gone {
                // Whole rows without costs, and the first among them.
                before[..24].fill(f64::NAN);
            }
            let mut after = before.clone();
            for (at, value) in &edits[..if few { edits.len().min(3) } else { edits.len() }] {
                after[*at] = *value;
            }
            let (old, new) = (guidance(&before, "10.0.0.0/8", pids), guidance(&after, if moved { "11.0.0.0/8" } else { "10.0.0.0/8" }, pids));
            let (old, new) = (resource(&old), resource(&new));
            if let (Resource::Cost(new), Resource::Cost(was)) = (new, old) {
                prop_assert!(super::cost_map(new, was, &old.render().body).is_some(), "the PIDs are the same");
            }
            let rendered = new.render_after(old, &old.render().body);
            prop_assert_eq!(String::from_utf8(rendered.body).unwrap(), String::from_utf8(new.render().body).unwrap());
            // A body that is something else is not believed.
            prop_assert_eq!(new.render_after(old, b"{\"meta\":{}}"), new.render());
            prop_assert_eq!(new.render_after(new, &old.render().body).body, new.render().body);
        }
    }
}
