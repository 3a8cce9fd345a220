//! Endpoint addresses as people give them: `192.0.2.1` as well as `ipv4:192.0.2.1`, on the command line, in `@files`, on standard input.
use super::reach::read;
use alto::endpoint::Address;
use std::{net::IpAddr, str::FromStr};

/// An endpoint with the text it was given by, so that answers name it as the question did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// What it is.
    pub address: Address,
    /// What it was called.
    pub text: String,
}

impl FromStr for Endpoint {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let address = match text.parse::<IpAddr>() {
            Ok(ip) => Address::Ip(ip),
            Err(_) => text
                .parse()
                .map_err(|_| format!("{text:?} is not an address such as 192.0.2.1, 2001:db8::1, ipv4:192.0.2.1 or priv:name"))?,
        };
        Ok(Self { address, text: text.to_owned() })
    }
}

/// Expands what was given for destinations: an address, `@FILE`, or `-`. Lines hold addresses separated by blanks; `#` starts a comment.
pub fn expand(given: &[String]) -> anyhow::Result<Vec<Endpoint>> {
    let mut endpoints = Vec::new();
    for one in given {
        let path = match one.strip_prefix('@') {
            Some(path) => path,
            None if one == "-" => "-",
            None => {
                endpoints.push(one.parse().map_err(anyhow::Error::msg)?);
                continue;
            }
        };
        let text = read(path)?;
        let name = if path == "-" { "standard input" } else { path };
        parse_lines(name, &String::from_utf8_lossy(&text), &mut endpoints)?;
    }
    Ok(endpoints)
}

fn parse_lines(name: &str, text: &str, endpoints: &mut Vec<Endpoint>) -> anyhow::Result<()> {
    for (at, line) in text.lines().enumerate() {
        for word in line.split('#').next().unwrap_or_default().split_whitespace() {
            endpoints.push(word.parse().map_err(|error| anyhow::anyhow!("{name}:{}: {error}", at + 1))?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (text, want) in [
            ("192.0.2.1", Some("ipv4:192.0.2.1")),
            ("ipv4:192.0.2.1", Some("ipv4:192.0.2.1")),
            ("2001:db8::1", Some("ipv6:2001:db8::1")),
            ("ipv6:2001:0db8::0001", Some("ipv6:2001:db8::1")),
            ("priv:rack-7", Some("priv:rack-7")),
            ("192.0.2", None),
            ("192.0.2.0/24", None),
            ("example.com", None),
        ] {
            assert_eq!(text.parse::<Endpoint>().ok().map(|one| one.address.to_string()).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn lists_name_the_line_at_fault() {
        let mut endpoints = Vec::new();
        parse_lines("f", "192.0.2.1 2001:db8::1 # two\n\n# none\n192.0.2.3\n", &mut endpoints).unwrap();
        assert_eq!(endpoints.len(), 3);
        let error = parse_lines("f", "192.0.2.1\n192.0.2.x\n", &mut endpoints).unwrap_err();
        assert!(error.to_string().starts_with("f:2: \"192.0.2.x\" is not an address"), "{error}");
    }
}
