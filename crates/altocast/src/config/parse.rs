//! From text to configuration: every mistake is named with its line, its key and what to write instead.
//!
//! Invariant: a configuration is taken whole or not at all; all of its mistakes are reported at once.
use super::{
    Config, Places,
    nearest::nearest,
    section::{Key, Section},
    sections::{ExpirySection, RuleSection, SourceSection},
};
use maps::expiry::{LIFETIME_SECONDS_MAX, LIFETIME_SECONDS_MIN};
use std::fmt;
use toml::{
    Spanned, Value,
    de::{DeTable, DeValue, ValueDeserializer},
};

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// File and line, or the variable of the environment.
    pub place: String,
    /// What is wrong and what to write instead.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// Collects what is wrong with one file.
struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    problems: Vec<Problem>,
    places: Places,
    /// Number of the table that is read, where it may occur several times.
    table: Option<usize>,
}

/// Reads a configuration file on top of the defaults.
pub fn parse(text: &str, file: &str) -> (Config, Vec<Problem>) {
    let mut config = Config::default();
    let mut reader = Reader { file, text, problems: Vec::new(), places: Places::default(), table: None };
    match DeTable::parse(text) {
        Ok(root) => reader.root(&mut config, root.get_ref()),
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            reader.problem(at, error.message().replace('\n', ", "));
        }
    }
    config.places = reader.places;
    (config, reader.problems)
}

/// Lays `ALTOCAST_<SECTION>_<KEY>` of the environment over a configuration.
pub fn override_from(config: &mut Config, environment: impl IntoIterator<Item = (String, String)>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (variable, text) in environment {
        let Some(name) = variable.strip_prefix("ALTOCAST_") else { continue };
        macro_rules! sections {
            ($($section:ident),*) => {$(
                override_section(&mut config.$section, &mut config.places, &variable, name, &text, &mut problems);
            )*};
        }
        super::with_sections!(sections);
        problems.extend(misspelt_section(&variable, name));
    }
    problems
}

/// A variable whose key some section has, and whose section has nearly the name of that one. Others may well be somebody else's.
fn misspelt_section(variable: &str, name: &str) -> Option<Problem> {
    let (section, key) = name.split_once('_')?;
    let having = super::sections_with(&key.to_lowercase());
    let near = nearest(section, having.iter().copied()).filter(|near| !near.eq_ignore_ascii_case(section))?;
    let what = format!("no such setting; did you mean ALTOCAST_{}_{key}?", near.to_uppercase());
    Some(Problem { place: format!("environment variable {variable}"), what })
}

fn override_section<S: Section>(section: &mut S, places: &mut Places, variable: &str, name: &str, text: &str, problems: &mut Vec<Problem>) {
    let prefix = format!("{}_", S::TITLE.to_uppercase());
    let Some(asked) = name.strip_prefix(&prefix) else { return };
    let what = match S::KEYS.iter().find(|key| key.field.eq_ignore_ascii_case(asked)) {
        Some(key) => match section.set_text(key.field, text) {
            Ok(()) => return places.set(format!("{}.{}", S::TITLE, key.name()), format!("environment variable {variable}")),
            Err(why) => expected(key, &format!("{text:?}"), &why),
        },
        None => match nearest(asked, S::KEYS.iter().map(|key| key.field)) {
            Some(near) => format!("no such setting; did you mean ALTOCAST_{prefix}{}?", near.to_uppercase()),
            None => format!("no such setting; section [{}] has {}", S::TITLE, names_of::<S>()),
        },
    };
    problems.push(Problem { place: format!("environment variable {variable}"), what });
}

impl Reader<'_> {
    fn problem(&mut self, at: usize, what: String) {
        self.problems.push(Problem { place: self.place(at), what });
    }

    fn place(&self, at: usize) -> String {
        format!("{}:{}", self.file, self.line(at))
    }

    fn line(&self, at: usize) -> usize {
        1 + self.text.as_bytes()[..at.min(self.text.len())].iter().filter(|byte| **byte == b'\n').count()
    }

    fn root(&mut self, config: &mut Config, root: &DeTable<'_>) {
        for (name, value) in root.iter() {
            macro_rules! sections {
                ($($section:ident),*) => {
                    match &**name.get_ref() {
                        $(stringify!($section) => self.one(&mut config.$section, value),)*
                        "source" => self.many(&mut config.sources, value),
                        "rule" => self.many(&mut config.rules, value),
                        "expiry" => self.many(&mut config.expiry, value),
                        other => {
                            let known = [$(stringify!($section),)* "source", "rule", "expiry"];
                            let what = match nearest(other, known) {
                                Some(near) => format!("unknown section {other:?}; did you mean {near:?}?"),
                                None => match super::sections_with(other).first() {
                                    Some(section) => format!("unknown section {other:?}; the key {other:?} belongs under [{section}]"),
                                    None => format!("unknown section {other:?}; there are {}", known.join(", ")),
                                },
                            };
                            self.problem(name.span().start, what);
                        }
                    }
                };
            }
            super::with_sections!(sections);
        }
    }

    fn one<S: Section>(&mut self, section: &mut S, value: &Spanned<DeValue<'_>>) {
        match value.get_ref() {
            DeValue::Table(table) => self.section(section, table),
            other => self.problem(
                value.span().start,
                format!(
                    "{} is {}; expected a section: write [{}] on a line of its own and the keys below it",
                    S::TITLE,
                    kind(other),
                    S::TITLE
                ),
            ),
        }
    }

    fn many<S: Section + Named>(&mut self, sections: &mut Vec<S>, value: &Spanned<DeValue<'_>>) {
        let DeValue::Array(tables) = value.get_ref() else {
            let what = format!("{} may occur several times; write [[{}]] with double brackets", S::TITLE, S::TITLE);
            return self.problem(value.span().start, what);
        };
        for element in tables.iter() {
            let before = self.problems.len();
            let mut section = S::default();
            self.places.set(format!("{}[{}]", S::TITLE, sections.len()), self.place(element.span().start));
            self.table = Some(sections.len());
            self.one(&mut section, element);
            self.table = None;
            if self.problems.len() == before {
                section.settle(sections.len() + 1);
                if let Err(what) = section.complete() {
                    self.problem(element.span().start, what);
                }
            }
            sections.push(section);
        }
    }

    fn section<S: Section>(&mut self, section: &mut S, table: &DeTable<'_>) {
        for (name, value) in table.iter() {
            let asked: &str = name.get_ref();
            let Some(key) = S::KEYS.iter().find(|key| key.name() == asked) else {
                let names: Vec<String> = S::KEYS.iter().map(Key::name).collect();
                let what = match nearest(asked, names.iter().map(String::as_str)) {
                    Some(near) => format!("unknown key {asked:?} in section [{}]; did you mean {near:?}?", S::TITLE),
                    None => format!("unknown key {asked:?} in section [{}]; it has {}", S::TITLE, names_of::<S>()),
                };
                self.problem(name.span().start, what);
                continue;
            };
            let table = self.table.map_or_else(String::new, |at| format!("[{at}]"));
            self.places.set(format!("{}{table}.{}", S::TITLE, key.name()), self.place(value.span().start));
            if let Err(why) = value_of(value).and_then(|value| section.set(key.field, value)) {
                let found = &self.text[value.span()];
                let found = if found.len() > 60 || found.contains('\n') { kind(value.get_ref()).to_owned() } else { found.to_owned() };
                let what = format!("{}.{}: {}", S::TITLE, key.name(), expected(key, &found, &why));
                self.problem(value.span().start, what);
            }
        }
    }
}

fn expected(key: &Key, found: &str, why: &str) -> String {
    let why = if why.is_empty() { String::new() } else { format!(": {why}") };
    format!("expected {}, found {found}{why}", key.expects)
}

fn names_of<S: Section>() -> String {
    S::KEYS.iter().map(Key::name).collect::<Vec<_>>().join(", ")
}

fn value_of(value: &Spanned<DeValue<'_>>) -> Result<Value, String> {
    use serde::Deserialize;
    Value::deserialize(ValueDeserializer::from(value.clone())).map_err(|error| error.message().to_owned())
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A section that may occur several times: what it must have, and what it is called when it does not say.
trait Named {
    fn settle(&mut self, _place: usize) {}
    fn complete(&self) -> Result<(), String>;
}

impl Named for SourceSection {
    fn settle(&mut self, place: usize) {
        if self.name.is_none() {
            self.name = self.kind.map(|kind| format!("{kind}-{place}"));
        }
    }
    fn complete(&self) -> Result<(), String> {
        if self.kind.is_none() {
            return Err("this [[source]] has no kind; add for example kind = \"graphml\"".into());
        }
        if self.files.is_empty() {
            return Err("this [[source]] has no files; add for example files = [\"network.graphml\"]".into());
        }
        if self.fibre_km_per_us <= 0.0 || self.fibre_km_per_us > 0.3 {
            return Err("fibre-km-per-us must be more than 0 and at most 0.3, the speed of light in vacuum".into());
        }
        Ok(())
    }
}

impl Named for RuleSection {
    fn complete(&self) -> Result<(), String> {
        let actions = [self.add.is_some(), self.multiply.is_some(), self.forbid, self.default.is_some()];
        match actions.into_iter().filter(|set| *set).count() {
            1 => Ok(()),
            0 => Err("this [[rule]] does nothing; give it one of add, multiply, forbid and default".into()),
            _ => Err("this [[rule]] has several of add, multiply, forbid and default; write a rule for each".into()),
        }
    }
}

impl Named for ExpirySection {
    fn complete(&self) -> Result<(), String> {
        match self.seconds {
            None => Err("this [[expiry]] has no seconds; add for example seconds = 300".into()),
            Some(seconds) if (LIFETIME_SECONDS_MIN..=LIFETIME_SECONDS_MAX).contains(&seconds) => Ok(()),
            Some(seconds) => {
                Err(format!("this [[expiry]] has {seconds} seconds; write {LIFETIME_SECONDS_MIN} to {LIFETIME_SECONDS_MAX} (a year)"))
            }
        }
    }
}
