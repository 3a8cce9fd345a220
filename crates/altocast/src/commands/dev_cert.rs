//! `altocast dev-cert`: a certificate for this machine, so that HTTPS and HTTP/3 can be tried without an authority that the world knows.
//!
//! A small authority of one's own signs it; who trusts `ca.pem` trusts every certificate made in this folder. Invariant: keys are readable by
//! their owner only, and an authority that is there is used again, so that what trusts it goes on doing so.
use crate::terminal;
use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, SystemTime},
};

/// What the certificate is always good for.
const HERE: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Browsers take no certificate that is good for longer.
const DAYS: u32 = 397;
const AUTHORITY_DAYS: u32 = 3650;

/// Make a certificate for this machine, to try HTTPS and HTTP/3 with
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  altocast dev-cert\n  altocast dev-cert --dir tls alto.example.test 192.0.2.1")]
pub struct Args {
    /// Further names and addresses of the server
    #[arg(value_name = "NAME", value_parser = server_name)]
    names: Vec<String>,
    /// Where the files go [default: altocast/dev-cert in $XDG_DATA_HOME, or in ~/.local/share]
    #[arg(long, value_name = "D")]
    dir: Option<PathBuf>,
    /// Print the paths as one JSON object
    #[arg(long)]
    json: bool,
}

/// What a certificate may be for: a DNS name, perhaps with `*` for its first label, or an address.
fn server_name(text: &str) -> Result<String, &'static str> {
    let label = |label: &str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let name = text.strip_prefix("*.").unwrap_or(text);
    let valid = text.parse::<std::net::IpAddr>().is_ok() || name.split('.').all(label);
    if valid { Ok(text.to_owned()) } else { Err("neither a name nor an address of a server, such as alto.example.test or 192.0.2.1") }
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let dir = match args.dir {
        Some(dir) => dir,
        None => {
            let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
            let data = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")));
            data.context("neither XDG_DATA_HOME nor HOME is set; name a folder with --dir")?.join("altocast/dev-cert")
        }
    };
    let dir = std::path::absolute(&dir).with_context(|| dir.display().to_string())?;
    let mut names: Vec<String> = HERE.iter().map(|&name| name.to_owned()).collect();
    for name in args.names {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let files = Files::in_folder(&dir);
    make(&files, &names)?;
    terminal::print_forgiving(|out| print(out, &files, &names, args.json))?;
    Ok(ExitCode::SUCCESS)
}

struct Files {
    authority: PathBuf,
    authority_key: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    fn in_folder(dir: &Path) -> Self {
        let file = |name| dir.join(name);
        Self { authority: file("ca.pem"), authority_key: file("ca-key.pem"), certificate: file("cert.pem"), key: file("key.pem") }
    }
}

fn make(files: &Files, names: &[String]) -> anyhow::Result<()> {
    let dir = files.certificate.parent().context("the files are in a folder")?;
    fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    let kept = files.authority.exists() && files.authority_key.exists();
    let authority_key = if kept {
        let text = fs::read_to_string(&files.authority_key).with_context(|| format!("cannot read {}", files.authority_key.display()))?;
        KeyPair::from_pem(&text).with_context(|| format!("{} is no private key; remove it to begin anew", files.authority_key.display()))?
    } else {
        KeyPair::generate()?
    };
    let authority = authority()?;
    if !kept {
        let certificate = authority.self_signed(&authority_key)?;
        write(&files.authority_key, &authority_key.serialize_pem(), true)?;
        write(&files.authority, &certificate.pem(), false)?;
    }
    let key = KeyPair::generate()?;
    let mut leaf = CertificateParams::new(names.to_vec())?;
    leaf.distinguished_name = name("altocast on this machine");
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.use_authority_key_identifier_extension = true;
    good_for(&mut leaf, DAYS);
    let certificate = leaf.signed_by(&key, &Issuer::new(authority, authority_key))?;
    // The key first: a server that looks at both meanwhile keeps what it had, as they do not belong together.
    write(&files.key, &key.serialize_pem(), true)?;
    write(&files.certificate, &certificate.pem(), false)
}

fn authority() -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = name("altocast development authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    good_for(&mut params, AUTHORITY_DAYS);
    Ok(params)
}

fn name(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, text);
    name
}

/// From yesterday, for clocks that go behind, and so many days on.
fn good_for(params: &mut CertificateParams, days: u32) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(DAY);
    params.not_after = epoch + (now + DAY * days);
}

fn write(path: &Path, text: &str, secret: bool) -> anyhow::Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    let mut file = tempfile::NamedTempFile::new_in(path.parent().context("the files are in a folder")?).with_context(cannot)?;
    file.write_all(text.as_bytes()).with_context(cannot)?;
    #[cfg(unix)]
    if !secret {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).with_context(cannot)?;
    }
    file.persist(path).with_context(cannot)?;
    Ok(())
}

fn print(out: &mut impl Write, files: &Files, names: &[String], json: bool) -> io::Result<()> {
    let Files { authority, certificate, key, .. } = files;
    if json {
        let object = serde_json::json!({"authority": authority, "certificate": certificate, "key": key, "names": names, "days": DAYS});
        return writeln!(out, "{object}");
    }
    let (authority, certificate, key) = (quoted(authority), quoted(certificate), quoted(key));
    writeln!(out, "A certificate for {}, good for {DAYS} days:", names.join(", "))?;
    writeln!(out, "  {certificate}\n  {key}")?;
    writeln!(out, "\nServe with it, over HTTP/1.1, HTTP/2 and HTTP/3:")?;
    writeln!(out, "  ALTOCAST_SERVER_CERTIFICATE={certificate} ALTOCAST_SERVER_KEY={key} altocast serve")?;
    writeln!(out, "\nAsk:")?;
    writeln!(out, "  curl --cacert {authority} https://localhost:6671/directory")?;
    writeln!(out, "  altocast get --cacert {authority} --server https://localhost:6671")
}

/// As a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte));
    if plain { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
