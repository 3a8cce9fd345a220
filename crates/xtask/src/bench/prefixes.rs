//! A million real prefixes for the benches, from the package registries: address ranges by country, `first,last,country` a line.
//!
//! npm's `@ip-location-db/geo-whois-asn-country` (CC-BY 4.0, NRO) where npm is there, else Debian's `tor-geoipdb` (CC-BY-SA 4.0, IPFire).
use crate::workspace;
use anyhow::{Context, Result, bail};
use std::{
    fs,
    net::Ipv4Addr,
    path::Path,
    process::{Command, Stdio},
};

const NPM: &str = "@ip-location-db/geo-whois-asn-country@2.3.2026061719";

/// The files of the table, IPv4 and IPv6, separated by `:`.
pub fn ranges(scratch: &Path) -> Result<String> {
    let folder = scratch.parent().context("a folder under the target folder")?.join("prefixes");
    let files = ["ipv4.csv", "ipv6.csv"].map(|name| folder.join(name));
    if !files.iter().all(|file| file.exists()) {
        fs::create_dir_all(&folder)?;
        if workspace::on_path("npm") {
            from_npm(&folder)?;
        } else if workspace::on_path("apt-get") {
            from_debian(&folder)?;
        } else {
            bail!("neither npm nor apt-get is here");
        }
    }
    Ok(files.map(|file| file.display().to_string()).join(":"))
}

fn from_npm(folder: &Path) -> Result<()> {
    workspace::run(Command::new("npm").args(["pack", "--silent", NPM]).current_dir(folder).stdin(Stdio::null()))?;
    let archive = downloaded(folder, ".tgz")?;
    workspace::run(Command::new("tar").args(["-xzf", &archive]).current_dir(folder))?;
    for family in ["ipv4", "ipv6"] {
        fs::rename(folder.join(format!("package/geo-whois-asn-country-{family}.csv")), folder.join(format!("{family}.csv")))?;
    }
    Ok(())
}

fn from_debian(folder: &Path) -> Result<()> {
    workspace::run(Command::new("apt-get").args(["download", "--quiet", "tor-geoipdb"]).current_dir(folder).stdin(Stdio::null()))?;
    let archive = downloaded(folder, ".deb")?;
    workspace::run(Command::new("dpkg-deb").args(["-x", &archive, "package"]).current_dir(folder))?;
    let lines = |name: &str| -> Result<String> { Ok(fs::read_to_string(folder.join("package/usr/share/tor").join(name))?) };
    let mut ipv4 = String::new();
    for line in lines("geoip")?.lines().filter(|line| !line.starts_with('#')) {
        // Decimal integers: first,last,country.
        let mut fields = line.split(',');
        let mut address = || -> Result<Ipv4Addr> { Ok(Ipv4Addr::from(fields.next().context("a field is missing")?.parse::<u32>()?)) };
        ipv4 += &format!("{},{},{}\n", address()?, address()?, line.rsplit(',').next().unwrap_or(""));
    }
    let ipv6: String = lines("geoip6")?.lines().filter(|line| !line.starts_with('#')).flat_map(|line| [line, "\n"]).collect();
    fs::write(folder.join("ipv4.csv"), ipv4)?;
    Ok(fs::write(folder.join("ipv6.csv"), ipv6)?)
}

fn downloaded(folder: &Path, ending: &str) -> Result<String> {
    let names = fs::read_dir(folder)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.into_iter().find(|name| name.ends_with(ending)).with_context(|| format!("no file *{ending} was downloaded"))
}
