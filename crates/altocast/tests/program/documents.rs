//! Two RFC 7285 documents that fit each other, and how they come into a folder.
use std::{fs, path::Path};

/// A network map `net` of `pid`, which has every IPv4 address but one prefix, and `b`.
pub fn network(pid: &str) -> String {
    format!(
        r#"{{"meta":{{"vtag":{{"resource-id":"net","tag":"1"}}}},"network-map":{{"{pid}":{{"ipv4":["0.0.0.0/0"]}},"b":{{"ipv4":["192.0.2.0/24"]}}}}}}"#
    )
}

/// Its cost map, where `pid` is `a`.
pub fn costs(cost: u32) -> String {
    format!(
        r#"{{"meta":{{"dependent-vtags":[{{"resource-id":"net","tag":"1"}}],"cost-type":{{"cost-mode":"numerical","cost-metric":"routingcost"}}}},"cost-map":{{"a":{{"a":0,"b":{cost}}},"b":{{"a":{cost},"b":0}}}}}}"#
    )
}

/// As careful operators do: a rename is seen whole.
pub fn write(dir: &Path, name: &str, text: &str) {
    let temporary = dir.join(format!(".{name}.new"));
    fs::write(&temporary, text).unwrap();
    fs::rename(&temporary, dir.join(name)).unwrap();
}
