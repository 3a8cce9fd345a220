//! `altocast config`, and the command line's own words.
mod program;

use program::{program, run, text};
use std::{fs, process::Stdio};

#[test]
fn a_typo_names_key_line_and_the_nearest_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("altocast.toml");
    fs::write(&file, "[server]\nlisten = [\"127.0.0.1:0\"]\npublic-ulr = \"https://x\"\n\n[demo]\ninterval-seconds = \"ten\"\n").unwrap();
    let path = file.to_str().unwrap();
    for args in [&["config", "check", path][..], &["serve", "--config", path]] {
        let ended = run(args);
        assert_eq!(ended.status.code(), Some(1), "{args:?}");
        let said = text(&ended.stderr);
        assert!(
            said.contains(&format!("{path}:3: unknown key \"public-ulr\" in section [server]; did you mean \"public-url\"?")),
            "{said}"
        );
        assert!(said.contains(&format!("{path}:6: demo.interval-seconds: expected a time in seconds")), "{said}");
    }
    let json = run(&["config", "check", "--json", path]);
    let problems: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(problems.as_array().unwrap().len(), 2);
}

#[test]
fn what_show_prints_is_a_configuration_and_the_environment_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let shown = run(&["config", "show"]);
    assert!(shown.status.success());
    let file = dir.path().join("shown.toml");
    fs::write(&file, &shown.stdout).unwrap();
    assert!(run(&["config", "check", file.to_str().unwrap()]).status.success());
    // Each key of each section has its meaning above it.
    let lines: Vec<String> = text(&shown.stdout).lines().map(str::to_owned).collect();
    for pair in lines.windows(2).filter(|pair| pair[1].contains(" = ") && !pair[1].starts_with("# ")) {
        assert!(pair[0].starts_with("# "), "{:?} has no meaning", pair[1]);
    }
    let set = program(&["config", "show", "--json"]).env("ALTOCAST_ADMIN_LISTEN", "127.0.0.1:7").output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&set.stdout).unwrap();
    assert_eq!(json["admin"]["listen"], "127.0.0.1:7");
    let wrong = program(&["config", "show"]).env("ALTOCAST_ADMIN_LISTNE", "x").output().unwrap();
    assert!(!wrong.status.success() && text(&wrong.stderr).contains("ALTOCAST_ADMIN_LISTEN"));
}

#[test]
fn every_command_has_help_with_an_example_and_wrong_usage_is_status_2() {
    for command in
        [&[][..], &["serve"], &["get"], &["rank"], &["check"], &["publish"], &["config"], &["config", "check"], &["config", "show"]]
    {
        let help = run(&[command, &["--help"]].concat());
        assert!(help.status.success(), "{command:?}");
        assert!(text(&help.stdout).contains("Example"), "{command:?} has no example");
    }
    for wrong in [
        &["serve", "--no-such-thing"][..],
        &["no-such-command"],
        &["rank"],
        &[],
        &["serve", "--demo", "mars"],
        &["serve", "--demo-interval", "0"],
    ] {
        assert_eq!(run(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn an_admin_listener_for_everybody_needs_a_token() {
    let ended = run(&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "0.0.0.0:0"]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(text(&ended.stderr).contains("admin.token"), "{}", text(&ended.stderr));
}

/// interface.md: a closed pipe is not an error.
#[test]
fn a_reader_that_is_gone_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (good, bad, tls) = (path("good.toml"), path("bad.toml"), path("tls"));
    fs::write(&good, "").unwrap();
    fs::write(&bad, "[sever]\n").unwrap();
    for (args, status) in [
        (&["config", "show"][..], 0),
        (&["config", "show", "--json"], 0),
        (&["config", "check", &good], 0),
        (&["config", "check", &good, "--json"], 0),
        (&["config", "check", &bad, "--json"], 1),
        (&["dev-cert", "--dir", &tls], 0),
        (&["dev-cert", "--dir", &tls, "--json"], 0),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = program(args).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let ended = child.wait_with_output().unwrap();
        assert_eq!((ended.status.code(), text(&ended.stderr).as_str()), (Some(status), ""), "{args:?}");
    }
}

/// A word that is no level would be taken for a target, and everything else, errors too, be silent.
#[test]
fn a_misspelt_log_level_is_refused_and_the_levels_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = |level: &str| {
        let file = dir.path().join("altocast.toml");
        fs::write(&file, format!("[log]\nlevel = \"{level}\"\n")).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let misspelt = file("inof");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "off"];
    for (args, variable, status) in [
        (&["config", "check", &misspelt][..], None, 1),
        (&["serve", "--config", &misspelt], None, 1),
        (&[&serve[..], &["--log", "infoo"]].concat(), None, 2),
        (&serve, Some(("ALTOCAST_LOG", "infoo")), 2),
        (&serve, Some(("ALTOCAST_LOG_LEVEL", "warn,infoo")), 1),
    ] {
        let ended = program(args).envs(variable).output().unwrap();
        let said = text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(status), "{args:?} {variable:?}: {said}");
        for words in ["is no level; there are off, error, warn, info, debug, trace", "did you mean \"info\"?"] {
            assert!(said.contains(words), "{args:?} {variable:?}: {said}");
        }
    }
    for level in ["off", "INFO", "info,server=debug", "server", "server::access", "warn,h2"] {
        let ended = run(&["config", "check", &file(level)]);
        assert!(ended.status.success(), "{level}: {}", text(&ended.stderr));
    }
}

/// What the server would refuse without having looked at anything is a mistake in the configuration, with key and line.
#[test]
fn check_refuses_what_serve_refuses_in_the_same_words() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("altocast.toml").to_str().unwrap().to_owned();
    for (text_of_it, key) in [
        ("[admin]\ntoken = \"two words\"\n", "admin.token"),
        ("[server]\npublic-url = \"https://user@x/\"\n", "server.public-url"),
        ("[server]\npublic-url = \"http://\"\n", "server.public-url"),
        ("[server]\nlisten = []\n", "server.listen"),
        ("[server]\nlisten = [\"127.0.0.1:7\", \"127.0.0.1:7\"]\n", "server.listen"),
        ("[server]\nworkers = 100000\n", "server.workers"),
    ] {
        fs::write(&path, text_of_it).unwrap();
        let [checked, served] = [&["config", "check", &path][..], &["serve", "--config", &path]].map(run);
        let (checked, served) = ((checked.status.code(), text(&checked.stderr)), (served.status.code(), text(&served.stderr)));
        assert!(checked.0 == Some(1) && checked.1.starts_with(&format!("{path}:2: {key}: ")), "{text_of_it}: {checked:?}");
        assert_eq!(served, (Some(1), format!("altocast: {}", checked.1)), "{text_of_it}");
    }
    let twice = run(&["serve", "--listen", "127.0.0.1:7", "--listen", "127.0.0.1:7"]);
    assert!(text(&twice.stderr).starts_with("altocast: --listen: server.listen: 127.0.0.1:7 "), "{}", text(&twice.stderr));
}

/// Within the bound, but more than the system lets a process have open.
#[test]
fn workers_that_the_system_does_not_bear_are_one_line() {
    let altocast = env!("CARGO_BIN_EXE_altocast");
    let script = format!("ulimit -n 256 && exec {altocast} serve --in-memory --listen 127.0.0.1:0 --admin-listen off");
    let ended = std::process::Command::new("sh").args(["-c", &script]).env("ALTOCAST_SERVER_WORKERS", "1000").output().unwrap();
    let said = text(&ended.stderr);
    let last = said.lines().last().unwrap_or_default();
    assert!(ended.status.code() == Some(1) && last.starts_with("altocast: cannot start a worker thread: "), "{said}");
}
