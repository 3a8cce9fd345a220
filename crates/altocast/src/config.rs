//! The configuration: TOML on top of defaults, `ALTOCAST_<SECTION>_<KEY>` on top of both, handed to each crate as its plain options.
//!
//! Invariant: a [`Config`] that [`load`] returned is free of unknown keys, wrong values and contradictions; paths in it are absolute or relative to the
//! working folder.
pub mod nearest;
pub mod options;
pub mod parse;
pub mod section;
pub mod sections;
pub mod setting;
pub mod show;

pub use parse::Problem;
use section::Section;
use sections::{
    AdminSection, DampingSection, DemoSection, ExpirySection, GuardSection, HistorySection, LogSection, MapsSection, RuleSection,
    ServerSection, SourceSection, StoreSection, SubscriptionsSection, UpdatesSection,
};
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

/// Calls the macro named with the fields of [`Config`] that are sections occurring once.
macro_rules! with_sections {
    ($then:ident) => {
        $then!(server, admin, log, demo, maps, damping, guard, history, store, updates, subscriptions)
    };
}
pub(crate) use with_sections;

/// Everything that can be configured.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    /// `[server]`
    pub server: ServerSection,
    /// `[admin]`
    pub admin: AdminSection,
    /// `[log]`
    pub log: LogSection,
    /// `[demo]`
    pub demo: DemoSection,
    /// `[maps]`
    pub maps: MapsSection,
    /// `[damping]`
    pub damping: DampingSection,
    /// `[guard]`
    pub guard: GuardSection,
    /// `[history]`
    pub history: HistorySection,
    /// `[store]`
    pub store: StoreSection,
    /// `[updates]`
    pub updates: UpdatesSection,
    /// `[subscriptions]`
    pub subscriptions: SubscriptionsSection,
    /// `[[expiry]]`
    pub expiry: Vec<ExpirySection>,
    /// `[[source]]`
    pub sources: Vec<SourceSection>,
    /// `[[rule]]`
    pub rules: Vec<RuleSection>,
    /// Where all of that was written.
    pub places: Places,
}

/// Where each key was written that has a value, for messages: `a.toml:3`, a variable of the environment, an argument. A key of a table that may occur
/// several times has its number, `rule[0].metric`. What configurations say does not depend on where they say it: all places are equal.
#[derive(Debug, Clone, Default)]
pub struct Places(BTreeMap<String, String>);

impl PartialEq for Places {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Places {
    /// From now on this is where the key has its value from.
    pub fn set(&mut self, key: impl Into<String>, place: impl Into<String>) {
        self.0.insert(key.into(), place.into());
    }
}

/// Why a configuration was refused: every mistake in it.
#[derive(Debug)]
pub struct Refused(pub Vec<Problem>);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Refused {}

/// The configuration of a file (defaults without one) and the environment.
pub fn load(file: Option<&Path>) -> Result<Config, Refused> {
    let config = layers(file)?;
    config.check()?;
    Ok(config)
}

/// The same before anybody asked whether its keys agree: the command line may yet be laid over it.
pub fn layers(file: Option<&Path>) -> Result<Config, Refused> {
    let (mut config, mut problems) = match file {
        None => (Config::default(), Vec::new()),
        Some(path) => read(path)?,
    };
    let environment = std::env::vars_os().filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)));
    problems.extend(parse::override_from(&mut config, environment));
    if problems.is_empty() { Ok(config) } else { Err(Refused(problems)) }
}

fn read(path: &Path) -> Result<(Config, Vec<Problem>), Refused> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Refused(vec![Problem { place: name.clone(), what: format!("cannot read the configuration: {error}") }]))?;
    let (mut config, problems) = parse::parse(&text, &name);
    config.resolve_paths(path.parent().unwrap_or(Path::new("")));
    Ok((config, problems))
}

impl Config {
    /// Whether its keys agree with each other; to be asked once nothing is laid over it any more.
    pub fn check(&self) -> Result<(), Refused> {
        let problems = self.contradictions();
        if problems.is_empty() { Ok(()) } else { Err(Refused(problems)) }
    }

    /// Relative paths of a file start at its folder.
    fn resolve_paths(&mut self, folder: &Path) {
        let resolve = |path: &mut PathBuf| *path = folder.join(&*path);
        self.server.certificate.iter_mut().for_each(resolve);
        self.server.key.iter_mut().for_each(resolve);
        self.subscriptions.ca_file.iter_mut().for_each(resolve);
        self.maps.folder.iter_mut().for_each(resolve);
        self.store.folder.iter_mut().for_each(resolve);
        self.sources.iter_mut().flat_map(|source| &mut source.files).for_each(resolve);
    }

    /// What each key for itself cannot show.
    fn contradictions(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        // The table it is about, where there are several.
        let mut problem_in = |table: Option<usize>, key: &str, what: String| {
            let written = match (table, key.split_once('.')) {
                (None, _) => key.to_owned(),
                (Some(at), Some((table, key))) => format!("{table}[{at}].{key}"),
                (Some(at), None) => format!("{key}[{at}]"),
            };
            problems.push(match self.places.0.get(&written) {
                Some(place) => Problem { place: place.clone(), what: format!("{key}: {what}") },
                None => Problem { place: key.into(), what },
            });
        };
        let mut problem = |key: &str, what: String| problem_in(None, key, what);
        match (&self.server.certificate, &self.server.key) {
            (Some(_), None) => problem("server.certificate", "it needs server.key, the file with its private key".into()),
            (None, Some(_)) => problem("server.key", "it needs server.certificate, the file with the certificate chain".into()),
            _ => {}
        }
        for fault in self.server_options().faults() {
            match fault {
                server::Error::NoAddress => problem("server.listen", "it is empty; name an address, such as \"127.0.0.1:6671\"".into()),
                server::Error::AddressTwice { what: "admin", address } => {
                    problem("admin.listen", format!("{address} is in server.listen already; give it an address of its own"));
                }
                server::Error::AddressTwice { address, .. } => {
                    problem("server.listen", format!("{address} stands in it twice; remove one"))
                }
                server::Error::AdminWithoutToken { address } => {
                    let what = format!("{address} is no loopback address: set admin.token as well, or everybody could publish maps");
                    problem("admin.listen", what);
                }
                server::Error::Token => {
                    problem("admin.token", "only letters, digits and -._~+/= may be in it, and at least one".into());
                }
                server::Error::PublicUrl { url, why } => problem("server.public-url", format!("{url:?}: {why}")),
                server::Error::Workers { asked, max } => problem("server.workers", format!("{asked} are too many; {max} are the most")),
                other => problem("server", other.to_string()),
            }
        }
        if maps::guidance::is_reserved(&self.maps.network_map_id) {
            problem("maps.network-map-id", format!("{:?} is the name of a service", self.maps.network_map_id.as_str()));
        }
        for (at, metric) in self.rules.iter().enumerate().filter_map(|(at, rule)| Some((at, rule.metric.as_ref()?))) {
            if self.maps.metrics.contains(metric) {
                continue;
            }
            let meant = nearest::nearest(metric.as_str(), self.maps.metrics.iter().map(alto::cost::Metric::as_str));
            let meant = meant.map_or_else(String::new, |name| format!("; did you mean {name:?}?"));
            problem_in(
                Some(at),
                "rule.metric",
                format!("{:?} is not one of maps.metrics, so the rule would never act{meant}", metric.as_str()),
            );
        }
        let tables_max = maps::Limits::default().expiry_rules_max;
        if self.expiry.len() > tables_max {
            problem_in(None, "expiry", format!("there are {} tables, {tables_max} are the most; use patterns", self.expiry.len()));
        }
        for (at, it) in self.expiry.iter().enumerate() {
            if self.expiry[..at].iter().any(|other| (&other.resource, &other.pid) == (&it.resource, &it.pid)) {
                let pid = it.pid.as_ref().map_or_else(String::new, |pid| format!(", pid {:?}", pid.as_str()));
                let what = format!("two tables are for resource {:?}{pid}, and the first counts; remove one", it.resource.as_str());
                problem_in(Some(at), "expiry", what);
            }
        }
        for (at, source) in self.sources.iter().enumerate() {
            if let Some(name) = &source.name
                && self.sources[..at].iter().any(|other| other.name.as_ref() == Some(name))
            {
                problem_in(Some(at), "source.name", format!("two sources are named {name:?}; give each a name of its own"));
            }
        }
        problems
    }
}

/// The sections that have a key of this name, as it is written in the file or with `_` for `-`.
fn sections_with(key: &str) -> Vec<&'static str> {
    fn has<S: Section>(_: &S, key: &str) -> Option<&'static str> {
        S::KEYS.iter().any(|known| known.name() == key || known.field == key).then_some(S::TITLE)
    }
    let config = Config::default();
    macro_rules! sections {
        ($($section:ident),*) => { [$(has(&config.$section, key)),*].into_iter().flatten().collect() };
    }
    with_sections!(sections)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        parse::parse(text, "a.toml").1.iter().map(Problem::to_string).collect()
    }

    #[test]
    fn what_show_prints_reads_back_as_the_same() {
        let (read, problems) = parse::parse(&show::show(&Config::default()), "shown");
        assert_eq!(problems, []);
        assert_eq!(read, Config::default());
    }

    #[test]
    fn every_example_of_show_is_valid() {
        // Each commented `#key = example` line uncommented, one at a time within its section.
        let shown = show::show(&Config::default());
        let mut head = String::new();
        let mut tried = 0;
        for line in shown.lines() {
            let bare = line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line);
            if bare.starts_with('[') {
                head = bare.to_owned();
            } else if let Some((key, _)) = bare.split_once(" = ") {
                let needs = match head.as_str() {
                    "[[source]]" if key == "kind" => "files = [\"x\"]\n",
                    "[[source]]" if key == "files" => "kind = \"graphml\"\n",
                    "[[source]]" => "kind = \"graphml\"\nfiles = [\"x\"]\n",
                    "[[expiry]]" if key != "seconds" => "seconds = 60\n",
                    "[[rule]]" if !["add", "multiply", "default"].contains(&key) => "add = 1\n",
                    _ => "",
                };
                let bare = if key == "forbid" { "" } else { bare };
                assert_eq!(problems(&format!("{head}\n{needs}{bare}\n")), [""; 0], "{bare}");
                tried += 1;
            }
        }
        assert!(tried > 40, "{tried}");
    }

    #[test]
    fn mistakes_are_named_with_line_key_and_remedy() {
        for (text, want) in [
            (
                "[server]\nlisten = \"127.0.0.1:1\"\nlistne = 3\n",
                "a.toml:3: unknown key \"listne\" in section [server]; did you mean \"listen\"?",
            ),
            ("\n[sever]\n", "a.toml:2: unknown section \"sever\"; did you mean \"server\"?"),
            ("public-url = \"x\"\n", "a.toml:1: unknown section \"public-url\"; the key \"public-url\" belongs under [server]"),
            (
                "[server]\nlisten = 6671\n",
                "a.toml:2: server.listen: expected a list of addresses and ports, such as [\"127.0.0.1:6671\", \"[::1]:6671\"], found 6671",
            ),
            (
                "[maps]\nmetrics = [\"routingcost\", 7]\n",
                "a.toml:2: maps.metrics: expected a list of metric names, such as [\"routingcost\", \"hopcount\"], found [\"routingcost\", 7]: element 2 is 7: expected a metric name in quotes, such as \"routingcost\"",
            ),
            (
                "[demo]\ninterval-seconds = 0\n",
                "a.toml:2: demo.interval-seconds: expected a time in seconds, more than 0 and at most a year, found 0",
            ),
            (
                "[guard]\ncomputed-moved-share-max = 50\n",
                "a.toml:2: guard.computed-moved-share-max: expected a share, from 0 to 1, found 50",
            ),
            (
                "[demo]\nnetwork = \"gaent\"\n",
                "a.toml:2: demo.network: expected \"auto\", \"off\", \"geant\", \"aws\" or \"azure\", found \"gaent\": did you mean \"geant\"?",
            ),
            ("[[source]]\nfiles = [\"x\"]\n", "a.toml:1: this [[source]] has no kind; add for example kind = \"graphml\""),
            ("[source]\nkind = \"graphml\"\n", "a.toml:1: source may occur several times; write [[source]] with double brackets"),
            (
                "[[rule]]\nadd = 1\nforbid = true\n",
                "a.toml:1: this [[rule]] has several of add, multiply, forbid and default; write a rule for each",
            ),
            ("[[expiry]]\nresource = \"net\"\n", "a.toml:1: this [[expiry]] has no seconds; add for example seconds = 300"),
            ("[[expiry]]\nseconds = 1\n", "a.toml:1: this [[expiry]] has 1 seconds; write 2 to 31536000 (a year)"),
            ("[[expiry]]\nseconds = 31536001\n", "a.toml:1: this [[expiry]] has 31536001 seconds; write 2 to 31536000 (a year)"),
            ("[[expiry]]\nseconds = \"5 min\"\n", "a.toml:2: expiry.seconds: expected a whole number, 0 or more, found \"5 min\""),
            ("[[expiry]]\npids = \"x\"\nseconds = 5\n", "a.toml:2: unknown key \"pids\" in section [expiry]; did you mean \"pid\"?"),
            ("[expiry]\nseconds = 5\n", "a.toml:1: expiry may occur several times; write [[expiry]] with double brackets"),
        ] {
            assert_eq!(problems(text), [want], "{text}");
        }
        let broken = problems("[server]\nlisten = \n");
        assert!(broken[0].starts_with("a.toml:2: "), "{broken:?}");
    }

    #[test]
    fn keys_that_contradict_each_other_are_named() {
        for (text, want) in [
            (
                "[server]\npublic-url = \"alto.example.net\"\n",
                "a.toml:2: server.public-url: \"alto.example.net\": it must begin with http:// or https://",
            ),
            (
                "[[rule]]\nmetric = \"routing-cost\"\nadd = 1\n",
                "a.toml:2: rule.metric: \"routing-cost\" is not one of maps.metrics, so the rule would never act; did you mean \"routingcost\"?",
            ),
            (
                "[[expiry]]\nseconds = 5\n[[expiry]]\nseconds = 6\npid = \"x\"\n[[expiry]]\nseconds = 7\npid = \"x\"\n",
                "a.toml:6: expiry: two tables are for resource \"*\", pid \"x\", and the first counts; remove one",
            ),
            ("[server]\nkey = \"k.pem\"\n", "a.toml:2: server.key: it needs server.certificate, the file with the certificate chain"),
            // What the server would refuse.
            ("\n[server]\nlisten = []\n", "a.toml:3: server.listen: it is empty; name an address, such as \"127.0.0.1:6671\""),
            (
                "[server]\nlisten = [\"127.0.0.1:7\", \"[::1]:7\", \"127.0.0.1:7\"]\n",
                "a.toml:2: server.listen: 127.0.0.1:7 stands in it twice; remove one",
            ),
            (
                "[admin]\nlisten = \"127.0.0.1:6671\"\n",
                "a.toml:2: admin.listen: 127.0.0.1:6671 is in server.listen already; give it an address of its own",
            ),
            (
                "[admin]\nlisten = \"0.0.0.0:1\"\n",
                "a.toml:2: admin.listen: 0.0.0.0:1 is no loopback address: set admin.token as well, or everybody could publish maps",
            ),
            ("[admin]\ntoken = \"two words\"\n", "a.toml:2: admin.token: only letters, digits and -._~+/= may be in it, and at least one"),
            (
                "[server]\npublic-url = \"https://user@x/\"\n",
                "a.toml:2: server.public-url: \"https://user@x/\": it must name a host, and no user",
            ),
            ("[server]\npublic-url = \"http://\"\n", "a.toml:2: server.public-url: \"http://\": it is not a URL"),
            ("[maps]\nnetwork-map-id = \"endpoint-cost\"\n", "a.toml:2: maps.network-map-id: \"endpoint-cost\" is the name of a service"),
            ("[server]\nworkers = 100000\n", "a.toml:2: server.workers: 100000 are too many; 1024 are the most"),
        ] {
            let (config, _) = parse::parse(text, "a.toml");
            let problems: Vec<String> = config.contradictions().iter().map(ToString::to_string).collect();
            assert_eq!(problems, [want], "{text}");
        }
        assert!(Config::default().contradictions().is_empty());
        let many: String = (0..257).map(|n| format!("[[expiry]]\nresource = \"n{n}\"\nseconds = 5\n")).collect();
        let problems = parse::parse(&many, "a.toml").0.contradictions();
        assert_eq!(
            problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["expiry: there are 257 tables, 256 are the most; use patterns"]
        );
    }

    #[test]
    fn the_environment_goes_before_the_file() {
        let set = |pairs: &[(&str, &str)]| {
            let mut config = Config::default();
            let problems = parse::override_from(&mut config, pairs.iter().map(|(name, text)| (name.to_string(), text.to_string())));
            (config, problems.iter().map(Problem::to_string).collect::<Vec<_>>())
        };
        let (config, problems) = set(&[
            ("ALTOCAST_SERVER_LISTEN", "127.0.0.1:0"),
            ("ALTOCAST_DEMO_INTERVAL_SECONDS", "0.5"),
            ("ALTOCAST_MAPS_METRICS", "routingcost, hopcount"),
            ("ALTOCAST_MAPS_DEFAULT_PID", ""),
            ("ALTOCAST_ADMIN_TOKEN", "12345"),
            // Variables of the client commands.
            ("ALTOCAST_SERVER", "http://127.0.0.1:6671"),
            ("ALTOCAST_LOG", "debug"),
        ]);
        assert_eq!(problems, [""; 0]);
        assert_eq!(config.server.listen[0].port(), 0);
        assert_eq!(config.demo.interval_seconds.0.as_millis(), 500);
        assert_eq!(config.maps.metrics.len(), 2);
        assert_eq!(config.maps.default_pid, None);
        assert_eq!(config.admin.token.as_deref(), Some("12345"));
        let (_, problems) = set(&[("ALTOCAST_SERVER_LISTNE", "x")]);
        assert_eq!(problems, ["environment variable ALTOCAST_SERVER_LISTNE: no such setting; did you mean ALTOCAST_SERVER_LISTEN?"]);
        let (_, problems) = set(&[("ALTOCAST_SEVER_LISTEN", "x"), ("ALTOCAST_UPDATE_POLLS_MAX", "1")]);
        assert_eq!(
            problems,
            [
                "environment variable ALTOCAST_SEVER_LISTEN: no such setting; did you mean ALTOCAST_SERVER_LISTEN?",
                "environment variable ALTOCAST_UPDATE_POLLS_MAX: no such setting; did you mean ALTOCAST_UPDATES_POLLS_MAX?",
            ]
        );
        // Not near, or nothing that the section has: somebody else's.
        let (_, problems) = set(&[
            ("ALTOCAST_ADMIN", "x"),
            ("ALTOCAST_TEST_CACHE_FOLDER", "x"),
            ("ALTOCAST_LPM_RANGES", "x"),
            ("ALTOCAST_RESTART_LEVEL", "x"),
        ]);
        assert_eq!(problems, [""; 0]);
    }
}
