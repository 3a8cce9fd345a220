//! The nearest valid name to a misspelt one.

/// The name of `names` that a typist most likely meant, if any is near enough to be worth proposing.
pub fn nearest<'a>(asked: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A third of the letters wrong is still a typo; more is another word.
    let far = asked.len().div_ceil(3).max(2);
    names.into_iter().map(|name| (distance(asked, name), name)).filter(|(distance, _)| *distance <= far).min().map(|(_, name)| name)
}

/// Insertions, deletions, replacements and swaps of neighbours that make `b` of `a` (optimal string alignment). `_` counts as `-`.
fn distance(a: &str, b: &str) -> usize {
    let letters = |text: &str| -> Vec<char> { text.to_lowercase().chars().map(|c| if c == '_' { '-' } else { c }).collect() };
    let (a, b) = (letters(a), letters(b));
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proposes_what_was_meant_and_nothing_far_off() {
        let names = ["listen", "public-url", "certificate", "key", "metrics"];
        for (asked, want) in [
            ("lisetn", Some("listen")),
            ("listne", Some("listen")),
            ("public_url", Some("public-url")),
            ("publicurl", Some("public-url")),
            ("cert", None),
            ("metric", Some("metrics")),
            ("colour", None),
        ] {
            assert_eq!(nearest(asked, names), want, "{asked}");
        }
    }
}
