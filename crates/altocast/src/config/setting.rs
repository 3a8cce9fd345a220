//! What may stand on the right of `=`: one type per kind of value, each able to say what it expects.
//!
//! Invariant: `from_value(to_value(x)) == x`, so that what `config show` prints can be read back.
use super::nearest::nearest;
use alto::{
    cost::Metric,
    endpoint::Prefix,
    id::{Pid, ResourceId},
};
use maps::{damping::HYSTERESIS_MAX, glob::Glob, partition::PartitionBy};
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};
use toml::Value;
use topology::sources::{BandwidthFrom, DelayFrom, SourceKind, Unit};
use tracing_subscriber::filter::{LevelFilter, Targets};

/// A value of the configuration.
pub trait Setting: Sized {
    /// What to write, for messages: "a whole number", "a path in quotes".
    const EXPECTS: &'static str;

    /// Reads a TOML value. `Err` says what is wrong beyond its not being what `EXPECTS` says; empty when that says it all.
    fn from_value(value: Value) -> Result<Self, String>;

    /// The TOML value; `None` when unset.
    fn to_value(&self) -> Option<Value>;

    /// Reads a variable of the environment: TOML, or plain text without quotes.
    fn from_text(text: &str) -> Result<Self, String> {
        let written = format!("value = {text}").parse::<toml::Table>().ok().and_then(|mut table| table.remove("value"));
        if let Some(value) = written
            && let Ok(setting) = Self::from_value(value)
        {
            return Ok(setting);
        }
        Self::from_value(Value::String(text.into()))
    }
}

/// Settings written as text and parsed by `FromStr`.
macro_rules! text_setting {
    ($($type:ty: $expects:literal, $show:expr;)*) => {$(
        impl Setting for $type {
            const EXPECTS: &'static str = $expects;
            fn from_value(value: Value) -> Result<Self, String> {
                let Value::String(text) = value else { return Err(String::new()) };
                text.parse::<$type>().map_err(|error| error.to_string())
            }
            fn to_value(&self) -> Option<Value> {
                let show: fn(&$type) -> String = $show;
                Some(Value::String(show(self)))
            }
        }
    )*};
}

text_setting! {
    String: "text in quotes", |it| it.clone();
    PathBuf: "a path in quotes", |it| it.display().to_string();
    SocketAddr: "an address and a port in quotes, such as \"127.0.0.1:6671\" or \"[::1]:6671\"", |it| it.to_string();
    ResourceId: "a resource id in quotes (1 to 64 letters, digits or - : @ _ .)", |it| it.to_string();
    Pid: "a PID name in quotes (1 to 64 letters, digits or - : @ _ .)", |it| it.to_string();
    Prefix: "a prefix in quotes, such as \"192.0.2.0/24\"", |it| it.to_string();
    Metric: "a metric name in quotes, such as \"routingcost\"", |it| it.as_str().into();
    Glob: "a PID name or pattern in quotes, such as \"*\" or \"transit-*\"", |it| it.as_str().into();
    SourceKind: "a kind of source in quotes: graphml, repetita, ietf-network, frr-ospf, frr-te, prefix-csv, aws-ip-ranges, latency-matrix or latency-pairs", |it| it.to_string();
}

impl Setting for Box<str> {
    const EXPECTS: &'static str = String::EXPECTS;
    fn from_value(value: Value) -> Result<Self, String> {
        String::from_value(value).map(Self::from)
    }
    fn to_value(&self) -> Option<Value> {
        Some(Value::String(self.to_string()))
    }
}

/// Settings that are one of a few words.
macro_rules! word_setting {
    ($($type:ty: $expects:literal { $($word:literal => $value:path),+ $(,)? })*) => {$(
        impl Setting for $type {
            const EXPECTS: &'static str = $expects;
            fn from_value(value: Value) -> Result<Self, String> {
                let Value::String(text) = value else { return Err(String::new()) };
                match text.as_str() {
                    $($word => Ok($value),)+
                    other => Err(match nearest(other, [$($word),+]) {
                        Some(near) => format!("did you mean {near:?}?"),
                        None => String::new(),
                    }),
                }
            }
            fn to_value(&self) -> Option<Value> {
                $(if *self == $value {
                    return Some(Value::String($word.into()));
                })+
                None
            }
        }
    )*};
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// One line of text an event; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object an event.
    Json,
}

/// Which demo network to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum DemoNetwork {
    /// GÉANT 2012, when neither a maps folder nor a source is configured.
    #[default]
    Auto,
    /// No demo: an empty server when nothing else is configured.
    Off,
    /// GÉANT 2012: 40 routers of the European research network, replaying link and router failures.
    Geant,
    /// The address ranges of AWS by region, replaying three months of their changes.
    Aws,
    /// The address ranges of Azure by region, with the round-trip times Microsoft measured between them.
    Azure,
}

word_setting! {
    LogFormat: "\"text\" or \"json\"" { "text" => LogFormat::Text, "json" => LogFormat::Json }
    DemoNetwork: "\"auto\", \"off\", \"geant\", \"aws\" or \"azure\"" {
        "auto" => DemoNetwork::Auto, "off" => DemoNetwork::Off, "geant" => DemoNetwork::Geant, "aws" => DemoNetwork::Aws, "azure" => DemoNetwork::Azure,
    }
    PartitionBy: "\"group\", \"router\", \"city\", \"country\" or \"asn\"" {
        "group" => PartitionBy::Group, "router" => PartitionBy::Router, "city" => PartitionBy::City, "country" => PartitionBy::Country, "asn" => PartitionBy::Asn,
    }
    DelayFrom: "\"coordinates\", \"file\" or \"nowhere\"" {
        "coordinates" => DelayFrom::Coordinates, "file" => DelayFrom::File, "nowhere" => DelayFrom::Nowhere,
    }
    BandwidthFrom: "\"unreserved\" or \"maximum\"" { "unreserved" => BandwidthFrom::Unreserved, "maximum" => BandwidthFrom::Maximum }
    Unit: "\"milliseconds\", \"microseconds\" or \"own\"" {
        "milliseconds" => Unit::Milliseconds, "microseconds" => Unit::Microseconds, "own" => Unit::Own,
    }
}

/// A level of the log, or `target=level` directives separated by commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLevel(pub String);

impl std::str::FromStr for LogLevel {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("it is empty".into());
        }
        text.parse::<Targets>().map_err(|error| error.to_string())?;
        // A lone word that is no level means a target, all of it and nothing else: misspelt, it would silence the log.
        let is_lone = |word: &&str| !word.is_empty() && !word.contains(['=', ':', '[']);
        for word in text.split(',').map(str::trim).filter(is_lone) {
            if word.parse::<LevelFilter>().is_err() && !LOG_TARGETS.contains(&word) {
                let meant = nearest(word, LOG_LEVELS).map_or_else(String::new, |level| format!("; did you mean {level:?}?"));
                return Err(format!("{word:?} is no level; there are {}{meant}", LOG_LEVELS.join(", ")));
            }
        }
        Ok(Self(text.into()))
    }
}

const LOG_LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// What may stand alone for all that it says: our crates that say anything, and the libraries that do.
const LOG_TARGETS: [&str; 14] = [
    "altocast",
    "client",
    "h2",
    "h3",
    "history",
    "hyper",
    "maps",
    "quinn",
    "quinn_proto",
    "rustls",
    "server",
    "store",
    "tokio",
    "topology",
];

text_setting! {
    LogLevel: "\"error\", \"warn\", \"info\", \"debug\" or \"trace\" in quotes, or directives such as \"info,server=debug\"", |it| it.0.clone();
}

/// Where the admin listener is, if anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdminListen(pub Option<SocketAddr>);

impl std::str::FromStr for AdminListen {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self(None)),
            address => address.parse().map(|address| Self(Some(address))).map_err(|_| format!("expected {}", Self::EXPECTS)),
        }
    }
}

impl Setting for AdminListen {
    const EXPECTS: &'static str = "an address and a port in quotes, such as \"127.0.0.1:6672\", or \"off\"";
    fn from_value(value: Value) -> Result<Self, String> {
        value.as_str().ok_or_else(String::new)?.parse().map_err(|_| String::new())
    }
    fn to_value(&self) -> Option<Value> {
        Some(Value::String(self.0.map_or("off".into(), |address| address.to_string())))
    }
}

/// Settings that are whole numbers.
macro_rules! whole_setting {
    ($($type:ty: $expects:literal;)*) => {$(
        impl Setting for $type {
            const EXPECTS: &'static str = $expects;
            fn from_value(value: Value) -> Result<Self, String> {
                let Value::Integer(number) = value else { return Err(String::new()) };
                number.try_into().map_err(|_| format!("it must lie between {} and {}", <$type>::MIN, i64::try_from(<$type>::MAX).unwrap_or(i64::MAX)))
            }
            fn to_value(&self) -> Option<Value> {
                i64::try_from(*self).ok().map(Value::Integer)
            }
        }
    )*};
}

whole_setting! {
    i32: "a whole number";
    u32: "a whole number, 0 or more";
    u64: "a whole number, 0 or more";
    usize: "a whole number, 0 or more";
}

impl Setting for bool {
    const EXPECTS: &'static str = "true or false";
    fn from_value(value: Value) -> Result<Self, String> {
        value.as_bool().ok_or_else(String::new)
    }
    fn to_value(&self) -> Option<Value> {
        Some(Value::Boolean(*self))
    }
}

impl Setting for f64 {
    const EXPECTS: &'static str = "a number";
    fn from_value(value: Value) -> Result<Self, String> {
        let number = match value {
            Value::Integer(number) => number as f64,
            Value::Float(number) => number,
            _ => return Err(String::new()),
        };
        if number.is_finite() { Ok(number) } else { Err(String::new()) }
    }
    fn to_value(&self) -> Option<Value> {
        Some(Value::Float(*self))
    }
}

/// A time in seconds, fractions allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds(pub Duration);

impl std::str::FromStr for Seconds {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let number: f64 = text.parse().map_err(|_| format!("expected {}", Self::EXPECTS))?;
        Self::from_value(Value::Float(number)).map_err(|_| format!("expected {}", Self::EXPECTS))
    }
}

impl Setting for Seconds {
    const EXPECTS: &'static str = "a time in seconds, more than 0 and at most a year";
    fn from_value(value: Value) -> Result<Self, String> {
        let seconds = f64::from_value(value)?;
        if seconds > 0.0 && seconds <= 366.0 * 86_400.0 { Ok(Self(Duration::from_secs_f64(seconds))) } else { Err(String::new()) }
    }
    fn to_value(&self) -> Option<Value> {
        let seconds = self.0.as_secs_f64();
        Some(if seconds.fract() == 0.0 { Value::Integer(seconds as i64) } else { Value::Float(seconds) })
    }
}

/// A share of a whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share(pub f64);

impl Setting for Share {
    const EXPECTS: &'static str = "a share, from 0 to 1";
    fn from_value(value: Value) -> Result<Self, String> {
        let share = f64::from_value(value)?;
        if (0.0..=1.0).contains(&share) { Ok(Self(share)) } else { Err(String::new()) }
    }
    fn to_value(&self) -> Option<Value> {
        self.0.to_value()
    }
}

/// How long a damped cost stays what it is, beyond half a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hysteresis(pub f64);

impl Setting for Hysteresis {
    const EXPECTS: &'static str = "a part of a step, from 0 to 0.5";
    fn from_value(value: Value) -> Result<Self, String> {
        let steps = f64::from_value(value)?;
        if (0.0..=HYSTERESIS_MAX).contains(&steps) { Ok(Self(steps)) } else { Err(String::new()) }
    }
    fn to_value(&self) -> Option<Value> {
        self.0.to_value()
    }
}

impl Setting for BTreeMap<Metric, f64> {
    const EXPECTS: &'static str = "a table of metrics and steps, such as { \"delay-ow\" = 500 }";
    fn from_value(value: Value) -> Result<Self, String> {
        let Value::Table(table) = value else { return Err(String::new()) };
        table
            .into_iter()
            .map(|(name, value)| {
                let metric = name.parse().map_err(|_| format!("{name} is no metric name"))?;
                let shown = value.to_string();
                let step = f64::from_value(value).ok().filter(|step| *step > 0.0);
                Ok((metric, step.ok_or_else(|| format!("{name} is {shown}: expected a number above 0"))?))
            })
            .collect()
    }
    fn to_value(&self) -> Option<Value> {
        Some(Value::Table(self.iter().map(|(metric, step)| (metric.to_string(), Value::Float(*step))).collect()))
    }
}

impl<T: Setting> Setting for Option<T> {
    const EXPECTS: &'static str = T::EXPECTS;
    fn from_value(value: Value) -> Result<Self, String> {
        if value.as_str() == Some("") { Ok(None) } else { T::from_value(value).map(Some) }
    }
    fn to_value(&self) -> Option<Value> {
        self.as_ref().and_then(T::to_value)
    }
    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() { Ok(None) } else { T::from_text(text).map(Some) }
    }
}

/// Lists of settings.
macro_rules! list_setting {
    ($($type:ty: $expects:literal;)*) => {$(
        impl Setting for Vec<$type> {
            const EXPECTS: &'static str = $expects;
            fn from_value(value: Value) -> Result<Self, String> {
                let values = match value {
                    Value::Array(values) => values,
                    // One element needs no brackets.
                    value @ Value::String(_) => return <$type>::from_value(value).map(|one| vec![one]),
                    _ => return Err(String::new()),
                };
                let each = |(at, value): (usize, Value)| {
                    let shown = value.to_string();
                    <$type>::from_value(value).map_err(|why| {
                        let why = if why.is_empty() { format!("expected {}", <$type>::EXPECTS) } else { why };
                        format!("element {} is {shown}: {why}", at + 1)
                    })
                };
                values.into_iter().enumerate().map(each).collect()
            }
            fn to_value(&self) -> Option<Value> {
                Some(Value::Array(self.iter().filter_map(Setting::to_value).collect()))
            }
            fn from_text(text: &str) -> Result<Self, String> {
                if text.trim_start().starts_with('[') {
                    let mut table = format!("value = {text}").parse::<toml::Table>().map_err(|error| error.message().to_owned())?;
                    return Self::from_value(table.remove("value").expect("it was just written"));
                }
                text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(<$type>::from_text).collect()
            }
        }
    )*};
}

list_setting! {
    SocketAddr: "a list of addresses and ports, such as [\"127.0.0.1:6671\", \"[::1]:6671\"]";
    PathBuf: "a list of paths, such as [\"ospf.json\", \"prefixes/*.csv\"]";
    Metric: "a list of metric names, such as [\"routingcost\", \"hopcount\"]";
    Glob: "a list of PID names or patterns, such as [\"*\"]";
    Prefix: "a list of prefixes, such as [\"192.0.2.0/24\", \"2001:db8::/32\"]";
    String: "a list of texts in quotes";
}

impl Setting for BTreeMap<Box<str>, Box<str>> {
    const EXPECTS: &'static str = "a table of names, such as { \"10.255.0.1\" = \"NL\" }";
    fn from_value(value: Value) -> Result<Self, String> {
        let Value::Table(table) = value else { return Err(String::new()) };
        table
            .into_iter()
            .map(|(name, value)| match value {
                Value::String(text) => Ok((name.into(), text.into())),
                other => Err(format!("{name} is {other}: expected text in quotes")),
            })
            .collect()
    }
    fn to_value(&self) -> Option<Value> {
        Some(Value::Table(self.iter().map(|(name, value)| (name.to_string(), Value::String(value.to_string()))).collect()))
    }
}
