//! The configuration as text: every key with its meaning and value, as TOML that can be read back.
use super::{
    Config,
    section::Section,
    sections::{ExpirySection, RuleSection, SourceSection},
};
use std::fmt::Write;

/// Keys whose values are nobody else's business.
const SECRETS: [&str; 1] = ["token"];

/// All sections. Keys that are unset are shown as comments with an example.
pub fn show(config: &Config) -> String {
    let mut out = String::from(
        "# altocast configuration. Each key is shown with its value; a key behind `#` is not set and shows an example.\n\
         # A key can also be set in the environment, as ALTOCAST_<SECTION>_<KEY>: ALTOCAST_SERVER_LISTEN=127.0.0.1:6671\n\
         # Relative paths start at the folder of the configuration file.\n",
    );
    macro_rules! sections {
        ($($section:ident),*) => {$(
            section(&mut out, &config.$section, &format!("[{}]", title(&config.$section)), false);
        )*};
    }
    super::with_sections!(sections);
    many(&mut out, &config.sources, &SourceSection::default());
    many(&mut out, &config.rules, &RuleSection::default());
    many(&mut out, &config.expiry, &ExpirySection::default());
    out
}

fn title<S: Section>(_: &S) -> &'static str {
    S::TITLE
}

/// Those there are, or one as an example.
fn many<S: Section>(out: &mut String, sections: &[S], example: &S) {
    let head = format!("[[{}]]", S::TITLE);
    if sections.is_empty() {
        section(out, example, &head, true);
    }
    for it in sections {
        section(out, it, &head, false);
    }
}

fn section<S: Section>(out: &mut String, section: &S, head: &str, comment: bool) {
    let off = if comment { "#" } else { "" };
    out.push('\n');
    for line in S::ABOUT {
        let _ = writeln!(out, "# {}", line.trim());
    }
    let _ = writeln!(out, "{off}{head}");
    for key in S::KEYS {
        for line in key.about {
            let _ = writeln!(out, "# {}", line.trim());
        }
        let empty =
            |value: &toml::Value| value.as_array().is_some_and(Vec::is_empty) || value.as_table().is_some_and(toml::Table::is_empty);
        let _ = match section.get(key.field).filter(|value| key.example.is_none() || !empty(value)) {
            Some(_) if SECRETS.contains(&key.field) => writeln!(out, "#{} is set, and not shown", key.name()),
            Some(value) => writeln!(out, "{off}{} = {value}", key.name()),
            None => writeln!(out, "#{} = {}", key.name(), key.example.unwrap_or("\"\"")),
        };
    }
}

/// The same as one JSON value: `{"server": {"listen": ...}, ...}`; what is unset is null. Secrets are left out.
pub fn json(config: &Config) -> serde_json::Value {
    let mut all = serde_json::Map::new();
    macro_rules! sections {
        ($($section:ident),*) => {$(
            all.insert(title(&config.$section).into(), section_json(&config.$section));
        )*};
    }
    super::with_sections!(sections);
    all.insert("source".into(), config.sources.iter().map(section_json).collect());
    all.insert("rule".into(), config.rules.iter().map(section_json).collect());
    all.insert("expiry".into(), config.expiry.iter().map(section_json).collect());
    serde_json::Value::Object(all)
}

fn section_json<S: Section>(section: &S) -> serde_json::Value {
    let pairs = S::KEYS.iter().map(|key| {
        let shown = section.get(key.field).filter(|_| !SECRETS.contains(&key.field));
        let value = shown.map_or(serde_json::Value::Null, |value| serde_json::to_value(value).unwrap_or_default());
        (key.name(), value)
    });
    serde_json::Value::Object(pairs.collect())
}
